"""What the rows say: gauges, limits, peaks, rates, recent durations, events."""

import pytest

from poolhouse.fleet.names import asking_for_host
from poolhouse.fleet.snapshot import Times
from poolhouse.meter.reading import Gauges, Limits, Mark
from support.reporting import ModelProcess


def processes_of(aggregator, count, **how):
    return [ModelProcess(f"{n}:aaaaaa", born=aggregator.now, **how) for n in range(count)]


def use(process, used, waiting=0, pool=0):
    process.pools[pool].gauges = Gauges(idle=1, used=used, waiting=waiting)


def test_limits_sum_up_unless_a_pool_has_none(aggregator):
    bounded, unbounded = processes_of(aggregator, 2)
    unbounded.pool.limits = Limits(max_open=20, max_idle=None, min_idle=3)
    aggregator.report(bounded, unbounded)
    row = aggregator.program()
    assert (row.max_open, row.max_idle, row.min_idle) == (30, None, 3)
    aggregator.report(unbounded, goodbye=True)
    row = aggregator.program()
    assert (row.max_open, row.max_idle, row.min_idle) == (10, 5, 0)


def test_full_pools_and_upper_bounds_are_counted(aggregator):
    full, bound = processes_of(aggregator, 2)
    use(full, 10)
    bound.pool.is_bound = True
    aggregator.report(full, bound)
    assert (aggregator.program().full_pools, aggregator.program().is_bound) == (1, True)
    use(full, 9)
    bound.pool.is_bound = False
    aggregator.every_interval(full, bound)
    assert (aggregator.program().full_pools, aggregator.program().is_bound) == (0, False)


def test_a_pool_is_saturated_if_somebody_waits_for_a_connection_of_that_very_pool(aggregator):
    full, other = processes_of(aggregator, 2)
    use(full, 10)
    use(other, 1, waiting=1)
    aggregator.report(full, other)
    row = aggregator.program()
    assert (row.full_pools, row.waiting, row.saturated_pools) == (1, 1, 0)
    use(full, 10, waiting=2)
    aggregator.every_interval(full, other)
    assert aggregator.program().saturated_pools == 1
    aggregator.report(full, goodbye=True)
    assert aggregator.program().saturated_pools == 0


def test_the_peak_of_a_row_is_the_largest_sum_seen_and_the_bound_is_the_sum_of_the_marks(aggregator):
    one, other = processes_of(aggregator, 2)
    use(one, 3, waiting=2)
    use(other, 4)
    one.pool.burst = 9
    aggregator.report(one, other)
    use(one, 1)
    use(other, 1)
    aggregator.every_interval(one, other, times=5)
    row = aggregator.program()
    assert (row.peaks.processes, row.peaks.used, row.peaks.waiting, row.peaks.connections) == (2, 7, 2, 9)
    assert row.peaks.used_bound == 13
    assert (row.interval_peaks.used, row.interval_peaks.used_bound, row.interval_peaks.waiting) == (2, 2, 0)


def test_a_pools_mark_is_exact_though_four_reports_in_a_row_are_lost(aggregator):
    (process,) = processes_of(aggregator, 1)
    use(process, 1)
    aggregator.every_interval(process)
    process.pool.burst = 8
    for _ in range(4):
        aggregator.now += 2
        process.report(aggregator.now)
    aggregator.every_interval(process)
    (pool,) = aggregator.snapshot("nova").processes[0].pools
    assert pool.interval_mark.used == 8
    assert pool.reading.peak.used == 8
    assert aggregator.program().interval_peaks.used_bound == 8
    aggregator.every_interval(process)
    (pool,) = aggregator.snapshot("nova").processes[0].pools
    assert pool.interval_mark == Mark(process.number, 1, 0, 2)


def test_checkouts_of_an_interval_are_those_of_each_process_since_its_last_report(aggregator):
    processes = processes_of(aggregator, 3)
    for process in processes:
        process.pool.work(100)
    aggregator.every_interval(*processes)
    for process in processes:
        process.pool.work(10)
    aggregator.every_interval(*processes)
    assert (aggregator.program().interval_checkouts, aggregator.program().peaks.checkouts) == (30, 300)
    processes[0].pool.work(6)
    aggregator.now += 2
    processes[0].report(aggregator.now)
    aggregator.every_interval(*processes)
    assert aggregator.program().interval_checkouts == 3
    aggregator.report(processes[0], goodbye=True)
    assert aggregator.program().interval_checkouts == 0


def test_rates_are_those_of_the_last_intervals(aggregator):
    processes = processes_of(aggregator, 4)
    for checkouts in (20,) * 10 + (2,) * 10:
        for process in processes:
            process.pool.work(checkouts)
        aggregator.every_interval(*processes)
    assert aggregator.program().rates.checkouts == pytest.approx(4 * 2 / 2)
    (row,) = aggregator.snapshot("nova").processes[:1]
    assert row.sums.rates.checkouts == row.pools[0].rates.checkouts == pytest.approx(1.0)
    assert (aggregator.program().rates.commits, aggregator.program().rates.timeouts) == (0.0, 0.0)


def test_rates_fall_to_0_when_nobody_reports(aggregator):
    (process,) = processes_of(aggregator, 1)
    for _ in range(5):
        process.pool.work(10)
        aggregator.every_interval(process)
    seen = []
    for _ in range(14):
        aggregator.now += 2
        if row := aggregator.program():
            seen.append(row.rates.checkouts)
    assert seen[0] == pytest.approx(5.0)
    assert seen == sorted(seen, reverse=True)
    assert seen[-1] == 0.0


def test_the_first_report_alone_has_no_rate(aggregator):
    (process,) = processes_of(aggregator, 1)
    process.pool.work(1000)
    aggregator.report(process)
    assert aggregator.program().rates.checkouts is None
    aggregator.every_interval(process)
    assert aggregator.program().rates.checkouts == 0.0


def test_recent_durations_are_those_of_the_last_minute(aggregator):
    (process,) = processes_of(aggregator, 1)
    for second in range(0, 300, 2):
        process.pool.work(1, seconds=1.0 if second < 240 else 0.001)
        aggregator.every_interval(process)
    row = aggregator.program()
    assert row.since_start.use.quantile(0.5) == pytest.approx(1.0, rel=0.05)
    assert 22 <= row.recent.use.count <= 30
    assert row.recent.use.quantile(0.99) == pytest.approx(0.001, rel=0.05)
    assert row.since_start.use.sum_ns == process.pool.use.sum_ns
    (process_row,) = aggregator.snapshot("nova").processes
    assert 15 <= process_row.pools[0].recent.use.count <= 30
    assert process_row.sums.recent == process_row.pools[0].recent
    assert process_row.sums.since_start.use == process_row.pools[0].reading.use == process.pool.use


def test_recent_durations_end_when_nothing_is_told_any_more(aggregator):
    (process,) = processes_of(aggregator, 1)
    process.pool.work(10)
    aggregator.every_interval(process)
    assert aggregator.program().recent.use.count == 10
    aggregator.every_interval(process, times=31)
    assert aggregator.program().recent.use.count == 0


def test_histograms_of_different_scales_meet_at_the_coarser(aggregator):
    fine, coarse = processes_of(aggregator, 2)
    fine.pool.work(5)
    coarse.pool.work(3)
    coarse.pool.use.downscale(1)
    aggregator.report(fine, coarse)
    assert (aggregator.program().since_start.use.scale, aggregator.program().since_start.use.count) == (1, 8)


def test_a_row_per_program_on_a_host_is_for_collectd(aggregator):
    processes = [
        ModelProcess("1:aaaaaa", born=aggregator.now),
        ModelProcess("2:bbbbbb", born=aggregator.now, host="web2"),
        ModelProcess("3:cccccc", born=aggregator.now, program="host"),
    ]
    for number, process in enumerate(processes, 1):
        process.pool.work(number)
    aggregator.report(*processes)
    fleet = aggregator.fleet
    states = fleet.row_states(fleet.program_rows(aggregator.now, by_host=True), aggregator.now)
    rows = sorted((host, program, state.row()) for host, program, state in states)
    assert [(host, program, row.name, row.totals.checkouts) for host, program, row in rows] == [
        ("web1", "host", "host", 3),
        ("web1", "nova", "nova", 1),
        ("web2", "nova", "nova", 2),
    ]
    for (_, _, row), (*_, state) in zip(rows, sorted(states, key=lambda one: one[:2]), strict=True):
        assert state.row_without_times() == row._replace(recent=Times(), since_start=Times())
    hosts = aggregator.fleet.hosts(aggregator.now)
    assert [(row.name, row.totals.checkouts) for row in hosts] == [("web1", 4), ("web2", 2)]


def test_the_processes_of_the_program_asked_for_are_told_with_their_pools(aggregator):
    (process,) = processes_of(aggregator, 1, pools=2)
    use(process, 3, waiting=1)
    use(process, 2, pool=1)
    aggregator.report(process, ModelProcess("9:bbbbbb", program="other"))
    assert aggregator.snapshot().processes == ()
    assert aggregator.snapshot("unknown").processes == ()
    snapshot = aggregator.snapshot("nova")
    assert snapshot.program == "nova"
    (row,) = snapshot.processes
    assert [pool.reading.gauges.used for pool in row.pools] == [3, 2]
    assert (row.sums.name, row.sums.processes, row.sums.pools, row.sums.used) == ("0:aaaaaa", 1, 2, 5)
    assert (row.sums.peaks.used, row.sums.peaks.used_bound) == (None, 5)


def test_an_empty_fleet_has_a_row_of_nobody(aggregator):
    snapshot = aggregator.snapshot()
    assert (snapshot.fleet.processes, snapshot.programs, snapshot.hosts) == (0, (), ())
    assert (snapshot.fleet.used, snapshot.fleet.totals.checkouts, snapshot.fleet.since_start.use) == (None,) * 3


def test_trouble_is_an_event_once_when_it_begins(aggregator):
    (process,) = processes_of(aggregator, 1)
    aggregator.every_interval(process)
    use(process, 10, waiting=3)
    process.pool.count(timeouts=2, connect_errors=4)
    aggregator.every_interval(process, times=3)
    assert aggregator.events() == [
        ("appeared", "0:aaaaaa"),
        ("full", "10 of 10 in use"),
        ("waiting", "3 waiting for a connection"),
        ("timeouts", "2 timed out"),
        ("connect errors", "4 connects failed"),
    ]
    assert aggregator.snapshot().events[0].wall_time == pytest.approx(1.7e9 + 1002.0)


def test_the_end_of_trouble_is_an_event_too(aggregator):
    (process,) = processes_of(aggregator, 1)
    aggregator.every_interval(process)
    use(process, 10, waiting=3)
    process.pool.count(connect_errors=4)
    aggregator.every_interval(process, times=3)
    use(process, 4, waiting=0)
    aggregator.every_interval(process, times=3)
    process.pool.count(connects=1, connect_errors=1)
    aggregator.every_interval(process, times=3)
    process.pool.count(connects=1)
    aggregator.every_interval(process, times=3)
    process.pool.count(connects=1)
    aggregator.every_interval(process, times=3)
    assert [(kind, text) for kind, text in aggregator.events() if kind in ("recovered", "connect errors")] == [
        ("connect errors", "4 connects failed"),
        ("recovered", "nobody waits for a connection any more"),
        ("connect errors", "1 connects failed"),
        ("recovered", "connects succeed again"),
    ]


def test_a_process_that_falls_silent_while_others_wait_has_not_recovered(aggregator):
    (process,) = processes_of(aggregator, 1)
    use(process, 10, waiting=3)
    aggregator.every_interval(process)
    aggregator.now += 10 * process.interval
    kinds = [event.kind for event in aggregator.snapshot().events]
    assert kinds[-1] == "silent"
    assert "recovered" not in kinds


def test_the_programs_of_a_host_are_told_to_who_asks_for_it(aggregator):
    here, there = ModelProcess("1:aaaaaa", program="shop"), ModelProcess("2:bbbbbb", program="stock")
    elsewhere = ModelProcess("3:cccccc", program="shop", host="db9")
    for process, used in ((here, 3), (there, 2), (elsewhere, 5)):
        aggregator.report(process)
        use(process, used)
        aggregator.every_interval(process)
    snapshot = aggregator.snapshot(asking_for_host(here.host))
    assert snapshot.program == asking_for_host(here.host)
    assert [(row.program, row.sums.processes, row.sums.used) for row in snapshot.processes] == [
        ("shop", 1, 3),
        ("stock", 1, 2),
    ]
    assert aggregator.snapshot(asking_for_host("unknown")).processes == ()


def test_callers_that_wait_now_and_then_are_one_trouble(aggregator):
    (process,) = processes_of(aggregator, 1)
    for waiting in (3, 0, 2, 0, 0, 1, 0, 0, 0, 0):
        use(process, 10, waiting=waiting)
        aggregator.every_interval(process)
    assert [kind for kind, _ in aggregator.events()] == ["appeared", "full", "waiting", "recovered"]


def test_the_sum_of_a_host_is_handed_over_after_its_programs(aggregator):
    """Who has seen the host's new sum has seen what it is made of."""
    aggregator.report(ModelProcess("1:aaaaaa", born=aggregator.now))
    rows = aggregator.fleet.host_rows(aggregator.now)
    assert [(host, program) for host, program, _ in aggregator.fleet.row_states(rows, aggregator.now)] == [
        ("web1", "nova"),
        ("web1", ""),
    ]


def test_a_row_that_disappears_after_it_was_listed_is_told_with_zeros(aggregator):
    """Rows are listed at once and made in slices, between which one may have been empty for long enough."""
    (process,) = processes_of(aggregator, 1)
    process.pool.work(7)
    aggregator.every_interval(process, times=5)
    aggregator.report(process, goodbye=True)
    fleet = aggregator.fleet
    while rows := fleet.program_rows(aggregator.now, by_host=True):
        fleet.row_states(rows, aggregator.now)  # Another face.
        listed = rows
        aggregator.now += 0.5
    ((host, program, state),) = fleet.row_states(listed, aggregator.now - 0.5)
    assert (host, program) == ("web1", "nova")
    for row in (state.row(), state.row_without_times()):
        assert (row.processes, row.used, row.totals.checkouts) == (0, 0, process.pool.counters.checkouts)
        assert row.rates.checkouts in (None, 0.0)


@pytest.mark.parametrize("linger", [10.0, 11.0, 12.0, 13.0])
def test_a_row_that_has_just_disappeared_may_come_back_at_once(aggregator, linger):
    """It has no samples of the past any more, and the interval in which it was looked at last may not be over."""
    aggregator.fleet.set_linger(linger)
    before, after = processes_of(aggregator, 2)
    aggregator.every_interval(before, times=5)
    aggregator.report(before, goodbye=True)
    while aggregator.program() is not None:
        aggregator.now += 0.5
    aggregator.report(after)
    assert aggregator.program().processes == 1
