"""Which unknown process may have been counted and forgotten: all others count in full."""

import random
import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolhouse.clock import SystemClock
from poolhouse.collectd_plugin.server import ServerPlugin
from poolhouse.daemon.server import Daemon
from poolhouse.fleet.fleet import NO_MEMORY
from poolhouse.fleet.forgotten import BIRTH_ERROR, BITS_PER_KEY, Forgotten
from poolhouse.fleet.limits import FleetLimits
from poolhouse.fleet.members import GRACE
from poolhouse.meter.signs import PoolSigns, SiteReading
from support.fake_collectd import FakeCollectd
from support.reporting import ModelProcess
from support.shortage import Shortage, assert_whole

SECRET = bytes(range(16))


def key(number: int, program: str = "nova") -> tuple[str, str, str]:
    return "web1", program, f"{number}:{number:06x}"


def capacity(size: int) -> int:
    return int(8 * size / BITS_PER_KEY)


def test_of_the_same_age_only_the_forgotten_ones_are_found():
    forgotten = Forgotten(1024, SECRET)
    for number in range(50):
        forgotten.note(key(number), 100.0 + number, 200.0, may_return=True)
    assert all(forgotten.may_hold(key(number), 100.0 + number) for number in range(50))
    assert not any(forgotten.may_hold(key(number), 100.0) for number in range(50, 100))
    # Younger than the youngest of them by more than clocks and networks explain.
    assert not forgotten.may_hold(key(1), 149.0 + BIRTH_ERROR)


def test_a_full_filter_finds_one_in_a_hundred_others():
    forgotten, full = Forgotten(1024, SECRET), capacity(1024)
    for number in range(full):
        forgotten.note(key(number), 100.0, 200.0, may_return=True)
    found = sum(forgotten.may_hold(key(number), 100.0) for number in range(full, full + 5000))
    assert 25 < found < 75  # 50 are expected, with a standard deviation of 7.


def test_the_filter_is_emptied_when_it_is_full_and_the_ages_of_its_processes_stay():
    forgotten, full = Forgotten(64, SECRET), capacity(64)
    for number in range(1000):
        forgotten.note(key(number), float(number), 2000.0, may_return=True)
    emptied_at = 1000 - 1 - (1000 - 1) % full
    assert forgotten.may_hold(key(-1), emptied_at - 1 + BIRTH_ERROR - 0.1)
    # Those that were forgotten since have left places.
    assert not all(forgotten.may_hold(key(-n), emptied_at + BIRTH_ERROR) for n in range(1, 20))
    assert all(forgotten.may_hold(key(number), float(number)) for number in range(1000))


def test_the_same_process_forgotten_again_and_again_takes_no_more_room():
    forgotten = Forgotten(64, SECRET)
    for _ in range(10 * capacity(64)):
        forgotten.note(key(1), 100.0, 200.0, may_return=True)
    assert not forgotten.may_hold(key(2), 100.0)


def test_late_datagrams_of_a_process_that_said_goodbye_make_nobody_else_look_forgotten():
    forgotten = Forgotten(64, SECRET)
    forgotten.note(key(1), 100.0, 200.0, may_return=False)
    assert not forgotten.may_hold(key(1), 100.0)  # None of its age can return.
    forgotten.note(key(2), 150.0, 200.0, may_return=True)
    assert forgotten.may_hold(key(1), 100.0)
    assert not forgotten.may_hold(key(3), 100.0)


def test_a_process_of_unknown_age_was_born_before_it_was_heard():
    forgotten = Forgotten(64, SECRET)
    forgotten.note(key(1), float("-inf"), 200.0, may_return=True)
    for number in range(2, 2 + capacity(64)):
        forgotten.note(key(number), 10.0, 20.0, may_return=True)
    assert forgotten.may_hold(key(1), 199.0)


def test_without_a_filter_all_of_that_age_may_have_been_forgotten():
    forgotten = Forgotten(0, SECRET)
    assert not forgotten.may_hold(key(2), 0.0)
    forgotten.note(key(1), 100.0, 200.0, may_return=True)
    assert forgotten.may_hold(key(2), 100.0 + BIRTH_ERROR - 0.1)
    assert not forgotten.may_hold(key(2), 100.0 + BIRTH_ERROR)


def test_a_sender_that_does_not_know_the_secret_cannot_choose_what_is_found():
    """Of two keys that one filter finds together, another filter finds one."""
    first, second = Forgotten(8, SECRET), Forgotten(8, bytes(16))
    for forgotten in (first, second):
        forgotten.note(key(0), 100.0, 200.0, may_return=True)
        forgotten.note(key(1), 100.0, 200.0, may_return=True)
    found = [[n for n in range(2, 20_000) if one.may_hold(key(n), 100.0)] for one in (first, second)]
    assert found[0]
    assert not set(found[0]) & set(found[1])


def test_each_aggregator_has_a_secret_of_its_own():
    fleets = [
        *(Daemon([])._hub.fleet for _ in range(2)),
        *(ServerPlugin(FakeCollectd(), SystemClock())._fleet for _ in range(2)),
    ]
    secrets = {fleet._forgotten._secret for fleet in fleets}
    assert len(secrets) == 4
    assert min(map(len, secrets)) >= 16


def test_names_of_any_text_are_found():
    forgotten = Forgotten(64, SECRET)
    odd = ("web\0", "\udcff", "名")
    forgotten.note(odd, 100.0, 200.0, may_return=True)
    assert forgotten.may_hold(odd, 100.0)


@given(
    size=st.sampled_from([1, 8, 64]),
    gone=st.lists(
        st.tuples(st.integers(0, 30), st.floats(-1e9, 1e9), st.floats(0, 1e6), st.booleans()), max_size=40
    ),
    late=st.floats(0, BIRTH_ERROR, exclude_max=True),
)
def test_a_forgotten_process_is_never_missed_and_a_younger_one_never_found(size, gone, late):
    forgotten = Forgotten(size, SECRET)
    births: dict[int, float] = {}
    latest = float("-inf")
    for number, born, age, may_return in gone:
        forgotten.note(key(number), born, born + age, may_return=may_return)
        latest = max(latest, born + BIRTH_ERROR)
        if may_return:
            births[number] = max(born, births.get(number, born))
        # Its datagrams take longer than before, as far as floats of this size tell.
        assert all(
            forgotten.may_hold(key(one), born + late) for one, born in births.items() if born + late < born + 60
        )
        assert not forgotten.may_hold(key(99), latest)


def test_a_forgotten_process_is_not_missed_if_memory_ends_at_any_line():
    """The 7th of them fills a filter of 8 bytes, so the next one empties it first."""
    first = 0
    while True:
        first += 1
        forgotten = Forgotten(8, SECRET)
        for number in range(capacity(8)):
            forgotten.note(key(number), float(number), 200.0, may_return=True)
        with Shortage(first, stays=False) as shortage:
            try:
                forgotten.note(key(9), 9.0, 200.0, may_return=True)
            except MemoryError:
                assert shortage.has_come
        known = capacity(8) + (not shortage.has_come)
        assert all(forgotten.may_hold(key(n), float(n)) for n in (*range(capacity(8)), 9)[:known]), first
        if not shortage.has_come:
            break
    assert first > 20  # It has more lines than that.


def test_memory_is_constant_however_many_are_forgotten():
    forgotten = Forgotten(64, SECRET)
    keys = [key(number) for number in range(500)]
    tracemalloc.start()
    try:
        for number, one in enumerate(keys):
            forgotten.note(one, float(number), 1e6, may_return=True)
        taken = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert taken < 500  # A few numbers; a byte for each key would be as much.
    assert len(forgotten._filter) == 64


def checkouts(aggregator) -> int:
    return aggregator.snapshot().fleet.totals.checkouts or 0


def flood(aggregator, count: int, prefix: str = "x") -> None:
    """So many invented processes report once, and are forgotten."""
    for number in range(count):
        aggregator.report(ModelProcess(f"{number}:{prefix}", f"{prefix}{number}", born=aggregator.now))
    aggregator.now += 3600.0
    aggregator.fleet.expire(aggregator.now)


def process_of(aggregator, token: str = "1:aaaaaa", **how) -> ModelProcess:
    return ModelProcess(token, born=aggregator.now, **how)


@pytest.fixture
def aggregator(make_aggregator):
    """One that forgets whoever falls silent."""
    return make_aggregator(FleetLimits(remembered=0))


def test_beside_a_flood_a_process_whose_first_report_was_lost_counts_in_full(aggregator):
    process = process_of(aggregator)
    process.pool.work(6)
    process.report(aggregator.now)  # The kernel drops it.
    flood(aggregator, 20)
    process.pool.work(1)
    aggregator.report(process)
    process.pool.work(1)
    aggregator.every_interval(process)
    assert checkouts(aggregator) == aggregator.program().totals.checkouts == 8
    assert aggregator.program().since_start.use.count == 8


def test_so_do_the_lines_that_it_reports(aggregator):
    line = SiteReading("nova/views.py:10 in get", returned=10, held_s=20.0)
    other, process = process_of(aggregator, "2:bbbbbb"), process_of(aggregator)
    other.pool.signs = process.pool.signs = PoolSigns(sites=(line,))
    aggregator.report(other)
    flood(aggregator, 20)
    aggregator.report(process)
    (holder,) = aggregator.snapshot().holders
    assert (holder.site.returned, holder.site.held_s) == (20, 40.0)


def test_a_process_that_the_flood_has_forgotten_is_not_counted_again(aggregator):
    process, other = process_of(aggregator), process_of(aggregator, "2:bbbbbb")
    process.pool.work(6)
    aggregator.every_interval(process)
    flood(aggregator, 20)
    process.pool.work(1)
    aggregator.report(process)
    assert checkouts(aggregator) == 6
    process.pool.work(1)
    aggregator.every_interval(process)
    assert checkouts(aggregator) == 7
    # Nor when it was forgotten for a second time.
    flood(aggregator, 20, "y")
    aggregator.report(process, other)
    assert checkouts(aggregator) == 7


def test_what_came_before_the_aggregator_does_not_count_beside_a_flood_either(aggregator):
    process = ModelProcess(born=0.0)
    process.pool.work(6)
    flood(aggregator, 20)
    aggregator.report(process)
    process.pool.work(1)
    aggregator.every_interval(process)
    assert checkouts(aggregator) == 1


def test_a_living_process_that_was_displaced_is_not_counted_again(make_aggregator):
    aggregator = make_aggregator(FleetLimits(processes=1))
    process = process_of(aggregator)
    process.pool.work(6)
    aggregator.report(process)
    aggregator.now += GRACE
    aggregator.report(ModelProcess("2:bbbbbb", "x", born=aggregator.now))
    process.pool.work(1)
    aggregator.now += GRACE
    aggregator.report(process)
    assert checkouts(aggregator) == 6


def test_after_a_clear_who_was_born_before_counts_from_the_next_report_and_who_was_born_later_in_full(
    make_aggregator,
):
    aggregator = make_aggregator(FleetLimits(remembered=0, forgotten_bytes=8))
    older = process_of(aggregator)
    flood(aggregator, 3 * capacity(8))
    aggregator.now += BIRTH_ERROR
    younger = process_of(aggregator, "2:bbbbbb")
    for process in (older, younger):
        process.pool.work(5)
    flood(aggregator, 1, "y")
    aggregator.report(older, younger)
    assert checkouts(aggregator) == 5


def test_a_node_among_others_counts_such_a_process_from_its_next_report_on(make_aggregator):
    """Another node may have counted and forgotten it, and tell a third one so."""
    aggregator = make_aggregator(FleetLimits(remembered=0).for_cluster())
    process = process_of(aggregator)
    process.pool.work(6)
    flood(aggregator, 20)
    aggregator.report(process)
    assert checkouts(aggregator) == 0


@pytest.mark.parametrize("is_added", [False, True])
def test_a_process_is_not_counted_twice_if_memory_ends_while_it_is_forgotten(
    make_aggregator, monkeypatch, is_added
):
    aggregator = make_aggregator(FleetLimits(processes=1))
    process, other = process_of(aggregator), process_of(aggregator, "2:bbbbbb")
    for one in (process, other):
        one.pool.work(6)
    aggregator.report(process)
    aggregator.now += GRACE
    with monkeypatch.context() as patched:
        add = Forgotten._add

        def fails(*of: Any) -> None:
            if is_added:
                add(*of)
            raise MemoryError

        patched.setattr(Forgotten, "_add", fails)
        assert aggregator.receive(other.report(aggregator.now)[0]) == [NO_MEMORY]
    for one in (other, process, other):
        aggregator.now += 3600.0
        aggregator.fleet.expire(aggregator.now)
        aggregator.report(one)
    assert_whole(aggregator.fleet)
    assert checkouts(aggregator) == 12


class Fate:
    """A process, and what an aggregator that misses nothing has counted of it."""

    def __init__(self, process: ModelProcess) -> None:
        self.process = process
        self.is_known = self.was_known = False
        self.base = self.newest = self.counted = 0

    def arrive(self) -> None:
        done = self.process.pool.counters.checkouts or 0
        if not self.is_known:
            self.counted += self.newest - self.base
            self.base = done if self.was_known else 0
        self.newest, self.is_known, self.was_known = done, True, True

    @property
    def total(self) -> int:
        return self.counted + self.newest - self.base


@pytest.mark.parametrize(("size", "seed"), [(0, 0), (8, 1), (8, 2), (4096, 3), (4096, 4)])
def test_totals_never_fall_and_nothing_counts_twice_whatever_is_forgotten(make_aggregator, size, seed):
    """Processes come, lose reports, fall silent, return and are displaced."""
    rng = random.Random(seed)
    limits = FleetLimits(processes=6, remembered=2, memory=90.0, forgotten_bytes=size)
    aggregator, fates, before, spawned = make_aggregator(limits), [], 0, 0
    for step in range(200):
        aggregator.now += rng.choice([0.5, 2.0, 2.0, 15.0])
        if len(fates) < 10 or rng.random() < 0.1:
            spawned += 1
            fates.append(Fate(process_of(aggregator, f"{spawned}:{spawned:06x}", program=f"p{spawned % 3}")))
        fate = rng.choice(fates[-15:])
        fate.process.pool.work(rng.randrange(5))
        datagrams = fate.process.report(aggregator.now)
        if rng.random() < 0.6 and aggregator.receive(*datagrams) == [None] * len(datagrams):
            fate.arrive()
        aggregator.fleet.expire(aggregator.now)
        known = {process.token for process in aggregator.fleet._processes.values()}
        for one in fates:
            one.is_known = one.process.token in known
        if step % 4:
            continue
        shown, most = checkouts(aggregator), sum(one.total for one in fates)
        assert before <= shown <= most
        # In a filter of 4,096 bytes, none of the hundred processes here is found by chance.
        assert shown == most or size < 4096
        before = shown
    assert sum(one.counted > 0 for one in fates) > 5, "some were counted, forgotten, and counted again"
