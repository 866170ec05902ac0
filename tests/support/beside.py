"""Runs small programs twice, without poolhouse and measured by it, and tells what came of them.

One process loads SQLAlchemy; each program is a fork of it, so a hundred of them cost what few starts of Python do.
Nothing of poolhouse is loaded before the fork. A program finds `engine`, which makes an engine that is measured in
the second run, and `is_measured`.
"""

import contextlib
import gc
import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from textwrap import dedent
from typing import Any, NamedTuple

from support.paths import PYTHONPATH

_LIBRARIES = ("asyncio", "logging", "multiprocessing", "sqlalchemy", "sqlalchemy.ext.asyncio", "unittest.mock")
#: Seconds after which a program is killed.
PATIENCE_S = 20.0


class Outcome(NamedTuple):
    """What came of one run."""

    #: As of a shell: negative for a signal.
    status: int
    output: str
    errors: str
    seconds: float


def run_beside(programs: Mapping[str, str], port: int) -> dict[str, tuple[Outcome, Outcome]]:
    """Run each program twice.

    Args:
        programs: The code of each, by name.
        port: Where the second run reports, on 127.0.0.1.

    Returns:
        Of each what came of it without poolhouse, and measured.
    """
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, "-W", "error", "-m", "support.beside", str(port), folder],
            input=json.dumps({name: dedent(code) for name, code in programs.items()}),
            env={**os.environ, "PYTHONPATH": PYTHONPATH},
            capture_output=True,
            text=True,
            timeout=2 * PATIENCE_S * len(programs),
        )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    return {name: (Outcome(*plain), Outcome(*measured)) for name, (plain, measured) in found.items()}


def _become(code: str, port: int, is_measured: bool) -> None:
    """Run the program; the interpreter ends when `main` returns."""

    def engine(url: str = "sqlite://", interval: float = 0.2, settings: str = "", **options: Any) -> Any:
        import sqlalchemy

        if url.startswith("sqlite:"):
            options.setdefault("connect_args", {"check_same_thread": False})
        if is_measured:
            url += f"?plugin=collectd&collectd_host=127.0.0.1&collectd_port={port}&collectd_program_name=beside"
            url += f"&collectd_interval={interval}{settings}"
        return sqlalchemy.create_engine(url, **options)

    sys.argv = ["program"]
    names = {"__name__": "__main__", "engine": engine, "is_measured": is_measured}
    main = sys.modules["__main__"] = type(sys)("__main__")
    vars(main).update(names)
    exec(compile(code, "program", "exec"), vars(main))


def _outcome(pid: int, folder: Path) -> Outcome:
    """Wait for a program."""
    began = time.monotonic()
    status = None
    while status is None and time.monotonic() < began + PATIENCE_S:
        ended, found = os.waitpid(pid, os.WNOHANG)
        status = os.waitstatus_to_exitcode(found) if ended else None
        time.sleep(0.002)
    seconds = time.monotonic() - began
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)  # Whatever it has left.
    if status is None:
        os.waitpid(pid, 0)
        status = -signal.SIGALRM
    return Outcome(status, (folder / "1").read_text(), (folder / "2").read_text(), seconds)


def main(port: int, where: Path) -> None:
    """Run what standard input names; return at once in each fork that has run its program."""
    programs: dict[str, str] = json.load(sys.stdin)
    for name in _LIBRARIES:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()
    found: dict[str, list[Outcome]] = {}
    for number, (name, code) in enumerate(programs.items()):
        for is_measured in (False, True):
            folder = where / f"{number}-{is_measured}"
            folder.mkdir()
            streams = [os.open(folder / str(stream), os.O_RDWR | os.O_CREAT | os.O_APPEND) for stream in range(3)]
            pid = os.fork()
            if pid == 0:
                os.setpgid(0, 0)
                os.chdir(folder)
                for stream, opened in enumerate(streams):
                    os.dup2(opened, stream)
                os.closerange(3, max(streams) + 1)
                _become(code, port, is_measured)
                return
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.setpgid(pid, pid)
            for opened in streams:
                os.close(opened)
            found.setdefault(name, []).append(_outcome(pid, folder))
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
