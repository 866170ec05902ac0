"""Starts Python programs at a tenth of the cost: a process loads libraries once, and each program is a fork of it.

`Popen` and `run` take what those of `subprocess` take, and start the same program. If the command is this
interpreter with ``-c``, a script, or a command of poolhouse with ``-m``, they fork it from a zygote; otherwise,
or if something was asked for that only a new interpreter can have, they execute it as `subprocess` does.

What differs from an executed program: libraries are loaded already (see `_WARMTH`), ``/proc/PID/cmdline`` is the
zygote's, all forks of a zygote hash strings alike, and tracebacks begin in this file. A test that is about one of
these, about signals and limits from before the start, or about the start itself, keeps to `subprocess`.
"""

import atexit
import contextlib
import ctypes
import gc
import importlib
import inspect
import json
import os
import re
import resource
import runpy
import signal
import socket
import subprocess
import sys
import threading
import types
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, AnyStr, NamedTuple

from support.paths import PYTHONPATH, TESTS

#: What a zygote has loaded, by the module that its programs run. Programs of our own code find libraries alone:
#: to them poolhouse is as new as if they had been executed.
_WARMTH: dict[str, tuple[str, ...]] = {
    "": (
        *("asyncio", "concurrent.futures", "http.server", "json", "logging", "urllib.request"),
        *("asyncpg", "psycopg", "psycopg2", "psycopg_pool", "pymysql", "sqlalchemy.ext.asyncio", "sqlalchemy.orm"),
        *("sqlalchemy.dialects.postgresql", "sqlalchemy.dialects.postgresql.psycopg"),
        *("sqlalchemy.dialects.postgresql.asyncpg", "sqlalchemy.dialects.postgresql.psycopg2"),
        *("sqlalchemy.dialects.mysql.pymysql", "sqlalchemy.dialects.sqlite"),
    ),
    "poolhouse.daemon": (
        *("poolhouse.daemon.command", "poolhouse.daemon.http.server"),
        *("anyio.to_thread", "encodings.idna", "uvicorn.lifespan.off", "uvicorn.protocols.http.h11_impl"),
    ),
    "poolhouse.console": (
        "poolhouse.console.app",
        "poolhouse.console.command",
    ),
}
#: Beginnings of the names of modules that may be run.
_MODULES = ("poolhouse.daemon", "poolhouse.console", "support.")
#: Beginnings of the names of variables that interpreters and libraries read when they are loaded.
_READ_EARLY = ("LANG", "LC_", "LD_", "MALLOC_", "PSYCOPG_", "PYTHON", "SQLALCHEMY_", "TEXTUAL_", "TZ")
_ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
_LIMITS = [name for name in dir(resource) if name.startswith("RLIMIT_")]
#: Constants of Linux's ``prctl.h``.
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
#: For a message: a program's arguments and environment.
_LONGEST = 1 << 20
_libc = ctypes.CDLL(None)


class Program(NamedTuple):
    """What a zygote is told to run.

    Attributes:
        options: Those of the interpreter.
        kind: ``-m`` or ``-c``; empty if `what` is a script.
        what: A module, code or a script.
        arguments: The rest of ``sys.argv``.
        env: All of its environment.
        cwd: Its working directory.
        network: The file of its network namespace.
        limits: The softer and the harder value of each resource limit, by its name in `resource`.
        has_session: Whether it leads a session of its own.
        has_group: Whether it leads a process group of its own.
    """

    options: tuple[str, ...]
    kind: str
    what: str
    arguments: list[str]
    env: dict[str, str]
    cwd: str
    network: str
    limits: dict[str, tuple[int, int]]
    has_session: bool
    has_group: bool

    @property
    def module(self) -> str:
        """The key of `_WARMTH`."""
        return self.what if self.kind == "-m" and self.what in _WARMTH else ""


class Popen(subprocess.Popen[AnyStr]):
    """A process: a fork of a zygote, and a child of this process like any other."""

    def _execute_child(self, *given: Any) -> None:
        asked = inspect.signature(super()._execute_child).bind(*given).arguments
        program = _program(asked)
        if program is None:
            super()._execute_child(*given)
            return
        fds = [asked[name] for name in ("p2cread", "c2pwrite", "errwrite")]
        self.pid = _zygote(program).fork(program, [number if fd == -1 else fd for number, fd in enumerate(fds)])
        self._child_created = True
        ends = ("p2cread", "p2cwrite", "c2pread", "c2pwrite", "errread", "errwrite")
        self._close_pipe_fds(*(asked[name] for name in ends))


def run(
    command: Sequence[str | os.PathLike[str]],
    *,
    capture_output: bool = False,
    timeout: float | None = None,
    check: bool = False,
    input: str | None = None,  # noqa: A002  # as `subprocess` calls it
    **options: Any,
) -> subprocess.CompletedProcess[Any]:
    """Run a program to its end, as `subprocess.run` does."""
    if capture_output:
        options.update(stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if input is not None:
        options["stdin"] = subprocess.PIPE
    with Popen[Any](command, **options) as process:
        try:
            output, errors = process.communicate(input, timeout=timeout)
        except BaseException:
            process.kill()
            raise
    done = subprocess.CompletedProcess(command, process.returncode, output, errors)
    if check:
        done.check_returncode()
    return done


def _program(asked: Mapping[str, Any]) -> Program | None:
    """What of this a zygote can start; ``None`` if it is not for a zygote."""
    if not isinstance(asked["args"], list | tuple) or not asked["close_fds"] or asked["umask"] != -1:
        return None
    if any(asked[name] for name in ("preexec_fn", "pass_fds", "executable", "shell")):
        return None
    if any(asked[name] is not None for name in ("gid", "gids", "uid")) or asked["process_group"] not in (-1, 0):
        return None
    env = dict(os.environ if asked["env"] is None else asked["env"])
    network, command = _unwrapped([os.fsdecode(word) for word in asked["args"]], env)
    if command[:1] != [sys.executable]:
        return None
    if env.get("PYTHONPATH", PYTHONPATH) != PYTHONPATH or _read_early(env) != _read_early(_ENVIRONMENT):
        return None
    begin = 1
    while command[begin : begin + 1] == ["-W"]:
        begin += 2
    options, rest = tuple(command[1:begin]), command[begin:]
    kind = rest.pop(0) if rest[:1] in (["-c"], ["-m"]) else ""
    if not rest or rest[0].startswith("-") or (kind == "-m" and not rest[0].startswith(_MODULES)):
        return None
    limits = {name: resource.getrlimit(getattr(resource, name)) for name in _LIMITS}
    cwd, (what, *arguments) = os.path.abspath(asked["cwd"] or "."), rest
    has_session, has_group = asked["start_new_session"], asked["process_group"] == 0
    return Program(options, kind, what, arguments, env, cwd, network, limits, has_session, has_group)


def _unwrapped(command: list[str], env: dict[str, str]) -> tuple[str, list[str]]:
    """The file of a network namespace, and a command without the programs that execute it.

    Args:
        command: May begin with ``nsenter --net --target=PID``, and with ``env``.
        env: The environment, to which is added what ``env`` says.
    """
    network = f"/proc/{os.getpid()}/task/{threading.get_native_id()}/ns/net"
    if found := re.fullmatch(r"nsenter\0--net\0--target=(\d+)", "\0".join(command[:3])):
        network, command = f"/proc/{found[1]}/ns/net", command[3:]
    if command[:1] == ["env"]:
        command = command[1:]
        while "=" in command[0]:
            name, _, env[name] = command.pop(0).partition("=")
    return network, command


def _read_early(env: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in env.items() if name.startswith(_READ_EARLY) and name != "PYTHONPATH"}


class Zygote:
    """The process from which programs are forked; it ends when the other end of its socket is closed."""

    def __init__(self, options: Sequence[str], module: str) -> None:
        self._sock, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._lock = threading.Lock()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, *options, "-m", "support.zygote", str(theirs.fileno()), module],
                cwd=TESTS,
                env=_ENVIRONMENT,
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
            )

    def fork(self, program: Program, fds: Sequence[int]) -> int:
        """The process that runs a program with these three standard files. It is a child of the caller."""
        with self._lock, _adopting():
            socket.send_fds(self._sock, [json.dumps(program).encode()], fds)
            answer = self._sock.recv(_LONGEST)
        assert answer, f"the zygote ended with {self._process.wait()}"
        return int(answer)

    def close(self) -> None:
        """End it. Its programs go on."""
        self._sock.close()
        self._process.wait(timeout=60)


_zygotes: dict[tuple[tuple[str, ...], str], Zygote] = {}


def _zygote(program: Program) -> Zygote:
    key = program.options, program.module
    if key not in _zygotes:
        _zygotes[key] = Zygote(*key)
    return _zygotes[key]


@atexit.register
def close() -> None:
    """End all zygotes."""
    while _zygotes:
        _zygotes.popitem()[1].close()


@contextlib.contextmanager
def _adopting() -> Iterator[None]:
    """Meanwhile, a process whose parent ends becomes a child of this one."""
    _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1)
    try:
        yield
    finally:
        _libc.prctl(_PR_SET_CHILD_SUBREAPER, 0)


def serve(sock: socket.socket, module: str) -> tuple[Program, list[int]] | None:
    """Fork until the other end is closed. Returns in each fork, with its program and three files."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the tests.
    for name in _WARMTH[module]:
        with contextlib.suppress(ImportError, Warning):  # Whoever needs it will see what is wrong with it.
            importlib.import_module(name)
    gc.collect()
    gc.freeze()
    while True:
        told, fds, _, _ = socket.recv_fds(sock, _LONGEST, 3)
        if not told:
            sock.close()
            return None
        if _fork():
            sock.sendall(str(os.getpid()).encode())
            sock.close()
            return Program(*json.loads(told)), fds
        for fd in fds:
            os.close(fd)


def _fork() -> bool:
    """Whether this is the fork; its parent is not this process, but the one that adopts."""
    waiting, go = os.pipe()
    middle = os.fork()
    is_program = middle == 0 and os.fork() == 0
    if middle == 0 and not is_program:
        os._exit(0)
    if is_program:
        os.close(go)
        os.read(waiting, 1)
        os.close(waiting)
        return True
    os.waitpid(middle, 0)
    os.close(waiting)
    os.close(go)  # The fork has been adopted.
    return False


def become(program: Program, fds: Sequence[int]) -> None:
    """Have this process look as if it had been executed, apart from what it has loaded."""
    for number, fd in enumerate(fds):
        os.dup2(fd, number)
        os.close(fd)
    if program.has_session:
        os.setsid()
    elif program.has_group:
        os.setpgid(0, 0)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)  # Who kills the tests ends their programs.
    # A test may be in another one than where the zygote was started.
    if os.readlink(program.network) != os.readlink("/proc/self/ns/net"):
        with open(program.network) as network:
            assert _libc.setns(network.fileno(), 0) == 0, program.network
    for limit, values in program.limits.items():
        resource.setrlimit(getattr(resource, limit), values)
    os.chdir(program.cwd)
    os.environ.clear()
    os.environ.update(program.env)
    sys.stdout.reconfigure(line_buffering=os.isatty(1))
    sys.argv = [program.kind or program.what, *program.arguments]
    sys.orig_argv = [
        sys.executable,
        *program.options,
        *filter(None, (program.kind,)),
        program.what,
        *program.arguments,
    ]
    folder = {"-c": "", "-m": program.cwd}.get(program.kind, os.path.dirname(os.path.abspath(program.what)))
    paths = [*filter(None, program.env.get("PYTHONPATH", "").split(os.pathsep))]
    sys.path[:] = [folder, *paths, *(path for path in sys.path[1:] if path not in paths)]
    sys.modules["__main__"] = types.ModuleType("__main__")


def main(program: Program) -> None:
    """Run it as the module ``__main__``."""
    if program.kind == "-m":
        runpy.run_module(program.what, run_name="__main__", alter_sys=True)
        return
    names, code, name = vars(sys.modules["__main__"]), program.what, "<string>"
    if not program.kind:
        name = names["__file__"] = program.what
        code = Path(name).read_text()
    exec(compile(code, name, "exec"), names)


if __name__ == "__main__":
    told = serve(socket.socket(fileno=int(sys.argv[1])), sys.argv[2])
    if told is not None:
        become(*told)
        main(told[0])
