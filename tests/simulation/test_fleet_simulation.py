"""A fleet of modelled processes over a bad network, checked after each step against what they really did."""

import random

import pytest

from poolhouse.fleet.fleet import Fleet
from poolhouse.fleet.limits import FleetLimits
from poolhouse.meter.reading import Counters, Gauges
from poolhouse.wire.message import ReportDatagram, decode_message
from support.reporting import ModelProcess
from support.shortage import assert_whole

pytestmark = pytest.mark.long

INTERVAL = 2.0
STEP = 0.1
PROGRAMS = ("nova", "neutron", "host")
HOSTS = ("web1", "web2")
WALL = 1.7e9


class World:
    """Processes, a network, an aggregator, and a plain account of what was delivered."""

    def __init__(self, seed: int, loss: float, duplicates: float, delay: float) -> None:
        self.rng = random.Random(seed)
        self.loss, self.duplicates, self.delay = loss, duplicates, delay
        self.now = 1000.0
        self.fleet = Fleet(FleetLimits(), self.now)
        self.living: dict[ModelProcess, float] = {}  # and when each reports next
        self.muted: dict[ModelProcess, float] = {}  # silent until then
        self.under_way: list[tuple[float, int, bytes]] = []
        self.counted: dict[tuple[str, str, str, int], tuple[int, Counters]] = {}
        self.spawned = self.sent = 0
        self.least: dict[str, Counters] = {}
        self.snapshot = self.fleet.snapshot(self.now, WALL)

    def run(self, steps: int) -> None:
        for _ in range(steps):
            self.now += STEP
            self.act()
            self.report()
            self.deliver()
            self.check()

    def act(self) -> None:
        roll = self.rng.random()
        if roll < 0.03 or not self.living:
            self.spawn()
            return
        process = self.rng.choice(list(self.living))
        if roll < 0.60:
            self.work(process)
        elif roll < 0.615:
            self.leave(process, goodbye=True)
        elif roll < 0.630:
            self.leave(process, goodbye=False)
        elif roll < 0.640:
            self.muted[process] = self.now + self.rng.uniform(1, 12 * INTERVAL)
        elif roll < 0.645:
            process.clock_error = self.rng.choice([-86400.0, 0.0, 60.0, 86400.0])
        elif roll < 0.66:
            process.open_pool()
        elif roll < 0.67 and process.pools:
            self.rng.choice(process.pools).close()

    def spawn(self) -> None:
        """A new process; a fork and a restart are the same with a new token."""
        self.spawned += 1
        process = ModelProcess(
            f"{self.spawned}:{self.spawned:06x}", self.rng.choice(PROGRAMS), self.rng.choice(HOSTS), INTERVAL,
            self.now, self.rng.choice([0, 1, 1, 1, 3]),
        )  # fmt: skip
        self.living[process] = self.now

    def work(self, process: ModelProcess) -> None:
        if not process.pools:
            return
        pool = self.rng.choice(process.pools)
        if pool.is_open:
            pool.work(self.rng.randrange(20), self.rng.random())
            pool.count(
                connects=self.rng.randrange(3), commits=self.rng.randrange(5), timeouts=self.rng.randrange(2)
            )
            pool.gauges = Gauges(*(self.rng.randrange(6) for _ in range(4)))

    def leave(self, process: ModelProcess, goodbye: bool) -> None:
        if goodbye:
            for pool in process.pools:
                pool.close()
            self.send(process.report(self.now, goodbye=True))
        del self.living[process]
        self.muted.pop(process, None)

    def report(self) -> None:
        for process, due in self.living.items():
            if self.now >= due:
                self.living[process] = due + INTERVAL
                datagrams = process.report(self.now)
                if self.muted.get(process, 0.0) <= self.now:
                    self.send(datagrams)

    def send(self, datagrams: list[bytes]) -> None:
        for datagram in datagrams:
            for _ in range(1 + (self.rng.random() < self.duplicates)):
                if self.rng.random() >= self.loss:
                    self.sent += 1
                    self.under_way.append((self.now + self.rng.random() * self.delay, self.sent, datagram))

    def deliver(self) -> None:
        due = sorted(entry for entry in self.under_way if entry[0] <= self.now)
        self.under_way = [entry for entry in self.under_way if entry[0] > self.now]
        for _, _, datagram in due:
            assert self.fleet.receive(datagram, self.now, WALL) is None
            self.account(datagram)

    def account(self, datagram: bytes) -> None:
        message = decode_message(datagram)
        assert isinstance(message, ReportDatagram)
        if message.pool is not None:
            key = (message.host, message.program, message.token, message.pool.key)
            if message.number >= self.counted.get(key, (0, None))[0]:
                self.counted[key] = message.number, message.pool.counters

    def check(self) -> None:
        assert_whole(self.fleet)
        self.snapshot = snapshot = self.fleet.snapshot(self.now, WALL)
        for kind, place, rows in (("host", 0, snapshot.hosts), ("program", 1, snapshot.programs)):
            for row in rows:
                told = [counters for key, (_, counters) in self.counted.items() if key[place] == row.name]
                self.check_totals(f"{kind} {row.name}", row.totals, told)
        self.check_totals("fleet", snapshot.fleet.totals, [counters for _, counters in self.counted.values()])
        for name in ("processes", "pools", "idle", "used", "waiting", "connections"):
            assert getattr(snapshot.fleet, name) in (
                None,
                sum(getattr(row, name) or 0 for row in snapshot.programs),
            )
            assert getattr(snapshot.fleet, name) in (None, sum(getattr(row, name) or 0 for row in snapshot.hosts))

    def check_totals(self, row: str, totals: tuple[int | None, ...], told: list[Counters]) -> None:
        counts = tuple(count or 0 for count in totals)
        assert counts == (tuple(map(sum, zip(*told, strict=True))) or (0,) * len(counts)), row
        before = self.least.get(row, counts)
        assert all(now >= then for now, then in zip(counts, before, strict=True)), f"{row} fell"
        self.least[row] = counts

    def calm(self) -> None:
        """The network heals, everybody speaks, nobody works; whoever is silent is gone in the end."""
        self.loss = self.duplicates = self.delay = 0.0
        self.muted.clear()
        for _ in range(round(6 * INTERVAL / STEP)):
            self.now += STEP
            self.report()
            self.deliver()
            self.check()

    def check_truth(self) -> None:
        """Once calm, gauges and durations are what the living processes say, too."""
        for program in PROGRAMS:
            members = [process for process in self.living if process.program == program]
            snapshot = self.fleet.snapshot(self.now, WALL, program)
            row = next((row for row in snapshot.programs if row.name == program), None)
            assert [process.token for process in snapshot.processes] == [
                process.token for process in sorted(members, key=lambda process: (process.host, process.token))
            ]
            if row is None:
                assert not members
                continue
            pools = [pool for process in members for pool in process.pools if pool.is_open]
            assert (row.processes, row.pools or 0) == (len(members), len(pools))
            assert [row.idle or 0, row.used or 0, row.detached or 0, row.waiting or 0] == [
                sum(pool.gauges[place] for pool in pools) for place in range(4)
            ]
            if pools:
                assert row.max_open == 10 * len(pools)


SEEDS = range(12)


@pytest.mark.parametrize("seed", SEEDS)
def test_totals_equal_what_was_delivered_whatever_the_network_does(seed):
    world = World(seed, loss=0.15, duplicates=0.1, delay=1.5 * INTERVAL)
    world.run(600)
    world.calm()
    world.check_truth()


@pytest.mark.parametrize("seed", SEEDS)
def test_nothing_is_lost_where_the_network_loses_nothing(seed):
    world = World(100 + seed, loss=0.0, duplicates=0.05, delay=0.3)
    world.run(400)
    world.muted.clear()
    world.calm()
    world.check_truth()
    silent = sum(event.kind in ("silent", "returned") for event in world.snapshot.events)
    assert world.snapshot.health.lost == 0 or silent
    for row in world.snapshot.programs:
        assert row.since_start.use is None or row.since_start.use.count == row.totals.checkouts


@pytest.mark.parametrize("seed", SEEDS)
def test_a_new_aggregator_counts_exactly_what_happens_from_then_on(seed):
    """Trap 27."""
    world = World(200 + seed, loss=0.0, duplicates=0.0, delay=0.0)
    world.run(300)
    world.calm()
    world.fleet = Fleet(FleetLimits(), world.now)
    for _ in range(round(INTERVAL / STEP) + 1):
        world.now += STEP
        world.report()
        world.deliver()
    assert all(not any(filter(None, row.totals)) for row in world.fleet.snapshot(world.now, WALL).programs)
    done = sum(pool.counters.checkouts or 0 for process in world.living for pool in process.pools)
    for _ in range(200):
        for process in world.living:
            world.work(process)
            if world.rng.random() < 0.01:
                process.open_pool()
        world.now += STEP
        world.report()
        world.deliver()
    for _ in range(round(INTERVAL / STEP) + 1):
        world.now += STEP
        world.report()
        world.deliver()
    done_later = sum(pool.counters.checkouts or 0 for process in world.living for pool in process.pools)
    assert (world.fleet.snapshot(world.now, WALL).fleet.totals.checkouts or 0) == done_later - done


@pytest.mark.parametrize("seed", SEEDS)
def test_the_order_of_datagrams_does_not_matter(seed):
    rng = random.Random(seed)
    processes = [ModelProcess(f"{n}:{n:06x}", rng.choice(PROGRAMS), pools=rng.randrange(4)) for n in range(10)]
    snapshots = []
    fleets = [Fleet(FleetLimits(), 0.0) for _ in range(2)]
    for second in range(2, 60, 2):
        datagrams = []
        for process in processes:
            for pool in process.pools:
                pool.work(rng.randrange(9))
                pool.gauges = Gauges(rng.randrange(5), rng.randrange(5), 0, rng.randrange(2))
            datagrams += process.report(float(second))
        for fleet in fleets:
            rng.shuffle(datagrams)
            for datagram in datagrams:
                assert fleet.receive(datagram, float(second), WALL) is None
        snapshots = [fleet.snapshot(float(second), WALL, "nova") for fleet in fleets]
        one, other = (
            (s.fleet.totals, s.fleet.used, s.programs[0].since_start, s.processes, s.health) for s in snapshots
        )
        assert one == other


def test_memory_stays_bounded_however_many_processes_come_and_go():
    limits = FleetLimits(hosts=3, programs=3, processes=20, remembered=10, events=5)
    fleet = Fleet(limits, 0.0)
    rng = random.Random(1)
    for n in range(5000):
        now = n * 0.05
        process = ModelProcess(f"{n}:{n:06x}", f"p{rng.randrange(6)}", f"h{rng.randrange(6)}", born=now)
        for datagram in process.report(now, goodbye=rng.random() < 0.3):
            fleet.receive(datagram, now, WALL)
        fleet.expire(now)
        living = len(fleet._processes) - fleet._gone_count
        assert living <= limits.processes
        assert fleet._gone_count <= limits.remembered
        for table in (fleet._programs, fleet._hosts, fleet._host_programs):
            assert len(table.shown) <= table._most
            assert len(table._remembered) + len(table._heard_once) <= limits.remembered
    snapshot = fleet.snapshot(250.0, WALL)
    assert dict(snapshot.health.over_limit).keys() == {"hosts", "programs", "processes", "remembered"}
    assert len(snapshot.events) == 5
