"""Faces and examinations work in steps; between two of them anything happens to the fleet, also a lack of memory.

Nothing is raised then, and the fleet is whole: its sums, its bytes and its order follow from its processes.
"""

import random
from collections.abc import Iterator
from contextlib import nullcontext, suppress

import pytest

from poolhouse.errors import PacketError
from poolhouse.export.csv import COLUMNS, CsvTable
from poolhouse.feed.fleet_source import FleetSource
from poolhouse.fleet.exchange import Exchange
from poolhouse.fleet.fleet import Fleet
from poolhouse.fleet.intake import Way
from poolhouse.fleet.limits import FleetLimits
from poolhouse.fleet.snapshot import HostProgram
from poolhouse.meter.reading import Gauges
from poolhouse.meter.signs import Finding, PoolSigns, ProcessSigns, SiteReading
from poolhouse.testing.clock import VirtualClock
from support.reporting import ModelProcess
from support.shortage import assert_whole

pytestmark = pytest.mark.long

WALL = 1.7e9
SITE = "app/export.py:88 in rows"
FINDINGS = (
    (),
    (Finding("leak", 1, SITE, "", 9.0, (12.0, 15.0, 9.1, 23.0, 0.0, 1.0)),),
    (Finding("server_full", 1, "", "", 2.0, (5.0, 0.0, 0.0)),),
)
#: What happens, by how often it does.
ACTS = {
    "report": 35,
    "exchange": 5,
    "replace": 10,
    "advance": 20,
    "finish": 5,
    "wait": 8,
    "set_the_clock": 1,
    "run_out_of_memory": 2,
    "begin_a_snapshot": 5,
    "list_rows": 6,
    "look": 2,
}


class World:
    """A fleet, processes that come and go, and faces in the middle of their work."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        choose = self.rng.choice
        limits = FleetLimits(
            bytes=choose([1 << 18, 1 << 30]),
            hosts=choose([5, 1000]),
            programs=choose([4, 1000]),
            processes=choose([20, 20_000]),
            remembered=choose([3, 30, 20_000]),
        )
        self.clock = VirtualClock()
        self.wall = WALL
        limits = limits.for_cluster() if choose([True, False]) else limits
        #: Another node hears some reports too.
        self.fleet, self.other = Fleet(limits, self.now), Fleet(limits, self.now)
        self.fleet.advances_in_steps = True
        self.fleet.set_linger(choose([0.0, 12.0, 50.0]))
        self.source = FleetSource(self.fleet, self.clock, nullcontext())
        self.table = CsvTable(tuple(COLUMNS), "token")
        self.made = 0
        self.processes = [self.new() for _ in range(choose([5, 60]))]
        #: Faces that are being made, in steps.
        self.faces: list[Iterator[object]] = []

    @property
    def now(self) -> float:
        return self.clock.monotonic()

    def new(self) -> ModelProcess:
        self.made += 1
        choose = self.rng.choice
        where = {"host": f"web{choose(range(8))}", "program": f"shop{choose(range(6))}"}
        process = ModelProcess(f"{self.made}:a", **where, born=self.now, interval=choose([1.0, 2.0, 10.0]))
        process.pool.signs = PoolSigns(choose(["", "db1:5432/shop"]), sites=(SiteReading(SITE, 3),))
        process.pool.gauges = Gauges(used=choose(range(9)))
        process.signs, process.findings = ProcessSigns(10), choose(FINDINGS)
        return process

    def run(self, steps: int) -> None:
        for _ in range(steps):
            (act,) = self.rng.choices(list(ACTS), ACTS.values())
            getattr(self, act)()
            for face in self.faces[:]:
                if self.rng.random() < 0.4 and next(face, self) is self:
                    self.faces.remove(face)

    def report(self) -> None:
        for process in self.rng.sample(self.processes, self.rng.randrange(1, len(self.processes))):
            process.pool.work(self.rng.randrange(3))
            source = f"source {process.token[0]}"
            for datagram in process.report(self.now, goodbye=self.rng.random() < 0.05):
                for fleet, heard in (self.fleet, 0.9), (self.other, 0.5):
                    if self.rng.random() < heard:
                        fleet.receive(datagram, self.now, self.wall + self.now, Way.TCP, source=source)

    def exchange(self) -> None:
        self.other.expire(self.now)
        for one, another in (self.fleet, self.other), (self.other, self.fleet):
            ours, theirs = Exchange(one), Exchange(another)
            for process in ours.processes():
                with suppress(PacketError, MemoryError):
                    theirs.join(ours.entry(process, self.now), self.now)
            for forgotten in ours.forgotten():
                with suppress(PacketError, MemoryError):
                    theirs.join_forgotten(forgotten, self.now)

    def replace(self) -> None:
        self.processes[self.rng.randrange(len(self.processes))] = self.new()

    def advance(self) -> None:
        self.fleet.advance(self.now)

    def finish(self) -> None:
        while self.fleet.advance(self.now):
            pass

    def wait(self) -> None:
        self.clock.advance(self.rng.choice([0.01, 0.3, 1.0, 1.0, 2.0, 11.0, 60.0, 90_000.0]))

    def set_the_clock(self) -> None:
        self.wall = WALL + self.rng.choice([0.0, -1e6, 1e6])

    def run_out_of_memory(self) -> None:
        self.fleet.tear()

    def begin_a_snapshot(self) -> None:
        source = self.source
        program = source.processes(f"shop{self.rng.randrange(6)}")
        self.faces.append(
            self.rng.choice([source.sums, source.holders, source.lines, lambda: program.rows(True, 99)])()
        )

    def list_rows(self) -> None:
        self.faces.append(self.rows(self.now))

    def rows(self, now: float) -> Iterator[None]:
        """Rows as collectd, Prometheus and the CSV file take them."""
        listed = self.fleet.host_rows(now)
        yield None
        for host, program, state in self.fleet.row_states(listed, now):
            state.row()
            state.counted()
            if program:
                self.table.note([HostProgram(host, program, state.row_without_times())], now)
            yield None
        for _ in self.table.lines("2026-11-29 06:40:45", now):
            yield None

    def look(self) -> None:
        program = self.rng.choice([None, "shop1", "unknown"])
        snapshot = self.fleet.snapshot(self.now, self.wall + self.now, program)
        assert (snapshot.fleet.processes or 0) == sum(row.processes or 0 for row in snapshot.programs)


@pytest.mark.parametrize("seed", range(8))
def test_whatever_happens_between_two_steps_nothing_is_raised_and_the_sums_are_whole(seed):
    world = World(seed)
    for _ in range(10):
        world.run(20)
        world.clock.advance(2.0)  # By then a torn fleet may be repaired.
        for fleet in world.fleet, world.other:
            fleet.expire(world.now)
            assert_whole(fleet)
