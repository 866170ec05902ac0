"""Attaches to a running process, by ``sys.remote_exec`` of Python 3.14 (PEP 768).

Python runs a file of ours in the main thread of the other process, at the next safe moment; if that thread is
blocked outside of Python, later, or never. Python does not say when, so the file reports to a socket of ours, and
this waits for it for `PATIENCE_S`. Then the other process does what ``import poolhouse.auto`` does.
"""

import json
import os
import re
import socket
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from textwrap import dedent
from typing import Any

from poolhouse.attach.finder import DISABLE_VARIABLE
from poolhouse.attach.install import FINDER

#: The first Python that has ``sys.remote_exec``.
FIRST = (3, 14)
#: Seconds to wait for the other process.
PATIENCE_S = 5.0
#: Bytes of an answer.
_LONGEST = 4096

_INSTEAD = "start it by 'poolhouse run', or add 'import poolhouse.auto' to it"

#: What the other process runs. It imports only what gevent and eventlet do not replace, and removes its own file.
_SCRIPT = """
    def _attach():
        import json, os
        import _socket
        from _frozen_importlib_external import SourceFileLoader
        try:
            os.unlink({script!r})
        except OSError:
            pass
        try:
            report = {report!r}
            if report is not None:
                os.environ["POOLHOUSE_REPORT"] = report
            name, path = "poolhouse.attach.finder", {finder!r}
            names = {{"__name__": name, "__file__": path}}
            exec(SourceFileLoader(name, path).get_code(name), names)
            finder = names["start"]("poolhouse attach")
            if finder is not None:
                from poolhouse.attach.late import attach
                attach("poolhouse attach")
            told = {{"way": finder and finder.way, "patched": finder and finder.patched}}
        except BaseException as error:
            told = {{"error": "%s: %s" % (type(error).__name__, error)}}
        try:
            sock = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM)
            sock.settimeout(1)
            sock.connect(("127.0.0.1", {port}))
            sock.send(json.dumps(told).encode()[:{longest}])
            sock.close()
        except OSError:
            pass

    _attach()
    del _attach
"""


class Refused(Exception):
    """A process cannot be attached to; the text says why, and what to do."""


def attach(
    pid: int,
    report: str | None,
    remote_exec: Callable[[int, str], Any] | None = None,
    patience: float = PATIENCE_S,
) -> str:
    """Attach to a process; returns its answer as a sentence.

    Args:
        pid: The process.
        report: The URL that it reports to; ``None`` for its environment's setting.
        remote_exec: Makes the process run a file; ``None`` for ``sys.remote_exec``.
        patience: Seconds to wait for the answer.

    Raises:
        Refused: If that is not possible.
    """
    if remote_exec is None:
        remote_exec = _remote_exec_for(pid)
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(patience)
        script = write_script(pid, report, server.getsockname()[1])
        try:
            remote_exec(pid, script)
        except Exception as error:
            with suppress(OSError):
                os.unlink(script)
            raise Refused(why_not(pid, error)) from None
        try:
            connection, _ = server.accept()
            with connection:
                connection.settimeout(patience)
                answer = connection.recv(_LONGEST)
        except TimeoutError:
            raise Refused(
                f"process {pid} has not answered within {patience:g} s: it is in another container, or its main "
                "thread is busy outside of Python and will attach later"
            ) from None
    return sentence(pid, answer)


def write_script(pid: int, report: str | None, port: int) -> str:
    """Write a file for the process to run, private as the URL may have a password; returns its path."""
    descriptor, path = tempfile.mkstemp(prefix="poolhouse-attach-", suffix=".py")
    with open(descriptor, "w", encoding="utf-8") as file:
        file.write(dedent(_SCRIPT).format(script=path, report=report, finder=FINDER, port=port, longest=_LONGEST))
    with suppress(OSError):  # Who may not do that has the same user, or cannot attach.
        os.chown(path, os.stat(f"/proc/{pid}").st_uid, -1)
    return path


def sentence(pid: int, answer: bytes) -> str:
    """The answer of a process, in words.

    Raises:
        Refused: If it is not attached.

    >>> sentence(7, b'{"way": "poolhouse attach", "patched": ["sqlalchemy.engine.base.Engine"]}')
    'process 7 is attached: sqlalchemy.engine.base.Engine'
    >>> sentence(7, b'{"way": "poolhouse run", "patched": []}')
    'process 7 is attached, by poolhouse run before; it has imported no library with pools yet'
    """
    try:
        told = json.loads(answer)
    except ValueError:
        raise Refused(f"process {pid} has ended its answer early") from None
    if "error" in told:
        raise Refused(f"process {pid} could not attach: {told['error']}")
    if told["way"] is None:
        raise Refused(f"process {pid} has {DISABLE_VARIABLE} in its environment")
    before = "" if told["way"] == "poolhouse attach" else f", by {told['way']} before"
    if not told["patched"]:
        return f"process {pid} is attached{before}; it has imported no library with pools yet"
    return f"process {pid} is attached{before}: {', '.join(told['patched'])}"


def why_not(pid: int, error: Exception) -> str:
    """Why Python refuses, in a sentence.

    >>> why_not(7, PermissionError(1, "Operation not permitted"))[:52]
    'process 7 may not be attached to: it needs the right'
    """
    if isinstance(error, PermissionError):
        return (
            f"process {pid} may not be attached to: it needs the rights of a debugger (the same user and Yama's "
            "ptrace_scope 0, or CAP_SYS_PTRACE)"
        )
    if isinstance(error, ProcessLookupError):
        return f"there is no process {pid}"
    return f"process {pid} cannot be attached to: {error} (is PYTHON_DISABLE_REMOTE_DEBUG set there?)"


def version_of(executable: str, maps: str) -> tuple[int, int] | None:
    """The version of Python that a process runs; ``None`` if none can be seen.

    Args:
        executable: The path of its program.
        maps: The files that it has mapped, as in ``/proc/PID/maps``.

    >>> version_of("/usr/bin/python3.14", ""), version_of("/usr/sbin/uwsgi", "… /usr/lib/libpython3.13.so.1.0")
    ((3, 14), (3, 13))
    >>> version_of("/usr/bin/bash", "") is None
    True
    """
    found = re.search(r"^python(\d+)\.(\d+)", os.path.basename(executable)) or re.search(
        r"/libpython(\d+)\.(\d+)", maps
    )
    return None if found is None else (int(found[1]), int(found[2]))


def problem_of(pid: int, there: tuple[int, int] | None, here: tuple[int, int]) -> str | None:
    """Why this Python cannot attach to that process; ``None`` if it can.

    Args:
        pid: The process.
        there: Its version of Python.
        here: Ours.
    """
    if there is None:
        return f"process {pid} runs no Python that can be seen from here"
    versions = ".".join(map(str, there)), ".".join(map(str, here))
    if there < FIRST:
        return (
            f"a process that runs can be attached to from Python 3.14 on, and {pid} runs {versions[0]}: {_INSTEAD}"
        )
    if there != here:
        return (
            f"process {pid} runs Python {versions[0]}, and this is {versions[1]}: "
            f"use a poolhouse that is installed with Python {versions[0]}"
        )
    return None


def _remote_exec_for(pid: int) -> Callable[[int, str], Any]:
    try:
        executable = os.readlink(f"/proc/{pid}/exe")
        maps = Path(f"/proc/{pid}/maps").read_text(errors="replace")
    except FileNotFoundError:
        raise Refused(f"there is no process {pid}") from None
    except OSError as error:
        raise Refused(why_not(pid, error)) from None
    problem = problem_of(pid, version_of(executable, maps), sys.version_info[:2])
    if problem is not None:
        raise Refused(problem)
    found: Callable[[int, str], Any] = getattr(sys, "remote_exec")  # noqa: B009  # Python 3.14's.
    return found
