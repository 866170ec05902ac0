"""Findings about how poolhouse gets into processes that do not mention it: this one, and another running one."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from poolhouse.attach.finder import DISABLE_VARIABLE, OLDEST_PYTHON, installed, is_disabled
from poolhouse.attach.install import Refused, find, installed_files
from poolhouse.attach.remote import version_of
from poolhouse.attach.run import BLIND, BOOTSTRAP, blind_option
from poolhouse.attach.targets import TARGETS
from poolhouse.defaults import REPORT_VARIABLE
from poolhouse.doctor.finding import Finding, Verdict

_SUBJECT = "attached"


class Process(NamedTuple):
    """What is visible of a process from outside."""

    pid: int
    environment: Mapping[str, str]
    arguments: Sequence[str]
    #: Its version of Python; ``None`` if none is visible.
    version: tuple[int, int] | None


def look_at_itself() -> Iterator[Finding]:
    """How this process, started like the application's, is attached; nothing if it is not."""
    finder = installed()
    if is_disabled():
        yield Finding(Verdict.WRONG, _SUBJECT, f"no: {DISABLE_VARIABLE} is set")
    elif finder is not None:
        yield Finding(Verdict.FINE, _SUBJECT, f"by {finder.way}, to the pools of {_libraries()}")


def look_at_process(pid: int) -> Finding:
    """How a running process is attached, as far as its environment shows."""
    try:
        process = _read(pid)
    except (FileNotFoundError, ProcessLookupError):
        return Finding(Verdict.WRONG, _SUBJECT, f"there is no process {pid}")
    except OSError as error:
        return Finding(Verdict.UNKNOWN, _SUBJECT, f"process {pid} cannot be looked at: {error.strerror}")
    return judge(process, _has_sitecustomize, _installed_for)


def judge(
    process: Process,
    has_sitecustomize: Callable[[str], bool],
    installed_for: Callable[[Process], Sequence[Path]],
) -> Finding:
    """How a process is attached, or what prevents it.

    Args:
        process: What is known about it.
        has_sitecustomize: Whether a folder has a module of that name.
        installed_for: The files written for its Python by ``poolhouse attach --install``.
    """
    pid, environment = process.pid, process.environment
    if process.version is None:
        return Finding(Verdict.UNKNOWN, _SUBJECT, f"process {pid} runs no Python that can be seen")
    if process.version < OLDEST_PYTHON:
        version = ".".join(map(str, process.version))
        return Finding(Verdict.WRONG, _SUBJECT, f"process {pid} runs Python {version}, which is too old")
    if environment.get(DISABLE_VARIABLE, "") not in ("", "0"):
        return Finding(Verdict.WRONG, _SUBJECT, f"process {pid} was started with {DISABLE_VARIABLE}")
    path = environment.get("PYTHONPATH", "").split(os.pathsep)
    option = blind_option(process.arguments)
    blind = None if option is None else BLIND[option]
    if BOOTSTRAP in path and blind is None:
        before = [folder for folder in path[: path.index(BOOTSTRAP)] if has_sitecustomize(folder)]
        if before:
            text = f"process {pid} finds the sitecustomize of {before[0]} before that of poolhouse run"
            remedy = "If that one does not go on to ours, write its launcher in front: LAUNCHER poolhouse run …"
            return Finding(Verdict.UNKNOWN, _SUBJECT, f"{text}.\n{remedy}")
        return Finding(Verdict.FINE, _SUBJECT, f"process {pid}, by poolhouse run")
    files = () if blind is not None and "site" in blind else installed_for(process)
    if files and (environment.get(REPORT_VARIABLE) or _names_a_destination(files)):
        return Finding(Verdict.FINE, _SUBJECT, f"process {pid}, by {files[0]}")
    if files:
        text = f"process {pid} has {files[0]}, but no {REPORT_VARIABLE} in its environment"
        return Finding(Verdict.WRONG, _SUBJECT, text)
    if BOOTSTRAP in path:
        text = f"process {pid} was started by poolhouse run, with an option that keeps it from reading {blind}"
        return Finding(Verdict.WRONG, _SUBJECT, f"{text}.\nFor -I and -E there is poolhouse attach --install.")
    text = f"process {pid} is attached from outside by nothing that is seen here"
    remedy = (
        "It may report by itself, with plugin=collectd or import poolhouse.auto; else start it by poolhouse run."
    )
    return Finding(Verdict.UNKNOWN, _SUBJECT, f"{text}.\n{remedy}")


def _libraries() -> str:
    """The libraries whose pools are attached to, of those that can be imported here."""
    names = dict.fromkeys(name.partition(".")[0] for name in TARGETS)
    found = [name for name in names if find_spec(name) is not None]
    return ", ".join(found) or "no library that is installed here"


def _names_a_destination(files: Sequence[Path]) -> bool:
    try:
        return any("setdefault" in path.read_text("utf-8", "replace") for path in files)
    except OSError:
        return False


def _has_sitecustomize(folder: str) -> bool:
    return any(Path(folder, name).exists() for name in ("sitecustomize.py", "sitecustomize"))


def _installed_for(process: Process) -> Sequence[Path]:
    """The installed files, from the interpreter that started the process, called by the same path."""
    python = process.arguments[0] if process.arguments else ""
    if not os.path.basename(python).startswith("python") or not os.path.isabs(python):
        return ()
    try:
        return installed_files(find(python).folder)
    except Refused:
        return ()


def _read(pid: int) -> Process:
    """What ``/proc`` shows about a process.

    Raises:
        OSError: If there is no such process, or it belongs to another user.
    """
    folder = Path(f"/proc/{pid}")
    variables = folder.joinpath("environ").read_text("utf-8", "replace").split("\0")
    environment = dict(variable.split("=", 1) for variable in variables if "=" in variable)
    arguments = folder.joinpath("cmdline").read_text("utf-8", "replace").split("\0")[:-1]
    maps = folder.joinpath("maps").read_text("utf-8", "replace")
    return Process(pid, environment, arguments, version_of(os.readlink(folder / "exe"), maps))
