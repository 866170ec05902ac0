"""The file that every Python reads which has our folder in ``PYTHONPATH``, Python 2.7 included."""

import ast
from pathlib import Path

from poolhouse.attach.run import BOOTSTRAP

#: What Python 3 has brought that may stand in a file without functions.
NEWER = (ast.AnnAssign, ast.JoinedStr, ast.NamedExpr, ast.Starred, ast.Match, ast.TryStar, ast.Nonlocal)


def test_it_needs_no_syntax_that_python_2_7_has_not() -> None:
    text = Path(BOOTSTRAP, "sitecustomize.py").read_text(encoding="ascii")
    nodes = list(ast.walk(ast.parse(text, feature_version=(3, 7))))
    assert [node for node in nodes if isinstance(node, (*NEWER, ast.FunctionDef, ast.Lambda, ast.ClassDef))] == []
    assert [node for node in nodes if isinstance(node, ast.Raise) and node.cause is not None] == []


def test_nothing_else_is_in_its_folder() -> None:
    assert {path.name for path in Path(BOOTSTRAP).iterdir()} - {"__pycache__"} == {"sitecustomize.py"}
