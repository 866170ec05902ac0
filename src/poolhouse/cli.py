"""The installed commands: ``poolhouse``, ``connmon`` and ``connmond``.

A command imports what it needs beyond the standard library when it runs; if that is missing, it says what to
install.
"""

import signal
import sys
from typing import Any, NoReturn

from poolhouse import core_dumps, earlier
from poolhouse.feed.product import product
from poolhouse.installing import install_command
from poolhouse.safely import Log
from poolhouse.stdio import guarded, reserve, write

_log = Log("poolhouse.instrumentation")


def connmond() -> None:
    """Run the aggregating daemon."""
    reserve()
    _end_quietly_when_interrupted()  # Until it listens; from then on an interrupt ends it as SIGTERM does.
    earlier.warn_once(_log.log)
    if _tells_its_version("connmond"):
        return
    try:
        from poolhouse.daemon.command import app
    except ModuleNotFoundError as error:
        _say_what_is_missing("connmond", error, "daemon")
    guarded("connmond", lambda: app(prog_name="connmond"))


def connmon() -> None:
    """Run the console."""
    reserve()
    core_dumps.forbid()
    before = _end_quietly_when_interrupted()
    earlier.warn_once(_log.log)
    if _tells_its_version("connmon"):
        return
    try:
        from poolhouse.console.command import connmon
    except ModuleNotFoundError as error:
        _say_what_is_missing("connmon", error, "console")
    signal.signal(signal.SIGINT, before)  # From here on an interrupt must also say goodbye to the server.
    guarded("connmon", lambda: connmon(prog_name="connmon"))


def poolhouse() -> None:
    """Run a command that works in the application's own environment, with the standard library only."""
    if sys.argv[1:2] == ["run"]:  # The program that replaces this one must find files and signals unchanged.
        sys.exit(_become())
    reserve()
    core_dumps.forbid()
    _end_quietly_when_interrupted()
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # The reader of its output may have seen enough.
    if _tells_its_version("poolhouse"):
        return
    from poolhouse.subcommands import run

    guarded("poolhouse", run)


def _become() -> int:
    from poolhouse.subcommands import become

    return become()


def _tells_its_version(command: str) -> bool:
    """Print the version if that is all that is asked for: it needs nothing of what the command imports."""
    if sys.argv[1:] != ["--version"]:
        return False
    guarded(command, lambda: write(f"{product(command)}\n", sys.stdout))
    return True


def _end_quietly_when_interrupted() -> Any:
    """End the process without a traceback on Ctrl-C, even during imports; returns the previous handler."""
    return signal.signal(signal.SIGINT, signal.SIG_DFL)


def _say_what_is_missing(command: str, error: ModuleNotFoundError, extra: str) -> NoReturn:
    """Exit with one sentence and status 1. A missing module of our own is a broken installation: re-raise that."""
    missing = (error.name or "poolhouse").partition(".")[0]
    if missing == "poolhouse":
        raise error
    sys.exit(f"{command} needs {missing}: {install_command(extra)}")
