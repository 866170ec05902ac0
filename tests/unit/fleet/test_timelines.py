"""The last hour: what a ring of samples keeps of a fleet, in virtual time."""

import tracemalloc

import pytest

from poolhouse.fleet.budget import Budget
from poolhouse.fleet.fleet import Fleet
from poolhouse.fleet.limits import FleetLimits
from poolhouse.fleet.timelines import FLEET, POINTS, STEP, TIMELINE_BYTES, Past, Timelines
from poolhouse.meter.histogram import Histogram
from support.reports import report

SHOP = ("", "shop")


class World:
    """A fleet, sampled as a shell does it."""

    def __init__(self, limits: FleetLimits | None = None) -> None:
        self.now = 0.0
        self.fleet = Fleet(limits or FleetLimits(), 0.0)
        self.timelines: Timelines = self.fleet.timelines
        self.numbers: dict[str, int] = {}

    def report(self, program: str = "shop", **changes: object) -> None:
        number = self.numbers[program] = self.numbers.get(program, 0) + 1
        told = {"interval": 2.0, "uptime": self.now, "token": f"1:{program}"} | changes
        for datagram in report(program, number=number, **told):
            assert self.fleet.receive(datagram, self.now, 1000.0 + self.now) is None

    def look(self, *, is_sample: bool) -> None:
        overview = self.fleet.overview(self.now)
        if is_sample:
            self.timelines.begin(1000.0 + self.now)
        take = self.timelines.record if is_sample else self.timelines.watch
        take(FLEET, overview.fleet)
        for _, program, state in self.fleet.row_states(overview.programs, self.now):
            take(("", program), state)

    def past(self, key: tuple[str, str] = SHOP) -> Past:
        past = self.timelines.past(key)
        assert past is not None
        return past


def test_a_burst_between_two_samples_is_seen() -> None:
    world = World()
    world.report(used=1)
    world.look(is_sample=True)
    for used, waiting in ((2, 0), (9, 3), (1, 0), (1, 0), (1, 0)):
        world.now += STEP / 5
        world.report(used=used, waiting=waiting)
        world.look(is_sample=False)
    world.look(is_sample=True)
    for key in (SHOP, FLEET):
        assert (world.past(key).used[-1], world.past(key).waiting[-1]) == (9.0, 3.0)


def test_counts_become_rates_and_waits_a_quantile_of_their_own_seconds() -> None:
    world = World()
    times = Histogram()
    times.record_all([5_000_000_000] * 100)
    world.report(checkouts=1000, timeouts=7, wait=times.copy())
    world.look(is_sample=True)
    world.now += STEP
    times.record_all([1_000_000] * 50)
    world.report(checkouts=1050, timeouts=9, wait=times)
    world.look(is_sample=True)
    past = world.past()
    assert past.times == [1000.0, 1010.0]
    assert past.checkouts_per_second == [None, pytest.approx(5.0)]
    assert past.timeouts == [None, 2.0]
    assert past.wait_p99_seconds == [None, pytest.approx(0.001, rel=0.05)]
    assert past.max_open == [None, None]


def test_what_was_not_sampled_is_not_known() -> None:
    world = World()
    world.report("other", interval=600.0)
    world.report(used=1)
    world.look(is_sample=True)
    for _ in range(3):
        world.now += 20.0
        world.look(is_sample=True)
    # It was there after the first sample, and gone before the second.
    assert world.past().used == [1.0, 1.0, None, None]
    world.report(used=2)
    world.now += 1.0
    world.look(is_sample=True)
    assert world.past().used == [1.0, 1.0, None, None, 2.0]


def test_an_hour_is_kept_and_what_is_older_is_overwritten() -> None:
    world = World()
    world.report(used=3, interval=600.0)
    for _ in range(POINTS + 5):
        world.now += STEP / 10
        world.look(is_sample=True)
    past = world.past()
    assert len(past.times) == len(past.used) == POINTS
    assert past.used == [3.0] * POINTS
    assert past.times == sorted(past.times)
    assert world.timelines.used(SHOP, 30) == [3.0] * 30
    assert world.timelines.used(("", "nobody"), 30) == []


def test_a_moment_is_one_sample_of_a_row() -> None:
    world = World()
    for used in range(POINTS + 5):
        world.report(used=used, interval=600.0)
        world.look(is_sample=True)
        world.now += STEP
    timelines, newest = world.timelines, 1000.0 + world.now - STEP
    number, taken_at = timelines.sample_at(newest - 24.0) or (0, 0.0)
    assert taken_at == newest - 20.0
    for key in (SHOP, FLEET):
        moment = timelines.moment(key, number)
        assert moment is not None
        assert (moment.used, moment.waiting, moment.checkouts_per_second) == (POINTS + 2.0, 0.0, 0.0)
    assert timelines.moment(("", "nobody"), number) is None
    # An hour is kept, and nothing of what has not been yet.
    assert [timelines.sample_at(time) for time in (newest - STEP * (POINTS + 1), newest + STEP + 1)] == [
        None,
        None,
    ]
    assert [timelines.moment(SHOP, one) for one in (timelines.number - POINTS, timelines.number + 1)] == [
        None,
        None,
    ]
    assert Timelines(Budget(10**6), 5).sample_at(1000.0) is None


def test_a_row_has_no_moment_before_its_first_sample() -> None:
    world = World()
    world.report(used=3, interval=600.0)
    world.look(is_sample=True)
    world.now += STEP
    world.report("late", used=4, interval=600.0)
    world.look(is_sample=True)
    assert [world.timelines.moment(("", "late"), number) is None for number in (1, 2)] == [True, False]


def test_rows_that_are_gone_for_an_hour_are_forgotten_with_their_bytes() -> None:
    world = World()
    world.report()
    world.look(is_sample=True)
    assert len(world.timelines) == 2
    before = world.fleet._budget.used
    for _ in range(POINTS + 1):
        world.now += STEP
        world.look(is_sample=True)
    assert len(world.timelines) == 1
    assert world.timelines.past(SHOP) is None
    assert before - world.fleet._budget.used >= TIMELINE_BYTES


def test_new_rows_take_the_places_of_gone_ones_and_of_no_others() -> None:
    world = World(FleetLimits(programs=2))
    for program in ("a", "b"):
        world.report(program, interval=600.0)
    world.look(is_sample=True)
    assert len(world.timelines) == 3
    world.now += 60.0
    world.report("b", interval=600.0)
    world.report("c", interval=600.0)  # In the place of "a", which reported once only.
    world.look(is_sample=True)
    assert world.timelines.past(("", "a")) is not None  # It was there a moment ago, and may come back.
    assert world.timelines.past(("", "c")) is None
    world.now += STEP
    world.look(is_sample=True)
    assert world.timelines.past(("", "a")) is None
    assert [world.past(("", program)).used[-1] for program in ("b", "c")] == [0.0, 0.0]


def test_a_full_budget_begins_no_timeline() -> None:
    world = World()
    world.report()
    world.fleet._budget.limit = 0
    world.look(is_sample=True)
    assert len(world.timelines) == 0


def test_a_timeline_weighs_about_what_is_counted() -> None:
    world = World()
    for number in range(50):
        world.report(f"p{number}", interval=600.0, wait=Histogram())
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        world.look(is_sample=True)
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert 0.5 * TIMELINE_BYTES < (after - before) / 51 < TIMELINE_BYTES
