"""The earlier client's datagrams, and ours at ``detail=plain``, beside our own."""

import pytest

from poolhouse.fleet.intake import Way
from poolhouse.meter.reading import Gauges
from poolhouse.wire.parts import VALUES, values_part
from support.reporting import ModelProcess


def plain(process, aggregator):
    return process.report(aggregator.now, detail="plain")


def seed_only(datagrams):
    """The two lists with the values of the earlier client only."""
    return [cut(datagram) for datagram in datagrams]


def cut(datagram):
    """The list, which is the datagram's last part, with fewer values."""
    at = values_at(datagram)
    count = int.from_bytes(datagram[at + 4 : at + 6])
    kinds, values = datagram[at + 6 : at + 6 + count], datagram[at + 6 + count :]
    seed = 5 if b"sqlalchemy_pool" in datagram else 4
    return datagram[:at] + values_part(kinds[:seed], values[: 8 * seed])


def values_at(datagram):
    at = 0
    while int.from_bytes(datagram[at : at + 2]) != VALUES:
        at += int.from_bytes(datagram[at + 2 : at + 4])
    return at


@pytest.fixture
def process(aggregator):
    aggregator.now += 11
    process = ModelProcess("7:abcdef0123456789", born=0.0)
    process.pool.gauges = Gauges(idle=2, used=3, detached=1, waiting=4)
    process.pool.work(7)
    process.pool.count(connects=6, commits=2)
    return process


def test_the_earlier_client_is_summed_and_what_it_does_not_tell_is_not_known(aggregator, process):
    aggregator.receive(*seed_only(plain(process, aggregator)))
    row = aggregator.program()
    assert (row.processes, row.pools, row.idle, row.used, row.detached, row.connections) == (1, 1, 2, 3, 1, 6)
    assert row.totals[:5] == (7, 6, 0, 0, None)
    assert (row.waiting, row.max_open, row.full_pools, row.since_start.use) == (None,) * 4
    assert (row.peaks.used, row.peaks.waiting, row.peaks.used_bound) == (3, None, None)
    (told,) = aggregator.snapshot("nova").processes
    assert (told.uptime, told.pools, told.sums.used) == (None, (), 3)


def test_what_our_plain_form_appends_counts(aggregator, process):
    aggregator.receive(*plain(process, aggregator))
    row = aggregator.program()
    assert (row.waiting, row.max_open, row.totals.commits) == (4, 10, 2)


def test_the_first_datagram_of_an_earlier_client_counts_in_full_after_ten_seconds(make_aggregator, process):
    young, old = make_aggregator(), make_aggregator()
    young.now += 9
    old.now += 10
    for aggregator in (young, old):
        aggregator.receive(*plain(process, aggregator))
    process.pool.work(1)
    for aggregator in (young, old):
        aggregator.receive(*plain(process, aggregator))
    assert [aggregator.program().totals.checkouts for aggregator in (young, old)] == [1, 8]


def test_a_list_with_fewer_values_takes_nothing_from_the_others(aggregator, process):
    """Trap 29."""
    other = ModelProcess("8:abcdef", born=aggregator.now)
    other.pool.count(commits=5, checkouts=1)
    other.pool.gauges = Gauges(idle=1, waiting=2)
    aggregator.report(other)
    aggregator.receive(*plain(process, aggregator))
    aggregator.receive(*seed_only(plain(process, aggregator)))
    row = aggregator.program()
    assert (row.totals.checkouts, row.totals.commits, row.idle) == (8, 7, 3)
    process.pool.count(commits=1)
    aggregator.receive(*plain(process, aggregator))
    assert aggregator.program().totals.commits == 8
    pool_list, _ = plain(process, aggregator)
    one_value = seed_only([pool_list])[0]
    assert aggregator.receive(one_value[:-9]) != [None]
    assert aggregator.program().idle == 3


def test_an_earlier_process_becomes_stale_and_goes_like_any_other(aggregator, process):
    aggregator.receive(*seed_only(plain(process, aggregator)))
    aggregator.now += 4
    assert aggregator.program().is_stale
    aggregator.now += 6.1
    assert (aggregator.program().processes, aggregator.program().used) == (0, 0)
    process.pool.work(1)
    aggregator.receive(*seed_only(plain(process, aggregator)))
    assert (aggregator.program().processes, aggregator.program().totals.checkouts) == (1, 8)


def test_datagrams_that_come_late_are_left_out(aggregator, process):
    late = plain(process, aggregator)
    process.pool.work(5)
    aggregator.now += 2
    aggregator.receive(*plain(process, aggregator))
    aggregator.receive(*late)
    process.pool.work(5)
    aggregator.now += 2
    aggregator.receive(*plain(process, aggregator))
    assert aggregator.program().totals.checkouts == 17


def test_a_counter_of_an_earlier_client_that_falls_was_reset_and_counts_what_it_shows_since(aggregator, process):
    """Prometheus's rule for ``rate``."""
    aggregator.receive(*seed_only(plain(process, aggregator)))
    process.pool.counters = process.pool.counters._replace(checkouts=5)  # It was 7; connects stay at 6.
    aggregator.now += 2
    aggregator.receive(*seed_only(plain(process, aggregator)))
    assert aggregator.program().totals[:2] == (12, 6)
    (told,) = aggregator.snapshot("nova").processes
    assert told.sums.rates.checkouts == 2.5
    process.pool.count(checkouts=1)
    aggregator.now += 2
    aggregator.receive(*seed_only(plain(process, aggregator)))
    assert aggregator.program().totals.checkouts == 13


def test_one_that_a_node_has_passed_on_after_a_standstill_is_late(aggregator, process):
    """A node that was stopped reads it when it goes on; believed, it would have the work since count again."""
    late = plain(process, aggregator)
    process.pool.work(5)
    aggregator.now += 60
    aggregator.receive(*plain(process, aggregator))
    for datagram in late:
        aggregator.fleet.receive(datagram, aggregator.now, 0.0, Way.RELAYED)
    aggregator.now += 2
    aggregator.receive(*plain(process, aggregator))
    assert aggregator.program().totals.checkouts == 12


def test_what_falls_in_a_datagram_dated_long_ago_is_not_new_work(aggregator, process):
    """It came late, or a clock was set back: which of the two cannot be known. Nor is what rises after it."""
    late = plain(process, aggregator)
    aggregator.now += 2
    process.pool.work(1)
    later = plain(process, aggregator)
    process.pool.work(4)
    aggregator.now += 60
    aggregator.receive(*plain(process, aggregator))
    aggregator.receive(*late, *later)
    assert aggregator.program().totals.checkouts == 12
    process.pool.work(3)
    aggregator.now += 2
    aggregator.receive(*plain(process, aggregator))
    assert aggregator.program().totals.checkouts == 15


def test_a_counter_that_is_reset_while_the_clock_is_set_back_counts_as_soon_as_no_datagram_can_be_late(
    aggregator, process
):
    aggregator.receive(*seed_only(plain(process, aggregator)))
    process.clock_error = -3600.0
    process.pool.counters = process.pool.counters._replace(checkouts=2)  # It was 7.
    shown = []
    for _ in range(2):
        aggregator.now += 60
        aggregator.receive(*seed_only(plain(process, aggregator)))
        shown.append(aggregator.program().totals.checkouts)
    assert shown == [7, 9]


@pytest.mark.parametrize("error", [-5.0, -60.0, -86_400.0, 86_400.0])
def test_an_earlier_clients_clock_that_is_set_does_not_silence_it(aggregator, process, error):
    """Trap 25."""
    aggregator.receive(*plain(process, aggregator))
    for clock_error in (error, 0.0):
        process.clock_error = clock_error
        for _ in range(6):
            process.pool.work(1)
            aggregator.now += 2
            aggregator.receive(*plain(process, aggregator))
    assert aggregator.program().processes == 1
    assert aggregator.program().totals.checkouts == 19


def test_the_lists_of_a_process_that_tells_its_pools_are_ignored(aggregator, process):
    process.born = aggregator.now
    aggregator.report(process)
    aggregator.receive(*plain(process, aggregator))
    assert (aggregator.program().totals.checkouts, aggregator.program().used) == (7, 3)


def test_a_process_that_turns_from_lists_to_pools_is_not_counted_twice(aggregator, process):
    aggregator.receive(*plain(process, aggregator))
    process.pool.work(1)
    aggregator.every_interval(process)
    process.pool.work(1)
    aggregator.every_interval(process)
    assert (aggregator.program().totals.checkouts, aggregator.program().used) == (8, 3)


def test_both_kinds_sum_up_side_by_side(aggregator, process):
    ours = ModelProcess("9:aaaaaa", born=aggregator.now)
    ours.pool.gauges = Gauges(idle=1, used=1)
    ours.pool.work(2)
    aggregator.report(ours)
    aggregator.receive(*seed_only(plain(process, aggregator)))
    row = aggregator.host()
    assert (row.processes, row.used, row.totals.checkouts, row.since_start.use.count) == (2, 4, 9, 2)
    assert row.max_open is None
    assert row.interval_peaks.used_bound is None
    aggregator.now += 10.1
    aggregator.snapshot()
    aggregator.every_interval(ours, times=3)
    assert aggregator.host().interval_peaks.used_bound == 1


def test_a_standard_packet_with_several_lists_counts_each(aggregator, process):
    """Trap 36."""
    packet = b"".join(plain(process, aggregator))
    assert aggregator.receive(packet) == [None]
    assert (aggregator.program().used, aggregator.program().totals.checkouts) == (3, 7)
