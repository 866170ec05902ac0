"""What a start loads: modules, not time. A module that is forbidden here took a noticeable part of each start."""

import subprocess
import sys

import pytest

#: Prints the loaded modules once a command ends.
AT_END = """
import sys
from poolhouse import cli
sys.argv = {words!r}
try:
    getattr(cli, sys.argv[0])()
except SystemExit as end:
    assert not end.code, end.code
print("\\n" + " ".join(sys.modules))
"""
#: `email` and `zipfile` are what `importlib.metadata` and `http.client` import. Commands are read by Click.
NEVER = frozenset(
    ("email", "importlib.metadata", "pydantic", "rich", "sqlalchemy", "statistics", "typer", "zipfile")
)


def loaded_by(code: str) -> set[str]:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.splitlines()[-1].split())


def started(*words: str) -> set[str]:
    return loaded_by(AT_END.format(words=list(words)))


def ours(modules: set[str]) -> set[str]:
    return {name for name in modules if name.startswith("poolhouse.")}


@pytest.mark.parametrize("command", ["connmond", "connmon", "poolhouse"])
def test_a_version_needs_no_library_and_nothing_of_the_command(command: str):
    modules = started(command, "--version")
    assert not modules & {*NEVER, "argparse", "asyncio", "click", "dataclasses", "inspect", "socket", "textual"}
    assert not ours(modules) & {"poolhouse.daemon", "poolhouse.console", "poolhouse.report", "poolhouse.fleet"}


def test_connmond_starts_without_what_is_not_switched_on():
    modules = started("connmond", "--check", "--http", "off", "--bind", "off", "--reports", "127.0.0.1:0")
    assert "poolhouse.fleet.fleet" in modules
    assert not modules & {
        *NEVER,
        "argparse",
        "dataclasses",
        "http.client",
        "logging.config",
        "starlette",
        "uvicorn",
    }
    # It reports no pool of its own.
    assert not modules & {"poolhouse.instrumentation", "poolhouse.report.reporter", "poolhouse.report.destination"}


def test_connmon_prints_without_the_window_and_without_the_daemon():
    modules = started("connmon", "--help")
    assert "poolhouse.console.once" in modules
    assert not modules & {*NEVER, "argparse", "asyncio", "http.client", "ssl", "textual"}
    assert not modules & {"poolhouse.daemon", "poolhouse.instrumentation", "poolhouse.report.reporter"}


def test_a_subcommand_does_not_load_the_others():
    modules = started("poolhouse", "explain", "leak")
    packages = {name.split(".")[1] for name in ours(modules)}
    assert "verdicts" in packages
    assert not packages & {"attach", "console", "demo", "doctor", "fleet", "report"}


def test_the_reporter_needs_little_of_the_standard_library():
    # What asyncio imports belongs here too: psycopg_pool and psycopg2 do without.
    code = "import sys, poolhouse.instrumentation.watching; print(*sys.modules)"
    modules = loaded_by(code)
    assert "poolhouse.report.reporter" in modules
    assert not modules & {
        *NEVER,
        "asyncio",
        "dataclasses",
        "http",
        "inspect",
        "json",
        "pathlib",
        "ssl",
        "subprocess",
    }
