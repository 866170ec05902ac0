"""The command ``poolhouse demo``, which ``make demo`` runs from a checkout."""

import argparse
import re
import signal
import sys
import tempfile
import time
from collections import deque
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from importlib.util import find_spec
from math import inf
from pathlib import Path
from typing import IO, NamedTuple

from poolhouse.argparse_command import Parser
from poolhouse.console.terminal import why_no_window
from poolhouse.demo.family import Family
from poolhouse.demo.programs import PROGRAMS
from poolhouse.demo.story import hint
from poolhouse.feed.client import udp_feed
from poolhouse.fleet.snapshot import Snapshot
from poolhouse.installing import install_command
from poolhouse.stdio import say, write
from poolhouse.views.plain import text

#: Seconds between two tables if the output is not a terminal.
TABLE_INTERVAL = 5.0
TABLE_WIDTH = 100
#: Seconds to wait for the programs' first report, on a busy machine.
PATIENCE = 60.0
HOST = "127.0.0.1"
#: The beginning of the last line that connmond prints at its start.
LAST_LINE = "Watch with"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``python -m poolhouse.demo``; returns the exit status."""
    parser = Parser(prog="poolhouse demo", description="A small live fleet, and the console.")
    add_arguments(parser)
    return show(parser.parse_args(arguments))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that `show` takes."""
    parser.add_argument(
        "--seconds",
        type=float,
        help="end by itself after this time, counted from when the programs report; without it, at Ctrl-C",
    )


def show(arguments: argparse.Namespace) -> int:
    """Start the fleet and show it until the user quits, or for the given time; returns the exit status."""
    seconds: float | None = arguments.seconds
    has_window = sys.stdin is not None and sys.stdin.isatty() and why_no_window() is None
    needed = ("sqlalchemy", "click", "textual") if has_window else ("sqlalchemy", "click")
    if missing := [name for name in needed if not _is_installed(name)]:
        say(f"poolhouse demo needs {missing[0]}: {install_command('demo')}", sys.stderr)
        return 1
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)  # Like Ctrl-C, so that every `with` below cleans up.
    processes = sum(len(program.hosts) for program in PROGRAMS.values())
    with suppress(KeyboardInterrupt), _reader_may_leave():
        _say(f"Starting connmond and {len(PROGRAMS)} programs in {processes} processes; they query SQLite files.")
        with _fleet() as fleet:
            if fleet.page:
                _say(f"The same in a browser: {fleet.page}")
            if has_window:
                _show_window(fleet, seconds)
            else:
                where = f"{HOST}:{fleet.reports}"
                _say(f"{len(PROGRAMS)} programs report to {where}; a table every {TABLE_INTERVAL:g} seconds")
                _print_tables(fleet, seconds)
    return 0


def _is_installed(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ValueError:  # The import is blocked: `sys.modules` has an entry without a module.
        return False


@contextmanager
def _reader_may_leave() -> Generator[None]:
    """Treat a closed pipe as a normal end: a reader such as ``head`` stops once it has enough lines."""
    with suppress(BrokenPipeError):
        yield


class _Fleet(NamedTuple):
    """A daemon and every program."""

    #: The daemon's ports for reports and for consoles.
    reports: int
    consoles: int
    #: The address of the daemon's page; empty if it has none.
    page: str


@contextmanager
def _fleet() -> Generator[_Fleet]:
    """Start a daemon and every program."""
    with tempfile.TemporaryDirectory(prefix="poolhouse-demo-") as name:
        errors = Path(name) / "errors.log"
        try:
            # The programs end before the daemon, so that it receives their last reports.
            with Family(errors) as daemons, Family(errors) as programs:
                any_port = f"{HOST}:0"
                daemon = daemons.start(
                    "poolhouse.daemon",
                    "--reports",
                    any_port,
                    "--consoles",
                    any_port,
                    "--bind",
                    "off",
                    "--http",
                    any_port,
                )
                fleet = _announced(daemon)
                programs.start("poolhouse.demo.worker", name, str(fleet.reports))
                yield fleet
        finally:
            sys.stderr.write(errors.read_text())


def _announced(announcement: IO[str]) -> _Fleet:
    """The ports and the page, from the lines that the daemon prints at its start."""
    found: dict[str, str] = {}
    for line in announcement:
        if port := re.match(rf"  (reports|consoles) +UDP {HOST}:(\d+)", line):
            found[port[1]] = port[2]
        elif page := re.match(r"  http +(http\S+)", line):
            found["page"] = page[1]
        elif line.startswith(LAST_LINE):
            return _Fleet(int(found["reports"]), int(found["consoles"]), found.get("page", ""))
    sys.exit("poolhouse demo: connmond did not start")


def _say(words: str) -> None:
    write(words.rstrip("\n") + "\n\n", sys.stdout)


def _show_window(fleet: _Fleet, seconds: float | None) -> None:
    """Open the console for the given time, once it has something to show."""
    from poolhouse.console import run
    from poolhouse.console.target import Target

    with _snapshots(fleet):
        pass
    run(Target(udp=(HOST, fleet.consoles, "connect")), seconds=seconds, hint=partial(hint, fleet.page))


def _print_tables(fleet: _Fleet, seconds: float | None) -> None:
    """Print the table every few seconds, for the given time after the first report."""
    with _snapshots(fleet) as newest:
        end = inf if seconds is None else time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            time.sleep(min(TABLE_INTERVAL, left))
            if newest and newest[0].programs:
                _say(text(newest[0], TABLE_WIDTH))


@contextmanager
def _snapshots(fleet: _Fleet) -> Generator[deque[Snapshot]]:
    """The newest snapshot, once a program has reported, or after `PATIENCE`."""
    newest: deque[Snapshot] = deque(maxlen=1)
    client = udp_feed(HOST, fleet.consoles, "connect", on_snapshot=newest.append, on_link=lambda _: None)
    client.start()
    try:
        latest = time.monotonic() + PATIENCE
        while not (newest and newest[0].programs) and time.monotonic() < latest:
            time.sleep(0.1)
        yield newest
    finally:
        client.close()
