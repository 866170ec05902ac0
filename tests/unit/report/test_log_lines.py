"""A log line without the logger's name before it, as Python prints it by default, says whose it is."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import poolhouse

FOLDER = Path(poolhouse.__file__).parent
#: What logs in an application's process, except the pools: their messages are psycopg_pool's.
PARTS = ("attach", "django", "instrumentation", "meter", "otel", "prometheus", "report", "sites", "verdicts")
MODULES = sorted(path for part in PARTS for path in (FOLDER / part).rglob("*.py"))
#: What an application's loggers are asked for by the modules above.
METHODS = ("debug", "info", "warning", "error", "exception", "critical", "log", "last_word")


def messages(source: str) -> Iterator[str]:
    """The texts that calls of `log` and of a logger's methods begin with."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        is_ours = isinstance(node.func, ast.Name) and node.func.id == "log"
        is_loggers = isinstance(node.func, ast.Attribute) and node.func.attr in METHODS
        if is_ours or is_loggers:
            yield from (
                argument.value
                for argument in node.args
                if isinstance(argument, ast.Constant) and isinstance(argument.value, str)
            )


def test_the_messages_are_found() -> None:
    found = messages('log(1, "a %s", 1); logger.info("b"); logger.log(1, "c"); other("d")')
    assert list(found) == ["a %s", "b", "c"]
    assert sum(len(list(messages(path.read_text()))) for path in MODULES) > 8


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(FOLDER)))
def test_every_log_line_begins_with_poolhouse(path: Path) -> None:
    for message in messages(path.read_text()):
        assert message.startswith("poolhouse ") or message == "%s", message
