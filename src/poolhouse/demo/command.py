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
from importlib.util import find_spec
from math import inf
from pathlib import Path
from typing import IO

from poolhouse.console.terminal import why_no_window
from poolhouse.demo.family import Family
from poolhouse.demo.programs import PROGRAMS
from poolhouse.demo.story import hint
from poolhouse.feed.client import udp_feed
from poolhouse.fleet.snapshot import Snapshot
from poolhouse.installing import install_command
from poolhouse.stdio import say, write
from poolhouse.views.plain import text

#: Seconds between two tables where there is no terminal.
TABLE_INTERVAL = 5.0
TABLE_WIDTH = 100
#: Seconds that the programs have for their first report, on a busy machine.
PATIENCE = 60.0
HOST = "127.0.0.1"


def main(arguments: Sequence[str] | None = None) -> int:
    """What ``python -m poolhouse.demo`` does; the exit status."""
    parser = argparse.ArgumentParser(prog="poolhouse demo", description="A small live fleet, and the console.")
    add_arguments(parser)
    return show(parser.parse_args(arguments))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments that `show` takes."""
    parser.add_argument("--seconds", type=float, help="end by itself after this time")


def show(arguments: argparse.Namespace) -> int:
    """Start the fleet and show it until the person leaves, or for the given time; the exit status."""
    seconds: float | None = arguments.seconds
    has_window = sys.stdin is not None and sys.stdin.isatty() and why_no_window() is None
    needed = ("sqlalchemy", "typer", "textual") if has_window else ("sqlalchemy", "typer")
    if missing := [name for name in needed if not _is_installed(name)]:
        say(f"poolhouse demo needs {missing[0]}: {install_command('demo')}", sys.stderr)
        return 1
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)  # As Ctrl-C: every `with` below is left.
    with suppress(KeyboardInterrupt), _reader_may_leave(), _fleet() as (reports, consoles):
        if has_window:
            from poolhouse.console import run
            from poolhouse.console.target import Target

            run(Target(udp=(HOST, consoles, "connect")), seconds=seconds, hint=hint)
        else:
            _say(f"{len(PROGRAMS)} programs report to {HOST}:{reports}; a table every {TABLE_INTERVAL:g} seconds")
            _print_tables(consoles, seconds)
    return 0


def _is_installed(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ValueError:  # It is blocked: there is an entry without a module.
        return False


@contextmanager
def _reader_may_leave() -> Generator[None]:
    """Who reads the tables through a pipe may have seen enough, as ``head`` has: that is no error."""
    with suppress(BrokenPipeError):
        yield


@contextmanager
def _fleet() -> Generator[tuple[int, int]]:
    """A daemon and every program; the ports of reports and consoles."""
    with tempfile.TemporaryDirectory(prefix="poolhouse-demo-") as name:
        errors = Path(name) / "errors.log"
        try:
            # The programs end before the daemon, so that it hears their goodbyes.
            with Family(errors) as daemons, Family(errors) as programs:
                any_port = f"{HOST}:0"
                daemon = daemons.start(
                    "poolhouse.daemon", "--reports", any_port, "--consoles", any_port, "--bind", "off"
                )
                reports, consoles = _port(daemon, "reports"), _port(daemon, "consoles")
                for program, settings in PROGRAMS.items():
                    for host in settings.hosts:
                        programs.start("poolhouse.demo.worker", program, host, name, str(reports))
                yield reports, consoles
        finally:
            sys.stderr.write(errors.read_text())


def _port(announcement: IO[str], what: str) -> int:
    """The port that the daemon announces for something."""
    for line in announcement:
        if found := re.match(rf"  {what} +UDP {HOST}:(\d+)", line):
            return int(found[1])
    sys.exit("poolhouse demo: connmond did not start")


def _say(words: str) -> None:
    write(words.rstrip("\n") + "\n\n", sys.stdout)


def _print_tables(consoles: int, seconds: float | None) -> None:
    """Print the table every few seconds, for the given time from the first report on."""
    newest: deque[Snapshot] = deque(maxlen=1)
    client = udp_feed(HOST, consoles, "connect", on_snapshot=newest.append, on_link=lambda _: None)
    client.start()
    try:
        latest = time.monotonic() + PATIENCE
        while not (newest and newest[0].programs) and time.monotonic() < latest:
            time.sleep(0.1)
        end = inf if seconds is None else time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            time.sleep(min(TABLE_INTERVAL, left))
            if newest and newest[0].programs:
                _say(text(newest[0], TABLE_WIDTH))
    finally:
        client.close()
