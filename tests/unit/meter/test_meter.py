"""The meter against truths that are counted elsewhere."""

import gc
import itertools
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolhouse.meter.histogram import Histogram
from poolhouse.meter.meter import BATCH, HighWater, Meter, Tally
from poolhouse.meter.reading import MARKS, Counters, Gauges, Limits, Mark, PoolReading

NOTHING = Gauges()


def read(meter: Meter, number: int = 1, gauges: Gauges = NOTHING) -> PoolReading:
    return meter.read(number, lambda: gauges, Limits(), name="db/shop", kind="QueuePool")


def of(values: list[int]) -> Histogram:
    histogram = Histogram()
    histogram.record_all(values)
    return histogram


def in_threads(count: int, work) -> None:
    together = threading.Barrier(count)

    def run(which: int) -> None:
        together.wait()
        work(which)

    threads = [threading.Thread(target=run, args=(which,)) for which in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_a_new_meter_reads_as_nothing():
    reading = read(Meter())
    assert reading.counters == Counters()
    assert reading.gauges == Gauges()
    assert reading.wait == reading.use == reading.create == Histogram()
    assert reading.marks == (Mark(1),)


def test_every_duration_is_in_its_histogram_and_counted():
    meter = Meter()
    meter.waits.extend([5e-6, 6e-6])
    meter.timeouts.append(30.0)
    meter.uses.append(0.007)
    meter.creates.extend([0.001] * 3)
    reading = read(meter, gauges=Gauges(idle=1, used=1))
    assert reading.wait == of([5_000, 6_000, 30_000_000_000])
    assert reading.use == of([7_000_000])
    assert reading.create == of([1_000_000] * 3)
    assert reading.counters == Counters(checkouts=2, timeouts=1, connects=3, disconnects=1)


@given(st.lists(st.integers(0, 10**10)), st.lists(st.integers(0, 10**10)))
def test_readings_are_cumulative_and_later_ones_leave_earlier_ones_alone(first: list[int], second: list[int]):
    meter = Meter()
    meter.waits.extend(value / 1e9 for value in first)
    earlier = read(meter)
    meter.waits.extend(value / 1e9 for value in second)
    later = read(meter, 2)
    assert earlier.wait == of(first)
    assert later.wait == of(first + second)
    assert later.counters.checkouts == len(first) + len(second)


def test_tallies_count_what_they_are_named_for():
    meter = Meter()
    names = ["invalidated", "commits", "rollbacks", "transactions", "acquire_errors", "connect_errors"]
    for times, name in enumerate(names, 1):
        for _ in range(times):
            getattr(meter, name).add()
    counters = read(meter)._asdict()["counters"]._asdict()
    assert [counters[name] for name in names] == [1, 2, 3, 4, 5, 6]
    assert read(meter, 2).counters == Counters(**counters)


def test_disconnects_are_connects_and_adopted_ones_less_what_is_open():
    meter = Meter()
    meter.creates.extend([1, 1, 1])
    meter.adopted.add()
    assert read(meter, 1, Gauges(used=1, idle=1, detached=1)).counters.disconnects == 1


def test_disconnects_never_fall_when_a_look_sees_a_change_half_done():
    meter = Meter()
    meter.creates.append(1)
    assert read(meter, 1, Gauges()).counters.disconnects == 1
    assert read(meter, 2, Gauges(used=1)).counters.disconnects == 1


def test_a_connection_that_comes_while_the_gauges_are_looked_at_is_no_disconnect():
    meter = Meter()

    def look() -> Gauges:
        meter.creates.append(1)
        return Gauges(used=1)

    reading = meter.read(1, look, Limits(), name="", kind="")
    assert reading.counters.disconnects == 0
    assert read(meter, 2, Gauges(used=1)).counters.disconnects == 0


def test_the_last_five_intervals_are_told_newest_first():
    meter = Meter()
    for number in range(1, 8):
        meter.used.reach(number * 10)
        reading = read(meter, number)
    assert [(mark.interval, mark.used) for mark in reading.marks] == [(7, 70), (6, 60), (5, 50), (4, 40), (3, 30)]
    assert len(reading.marks) == MARKS
    assert reading.peak == Mark(7, 70, 0, 0)


def test_what_is_true_at_the_start_of_an_interval_is_in_its_mark():
    meter = Meter()
    assert read(meter, 1, Gauges(idle=2, used=3, waiting=1)).marks[0] == Mark(1, 3, 1, 5)
    assert read(meter, 2).marks[0] == Mark(2, 3, 1, 5)
    reading = read(meter, 3)
    assert reading.marks[0] == Mark(3)
    assert reading.peak == Mark(3, 3, 1, 5)


def test_a_high_water_mark_that_nobody_reads_stays_small_and_forgets_nothing() -> None:
    mark = HighWater()
    mark.reach(7_000)
    for value in range(5_000):
        mark.reach(value)
    assert len(mark._reached) <= 257
    assert mark.highest() == 7_000
    assert (mark.close(0), mark.peak, mark.highest()) == (7_000, 7_000, 7_000)


@given(st.lists(st.lists(st.integers(0, 50))))
def test_marks_are_the_largest_values_of_their_intervals(intervals: list[list[int]]):
    mark, before, everything = HighWater(), 0, [0]
    for values in intervals:
        for value in values:
            mark.tell(value)
        now = values[-1] if values else before
        everything += [*values, before]
        assert mark.close(now) == max([before, *values])
        before = now
    assert mark.peak == max(everything)


def test_a_level_stored_late_by_a_thread_that_lost_a_race_hides_nothing():
    """The store and the append of `reach` with the end of an interval at each place between them."""
    for cut in range(3):
        mark = HighWater()
        steps = [lambda: setattr(mark, "level", 7), lambda: mark._reached.append(7)]  # noqa: B023
        steps.insert(cut, lambda: mark.close(0))  # noqa: B023
        for step in steps:
            step()
        mark.tell(7)
        assert mark.close(0) == 7 or mark.peak == 7
        assert mark.level <= mark._at_start


def test_a_batch_is_folded_by_whoever_reaches_it_and_no_value_is_lost(busy_switching):
    meter, each, threads = Meter(), 3 * BATCH, 4

    def measure(which: int) -> None:
        meter.waits.append(0.001 * (which + 1))
        meter.uses.append(0.002 * (which + 1))
        meter.transactions.add()
        if len(meter.waits) >= BATCH:
            meter.fold()

    def work(which: int) -> None:
        for _ in range(each):
            measure(which)

    in_threads(threads, work)
    # The first thread to reach a batch folded one. How much the others appended during the last fold depends on
    # the scheduler; it waits for the next append.
    assert len(meter.waits) <= threads * each - BATCH
    measure(0)
    assert len(meter.waits) < BATCH
    reading = read(meter)
    assert reading.counters.checkouts == reading.counters.transactions == threads * each + 1
    expected = Histogram()
    for which in range(threads):
        expected.record_all([1_000_000 * (which + 1)] * (each + (which == 0)))
    assert reading.wait == expected
    assert reading.use is not None
    assert reading.use.count == threads * each + 1


def test_readings_beside_working_threads_never_fall_and_end_exact(busy_switching):
    meter, each, threads = Meter(), 4_000, 3
    checkouts, done = [], []

    def work(which: int) -> None:
        if which == 0:
            numbers = itertools.count(1)
            while len(done) < threads - 1:
                checkouts.append(read(meter, next(numbers)).counters.checkouts)
            return
        for _ in range(each):
            meter.waits.append(1)
            if len(meter.waits) >= BATCH:
                meter.fold()
        done.append(which)

    in_threads(threads, work)
    assert checkouts == sorted(checkouts)
    assert read(meter, 10**6).counters.checkouts == (threads - 1) * each


def test_the_mark_of_many_threads_is_exact(busy_switching):
    """All threads hold at once, so the mark is their number, whoever was slow to tell."""
    count, meter, held = 8, Meter(), []
    all_hold = threading.Barrier(count)

    def work(which: int) -> None:
        held.append(which)
        meter.used.tell(len(held))
        all_hold.wait()
        held.pop()

    for number in range(1, 30):
        in_threads(count, work)
        assert read(meter, number).marks[0].used == count


def test_who_finds_the_meter_folding_leaves_the_rest_to_the_next():
    meter = Meter()
    meter.waits.append(1)
    token = meter._lock.pop()  # as another thread has it in the middle of folding
    meter.fold()
    assert read(meter).counters.checkouts == 0
    meter._lock.append(token)
    assert read(meter, 2).counters.checkouts == 1


def test_a_finalizer_that_runs_while_its_own_thread_folds_does_not_wait():
    meter = Meter()

    class Dropped:
        def __gt__(self, other: object) -> bool:
            meter.uses.append(5e-9)
            meter.fold()
            raise KeyboardInterrupt

    meter.waits.extend([Dropped()])  # type: ignore[list-item]
    with pytest.raises(KeyboardInterrupt):
        meter.fold()
    gc.collect()
    assert read(meter).use == of([5])


def test_a_reset_meter_starts_from_nothing_and_bound_methods_go_on():
    meter = Meter()
    append, transaction = meter.waits.append, meter.transactions.add
    append(1)
    transaction()
    meter.adopted.add()
    meter.used.reach(4)
    read(meter, 1, Gauges(idle=1))
    append(1)
    transaction()
    meter._lock.pop()  # a thread of the parent was folding
    meter.reset()
    empty = read(meter, 1)
    assert empty == read(Meter(), 1)
    append(7e-9)
    transaction()
    reading = read(meter, 2)
    assert (reading.counters.checkouts, reading.counters.transactions, reading.wait) == (1, 1, of([7]))


def test_a_tally_read_often_is_still_exact():
    tally = Tally()
    seen = []
    for _ in range(5):
        tally.add()
        seen += [tally.read(), tally.read()]
    assert seen == [1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
