"""Who is there: by the aggregator's clock alone."""

from itertools import pairwise

import pytest

from poolhouse.fleet.fleet import EXPIRED_AT_ONCE, Fleet
from poolhouse.fleet.limits import FleetLimits
from poolhouse.fleet.presence import LIVING
from poolhouse.meter.reading import Gauges
from support.reporting import ModelProcess


def busy_process(token="1:aaaaaa", **how):
    process = ModelProcess(token, **how)
    process.pool.gauges = Gauges(idle=2, used=3, detached=1, waiting=4)
    return process


def gauges(row):
    return row.processes, row.pools, row.idle, row.used, row.detached, row.waiting, row.connections


THERE = (1, 1, 2, 3, 1, 4, 6)
NOBODY = (0,) * 7


def test_a_row_is_stale_after_two_intervals_and_its_process_gone_after_five(aggregator):
    aggregator.every_interval(busy_process())
    seen = []
    for _ in range(5):
        aggregator.now += 1.99
        row = aggregator.program()
        seen.append((gauges(row) == THERE, row.is_stale))
    assert seen == [(True, False), (True, False), (True, True), (True, True), (True, True)]
    aggregator.now += 0.1
    assert (
        gauges(aggregator.program()) == gauges(aggregator.host()) == gauges(aggregator.snapshot().fleet) == NOBODY
    )
    assert ("silent", "1:aaaaaa") in aggregator.events()


def test_a_process_that_says_goodbye_leaves_its_gauges_at_once(aggregator):
    process = busy_process()
    aggregator.every_interval(process)
    aggregator.report(process, goodbye=True)
    assert gauges(aggregator.program()) == NOBODY
    assert ("goodbye", "1:aaaaaa") in aggregator.events()


def test_nobody_left_is_shown_as_0_for_five_intervals_and_then_not_at_all(aggregator):
    process = busy_process()
    aggregator.every_interval(process)
    aggregator.report(process, goodbye=True)
    aggregator.now += 9.9
    assert gauges(aggregator.program()) == gauges(aggregator.host()) == NOBODY
    assert [row.key for row in aggregator.fleet.program_rows(aggregator.now, by_host=True)] == [("web1", "nova")]
    aggregator.now += 0.2
    assert (aggregator.program(), aggregator.host()) == (None, None)
    assert aggregator.fleet.program_rows(aggregator.now, by_host=True) == []
    assert aggregator.fleet.hosts(aggregator.now) == ()
    assert gauges(aggregator.snapshot().fleet) == NOBODY


def test_who_looks_seldom_lets_nobody_linger_longer(aggregator):
    aggregator.fleet.set_linger(50.0)
    process = busy_process()
    aggregator.every_interval(process)
    aggregator.report(process, goodbye=True)
    aggregator.now += 49
    assert gauges(aggregator.program()) == NOBODY
    aggregator.now += 2
    assert aggregator.program() is None


def test_a_program_that_comes_back_while_it_lingers_stays(aggregator):
    process = busy_process()
    aggregator.every_interval(process)
    aggregator.report(process, goodbye=True)
    aggregator.now += 9
    other = busy_process("2:bbbbbb")
    aggregator.report(other)
    aggregator.every_interval(other, times=10)
    assert gauges(aggregator.program()) == THERE


def test_a_silent_process_that_returns_is_there_again(aggregator):
    process = busy_process()
    aggregator.every_interval(process)
    for _ in range(12):
        aggregator.now += 1
        aggregator.snapshot()
    assert aggregator.program().processes == 0
    aggregator.report(process)
    assert gauges(aggregator.program()) == THERE
    assert ("returned", "1:aaaaaa") in aggregator.events()


def test_a_late_datagram_does_not_wake_who_is_gone(aggregator):
    process = busy_process()
    late = process.report(aggregator.now)
    aggregator.every_interval(process)
    aggregator.now += 10.1
    aggregator.snapshot()
    aggregator.receive(*late)
    assert aggregator.program().processes == 0
    ended = busy_process("2:bbbbbb")
    late = ended.report(aggregator.now)
    aggregator.report(ended, goodbye=True)
    aggregator.receive(*late)
    assert aggregator.program().processes == 0


@pytest.mark.parametrize("pools", [1, 40])
def test_repetitions_do_not_keep_a_process_alive(aggregator, pools):
    process = busy_process(pools=pools)
    told = process.report(aggregator.now)
    for _ in range(12):
        aggregator.now += 1
        aggregator.receive(*told)
        aggregator.snapshot()
    assert aggregator.program().processes == 0


@pytest.mark.parametrize("error", [60.0, 86_400.0, -6.0, -86_400.0, 1e9])
def test_a_senders_clock_however_wrong_expires_nobody_and_does_not_block_itself(aggregator, error):
    """Trap 24. Trap 25."""
    wrong, right = busy_process(), busy_process("2:bbbbbb", host="web2")
    aggregator.every_interval(wrong, right)
    for clock_error in (error, 0.0, error):
        wrong.clock_error = clock_error
        wrong.pool.work(1)
        aggregator.every_interval(wrong, right)
        assert [gauges(aggregator.host(name)) for name in ("web1", "web2")] == [THERE, THERE]
    assert aggregator.host().totals.checkouts == 3
    assert aggregator.snapshot().health.refused == 0


def test_an_interval_beyond_reason_is_bounded(aggregator):
    aggregator.report(busy_process(interval=1e9), busy_process("2:bbbbbb", interval=1e-9, host="web2"))
    aggregator.now += 0.3
    assert [aggregator.host(name).processes for name in ("web1", "web2")] == [1, 0]
    aggregator.now += 5 * 3600
    assert aggregator.host().processes == 0


def test_a_row_is_as_fresh_as_its_newest_process(aggregator):
    slow, quick = busy_process(interval=60.0), busy_process("2:bbbbbb")
    aggregator.report(slow, quick)
    aggregator.now += 3
    assert (aggregator.program().age, aggregator.program().interval) == (3.0, 60.0)
    aggregator.report(quick)
    assert aggregator.program().age == 0.0
    assert aggregator.program().is_stale is False


def test_a_process_row_tells_its_own_freshness(aggregator):
    process = busy_process(born=900.0)
    aggregator.report(process)
    aggregator.now += 5
    (row,) = aggregator.snapshot("nova").processes
    assert (row.host, row.program, row.token, row.uptime) == ("web1", "nova", "1:aaaaaa", 105.0)
    assert (row.sums.age, row.sums.interval, row.sums.is_stale) == (5.0, 2.0, True)
    assert gauges(row.sums) == THERE


def living(fleet: Fleet) -> int:
    """How many processes are living."""
    return sum(process.state is LIVING for process in fleet._processes.values())


def test_many_processes_that_fall_silent_at_once_are_removed_in_steps(aggregator):
    """Half of the network is gone; the reports of the other half are received between two steps."""
    fleet = aggregator.fleet
    fleet.advances_in_steps = True
    silent, heard = ([busy_process(f"{number}:{name}", host=name) for number in range(200)] for name in "ab")
    aggregator.every_interval(*silent, *heard)
    for _ in range(5):
        aggregator.every_interval(*heard)
    aggregator.now += 1.0
    left = [living(fleet)]
    while fleet.advance(aggregator.now):
        left.append(living(fleet))
        aggregator.report(heard[len(left)])
    assert max(before - after for before, after in pairwise(left)) == EXPIRED_AT_ONCE
    assert (aggregator.host("a").processes, aggregator.host("b").processes) == (0, 200)


def test_processes_for_whose_memory_others_are_forgotten_leave_in_steps_too(make_aggregator):
    """As many as are remembered are remembered already; each that leaves takes the place of one."""
    aggregator = make_aggregator(FleetLimits(remembered=200))
    fleet = aggregator.fleet
    fleet.advances_in_steps = True
    left: list[int] = []
    for name in "ab":
        aggregator.every_interval(*[busy_process(f"{number}:{name}", host=name) for number in range(200)])
        aggregator.now += 60.0
        left.append(len(fleet._processes))
        while fleet.advance(aggregator.now):
            left.append(len(fleet._processes))
    assert max(before - after for before, after in pairwise(left)) == EXPIRED_AT_ONCE
    assert (living(fleet), len(fleet._processes)) == (0, 200)


def test_where_nobody_advances_it_all_that_are_silent_are_removed_at_once(aggregator):
    aggregator.every_interval(*[busy_process(f"{number}:aaaaaa") for number in range(3 * EXPIRED_AT_ONCE)])
    aggregator.now += 60.0
    aggregator.fleet.expire(aggregator.now)
    assert living(aggregator.fleet) == 0
