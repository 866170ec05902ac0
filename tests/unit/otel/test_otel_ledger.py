"""Sums of pools by their names, and durations that stand for those of a histogram."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from poolhouse.meter.histogram import BOUNDS_NS, Histogram
from poolhouse.meter.reading import Counters, Gauges, Limits, PoolReading
from poolhouse.otel.ledger import MOST_NAMES, OTHER, Ledger, representatives
from support.unread import Source


def histogram(*nanoseconds: int, scale: int = 3) -> Histogram:
    made = Histogram()
    made.record_all(nanoseconds)
    made.downscale(scale)
    return made


def reading(name: str = "db", **fields: Any) -> PoolReading:
    timeouts = fields.pop("timeouts", 0)
    return PoolReading(0, name, "QueuePool", counters=Counters(timeouts=timeouts), **fields)


def waits(ledger: Ledger, name: str = "db") -> int:
    grown = ledger.grown.get((name, "wait"))
    return 0 if grown is None else grown.count


def test_only_what_is_new_is_added() -> None:
    ledger, source = Ledger(), Source()
    ledger.take(source, reading(timeouts=2, wait=histogram(5, 10**9)))
    ledger.take(source, reading(timeouts=2, wait=histogram(5, 10**9)))
    ledger.take(source, reading(timeouts=3, wait=histogram(5, 10**9, 10**9)))
    assert ledger.timeouts == {"db": 3}
    assert ledger.grown["db", "wait"] == histogram(5, 10**9, 10**9)


def test_what_was_told_is_taken_with_the_next_readings() -> None:
    ledger, read, elsewhere, gone = Ledger(), Source(), Source(), Source()
    ledger.tell([(elsewhere, reading(timeouts=1)), (gone, reading("other", timeouts=4))])
    ledger.tell([(elsewhere, reading(timeouts=2))])
    assert ledger.timeouts == {}
    gone.gone = True
    ledger.settle([(read, reading(timeouts=5))])
    assert ledger.timeouts == {"db": 7, "other": 4}
    assert ledger.now().keys() == {"db"}
    ledger.settle([])
    assert ledger.timeouts == {"db": 7, "other": 4}


def test_sums_of_a_name_outlive_its_pools() -> None:
    ledger = Ledger()
    for _ in range(3):
        source = Source()
        ledger.take(source, reading(timeouts=1, gauges=Gauges(used=1)))
        ledger.take(source, reading(timeouts=2, pools=0))
    assert ledger.timeouts == {"db": 6}
    assert ledger.now() == {}


def test_pools_of_one_name_are_summed() -> None:
    ledger = Ledger()
    ledger.take(Source(), reading(gauges=Gauges(1, 2, 0, 3), limits=Limits(5, 5, 0)))
    ledger.take(Source(), reading(gauges=Gauges(1, 1, 1, 1), limits=Limits(None, 2, 1)))
    ledger.take(Source(), reading("other", gauges=Gauges(idle=7)))
    now = ledger.now()
    assert now["db"] == (Gauges(2, 3, 1, 4), Limits(None, 7, 1))
    assert now["other"].gauges == Gauges(idle=7)


def test_a_pool_that_gets_its_name_later_counts_once() -> None:
    ledger, source = Ledger(), Source()
    ledger.take(source, reading("sqlite", timeouts=1, wait=histogram(10**9)))
    ledger.take(source, reading("shop.db", timeouts=3, wait=histogram(10**9, 10**9)))
    assert ledger.timeouts == {"sqlite": 1, "shop.db": 2}
    assert (waits(ledger, "sqlite"), waits(ledger, "shop.db")) == (1, 1)
    assert set(ledger.now()) == {"shop.db"}


def test_what_a_pool_does_not_know_is_not_counted() -> None:
    ledger = Ledger()
    ledger.take(Source(), reading(timeouts=None))
    assert (ledger.timeouts, ledger.grown) == ({}, {})


def test_a_counter_that_falls_lowers_nothing() -> None:
    ledger, source = Ledger(), Source()
    ledger.take(source, reading(timeouts=5, wait=histogram(1, 1)))
    ledger.take(source, reading(timeouts=1, wait=histogram(1)))
    assert ledger.timeouts == {"db": 5}
    assert waits(ledger) == 2


def test_a_pool_that_ends_unheard_leaves_the_gauges() -> None:
    ledger, source = Ledger(), Source()
    ledger.take(source, reading(gauges=Gauges(used=1)))
    ledger.end_gone()
    assert ledger.now()
    source.gone = True
    ledger.end_gone()
    assert not ledger.now()


def test_names_are_bounded() -> None:
    ledger = Ledger()
    for number in range(MOST_NAMES + 5):
        ledger.take(Source(), reading(f"db{number}", timeouts=1))
    assert len(ledger.timeouts) == MOST_NAMES + 1
    assert ledger.timeouts[OTHER] == 5


@given(
    st.lists(st.integers(0, 2 * 10**12) | st.sampled_from(BOUNDS_NS), max_size=40),
    st.integers(-1, 3),
)
def test_what_stands_for_durations_has_their_buckets_and_their_sum(nanoseconds: list[int], scale: int) -> None:
    true = histogram(*nanoseconds, scale=scale)
    stand = representatives(true)
    again = Histogram()
    for value, number in stand:
        again.record_seconds([value] * number)
    again.downscale(scale)
    assert (again.zero, again.counts) == (true.zero, true.counts)
    known = [n for n in nanoseconds if BOUNDS_NS[0] < n <= BOUNDS_NS[-1]]
    if len(known) == len(nanoseconds):  # The zero bucket's sum is lost, and the last bucket has no upper bound.
        assert abs(again.sum_ns - true.sum_ns) <= 1e-6 * true.sum_ns + len(stand)


def test_the_last_reading_of_a_pool_that_was_left_out_counts_what_is_new() -> None:
    ledger, source = Ledger(), Source()
    ledger.take(source, reading(timeouts=2, wait=histogram(5), gauges=Gauges(used=1)))
    source.gone = True
    ledger.end_gone()
    assert ledger.now() == {}
    ledger.take(source, reading(timeouts=3, wait=histogram(5, 6), pools=0))
    assert ledger.timeouts == {"db": 3}
    assert waits(ledger) == 2


def test_a_reading_that_comes_late_changes_nothing() -> None:
    ledger, source = Ledger(), Source()
    older = reading(timeouts=2, wait=histogram(5))
    for pools in (1, 0):
        ledger.take(source, reading(timeouts=3, wait=histogram(5, 6), pools=pools))
        ledger.take(source, older)
        ledger.take(source, reading(timeouts=3, wait=histogram(5, 6), pools=pools))
        assert ledger.timeouts == {"db": 3}
        assert waits(ledger) == 2
