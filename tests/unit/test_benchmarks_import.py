"""What benchmarks import from each other, from the tests and from poolhouse is there, though no test runs them."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = (ROOT / "benchmarks", ROOT / "tests", ROOT / "src")
BENCHMARKS = sorted((ROOT / "benchmarks").glob("*.py"))


def module(name: str) -> Path | None:
    """The file or package of a module of ours; ``None`` for others."""
    places = [folder / name.replace(".", "/") for folder in FOLDERS]
    files = [one for place in places for one in (place.with_suffix(".py"), place / "__init__.py")]
    return next((file for file in files if file.exists()), None)


def names(file: Path) -> set[str]:
    """What a module defines or imports, anywhere in it, and the modules of a package."""
    found = {one.stem for one in file.parent.iterdir()} if file.name == "__init__.py" else set()
    for node in ast.walk(ast.parse(file.read_text())):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                found.add(name)
            case ast.Name(id=name, ctx=ast.Store()):
                found.add(name)
            case ast.ImportFrom(names=imported) | ast.Import(names=imported):
                found.update(one.asname or one.name for one in imported)
    return found


@pytest.mark.parametrize("file", BENCHMARKS, ids=lambda file: file.stem)
def test_what_a_benchmark_imports_is_there(file: Path):
    imported = [
        (source, alias.name)
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.ImportFrom) and node.module and (source := module(node.module))
        for alias in node.names
    ]
    assert [(source.stem, name) for source, name in imported if name not in names(source)] == []
