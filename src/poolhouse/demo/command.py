"""The command ``python -m poolhouse.demo``, which ``make demo`` runs."""

import argparse
import os
import re
import signal
import sys
import tempfile
import time
from collections import deque
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from math import inf
from pathlib import Path
from typing import IO

from poolhouse.demo.family import Family
from poolhouse.demo.programs import PROGRAMS
from poolhouse.feed.client import FeedClient
from poolhouse.fleet.snapshot import Snapshot
from poolhouse.views.plain import text

#: Seconds between two tables where there is no terminal.
TABLE_INTERVAL = 5.0
TABLE_WIDTH = 100
HOST = "127.0.0.1"


def main(arguments: Sequence[str] | None = None) -> int:
    """Start the fleet and show it until the person leaves, or for the given time; the exit status."""
    parser = argparse.ArgumentParser(prog="poolhouse demo", description="A small live fleet, and the console.")
    parser.add_argument("--seconds", type=float, help="end by itself after this time")
    seconds: float | None = parser.parse_args(arguments).seconds
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)  # As Ctrl-C: every `with` below is left.
    sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]
    with suppress(KeyboardInterrupt), _reader_may_leave(), _fleet() as (reports, consoles):
        if sys.stdin.isatty() and sys.stdout.isatty():
            from poolhouse.console import run

            run(HOST, consoles, mode="connect", seconds=seconds)
        else:
            _say(f"{len(PROGRAMS)} programs report to {HOST}:{reports}; a table every {TABLE_INTERVAL:g} seconds")
            _print_tables(consoles, seconds)
    return 0


@contextmanager
def _reader_may_leave() -> Generator[None]:
    """Who reads the tables through a pipe may have seen enough, as ``head`` has: that is no error."""
    try:
        yield
    except BrokenPipeError:
        # The interpreter flushes the standard output once more when it ends.
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), sys.stdout.fileno())


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
    sys.stdout.write(words.rstrip("\n") + "\n\n")
    sys.stdout.flush()


def _print_tables(consoles: int, seconds: float | None) -> None:
    """Print the table every few seconds, until the time is over."""
    newest: deque[Snapshot] = deque(maxlen=1)
    client = FeedClient(HOST, consoles, "connect", on_snapshot=newest.append, on_link=lambda _: None)
    client.start()
    try:
        end = inf if seconds is None else time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            time.sleep(min(TABLE_INTERVAL, left))
            if newest:
                _say(text(newest[0], TABLE_WIDTH))
    finally:
        client.close()
