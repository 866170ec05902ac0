"""The command ``connmond``."""

import asyncio
import gc
import os
import signal
import sys
from contextlib import ExitStack
from typing import Annotated

import typer

from poolhouse.addresses import format_address
from poolhouse.clean import clean
from poolhouse.daemon.announcement import announcement, summary
from poolhouse.daemon.consoles import ConsoleFace
from poolhouse.daemon.ports import bound_to, open_ports
from poolhouse.daemon.reports import ReportListener
from poolhouse.daemon.server import Daemon
from poolhouse.daemon.settings import Settings, parse_settings
from poolhouse.defaults import CONSOLES_PORT, REPORTS_PORT
from poolhouse.errors import SettingError
from poolhouse.feed.product import product
from poolhouse.stdio import say, write

#: Characters of what is said on the standard error.
_LONGEST_SENTENCE = 1000
#: Seconds after a hangup in which a terminal that is going away has gone.
HANGUP_GRACE = 1.0

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,  # What goes wrong is read in a service's log.
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        write(f"{product('connmond')}\n", sys.stdout)
        raise typer.Exit


@app.command()
def connmond(
    reports: Annotated[
        list[str] | None,
        typer.Option(
            metavar="HOST[:PORT]", help=f"Receive reports here. Repeatable; port {REPORTS_PORT} if none is named."
        ),
    ] = None,
    consoles: Annotated[
        list[str] | None,
        typer.Option(
            metavar="HOST[:PORT]", help=f"Serve consoles here. Repeatable; port {CONSOLES_PORT} if none is named."
        ),
    ] = None,
    allow: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NETWORK", help="Serve consoles of this network too, such as 10.0.0.0/8. Repeatable."
        ),
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Receive the reports of database connection pools and show them to consoles (connmon).

    Without options it serves this machine only.
    """
    try:
        settings = parse_settings(reports or [], consoles or [], allow or [])
    except SettingError as error:
        _complain(str(error))
        raise typer.Exit(2) from None
    try:
        asyncio.run(_serve(settings))
    except SettingError as error:
        _complain(str(error))
        raise typer.Exit(1) from None


def _complain(sentence: str) -> None:
    say(f"connmond: {clean(sentence, _LONGEST_SENTENCE)}", sys.stderr)


def _collect_garbage_seldom() -> None:
    """A large fleet is many objects that live long: looking through them for garbage is a part of the work.

    10,000 processes: 37 µs a datagram with Python's thresholds, 33 with these, 30 without any collection.
    """
    gc.freeze()
    gc.set_threshold(20_000, 20, 100)


def has_terminal() -> bool:
    """Whether this process has a controlling terminal."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return True


def _mind_hangups(end: asyncio.Event) -> None:
    """End when the terminal that connmond was started from goes away; otherwise SIGHUP asks for nothing yet.

    Under ``nohup``, where the signal is ignored, it stays ignored.
    """
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        return
    loop, had_terminal = asyncio.get_running_loop(), has_terminal()

    def end_without_terminal() -> None:
        if had_terminal and not has_terminal():
            end.set()

    def hang_up() -> None:
        end_without_terminal()
        if not end.is_set():
            _complain("SIGHUP: there is no configuration file to read again; connmond keeps running")
            loop.call_later(HANGUP_GRACE, end_without_terminal)

    loop.add_signal_handler(signal.SIGHUP, hang_up)


async def _serve(settings: Settings) -> None:
    _collect_garbage_seldom()
    end = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, end.set)
    _mind_hangups(end)
    with ExitStack() as stack:
        reports = open_ports(settings.reports, "--reports", stack)
        consoles = open_ports(settings.consoles, "--consoles", stack)
        listening_at = tuple(format_address(*one) for one in bound_to(reports))
        face = ConsoleFace(consoles, listening_at, settings.allow)
        daemon = Daemon([ReportListener(reports), face])
        words = announcement(bound_to(reports), bound_to(consoles), settings.allow)
        if (lost := say(words, sys.stdout)) is not None and sys.stdout is not None:
            _complain(f"cannot write to the standard output ({lost.strerror}); connmond keeps running")
        await daemon.run(end)
        say(summary(daemon.health(), face.refused), sys.stdout)
