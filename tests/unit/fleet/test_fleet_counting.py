"""Totals: what counts, what is where counting begins, and that nothing falls."""

import random

import pytest

from poolhouse.fleet.distribution import NO_DISTRIBUTIONS
from poolhouse.fleet.limits import FleetLimits
from poolhouse.meter.reading import REST, Counters
from support.reporting import ModelProcess


def checkouts(row):
    return None if row is None else row.totals.checkouts


def process_of(aggregator, token="1:aaaaaa", **how):
    return ModelProcess(token, born=aggregator.now, **how)


def test_a_process_younger_than_the_aggregator_counts_in_full(aggregator):
    aggregator.now += 5
    process = process_of(aggregator)
    process.pool.work(7)
    aggregator.every_interval(process)
    assert checkouts(aggregator.program()) == checkouts(aggregator.host()) == 7
    assert checkouts(aggregator.snapshot().fleet) == 7


def test_a_first_report_without_durations_adds_none(aggregator):
    """Its histograms are empty, yet there: a row would keep a sample of nothing."""
    aggregator.every_interval(process_of(aggregator))
    for row in (aggregator.fleet._sums, *aggregator.fleet._programs.rows()):
        assert row.times is NO_DISTRIBUTIONS
        assert row._times_samples == ()
    assert aggregator.program().since_start.use.count == 0


def test_an_older_process_counts_from_its_first_report_on(aggregator):
    """Trap 27."""
    process = ModelProcess(born=0.0)
    process.pool.work(7)
    aggregator.every_interval(process)
    assert checkouts(aggregator.program()) == 0
    assert aggregator.program().since_start.use.count == 0
    process.pool.work(3)
    aggregator.every_interval(process)
    assert checkouts(aggregator.program()) == 3
    assert aggregator.program().since_start.use.count == 3


def test_a_new_pool_of_an_older_process_counts_in_full(aggregator):
    process = ModelProcess(born=0.0, pools=2)
    process.pool.work(7)
    aggregator.every_interval(process)
    process.open_pool().work(5)
    aggregator.every_interval(process)
    assert checkouts(aggregator.program()) == 5


def test_a_pool_whose_first_datagram_was_lost_is_not_taken_for_a_new_one(aggregator):
    """Trap 27."""
    process = ModelProcess(born=0.0, pools=3)
    for pool in process.pools:
        pool.work(100)
    first, _lost, last = process.report(aggregator.now)
    aggregator.receive(first, last)
    process.pools[1].work(1)
    aggregator.every_interval(process)
    assert checkouts(aggregator.program()) == 0
    for pool in process.pools:
        pool.work(2)
    aggregator.every_interval(process)
    assert checkouts(aggregator.program()) == 6


@pytest.mark.parametrize("end", ["goodbye", "kill", "restart"])
def test_totals_do_not_fall_however_a_process_ends(aggregator, end):
    """Trap 26."""
    process, other = process_of(aggregator), process_of(aggregator, "2:bbbbbb")
    process.pool.work(7)
    other.pool.work(2)
    aggregator.every_interval(process, other)
    if end == "goodbye":
        process.pool.work(1)
        aggregator.report(process, goodbye=True)
    before = 10 if end == "goodbye" else 9
    if end == "restart":
        process = process_of(aggregator, "3:cccccc")
        aggregator.every_interval(process, other)
    seen = []
    for _ in range(20):
        aggregator.every_interval(other)
        seen.append(
            [checkouts(row) for row in (aggregator.program(), aggregator.host(), aggregator.snapshot().fleet)]
        )
    assert seen == [[before] * 3] * 20


def test_totals_go_on_where_they_were_when_a_program_returns_after_hours(aggregator):
    process = process_of(aggregator)
    process.pool.work(7)
    aggregator.every_interval(process)
    for pause in (11, 11, 23 * 3600):
        aggregator.now += pause
        aggregator.snapshot()
    assert aggregator.program() is None
    process.pool.work(1)
    aggregator.report(process)
    assert checkouts(aggregator.program()) == checkouts(aggregator.host()) == 8
    assert ("returned", "1:aaaaaa") in aggregator.events()


def test_what_is_forgotten_after_a_day_is_not_counted_again(aggregator):
    process, other = process_of(aggregator), process_of(aggregator, "2:bbbbbb", program="other")
    process.pool.work(7)
    aggregator.every_interval(process, other)
    for _ in range(27):
        aggregator.now += 3600
        aggregator.report(other)
        aggregator.snapshot()
    aggregator.report(process)
    assert checkouts(aggregator.program()) == 0
    process.pool.work(1)
    aggregator.every_interval(process, other)
    assert checkouts(aggregator.program()) == 1
    assert checkouts(aggregator.snapshot().fleet) == 8


def test_a_process_that_had_to_be_forgotten_is_not_counted_again(make_aggregator):
    aggregator = make_aggregator(FleetLimits(remembered=1))
    processes = [process_of(aggregator, f"{n}:aaaaaa") for n in range(3)]
    for process in processes:
        process.pool.work(10)
    aggregator.every_interval(*processes)
    aggregator.now += 3600
    aggregator.snapshot()
    aggregator.report(*processes)
    assert checkouts(aggregator.program()) == 30
    assert dict(aggregator.snapshot().health.over_limit) == {"remembered": 2}


def test_late_repeated_and_reordered_datagrams_do_no_harm(aggregator):
    process = process_of(aggregator, pools=3)
    rng = random.Random(1)
    sent = []
    for _ in range(6):
        for pool in process.pools:
            pool.work(rng.randrange(9))
        sent += process.report(aggregator.now)
    truth = sum(pool.counters.checkouts for pool in process.pools)
    rng.shuffle(sent)
    aggregator.receive(*sent, *sent)
    assert checkouts(aggregator.program()) == truth
    health = aggregator.snapshot().health
    assert (health.received, health.refused) == (36, 0)


def test_lost_reports_cost_freshness_and_no_counts(aggregator):
    process = process_of(aggregator)
    aggregator.every_interval(process)
    for _ in range(4):
        process.pool.work(5)
        aggregator.now += 2
        process.report(aggregator.now)
    process.pool.work(5)
    aggregator.every_interval(process, times=10)
    assert checkouts(aggregator.program()) == 25
    health = aggregator.snapshot().health
    assert (health.lost, health.expected) == (8, 30)
    assert aggregator.snapshot("nova").processes[0].lost == 8
    assert any(kind == "lost" and "1:aaaaaa" in text for kind, text in aggregator.events())


def test_the_rest_of_a_goodbye_counts_after_its_first_datagram(aggregator):
    process = process_of(aggregator, pools=4)
    aggregator.every_interval(process)
    for pool in process.pools:
        pool.work(1)
    aggregator.report(process, goodbye=True)
    assert checkouts(aggregator.program()) == 4
    assert aggregator.program().processes == 0


def test_a_value_that_falls_within_one_process_is_a_new_beginning(aggregator):
    """Trap 45."""
    process = process_of(aggregator)
    process.pool.work(50)
    process.pool.count(connects=5)
    aggregator.every_interval(process)
    process.pool.counters = Counters(checkouts=10, connects=6)
    aggregator.every_interval(process)
    assert aggregator.program().totals[:2] == (50, 6)
    assert min(rate for rate in aggregator.program().rates if rate is not None) == 0.0
    assert min(rate for rate in aggregator.snapshot("nova").processes[0].sums.rates) == 0.0
    process.pool.counters = Counters(checkouts=12, connects=6)
    aggregator.every_interval(process)
    assert aggregator.program().totals[:2] == (52, 6)


def test_a_histogram_that_falls_is_a_new_beginning(aggregator):
    process = process_of(aggregator)
    process.pool.work(50)
    aggregator.every_interval(process)
    process.pool.use = type(process.pool.use)()
    process.pool.work(2)
    aggregator.every_interval(process)
    assert aggregator.program().since_start.use.count == 50
    process.pool.work(3)
    aggregator.every_interval(process)
    assert aggregator.program().since_start.use.count == 53


def test_a_counter_that_nobody_tells_is_not_known_rather_than_0(aggregator):
    process = process_of(aggregator)
    process.pool.counters = process.pool.counters._replace(commits=None)
    aggregator.every_interval(process)
    assert aggregator.program().totals.commits is None
    assert aggregator.program().rates.commits is None
    process.pool.counters = process.pool.counters._replace(commits=100)
    aggregator.every_interval(process)
    process.pool.count(commits=2)
    aggregator.every_interval(process)
    assert aggregator.program().totals.commits == 2


def test_the_rest_counts_like_a_pool_and_may_come_late(aggregator):
    process = process_of(aggregator)
    aggregator.every_interval(process, times=3)
    rest = process.open_pool()
    rest.key = REST
    rest.close()
    rest.told_closed = -100
    rest.count(checkouts=9)
    aggregator.every_interval(process, times=20)
    rest.count(checkouts=2)
    aggregator.every_interval(process)
    assert checkouts(aggregator.program()) == 11
    assert aggregator.program().pools == 1


def test_a_pool_that_ended_keeps_what_it_counted_and_leaves_its_gauges(aggregator):
    process = process_of(aggregator, pools=2)
    ended = process.pools[1]
    ended.work(6)
    ended.gauges = ended.gauges._replace(idle=3)
    aggregator.every_interval(process)
    assert (aggregator.program().pools, aggregator.program().idle) == (2, 3)
    ended.work(1)
    ended.close()
    aggregator.every_interval(process)
    assert (aggregator.program().pools, aggregator.program().idle) == (1, 0)
    aggregator.every_interval(process, times=20)
    assert checkouts(aggregator.program()) == 7
    assert len(aggregator.fleet._processes["web1", "nova", "1:aaaaaa"].pools) == 1


def test_a_pool_whose_end_was_never_heard_leaves_its_gauges_too(aggregator):
    process = process_of(aggregator, pools=2)
    process.pools[1].gauges = process.pools[1].gauges._replace(idle=3)
    aggregator.every_interval(process)
    del process.pools[1]
    aggregator.every_interval(process, times=5)
    assert aggregator.program().idle == 3
    aggregator.every_interval(process)
    assert (aggregator.program().pools, aggregator.program().idle) == (1, 0)


def test_one_process_with_two_program_names_is_one_process_of_its_host(aggregator):
    """Trap 20."""
    nova, neutron = process_of(aggregator), process_of(aggregator, program="neutron")
    elsewhere = process_of(aggregator, host="web2")
    aggregator.every_interval(nova, neutron, elsewhere)
    assert [aggregator.program(name).processes for name in ("nova", "neutron")] == [2, 1]
    assert [aggregator.host(name).processes for name in ("web1", "web2")] == [1, 1]
    assert aggregator.snapshot().fleet.processes == 2
    aggregator.report(nova, goodbye=True)
    assert aggregator.host().processes == 1
    aggregator.report(neutron, goodbye=True)
    assert aggregator.host().processes == 0
    assert aggregator.snapshot().fleet.processes == 1


def test_pools_that_come_and_go_in_great_numbers_find_room_and_count(aggregator):
    process = process_of(aggregator, pools=64)
    done = 0
    for _ in range(30):
        for pool in process.pools:
            if pool.is_open:
                pool.work(1)
                done += 1
        if process.number % 6 == 0:
            for pool in process.pools:
                pool.close()
        process.pools = [pool for pool in process.pools if pool.told_closed < 6]
        while len(process.pools) < 64:
            process.open_pool().work(1)
            done += 1
        aggregator.every_interval(process)
    assert checkouts(aggregator.program()) == done


def test_the_work_of_a_silence_counts_and_is_in_no_rate(aggregator):
    silent, busy = process_of(aggregator), ModelProcess("2:bbbbbb", born=aggregator.now)
    aggregator.every_interval(silent, busy, times=3)
    for _ in range(30):
        busy.pool.work(2)
        silent.pool.work(100)
        aggregator.every_interval(busy)
        aggregator.fleet.expire(aggregator.now)
    aggregator.report(silent)
    assert checkouts(aggregator.program()) == 3060
    for _ in range(3):
        busy.pool.work(2)
        silent.pool.work(2)
        aggregator.every_interval(busy, silent)
        assert aggregator.program().rates.checkouts <= 2.0
        assert aggregator.program().recent.use.count < 100
    assert checkouts(aggregator.program()) == 3072
    assert aggregator.program().since_start.use.count == 3072
