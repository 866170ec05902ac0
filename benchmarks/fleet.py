"""Datagrams through decode and fleet, snapshots, memory: `python benchmarks/fleet.py [PROCESSES …]`.

Every figure is CPU time. Where collectd is installed, PyPI's sqlalchemy-collectd 0.0.8 runs inside it in the same
run, in turns with ours, as a black box: it gets the earlier lists of as many processes over UDP, no faster than it
reads them, and its process's CPU time is divided by their number.

A report of ours is two datagrams and tells a pool that was used twenty times since the last, three histograms
included. In the rows with sites it also tells, in the same two datagrams, which lines of the program hold how
many connections; it has told their names before. The earlier system's are two lists of numbers; ours takes those
too, and both are compared by them. The earlier server's CPU time includes reading its socket and handing values to
collectd every 10 s; ours does not.
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

from poolhouse.daemon.serve import GARBAGE_THRESHOLDS
from poolhouse.fleet.fleet import Fleet
from poolhouse.fleet.limits import FleetLimits
from poolhouse.meter.histogram import Histogram
from poolhouse.meter.reading import Gauges
from poolhouse.meter.signs import Looks, PoolSigns, ProcessSigns, SiteReading
from poolhouse.report.telling import TELLINGS, Teller
from support.collectd import Collectd, free_port, server_block
from support.installs import pip_install
from support.programs import cpu_seconds
from support.reporting import ModelProcess

SIZES = (100, 1_000, 2_000, 10_000)
#: Lines that take connections, in each process of the rows with sites.
SITES = 12
ROUNDS = 5
PROGRAMS = 100
#: Processes of a program on one host.
WORKERS = 20
INTERVAL = 1.0
#: So that a round of a small fleet is long enough to be measured.
LEAST_REPORTS = 2_000
#: Of more processes it is not asked: it would take many minutes.
EARLIER_PROCESSES = 2_000
#: What collectd says when the earlier server's sums take it longer than an interval.
TOO_SLOW = ("above its read interval",)

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


def work_at_sites(process: ModelProcess, rng: random.Random) -> None:
    """Each line takes some of what the process does in an interval, and some lines hold connections."""
    if process.pool.signs is None:
        names = [f"shop/views/part{n}.py:{17 * n + 5} in handle_request" for n in range(SITES)]
        sites = tuple(SiteReading(name, use=Histogram(), idle_line="shop/mail.py:44 in send") for name in names)
        target, line = "db1:5432/shop", "shop/db.py:12 in <module>"
        process.pool.signs = PoolSigns(target, line, sites=sites)
        process.signs = ProcessSigns(pools_made=1)
        process.teller = Teller()
        for _ in range(TELLINGS):
            selection = process.teller.select(process.signs, (), [(1, process.pool.signs)])
            selection.told_names += selection.new_names
            process.teller.note(selection)
    told = []
    for site in process.pool.signs.sites:
        spent = durations(8e-3, 1.3, 2, rng)
        site.use.record_all(spent)
        looks = Looks(site.looks.busy + rng.randrange(3), site.looks.idle + rng.randrange(2))
        told.append(
            site._replace(
                open=rng.randrange(2),
                oldest_s=rng.random(),
                returned=site.returned + 2,
                held_s=site.held_s + sum(spent) / 1e9,
                looks=looks,
            )
        )
    looks = process.pool.signs.looks + 10
    process.pool.signs = process.pool.signs._replace(looks=looks, used_sum=5 * looks, sites=tuple(told))
    process.signs = process.signs._replace(looks=looks)


def durations(middle: float, sigma: float, count: int, rng: random.Random) -> list[int]:
    """Log-normal durations in nanoseconds."""
    return [int(middle * 1e9 * rng.lognormvariate(0.0, sigma)) for _ in range(count)]


def reports(
    processes: list[ModelProcess], now: float, rng: random.Random, with_sites: bool = False
) -> list[list[bytes]]:
    """Each works for an interval, then reports."""
    told = []
    for process in processes:
        pool = process.pool
        pool.count(checkouts=20, commits=19, rollbacks=1, transactions=20)
        pool.wait.record_all(durations(10e-6, 1.2, 20, rng))
        pool.use.record_all(durations(8e-3, 1.3, 20, rng))
        pool.gauges = Gauges(idle=rng.randrange(5), used=rng.randrange(10))
        if with_sites:
            work_at_sites(process, rng)
        told.append(process.report(now))
    return told


class Ours:
    """Our fleet, given report after report of the same processes."""

    def __init__(self, count: int, with_sites: bool = False) -> None:
        self.rng = random.Random(count)
        self.with_sites = with_sites
        self.processes = processes_of(count, self.rng)
        self.fleet = Fleet(FleetLimits(), 0.0)
        #: Another that is told the same processes' earlier lists.
        self.of_earlier_lists = Fleet(FleetLimits(), 0.0)
        self.now = 100.0
        gc.collect()
        gc.freeze()  # The processes are no part of an aggregator.
        self.round()

    def round(self) -> tuple[float, float]:
        """Microseconds a datagram of our own, and an earlier list."""
        full, plain = [], []
        for _ in range(max(1, LEAST_REPORTS // len(self.processes))):
            full.append(self.receive(self.fleet, reports(self.processes, self.now, self.rng, self.with_sites)))
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


def bytes_a_process(count: int, with_sites: bool = False) -> float:
    """Memory of a fleet whose samples and last minute are full, by tracemalloc."""
    rng = random.Random(count)
    processes = processes_of(count, rng)
    rounds = [reports(processes, 100.0 + 15.0 * number, rng, with_sites) for number in range(7)]
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
        return cpu_seconds(self.pid)


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
    is_compared = sources is not None and count <= EARLIER_PROCESSES
    with earlier_server(sources, count) if is_compared else nullcontext() as earlier:
        for number in range(ROUNDS):
            full, plain = ours.round()
            mine.append(full)
            lists.append(plain)
            if earlier and number % 2 == 0:
                theirs.append(earlier.round())
    line(f"{count:,}", count, mine, lists, theirs, ours.snapshot_ms(), bytes_a_process(count))
    with_sites = Ours(count, with_sites=True)
    mine, lists = map(list, zip(*(with_sites.round() for _ in range(ROUNDS)), strict=True))
    name = f"{count:,} with {SITES} sites each"
    line(name, count, mine, lists, [], with_sites.snapshot_ms(), bytes_a_process(count, with_sites=True))


def line(
    name: str,
    count: int,
    mine: list[float],
    lists: list[float],
    theirs: list[float],
    snapshot: float,
    memory: float,
) -> None:
    """One row of the table."""
    cost, of_lists = median(mine), median(lists)
    of_theirs = median(theirs) if theirs else None
    compared = ("–", "–") if of_theirs is None else (f"{1e6 / of_theirs:,.0f}", f"{of_theirs / of_lists:.1f}×")
    share = cost * 2 * count / INTERVAL / 1e6
    cells = (
        name, f"{1e6 / cost:,.0f}", f"{cost:.1f}", f"{share:.0%}", f"{1e6 / of_lists:,.0f}",
        *compared, f"{snapshot:.1f}", f"{memory:,.0f}",
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
    gc.set_threshold(*GARBAGE_THRESHOLDS)  # As connmond has it.
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
