"""Datagrams through decode and fleet, snapshots, memory: `python benchmarks/fleet.py [PROCESSES …]`.

Every figure is CPU time. Where collectd is installed, PyPI's sqlalchemy-collectd 0.0.8 runs inside it in the same
run, in turns with ours, as a black box: it gets the earlier lists of as many processes over UDP, no faster than it
reads them, and its process's CPU time is divided by their number.

A report of ours is two datagrams and tells a pool that was used twenty times since the last, three histograms
included. The earlier system's are two lists of numbers; ours takes those too, and both are compared by them. The
earlier server's CPU time includes reading its socket and handing values to collectd every 10 s; ours does not.
"""

import gc
import os
import platform
import random
import shutil
import socket
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from math import inf
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from poolhouse.fleet.fleet import Fleet
from poolhouse.fleet.limits import FleetLimits
from poolhouse.meter.reading import Gauges
from support.collectd import Collectd, free_port, pip_install, server_block
from support.reporting import ModelProcess

SIZES = (100, 1_000, 2_000, 10_000)
ROUNDS = 5
PROGRAMS = 100
#: Processes of a program on one host.
WORKERS = 20
INTERVAL = 1.0
#: So that a round of a small fleet is long enough to be measured.
LEAST_REPORTS = 2_000
#: What collectd says when the earlier server's sums take it longer than an interval.
TOO_SLOW = ("above its read interval",)
TICKS = os.sysconf("SC_CLK_TCK")

#: What the earlier server is told as the interval: it refuses datagrams older than about twice that.
EARLIER_INTERVAL = 60.0
#: Seconds that it is given datagrams in each of its rounds.
EARLIER_SECONDS = 3.0


def processes_of(count: int, rng: random.Random, interval: float = INTERVAL) -> list[ModelProcess]:
    """Processes with one busy pool each."""
    processes = []
    for n in range(count):
        process = ModelProcess(
            f"{n}:{n:06x}", f"program{n // WORKERS % PROGRAMS}", f"web{n // WORKERS // 10}", interval
        )
        pool = process.pool
        pool.count(checkouts=2_000, connects=50, disconnects=40, commits=1_900, rollbacks=100, transactions=2_000)
        pool.wait.record_all(durations(10e-6, 1.2, 2_000, rng))
        pool.use.record_all(durations(8e-3, 1.3, 2_000, rng))
        pool.create.record_all(durations(6e-3, 0.5, 50, rng))
        processes.append(process)
    return processes


def durations(middle: float, sigma: float, count: int, rng: random.Random) -> list[int]:
    """Log-normal durations in nanoseconds."""
    return [int(middle * 1e9 * rng.lognormvariate(0.0, sigma)) for _ in range(count)]


def reports(processes: list[ModelProcess], now: float, rng: random.Random) -> list[list[bytes]]:
    """Each works for an interval, then reports."""
    told = []
    for process in processes:
        pool = process.pool
        pool.count(checkouts=20, commits=19, rollbacks=1, transactions=20)
        pool.wait.record_all(durations(10e-6, 1.2, 20, rng))
        pool.use.record_all(durations(8e-3, 1.3, 20, rng))
        pool.gauges = Gauges(idle=rng.randrange(5), used=rng.randrange(10))
        told.append(process.report(now))
    return told


class Ours:
    """Our fleet, given report after report of the same processes."""

    def __init__(self, count: int) -> None:
        self.rng = random.Random(count)
        self.processes = processes_of(count, self.rng)
        self.fleet = Fleet(FleetLimits(), 0.0)
        #: Another that is told the same processes' earlier lists.
        self.of_earlier_lists = Fleet(FleetLimits(), 0.0)
        self.now = 100.0
        self.round()

    def round(self) -> tuple[float, float]:
        """Microseconds a datagram of our own, and an earlier list."""
        full, plain = [], []
        for _ in range(max(1, LEAST_REPORTS // len(self.processes))):
            full.append(self.receive(self.fleet, reports(self.processes, self.now, self.rng)))
            lists = [process.report(self.now, detail="plain") for process in self.processes]
            plain.append(self.receive(self.of_earlier_lists, lists))
            self.now += INTERVAL
        return sum(full) / len(full), sum(plain) / len(plain)

    def receive(self, fleet: Fleet, told: list[list[bytes]]) -> float:
        """Microseconds a datagram, for those of one interval."""
        step, now = INTERVAL / len(told), self.now
        start = time.process_time()
        for datagrams in told:
            now += step
            for datagram in datagrams:
                fleet.receive(datagram, now, 1.7e9)
        fleet.expire(now)
        return (time.process_time() - start) / sum(map(len, told)) * 1e6

    def snapshot_ms(self) -> float:
        """Milliseconds of a snapshot, as the median of several."""
        spent = []
        for _ in range(ROUNDS):
            start = time.process_time()
            self.fleet.snapshot(self.now, 1.7e9)
            spent.append(time.process_time() - start)
        return median(spent) * 1e3


def bytes_a_process(count: int) -> float:
    """Memory of a fleet whose samples and last minute are full, by tracemalloc."""
    rng = random.Random(count)
    processes = processes_of(count, rng)
    rounds = [reports(processes, 100.0 + 15.0 * number, rng) for number in range(7)]
    gc.collect()
    tracemalloc.start()
    fleet = Fleet(FleetLimits(), 0.0)
    for number, told in enumerate(rounds):
        for datagrams in told:
            for datagram in datagrams:
                fleet.receive(datagram, 100.0 + 15.0 * number, 1.7e9)
    gc.collect()
    taken = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    return taken / count


class Earlier:
    """The earlier server inside a real collectd, given the processes' earlier lists over UDP."""

    def __init__(self, pid: int, port: int, count: int) -> None:
        self.pid, self.port = pid, port
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.processes = processes_of(count, random.Random(count), EARLIER_INTERVAL)
        self.send(self.datagrams())

    def datagrams(self) -> list[bytes]:
        """A report of each process, dated now."""
        now = time.time() - 1.7e9
        return [datagram for process in self.processes for datagram in process.report(now, detail="plain")]

    def send(self, datagrams: list[bytes], seconds: float = inf) -> int:
        """Send them as fast as they are read, for so long at most; how many."""
        end = time.monotonic() + seconds
        for sent, datagram in enumerate(datagrams):
            if sent % 50 == 0:
                while self.queued():
                    time.sleep(0.0005)
                if time.monotonic() > end:
                    return sent
            self.socket.sendto(datagram, ("127.0.0.1", self.port))
        while self.queued():
            time.sleep(0.0005)
        return len(datagrams)

    def round(self) -> float:
        """Microseconds a datagram."""
        datagrams = self.datagrams()
        start, sent = self.cpu(), 0
        begun = time.monotonic()
        while (left := EARLIER_SECONDS - (time.monotonic() - begun)) > 0:
            sent += self.send(datagrams, left)
        return (self.cpu() - start) / sent * 1e6

    def queued(self) -> int:
        """Bytes that wait in its socket."""
        for line in Path("/proc/net/udp").read_text().splitlines()[1:]:
            fields = line.split()
            if int(fields[1].rpartition(":")[2], 16) == self.port:
                return int(fields[4].partition(":")[2], 16)
        raise RuntimeError(f"nobody listens on UDP port {self.port}")

    def cpu(self) -> float:
        """Seconds of CPU time it has taken."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS


@contextmanager
def earlier_server(sources: Path, count: int) -> Iterator[Earlier]:
    """A fresh earlier server that has heard of so many processes."""
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        block = server_block(f'listen "127.0.0.1" {port}', 'loglevel "error"')
        with Collectd(Path(folder), block, sources=sources, interval=10, expected=TOO_SLOW) as daemon:
            yield Earlier(daemon.process.pid, port, count)


def measure(count: int, sources: Path | None) -> None:
    """Print the row of so many processes: ours and the earlier server in turns, then snapshots and memory."""
    ours = Ours(count)
    mine, lists, theirs = [], [], []
    with earlier_server(sources, count) if sources else nullcontext() as earlier:
        for number in range(ROUNDS):
            full, plain = ours.round()
            mine.append(full)
            lists.append(plain)
            if earlier and number % 2 == 0:
                theirs.append(earlier.round())
    line(count, mine, lists, theirs, ours.snapshot_ms(), bytes_a_process(count))


def line(
    count: int, mine: list[float], lists: list[float], theirs: list[float], snapshot: float, memory: float
) -> None:
    """One row of the table."""
    cost, of_lists = median(mine), median(lists)
    of_theirs = median(theirs) if theirs else inf
    share = cost * 2 * count / INTERVAL / 1e6
    cells = (
        f"{count:,}", f"{1e6 / cost:,.0f}", f"{cost:.1f}", f"{share:.0%}", f"{1e6 / of_lists:,.0f}",
        f"{1e6 / of_theirs:,.0f}", f"{of_theirs / of_lists:.1f}×", f"{snapshot:.1f}", f"{memory:,.0f}",
    )  # fmt: skip
    print("| " + " | ".join(cells) + " |", flush=True)


def main(sizes: tuple[int, ...]) -> None:
    """Print the table for these numbers of processes."""
    print(
        f"CPython {platform.python_version()}, {os.cpu_count()} cores, {PROGRAMS} programs, medians of {ROUNDS}\n"
    )
    print(
        "| processes | our datagrams/s | µs each | of a core, a report a second | earlier lists/s "
        "| earlier server: lists/s | ratio | snapshot, ms | bytes a process |"
    )
    print("|--:|--:|--:|--:|--:|--:|--:|--:|--:|")
    with tempfile.TemporaryDirectory() as folder:
        sources = Path(folder) if shutil.which("collectd", path="/usr/sbin") else None
        if sources:
            pip_install(sources, "sqlalchemy-collectd==0.0.8")
        for count in sizes:
            measure(count, sources)
    if sources is None:
        print("\nNo collectd here: nothing to compare with.")


if __name__ == "__main__":
    main(tuple(map(int, sys.argv[1:])) or SIZES)
