"""The aggregator's budget in bytes: the estimate is near the truth, and what is beyond it is given up in order."""

import gc
import random
import tracemalloc
from collections.abc import Iterable

import pytest

from poolhouse.fleet.account import NO_AMOUNT
from poolhouse.fleet.aggregate import Aggregate
from poolhouse.fleet.budget import Budget
from poolhouse.fleet.fleet import Fleet
from poolhouse.fleet.limits import FleetLimits
from poolhouse.fleet.members import GRACE
from poolhouse.fleet.presence import UNPROVEN_INTERVAL
from support.reporting import ModelProcess
from support.shortage import assert_whole

WALL = 1.7e9


def work(process: ModelProcess, luck: random.Random, spread: float) -> None:
    """Each pool waits and works a hundred times, in durations that many or few buckets hold."""
    for pool in process.pools:
        pool.count(checkouts=100)
        for histogram in (pool.wait, pool.use, pool.create):
            histogram.record_all([int(1e6 * luck.lognormvariate(0.0, spread)) for _ in range(100)])


#: Name: processes, pools of each, programs, hosts, spread of durations (``None``: none), detail.
SHAPES = {
    "many processes of one program": (100, 1, 1, 3, 1.2, "full"),
    "many pools": (5, 40, 2, 2, 1.2, "full"),
    "every process a program on a host of its own": (60, 1, 60, 60, 1.2, "full"),
    "histograms of many buckets": (30, 3, 1, 1, 4.0, "full"),
    "nothing is done": (100, 2, 3, 3, None, "full"),
    "an earlier client's": (100, 1, 3, 3, None, "plain"),
}


@pytest.mark.long
@pytest.mark.parametrize("shape", SHAPES)
def test_the_estimate_is_within_a_quarter_of_what_is_taken(shape):
    count, pools, programs, hosts, spread, detail = SHAPES[shape]
    luck = random.Random(1)
    processes = [
        ModelProcess(f"{n}:{n:06x}", f"program{n % programs}", f"web{n % hosts}", pools=pools, born=100.0)
        for n in range(count)
    ]
    rounds = []
    for second in range(100, 190, 15):  # The last minute is full.
        for process in processes:
            if spread is not None:
                work(process, luck, spread)
        rounds.append((second, [one for process in processes for one in process.report(second, detail=detail)]))
    gc.collect()
    tracemalloc.start()
    try:
        # What distinguishes forgotten processes has a fixed size, beside the budget.
        fleet = Fleet(FleetLimits(forgotten_bytes=0), 100.0)
        for second, datagrams in rounds:
            for datagram in datagrams:
                assert fleet.receive(datagram, second, WALL) is None
        gc.collect()
        taken = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert 0.75 * taken < fleet.health(190.0).bytes < 1.25 * taken


@pytest.mark.long
def test_no_estimate_is_left_when_all_is_forgotten():
    fleet = Fleet(FleetLimits(), 0.0)
    empty = fleet.health(0.0).bytes
    processes = [ModelProcess(f"{n}:aaaaaa", f"program{n % 7}", f"web{n % 5}", pools=3) for n in range(40)]
    luck = random.Random(1)
    for second in range(2, 60, 2):
        for process in processes:
            work(process, luck, 1.2)
            if luck.random() < 0.1:
                process.pools[luck.randrange(3)].close()
            for datagram in process.report(second, goodbye=second == 58 and luck.random() < 0.5):
                fleet.receive(datagram, second, WALL)
    assert fleet.health(60.0).bytes > empty
    for second in (100.0, 200.0, 200.0 + 90_000.0, 200.0 + 180_000.0):
        fleet.expire(second)
    # Of the fleet's own row, the durations stay.
    assert fleet.health(200_000.0).bytes - empty < 30_000


def fill(fleet: Fleet, now: float, count: int, pools: int = 5, prefix: str = "x") -> int:
    """So many invented processes, each of a program of its own; how many of their datagrams were refused."""
    refused = 0
    for n in range(count):
        process = ModelProcess(
            f"{prefix}{n}:aaaaaa", f"{prefix}{n}", "evil", interval=3600.0, pools=pools, born=now
        )
        refused += sum(fleet.receive(one, now, WALL) is not None for one in process.report(now))
    return refused


def test_what_is_beyond_the_budget_is_refused_and_counted():
    budget = 1 << 20
    fleet = Fleet(FleetLimits(bytes=budget), 0.0)
    refused = fill(fleet, 1.0, 300)
    health = fleet.snapshot(1.0, WALL).health
    assert (health.refused, dict(health.over_limit)) == (refused, {"bytes": refused})
    assert refused > 0
    assert budget <= health.bytes < 1.02 * budget
    assert health.bytes_limit == budget


def test_a_pool_that_is_there_reports_on_when_the_budget_is_full_but_does_not_grow():
    fleet = Fleet(FleetLimits(bytes=1 << 20), 0.0)
    process = ModelProcess("1:aaaaaa", "shop", born=0.0)
    luck = random.Random(1)
    for second in range(0, 90, 2):
        work(process, luck, 1.2)
        for datagram in process.report(float(second)):
            fleet.receive(datagram, second, WALL)
    fill(fleet, 89.0, 300)
    size = fleet.health(89.0).bytes
    process.pool.count(checkouts=5)
    assert {fleet.receive(one, 90.0, WALL) for one in process.report(90.0)} == {None}
    process.open_pool()
    assert "over the limit of bytes" in [fleet.receive(one, 92.0, WALL) for one in process.report(92.0)]
    assert fleet.health(92.0).bytes <= size
    (row,) = (row for row in fleet.snapshot(92.0, WALL).programs if row.name == "shop")
    assert (row.totals.checkouts, row.is_stale) == (4505, False)


def test_who_was_never_heard_of_twice_makes_room_first():
    fleet = Fleet(FleetLimits(bytes=1 << 20), 0.0)
    honest = [ModelProcess(f"{n}:aaaaaa", "shop", born=0.0) for n in range(50)]
    for second in (0.0, 2.0):
        for process in honest:
            for datagram in process.report(second):
                assert fleet.receive(datagram, second, WALL) is None
    fill(fleet, 3.0, 300)
    for second in (5.0, 10.0, 15.0):
        for process in honest:
            for datagram in process.report(second):
                fleet.receive(datagram, second, WALL)
    late = ModelProcess("9:bbbbbb", "late", born=15.0, pools=20)
    assert {fleet.receive(one, 15.0, WALL) for one in late.report(15.0)} == {None}
    (row,) = (row for row in fleet.snapshot(15.0, WALL).programs if row.name == "shop")
    assert row.processes == 50


@pytest.mark.parametrize("bound", ["programs", "hosts", "processes"])
def test_invented_ones_that_claim_an_hour_keep_new_ones_out_for_seconds_not_for_hours(bound):
    fleet = Fleet(FleetLimits(**{bound: 30}), 0.0)
    for n in range(40):
        names = {"program": f"x{n}"} if bound == "programs" else {"host": f"x{n}"} if bound == "hosts" else {}
        process = ModelProcess(f"{n}:aaaaaa", interval=3600.0, born=1.0, **names)
        for datagram in process.report(1.0):
            fleet.receive(datagram, 1.0, WALL)
    honest = ModelProcess("9:bbbbbb", "late", "late", born=2.0)
    heard = [
        {fleet.receive(one, second, WALL) for one in honest.report(second)} == {None} for second in range(2, 20, 2)
    ]
    assert heard == [second >= 1 + GRACE for second in range(2, 20, 2)]
    assert "late" in [row.name for row in fleet.snapshot(20.0, WALL).programs]


def test_a_long_interval_is_believed_once_it_was_kept():
    fleet = Fleet(FleetLimits(), 0.0)
    process = ModelProcess("1:aaaaaa", "nightly", interval=3600.0, born=0.0)

    def living(now: float) -> int | None:
        return fleet.snapshot(now, WALL).fleet.processes

    for datagram in process.report(10.0):
        fleet.receive(datagram, 10.0, WALL)
    assert living(10.0 + 5 * UNPROVEN_INTERVAL - 1) == 1
    assert living(10.0 + 5 * UNPROVEN_INTERVAL + 1) == 0
    process.pool.work(3)
    for datagram in process.report(3610.0):
        fleet.receive(datagram, 3610.0, WALL)
    assert living(3610.0 + 4 * 3600.0) == 1
    assert fleet.snapshot(18_000.0, WALL).fleet.totals.checkouts == 3


def test_a_forged_number_of_datagrams_costs_no_more_than_another():
    def size_of(number: int) -> int:
        fleet = Fleet(FleetLimits(), 0.0)
        datagrams = []
        for n in range(100):
            forged = bytearray(ModelProcess(f"{n:04d}:aaaaaa", born=-100.0).report(1.0)[0])
            at = forged.index(b"\x7a\x01") + 8
            forged[at : at + 2] = number.to_bytes(2)
            datagrams.append(bytes(forged))
        gc.collect()
        tracemalloc.start()
        try:
            for datagram in datagrams:
                fleet.receive(datagram, 1.0, WALL)
            gc.collect()
            return tracemalloc.get_traced_memory()[0]
        finally:
            tracemalloc.stop()

    size_of(2)  # What is made once in a process is made here.
    assert size_of(65_535) < 1.05 * size_of(2)


def receive(fleet: Fleet, datagrams: Iterable[bytes], now: float) -> set[str | None]:
    return {fleet.receive(datagram, now, WALL) for datagram in datagrams}


def test_a_process_does_not_make_room_for_its_own_second_report():
    """It reports rarely, and is the one that has been without a second report for longest."""
    fleet = Fleet(FleetLimits(bytes=1 << 20), 0.0)
    honest = ModelProcess("1:aaaaaa", "nightly", born=0.0, interval=20.0)
    assert receive(fleet, honest.report(1.0), 1.0) == {None}
    fill(fleet, 2.0, 300)
    honest.pool.work(3)
    assert receive(fleet, honest.report(21.0), 21.0) == {None}
    assert_whole(fleet)
    (row,) = (row for row in fleet.snapshot(21.0, WALL).programs if row.name == "nightly")
    assert (row.processes, row.totals.checkouts) == (1, 3)


def test_a_row_that_is_forgotten_takes_no_bytes_whatever_is_told_of_it_later():
    """Processes that are gone refer to it, and other nodes tell what these have counted."""
    budget = Budget(1 << 20)
    row = Aggregate(("web1", "shop"), 0.0, 2.0, budget)
    assert budget.used > 0
    row.forget()
    row.learn_pool("db1:5432/shop")
    row.note_forgotten(NO_AMOUNT)
    assert budget.used == 0
