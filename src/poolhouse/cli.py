"""The installed commands: ``poolhouse``, ``connmon`` and ``connmond``.

A command imports what it needs beyond the standard library when it runs; if that is missing, it says what to
install.
"""

import argparse
import signal
import sys
from typing import TYPE_CHECKING, Any, NoReturn

from poolhouse import core_dumps, earlier
from poolhouse.conceal import conceal
from poolhouse.feed.product import product
from poolhouse.installing import install_command
from poolhouse.safely import Log
from poolhouse.stdio import guarded, reserve, say, write

if TYPE_CHECKING:
    from _typeshed import SupportsWrite

_log = Log("poolhouse.instrumentation")


class _Parser(argparse.ArgumentParser):
    """argparse's parser; unlike argparse, it reports that its help or version could not be written."""

    def error(self, message: str) -> NoReturn:
        """Print the usage and a message, which may repeat a URL: without its password."""
        super().error(conceal(message))

    def _print_message(self, message: str, file: "SupportsWrite[str] | None" = None) -> None:
        is_output = file is sys.stdout
        if is_output:
            write(message, sys.stdout)
        else:
            say(message.removesuffix("\n"), sys.stderr)


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
    from poolhouse.attach import command as attach_command
    from poolhouse.demo import command as demo_command
    from poolhouse.doctor.command import add_arguments, examine

    parser = _Parser(prog="poolhouse", description="Database connection pools, and their live view.")
    parser.add_argument("--version", action="version", version=product("poolhouse"))
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    commands.add_parser("run", help="start a command and report its pools, without changing its code")
    attach = commands.add_parser("attach", help="report the pools of programs that `run` cannot start")
    attach_command.add_arguments(attach)
    attach.set_defaults(run=attach_command.attach)
    doctor = commands.add_parser("doctor", help="why don't I see anything?")
    add_arguments(doctor)
    doctor.set_defaults(run=examine)
    explain = commands.add_parser("explain", help="what does a verdict, or an error message, mean?")
    explain.description = "What a verdict means, what to do about it, and what would disprove it."
    explain.add_argument(
        "cause",
        nargs="*",
        metavar="CAUSE",
        help="the cause that a verdict names, or an error message; all causes if left out",
    )
    explain.set_defaults(run=_explain)
    demo = commands.add_parser("demo", help="a small live fleet on this machine, and the console")
    demo_command.add_arguments(demo)
    demo.set_defaults(run=demo_command.show)
    guarded("poolhouse", lambda: _run(parser))


def _become() -> int:
    from poolhouse.attach.run import add_arguments, run

    parser = _Parser(prog="poolhouse run")
    add_arguments(parser)
    return run(parser.parse_args(sys.argv[2:]))


def _explain(arguments: argparse.Namespace) -> int:
    from poolhouse.verdicts.explain import explained, meant

    asked = " ".join(arguments.cause)
    text = explained(asked)
    if not text:
        near = meant(asked)
        hint = f"did you mean {near}?" if near else "without a name it lists the causes"
        say(f"poolhouse explain: no such cause or message is known; {hint}", sys.stderr)
        return 2
    write(text, sys.stdout)
    return 0


def _run(parser: argparse.ArgumentParser) -> NoReturn:
    arguments = parser.parse_args()
    sys.exit(arguments.run(arguments))


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
