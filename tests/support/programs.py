"""Small programs that a test runs in processes of their own."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from textwrap import dedent

from support import zygote
from support.paths import PYTHONPATH


def start(
    code: str,
    *arguments: str,
    options: tuple[str, ...] = ("-W", "error"),
    env: Mapping[str, str] | None = None,
    has_libraries: bool = False,
) -> subprocess.Popen[str]:
    """Start a Python program; its standard streams are pipes, and no failed test leaves it running for long.

    Args:
        code: What it does.
        arguments: Its ``sys.argv[1:]``.
        options: Those of the interpreter.
        env: Variables that it has besides those of the tests.
        has_libraries: Whether SQLAlchemy and drivers are loaded before it begins, which saves most of its time.
    """
    popen = zygote.Popen[str] if has_libraries else subprocess.Popen[str]
    return popen(
        [sys.executable, *options, "-c", f"__import__('signal').alarm(120)\n{dedent(code)}", *arguments],
        env={**os.environ, "PYTHONPATH": PYTHONPATH, **(env or {})},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(program: subprocess.Popen[str], timeout: float = 60.0) -> str:
    """What a program printed after its input was closed; it must end well and complain of nothing."""
    try:
        output, errors = program.communicate(timeout=timeout)
    finally:
        program.kill()
    assert errors == "", errors
    assert program.returncode == 0
    return output


def run(
    code: str,
    *arguments: str,
    options: tuple[str, ...] = ("-W", "error"),
    env: Mapping[str, str] | None = None,
    has_libraries: bool = False,
) -> str:
    """Run a Python program, as `start` does, to its end; what it printed."""
    return finish(start(code, *arguments, options=options, env=env, has_libraries=has_libraries))


def cpu_seconds(pid: int) -> float:
    """The CPU time that a process has used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
