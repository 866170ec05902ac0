"""Whether HTTP costs reports: `python benchmarks/faces.py [SECONDS]`.

A real connmond, with the socket's buffer that an ordinary user has, receives 1,000 reports a second of two
datagrams each, from 1,000 programs on 1,000 hosts. Meanwhile `/metrics` is read each second, as Prometheus does,
and a hundred pages are open. What is told is what was sent, what arrived, and connmond's CPU time, with HTTP and
without.
"""

import os
import platform
import selectors
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from poolhouse.meter.signs import PoolSigns, SiteReading
from support.connmond import Connmond, Watcher
from support.page_stream import Stream
from support.programs import cpu_seconds
from support.reporting import ModelProcess

PROGRAMS, PAGES, INTERVAL, SECONDS = 1_000, 100, 1.0, 30
#: net.core.rmem_default, and rmem_max where nobody has raised it. Linux doubles what is asked for.
BUFFER = 212_992
#: Runs connmond with that buffer; the arguments are those of `support.connmond.COMMAND`, which it replaces.
ORDINARY = f"""
import runpy, sys
import poolhouse.feed.sockets
poolhouse.feed.sockets.RECEIVE_BUFFER_BYTES = {BUFFER // 2}
sys.argv[:] = ["connmond", *sys.argv[6:]]
runpy.run_module("poolhouse.daemon", run_name="__main__")
"""


class Outcome(NamedTuple):
    """Datagrams sent, received and lost, the part of a core that connmond used, and answers to Prometheus."""

    sent: int
    received: int
    lost: int
    share: float
    scrapes: int


def reports_of(seconds: int) -> Iterator[list[bytes]]:
    """What all programs send, second by second."""
    born = time.monotonic()
    processes = [
        ModelProcess(f"{number}:abcdef", f"program{number}", f"web{number}", INTERVAL, born)
        for number in range(PROGRAMS)
    ]
    signs = PoolSigns(sites=tuple(SiteReading(f"app/views.py:{line} in view{line}", 1, 0.5) for line in range(5)))
    for second in range(seconds):
        told: list[bytes] = []
        for number, process in enumerate(processes):
            process.pool.signs = signs
            process.pool.count(checkouts=20, commits=20)
            for histogram in (process.pool.wait, process.pool.use, process.pool.create):
                histogram.record_all([10**6 * (1 + number % 40)] * 20)
            told += process.report(born + second)
        yield told


def send(rounds: list[list[bytes]], port: int) -> int:
    """Send each round within a second, evenly; how many datagrams that were."""
    began = time.monotonic()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for second, datagrams in enumerate(rounds):
            for place, datagram in enumerate(datagrams):
                if place % 20 == 0:
                    time.sleep(max(0.0, began + second + place / len(datagrams) - time.monotonic()))
                sender.sendto(datagram, ("127.0.0.1", port))
    return sum(map(len, rounds))


def read(port: int) -> None:
    """Open the pages, read what comes, ask for the metrics each second, and print a line for each answer."""
    threading.Thread(target=scrape, args=(port,), daemon=True).start()
    with ExitStack() as stack, selectors.DefaultSelector() as selector:
        for _ in range(PAGES):
            stream = stack.enter_context(Stream(port, "/api/?rows=50", more="Accept-Encoding: gzip\r\n"))
            selector.register(stream.socket, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                key.fileobj.recv(1 << 16)  # type: ignore[union-attr]  # A socket.


def scrape(port: int) -> None:
    while True:
        time.sleep(1.0)
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
            print(len(answer.read()), flush=True)


@contextmanager
def watched(port: int) -> Iterator["subprocess.Popen[str]"]:
    """The pages are open and Prometheus reads, in a process of its own: the sender must keep its time."""
    command = [sys.executable, __file__, "read", str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as reader:
        try:
            yield reader
        finally:
            reader.kill()


def measure(rounds: list[list[bytes]], *, has_http: bool) -> Outcome:
    """Let connmond take all rounds."""
    with ExitStack() as stack:
        daemon = stack.enter_context(Connmond("--http", "127.0.0.1:0", prefix=(sys.executable, "-c", ORDINARY)))
        reader = stack.enter_context(watched(daemon.http)) if has_http else None
        before, began = cpu_seconds(daemon.process.pid), time.monotonic()
        sent = send(rounds, daemon.reports)
        share = (cpu_seconds(daemon.process.pid) - before) / (time.monotonic() - began)
        answers = 0
        if reader is not None:
            reader.kill()
            answers = len(reader.communicate()[0].splitlines())
        time.sleep(1.0)  # So that the last ones have been read.
        with Watcher(daemon.consoles) as watcher:
            health = watcher.wait_for(lambda seen: bool(seen.programs)).health
        return Outcome(sent, health.received, health.lost, share, answers)


def main(seconds: int) -> None:
    """Print both outcomes."""
    rounds = list(reports_of(seconds))
    print(f"CPython {platform.python_version()}, {os.cpu_count()} cores; {PROGRAMS:,} programs on as many hosts")
    for has_http in (False, True):
        found = measure(rounds, has_http=has_http)
        with_http = f"{PAGES} pages, {found.scrapes} answers to Prometheus" if has_http else "nobody looks"
        print(
            f"{with_http}: {found.sent:,} datagrams sent in {seconds} s, {found.received:,} received, "
            f"{found.lost:,} lost; {found.share:.0%} of a core"
        )


if __name__ == "__main__":
    if sys.argv[1:2] == ["read"]:
        read(int(sys.argv[2]))
    else:
        main(int(sys.argv[1]) if sys.argv[1:] else SECONDS)
