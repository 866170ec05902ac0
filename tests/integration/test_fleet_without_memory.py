"""Memory that ends at any line while a fleet takes a report: nothing is counted twice or lost by that."""

from collections.abc import Callable
from contextlib import suppress
from typing import Self, TypeAlias

import pytest

from poolhouse.fleet.account import NO_AMOUNT, sums_of
from poolhouse.fleet.aggregate import Aggregate
from poolhouse.fleet.distribution import summed
from poolhouse.fleet.exchange import Exchange
from poolhouse.fleet.fleet import Fleet
from poolhouse.fleet.freshness import Freshness
from poolhouse.fleet.intake import Way
from poolhouse.fleet.limits import FleetLimits
from poolhouse.fleet.members import GRACE
from poolhouse.fleet.seals import Seals
from poolhouse.meter.reading import Gauges
from poolhouse.meter.signs import Looks, PoolSigns, ProcessSigns, SiteReading
from poolhouse.wire.ledger import Entry
from poolhouse.wire.seal import Payload
from support.reporting import ModelProcess
from support.shortage import Shortage, assert_whole

WALL = 1.7e9


def work(process: ModelProcess, count: int = 3) -> None:
    for pool in process.pools:
        if pool.is_open:
            pool.work(count)
            pool.count(connects=1, timeouts=1)
            pool.gauges = Gauges(1, 10, 0, 2)
    if process.pool.signs is not None:
        told = tuple(site._replace(returned=site.returned + 1) for site in process.pool.signs.sites)
        process.pool.signs = process.pool.signs._replace(sites=told)


def at_sites(process: ModelProcess) -> ModelProcess:
    sites = tuple(SiteReading(f"shop/views.py:{n} in get", looks=Looks(1, 1)) for n in range(3))
    process.pool.signs = PoolSigns("db1:5432/shop", "shop/db.py:12 in <module>", sites=sites)
    process.signs = ProcessSigns(pools_made=1)
    return process


#: When, and the datagrams.
Told: TypeAlias = tuple[float, list[bytes]]


class World:
    """Processes, and all that their aggregator is told: before memory ends, when it does, and after that."""

    def __init__(self, limits: FleetLimits | None = None, *, is_sealed: bool = False) -> None:
        self.now = 1000.0
        self.limits, self.is_sealed = limits or FleetLimits(), is_sealed
        self.processes: list[ModelProcess] = []
        self.before: list[Told] = []
        self.when: Told = 0.0, []
        self.after: list[Told] = []
        self.detail = "full"

    def start(self, *processes: ModelProcess, times: int = 2) -> None:
        self.processes += processes
        for _ in range(times):
            for process in processes:
                work(process)
                self.tell(process)

    def tell(self, process: ModelProcess, after: float = 2.0, **how: bool) -> None:
        self.now += after
        self.before.append((self.now, process.report(self.now, detail=self.detail, **how)))

    def end(self, process: ModelProcess, **how: bool) -> Self:
        """The process reports, when memory ends; then every process that still reports does, twice."""
        self.now += 2.0
        self.when = self.now, process.report(self.now, detail=self.detail, **how)
        for _ in range(2):
            self.now += 2.0
            self.after += [(self.now, process.report(self.now, detail=self.detail)) for process in self.processes]
        return self

    def fleet(self) -> Fleet:
        """The aggregator, when memory ends."""
        fleet = Fleet(self.limits, 1000.0)
        if self.is_sealed:
            fleet.seals = Seals(Freshness(bytes(16), 1000.0, WALL), {})
        for told in self.before:
            self.take(fleet, told)
        return fleet

    def take(self, fleet: Fleet, told: Told) -> list[str | None]:
        now, datagrams = told
        sealed = Payload(b"", b"alice") if self.is_sealed else None
        fleet.expire(now)
        return [fleet.receive(one, now, WALL + now, Way.UDP, sealed, source="alice") for one in datagrams]


def rows(fleet: Fleet) -> dict[str, object]:
    """What is shown, without what only the way there tells: rates, ages, and the peaks of a lost report."""
    told: dict[str, object] = {"": _sums(fleet._sums)}
    for table in fleet._tables:
        for key, row in table.shown.items():
            if "gone" in key[1]:  # For how long it is remembered depends on the order in which others came.
                continue
            holders = None
            if row.holders is not None:
                past = {key: site for key, site in row.holders.past.items() if any(site.numbers)}
                holders = set(row.holders.names), past
            told[str(key)] = *_sums(row), row.sent, row.knows, row.pool, holders
    return told


def _sums(row: Aggregate) -> tuple[object, ...]:
    return row.gauges, row.totals + row.joined[0], summed(row.times, row.joined[1])


def one(token: str = "1:aaaaaa", **about) -> ModelProcess:
    return ModelProcess(token, born=1001.0, **about)


def first_report() -> World:
    world = World()
    world.start(one())
    process = at_sites(one("2:bbbbbb", pools=2))
    world.processes.append(process)
    work(process)
    return world.end(process)


def first_report_of_one_from_before() -> World:
    world = World()
    process = ModelProcess("2:bbbbbb", born=0.0, pools=2)
    world.processes.append(process)
    work(process)
    return world.end(process)


def second_report() -> World:
    """The first after which the process is believed."""
    world = World()
    process = at_sites(one())
    world.start(process, times=1)
    work(process)
    return world.end(process)


def later_report() -> World:
    world = World()
    process = at_sites(one(pools=2))
    world.start(process, one("2:bbbbbb", program="neutron"))
    work(process)
    return world.end(process)


def one_more_pool_and_one_less() -> World:
    world = World(FleetLimits(ended_pools=1))
    process = one(pools=4)
    world.start(process)
    for pool in process.pools[:3]:
        pool.close()
    for _ in range(9):
        world.tell(process)
    process.open_pool()
    work(process)
    return world.end(process)


def returned() -> World:
    world = World()
    process = at_sites(one())
    world.start(process, one("2:bbbbbb", program="neutron"))
    world.now += 60.0
    work(process)
    return world.end(process)


def goodbye() -> World:
    """Of a process that has told all its work before."""
    world = World()
    process = at_sites(one())
    world.start(process, one("2:bbbbbb", program="neutron"))
    world.processes.remove(process)
    return world.end(process, goodbye=True)


def in_place_of_another() -> World:
    world = World(FleetLimits(processes=2, programs=2, hosts=2))
    world.start(one())
    world.start(at_sites(one("3:cccccc", program="once", host="web3")), times=1)
    world.processes.pop()
    world.tell(world.processes[0], GRACE)
    process = one("2:bbbbbb", program="neutron", host="web2")
    world.processes.append(process)
    work(process)
    return world.end(process)


def while_bytes_are_full() -> World:
    # At 61,000 some who report are refused, at 79,000 less is forgotten.
    world = World(FleetLimits(bytes=76_000))
    world.start(one())
    for number in range(4):
        gone = at_sites(one(f"{number}:dddddd", program=f"gone{number}"))
        work(gone)
        world.tell(gone, goodbye=True)
    process = one("2:bbbbbb", pools=4, program="neutron")
    world.processes.append(process)
    work(process)
    return world.end(process)


def earlier_lists() -> World:
    world = World()
    world.detail = "plain"
    process = one()
    world.start(process)
    work(process)
    return world.end(process)


def earlier_lists_before_reports() -> World:
    world = World()
    process = one()
    world.detail = "plain"
    world.start(process)
    world.detail = "full"
    work(process)
    return world.end(process)


def sealed() -> World:
    world = World(is_sealed=True)
    world.now += 200.0
    process = ModelProcess("2:bbbbbb", born=1150.0)
    world.start(process)
    work(process)
    return world.end(process)


SCENES: list[Callable[[], World]] = [
    first_report, first_report_of_one_from_before, second_report, later_report, one_more_pool_and_one_less,
    returned, goodbye, in_place_of_another, while_bytes_are_full, earlier_lists, earlier_lists_before_reports,
    sealed,
]  # fmt: skip


@pytest.mark.parametrize(
    ("scene", "stays"),
    [(scene, False) for scene in SCENES] + [(scene, True) for scene in (first_report, later_report, goodbye)],
)
def test_memory_that_ends_at_any_line_of_a_report_leaves_no_sum_wrong(scene, stays):
    world = scene()
    calm = world.fleet()
    for told in (world.when, *world.after):
        world.take(calm, told)
    assert_whole(calm)
    wanted = rows(calm)
    first = 0
    while True:
        first += 1
        fleet = world.fleet()
        with Shortage(first, stays=stays) as shortage:
            world.take(fleet, world.when)
        if not shortage.has_come:
            break
        assert stays or fleet._over["memory"] == 1, first
        for told in world.after:
            world.take(fleet, told)
        assert not fleet.is_torn
        assert_whole(fleet)
        assert rows(fleet) == wanted, first
    assert first > 50  # The plainest of them runs more lines than that.


def a_busy_process() -> ModelProcess:
    process = at_sites(one(pools=4))
    for pool in process.pools[2:]:
        pool.close()
    return process


def told_by(process: ModelProcess, now: float, *, goodbye: bool = False, times: int = 1) -> tuple[Fleet, Entry]:
    """A node that has heard more of a process than another one, and what it tells of it."""
    node = Fleet(FleetLimits().for_cluster(), 1000.0)
    for number in range(times):
        work(process)
        for datagram in process.report(now + number, goodbye=goodbye and number == times - 1):
            node.receive(datagram, now + number, WALL, Way.TCP)
    (held,) = node._processes.values()
    return node, Exchange(node).entry(held, now + times)


def nothing_before() -> tuple[list[bytes], Entry]:
    return [], told_by(a_busy_process(), 1002.0, times=2)[1]


def something_before() -> tuple[list[bytes], Entry]:
    process = a_busy_process()
    work(process)
    before = process.report(1002.0)
    return before, told_by(process, 1004.0, times=3)[1]


def its_end() -> tuple[list[bytes], Entry]:
    process = one()
    work(process)
    before = process.report(1002.0)
    return before, told_by(process, 1004.0, goodbye=True)[1]


def its_sums_of_old_pools() -> tuple[list[bytes], Entry]:
    process = one(pools=3)
    work(process)
    before = process.report(1002.0)
    for pool in process.pools[:2]:
        pool.close()
    entry = told_by(process, 1004.0, times=2)[1]
    return before, entry._replace(floor=2, older=entry.older or sums_of(NO_AMOUNT))


@pytest.mark.parametrize("told", [nothing_before, something_before, its_end, its_sums_of_old_pools])
def test_memory_that_ends_at_any_line_of_a_ledger_s_entry_leaves_no_sum_wrong(told):
    before, entry = told()

    def node() -> Fleet:
        fleet = Fleet(FleetLimits().for_cluster(), 1000.0)
        for datagram in before:
            fleet.receive(datagram, 1002.0, WALL, Way.TCP)
        return fleet

    calm = node()
    Exchange(calm).join(entry, 1010.0)
    assert_whole(calm)
    wanted, first = rows(calm), 0
    while True:
        first += 1
        fleet = node()
        is_raised = False
        with Shortage(first, stays=False) as shortage:
            try:
                Exchange(fleet).join(entry, 1010.0)
            except MemoryError:
                is_raised = True
        assert is_raised == shortage.has_come, first
        if not shortage.has_come:
            break
        # The link is given up; the next one brings the same entry.
        Exchange(fleet).join(entry, 1012.0)
        assert not fleet.is_torn
        assert_whole(fleet)
        assert rows(fleet) == wanted, first
    assert first > 50  # As above.


def test_memory_that_ends_while_older_work_begins_to_count_leaves_no_sum_wrong():
    process = one()
    process.born = 900.0
    work(process)

    def node() -> Fleet:
        fleet = Fleet(FleetLimits().for_cluster(), 1000.0)
        for datagram in process.report(1002.0):
            fleet.receive(datagram, 1002.0, WALL, Way.TCP)
        return fleet

    process.number = 0
    calm = node()
    assert Exchange(calm).learn_since(500.0, 1003.0)
    wanted, first = rows(calm), 0
    while True:
        first += 1
        process.number = 0
        fleet = node()
        with Shortage(first, stays=False) as shortage, suppress(MemoryError):
            Exchange(fleet).learn_since(500.0, 1003.0)
        if not shortage.has_come:
            break
        Exchange(fleet).learn_since(502.0, 1005.0)
        assert_whole(fleet)
        assert rows(fleet) == wanted, first
    assert first > 20  # It runs fewer lines than a report.
