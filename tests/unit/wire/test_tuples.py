"""`made` does not count what it is given: a tuple that lacks a new field would fail far from where it was made."""

import ast
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import poolhouse

SOURCE = Path(poolhouse.__file__).parent


def makings() -> Iterator[tuple[str, int, int]]:
    """Each place that makes a named tuple from items written there; how many, and how many fields it has."""
    for path in sorted(SOURCE.rglob("*.py")):
        text = path.read_text()
        if "wire.tuples import made" not in text:
            continue
        module = import_module(".".join(("poolhouse", *path.relative_to(SOURCE).with_suffix("").parts)))
        for call in ast.walk(ast.parse(text)):
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "made":
                kind, items = call.args
                assert isinstance(kind, ast.Name)
                if isinstance(items, ast.Tuple) and not any(isinstance(item, ast.Starred) for item in items.elts):
                    yield f"{path.name}:{call.lineno}", len(items.elts), len(getattr(module, kind.id)._fields)


def test_a_named_tuple_is_made_with_all_its_fields():
    found = list(makings())
    assert len(found) > 8
    assert [place for place, items, fields in found if items != fields] == []
