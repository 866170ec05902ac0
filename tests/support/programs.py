"""Small programs that a test runs in processes of their own."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from textwrap import dedent

TESTS = Path(__file__).parents[1]
SOURCES = TESTS.parent / "src"

#: Where a program of ours finds poolhouse and these helpers.
PYTHONPATH = os.pathsep.join(map(str, (SOURCES, TESTS)))


def start(
    code: str, *arguments: str, options: tuple[str, ...] = ("-W", "error"), env: Mapping[str, str] | None = None
) -> subprocess.Popen[str]:
    """Start a Python program; its standard streams are pipes, and no failed test leaves it running for long."""
    return subprocess.Popen(
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
    code: str, *arguments: str, options: tuple[str, ...] = ("-W", "error"), env: Mapping[str, str] | None = None
) -> str:
    """Run a Python program to its end; what it printed."""
    return finish(start(code, *arguments, options=options, env=env))


def cpu_seconds(pid: int) -> float:
    """The CPU time that a process has used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
