"""Starts many Python programs at the cost of one: libraries are loaded once, and each program is a fork of that.

Nothing of poolhouse is loaded before the fork: to a program it looks as if it had been started by itself.
"""

import contextlib
import ctypes
import gc
import importlib
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import IO, Self

from support.programs import PYTHONPATH

_LIBRARIES = (
    *("asyncio", "concurrent.futures", "http.server", "json", "logging", "multiprocessing", "urllib.request"),
    *("asyncpg", "psycopg", "psycopg2", "psycopg_pool", "pymysql", "sqlalchemy.ext.asyncio", "sqlalchemy.orm"),
    *("sqlalchemy.dialects.postgresql", "sqlalchemy.dialects.postgresql.psycopg", "sqlalchemy.dialects.sqlite"),
    *("sqlalchemy.dialects.postgresql.asyncpg", "sqlalchemy.dialects.postgresql.psycopg2"),
    *("sqlalchemy.dialects.mysql.pymysql",),
)
#: For a message: script, arguments and environment of a program.
_LONGEST = 65536


@dataclass
class Forked:
    """A program: its process, and the other ends of its standard streams."""

    pid: int
    stdin: IO[str]
    stdout: IO[str]
    stderr: IO[str]

    def kill(self) -> None:
        """End it, and what it has forked."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)

    def close(self) -> None:
        """Close the streams, of which nobody reads any more."""
        for stream in (self.stdin, self.stdout, self.stderr):
            with contextlib.suppress(BrokenPipeError):
                stream.close()


class Zygote(AbstractContextManager["Zygote"]):
    """The process from which programs are forked; they end when it does."""

    def __enter__(self) -> Self:
        self._sock, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "support.zygote", str(theirs.fileno())],
                env={**os.environ, "PYTHONPATH": PYTHONPATH},
                pass_fds=[theirs.fileno()],
            )
        return self

    def start(self, script: str, *arguments: str, env: Mapping[str, str]) -> Forked:
        """Run a Python file in a process of its own."""
        pipes = [os.pipe() for _ in range(3)]
        theirs = [pipes[0][0], pipes[1][1], pipes[2][1]]
        told = json.dumps({"argv": [script, *arguments], "env": dict(env)}).encode()
        socket.send_fds(self._sock, [told], theirs)
        for fd in theirs:
            os.close(fd)
        answer = self._sock.recv(_LONGEST)
        assert answer, f"the zygote ended with {self._process.wait()}"
        return Forked(int(answer), open(pipes[0][1], "w"), open(pipes[1][0]), open(pipes[2][0]))

    def __exit__(self, *_: object) -> None:
        self._sock.close()
        self._process.wait(timeout=60)


def main(sock: socket.socket) -> None:
    """Fork what is asked for, until the other end is closed; then end all of it."""
    for name in _LIBRARIES:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()
    pids: list[int] = []
    while True:
        told, fds, _, _ = socket.recv_fds(sock, _LONGEST, 3)
        if not told:
            break
        pid = os.fork()
        if pid == 0:
            sock.close()
            _become(json.loads(told), fds)
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.setpgid(pid, pid)
        pids.append(pid)
        for fd in fds:
            os.close(fd)
        sock.sendall(str(pid).encode())
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def _become(told: dict[str, dict[str, str] | list[str]], fds: list[int]) -> None:
    for number, fd in enumerate(fds):
        os.dup2(fd, number)
        os.close(fd)
    os.setpgid(0, 0)
    # Whoever kills the zygote ends its programs: 1 is PR_SET_PDEATHSIG of Linux.
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)
    os.environ.update(told["env"])
    sys.argv = list(told["argv"])
    sys.path[0] = os.path.dirname(sys.argv[0])
    runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    main(socket.socket(fileno=int(sys.argv[1])))
