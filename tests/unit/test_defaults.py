"""Ports and environment variables that several parts must agree on stand in one module."""

import ast
from pathlib import Path

import poolhouse
from poolhouse import defaults

FOLDER = Path(poolhouse.__file__).parent
ONCE = {value for name, value in vars(defaults).items() if name.endswith(("_PORT", "_VARIABLE"))}


def test_no_other_module_repeats_a_port_or_the_name_of_a_variable() -> None:
    assert len(ONCE) >= 7
    repeated = {
        (str(path.relative_to(FOLDER)), node.value)
        for path in FOLDER.rglob("*.py")
        if path.name != "defaults.py"
        for source in [path.read_text()]
        if any(str(value) in source for value in ONCE)  # Parsing all of them takes a second.
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Constant) and isinstance(node.value, int | str) and node.value in ONCE
    }
    assert repeated == set()
