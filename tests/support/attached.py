"""Programs that know nothing of poolhouse, started by ``poolhouse run``, and what they report."""

import os
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import dedent

from support.receiver import Receiver

PYTHON = sys.executable
COMMANDS = Path(sys.executable).parent

#: Uses an engine twice, and says how often in its output.
SHOP = """
    import sqlalchemy
    engine = sqlalchemy.create_engine("sqlite:///shop.db")
    for _ in range(2):
        with engine.connect() as connection:
            connection.execute(sqlalchemy.text("select 1"))
    print("sold")
"""


@dataclass(frozen=True)
class Case:
    """One program.

    Attributes:
        command: What is started, by ``poolhouse run`` if `launcher` is not another one.
        pools: The checkouts of each pool that is reported, one process after the other.
        output, errors, status: What it prints and how it ends; `errors` is a part of what it complains of.
        variables: What its environment has besides the test's.
        launcher: What stands before the command; the program's settings are in its environment then.
    """

    command: Sequence[str]
    pools: Sequence[int] = (2,)
    output: str = "sold\n"
    errors: str = ""
    status: int = 0
    variables: Mapping[str, str] = field(default_factory=dict)
    launcher: Sequence[str] | None = None


def write(folder: Path, **files: str) -> None:
    """Write modules into a folder."""
    for name, text in files.items():
        (folder / f"{name}.py").write_text(dedent(text))


def environment_with_sqlalchemy(folder: Path) -> Path:
    """A virtual environment, made in a folder, with SQLAlchemy and without poolhouse."""
    made = folder / "environment"
    venv.create(made, with_pip=False, symlinks=True)
    (packages,) = made.glob("lib/python*/site-packages")
    for path in Path(sysconfig.get_path("purelib")).iterdir():
        if path.name.startswith(("sqlalchemy", "greenlet", "typing_extensions")):
            (packages / path.name).symlink_to(path)
    return made


def plain_environment() -> dict[str, str]:
    """The test's environment, without anything that concerns poolhouse or where modules are found."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("POOLHOUSE_", "PYTHON", "DD_", "OTEL_"))
    }


def run_all(cases: Mapping[str, Case], folder: Path, at_once: int = 4) -> dict[str, list[int]]:
    """Run programs, some at a time; each must end as its case says.

    Returns:
        The checkouts of each pool that was told to the address that the launcher named, the most first, by the
        program's name.
    """
    waiting = list(cases)
    running: dict[str, subprocess.Popen[str]] = {}
    with Receiver() as receiver:
        while waiting or running:
            while waiting and len(running) < at_once:
                name = waiting.pop(0)
                running[name] = start(name, cases[name], folder, receiver)
            name, process = next(iter(running.items()))
            try:
                output, errors = process.communicate(timeout=60)
            finally:
                process.kill()
            del running[name]
            receiver.receive()
            case = cases[name]
            assert (process.returncode, output) == (case.status, case.output), f"{name}: {output}{errors}"
            assert case.errors in errors if case.errors else errors == "", f"{name}: {errors}"
        return checkouts(receiver, cases)


def start(name: str, case: Case, folder: Path, receiver: Receiver) -> "subprocess.Popen[str]":
    """Start a program."""
    url = receiver.url(interval="0.2")
    launcher = case.launcher
    variables = {"POOLHOUSE_REPORT": receiver.url(interval="0.2", program_name=name)}
    if launcher is None:
        launcher = [str(COMMANDS / "poolhouse"), "run", "--report", url, "--program", name, "--"]
        variables = {}
    return subprocess.Popen(
        [*launcher, *case.command],
        cwd=folder,
        env={**plain_environment(), **variables, **case.variables},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def checkouts(receiver: Receiver, names: Mapping[str, object]) -> dict[str, list[int]]:
    """The checkouts of each pool, the most first, by the program's name."""
    found: dict[str, list[int]] = {name: [] for name in names}
    for token in receiver.tokens():
        programs = {report.program for report in receiver.of(token)}
        for program in sorted(programs):
            for _, pool in sorted(receiver.pools(token, program).items()):
                found.setdefault(program, []).append(pool.counters.checkouts or 0)
    return {program: sorted(numbers, reverse=True) for program, numbers in found.items()}


def expected(cases: Mapping[str, Case]) -> dict[str, list[int]]:
    """What `run_all` returns if all is well."""
    return {name: sorted(case.pools, reverse=True) for name, case in cases.items()}
