"""The command ``connmon``."""

import os
import shutil
import sys
from enum import StrEnum
from typing import Annotated, Any, NoReturn

import typer

from poolhouse.addresses import format_address, parse_address
from poolhouse.clean import clean
from poolhouse.clock import SystemClock
from poolhouse.console import feed_of, run
from poolhouse.console.once import wait_for_snapshot, why_nothing
from poolhouse.console.terminal import is_dumb, why_no_window
from poolhouse.defaults import CONSOLES_PORT
from poolhouse.errors import SettingError
from poolhouse.feed.client import Mode
from poolhouse.feed.product import product
from poolhouse.fleet.snapshot import Snapshot
from poolhouse.installing import install_command
from poolhouse.stdio import say, write
from poolhouse.views import plain
from poolhouse.views.as_json import json_text
from poolhouse.views.line import Line, Span, Tone, text_of
from poolhouse.views.standing import is_saturated

#: Cells of a line where there is no terminal to ask.
_PLAIN_WIDTH = 100
#: Characters of a span that are printed: ``COLUMNS`` may say anything.
_LONGEST_SPAN = 10_000
#: Characters of what goes to the standard error.
_LONGEST_SENTENCE = 1000
#: Seconds in a year: what waits may be told in 32 bits of milliseconds and 64 of nanoseconds.
LONGEST_TIMEOUT = 31_536_000.0
#: Exit statuses beside 0.
FAILED, SATURATED = 1, 3

_STYLES: dict[Tone, dict[str, Any]] = {
    "plain": {},
    "strong": {"bold": True},
    "dim": {"dim": True},
    "accent": {"fg": "cyan"},
    "good": {"fg": "green"},
    "bad": {"fg": "red", "bold": True},
}

connmon = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


class Way(StrEnum):
    """How the console comes by its data, where it is not to choose itself."""

    listen = "listen"
    connect = "connect"


class Failure(StrEnum):
    """What ``--fail-on`` knows."""

    saturated = "saturated"


def _print_version(wanted: bool) -> None:
    if wanted:
        _print(f"{product('connmon')}\n")
        raise typer.Exit


@connmon.command()
def main(
    way: Annotated[
        Way | None,
        typer.Argument(
            metavar="listen|connect",
            help="listen: only bind the port, for what collectd's plugin pushes (monitor). connect: only connect. "
            "Without either: bind where the host is this machine and the port is free, else connect.",
        ),
    ] = None,
    host: Annotated[str, typer.Option(metavar="HOST[:PORT]", help="Where connmond or collectd is.")] = "localhost",
    port: Annotated[int, typer.Option(min=1, max=65535, help="UDP port.")] = CONSOLES_PORT,
    once: Annotated[bool, typer.Option("--once", help="Print a table as plain text, and end.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print all numbers as JSON, and end.")] = False,
    program: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="The program whose processes and pools are shown."),
    ] = None,
    timeout: Annotated[
        float,
        typer.Option(
            min=0.0, max=LONGEST_TIMEOUT, metavar="SECONDS", help="How long --once and --json wait; then status 1."
        ),
    ] = 20.0,
    fail_on: Annotated[
        Failure | None,
        typer.Option(help="With --once or --json: status 3 when a pool is at its maximum and somebody waits."),
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Watch the database connection pools of a fleet, live.

    In the window, ? explains every column and key.
    """
    mode: Mode = "auto" if way is None else way.value
    try:
        host, port = parse_address(host, port, "--host")
        if once or as_json:
            _print_once(host, port, mode, timeout, program, as_json=as_json, fail_on=fail_on)
        elif fail_on is not None:
            raise typer.BadParameter("only with --once or --json", param_hint="--fail-on")
        else:
            _show_window(host, port, mode, program)
    except SettingError as error:
        _fail(str(error))


def _print_once(
    host: str,
    port: int,
    mode: Mode,
    timeout: float,
    program: str | None,
    *,
    as_json: bool,
    fail_on: Failure | None,
) -> None:
    address, clock = format_address(host, port), SystemClock()
    outcome = wait_for_snapshot(feed_of(host, port, mode), address, timeout, clock, program)
    if outcome.snapshot is None:
        _fail(why_nothing(outcome.link, timeout, outcome.newest, program))
    _print(json_text(outcome.snapshot) if as_json else _table(outcome.snapshot, program))
    if fail_on is Failure.saturated and is_saturated(outcome.snapshot):
        raise typer.Exit(SATURATED)


def _table(snapshot: Snapshot, program: str | None) -> str:
    width = shutil.get_terminal_size((_PLAIN_WIDTH, 24)).columns
    form = _styled if _has_colours() else text_of
    return "".join(f"{form(_clean_line(line))}\n" for line in plain.lines(snapshot, width, program=program))


def _clean_line(line: Line) -> Line:
    return tuple(Span(clean(span.text, _LONGEST_SPAN), span.tone) for span in line)


def _styled(line: Line) -> str:
    return "".join(
        typer.style(span.text, **_STYLES[span.tone]) if span.tone != "plain" else span.text for span in line
    )


def _print(text: str) -> None:
    """Write to the standard output, and what it cannot encode as ``?``.

    Raises:
        OSError: If it cannot be written.
    """
    write(text, sys.stdout)


def _has_colours() -> bool:
    """Whether the output goes to a terminal that has them, and the person wants them (no-color.org)."""
    is_terminal = sys.stdout is not None and sys.stdout.isatty()
    return is_terminal and not os.environ.get("NO_COLOR") and not is_dumb()


def _show_window(host: str, port: int, mode: Mode, program: str | None) -> None:
    if (reason := why_no_window()) is not None:
        _fail(reason)
    try:
        run(host, port, mode, program=program)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("textual", "rich"):
            raise
        _fail(f"the window needs {error.name}: {install_command('console')}; --once and --json do without")


def _fail(sentence: str) -> NoReturn:
    say(f"connmon: {clean(sentence, _LONGEST_SENTENCE)}", sys.stderr)
    raise typer.Exit(FAILED)
