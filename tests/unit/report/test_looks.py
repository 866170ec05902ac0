"""When the reporter looks: in a time that a test moves by hand."""

from itertools import count
from math import inf
from typing import Any

import pytest

from poolhouse.meter.reading import PoolReading
from poolhouse.meter.signs import ProcessSigns
from poolhouse.report.destination import Destination
from poolhouse.report.dispatcher import Dispatcher
from poolhouse.report.looks import PAUSE_S, Looks
from poolhouse.report.stream import Identity
from poolhouse.sites import stalls
from poolhouse.sites.look import Hold
from poolhouse.sites.looker import Holding
from poolhouse.sites.tally import PoolLooks, SiteLooks
from poolhouse.testing.clock import VirtualClock
from support.fake_network import FakeNetwork

A_HOLD = Hold(SiteLooks(), (lambda: None).__code__, 0, 0.0, holder=-1)


class Pool:
    """A source that says who holds its connections."""

    def __init__(self) -> None:
        self.looks = PoolLooks()
        self.used = self.waiting = self.asked = 0
        self.error: Exception | None = None

    def holding(self) -> Holding:
        self.asked += 1
        if self.error is not None:
            raise self.error
        return Holding([A_HOLD] * self.used, self.waiting)

    def is_gone(self) -> bool:
        return False

    def read(self, number: int) -> PoolReading:
        return PoolReading(0, "db", "QueuePool")

    def after_fork(self) -> None:
        raise NotImplementedError


class StandingLoop:
    """An event loop that stands still for the first 0.45 s of each second."""

    def __init__(self, clock: VirtualClock) -> None:
        self.clock = clock
        self.posted: list[Any] = []

    def is_running(self) -> bool:
        return True

    def call_soon_threadsafe(self, callback: Any) -> None:
        self.posted.append(callback)
        if self.clock.monotonic() % 1 >= 0.45:
            self.turn()

    def turn(self) -> None:
        """Come to what was posted while it stood; to be called whenever somebody looks."""
        now = self.clock.monotonic()
        if now % 1 < 0.45 and self.posted and now - self.posted[0].__self__.posted_at < now % 1:
            return
        posted, self.posted = self.posted, []
        for callback in posted:
            callback()
            stamp = callback.__self__
            if stamp.posted_at % 1 < 0.45:
                stamp.answered_at = stamp.posted_at - stamp.posted_at % 1 + 0.45


class World:
    """A dispatcher in virtual time, and the moments at which it woke."""

    def __init__(self) -> None:
        stalls.forget_all()  # Loops of other tests, which may stand still.
        self.clock = VirtualClock()
        network = FakeNetwork(self.clock)
        network.names = {"web1": ["192.0.2.1"]}
        self.dispatcher = Dispatcher(
            self.clock, network, lambda: Identity("1:abcdef", self.clock.monotonic()), lambda: None
        )
        # By the real CPU time, looks would be rarer on a busy machine.
        self.dispatcher._looks._cpu = lambda: 0.0
        self.stream = self.dispatcher.stream(Destination("web1", 25827, "nova", "here", 2.0))
        self.pool = Pool()
        self.stream.add(self.pool)
        self.wakes: list[float] = []

    def live(self, seconds: float) -> list[float]:
        """The moments at which the thread was awake, from the beginning of these seconds."""
        began, wakes = self.clock.monotonic(), []
        until = began + seconds
        while (pause := self.dispatcher.turn()) + self.clock.monotonic() <= until:
            if pause:
                self.clock.advance(pause)
                wakes.append(round(self.clock.monotonic() - began, 3))
        self.clock.advance(until - self.clock.monotonic())
        return wakes

    def signs(self) -> ProcessSigns:
        return self.dispatcher._looks.signs()


@pytest.fixture
def world() -> World:
    made = World()
    made.live(0.5)
    return made


def test_while_nothing_is_out_the_thread_wakes_for_its_reports_alone(world: World) -> None:
    assert world.live(9.0) == [1.5, 3.5, 5.5, 7.5]
    assert world.pool.looks.looks == 0
    assert world.signs().looks == 0


def test_while_something_is_out_it_looks_ten_times_a_second(world: World) -> None:
    world.pool.used = 2
    world.live(1.6)
    asked = world.pool.asked
    world.live(10.0)
    # A report makes a look of its own.
    assert 95 <= world.pool.asked - asked <= 106
    assert world.pool.looks.used_sum == 2 * world.pool.looks.looks
    assert world.signs().looks == world.pool.looks.looks
    assert world.signs().late_looks == 0


@pytest.mark.parametrize("period_s", [0.1, 0.2])
def test_a_program_that_does_the_same_at_the_pace_of_the_looks_is_seen_in_all_that_it_does(
    world: World, period_s: float
) -> None:
    """A connection is out for a fifth of each period; seen at one phase only, it would be out always, or never."""

    class Periodic(Pool):
        def holding(self) -> Holding:
            return Holding([A_HOLD] if world.clock.monotonic() % period_s < period_s / 5 else [])

    periodic = Periodic()
    world.stream.add(periodic)
    world.pool.used = 1
    world.live(60.0)
    # 600 looks: the standard deviation is 0.016 where they are independent.
    assert periodic.looks.used_sum / world.pool.looks.looks == pytest.approx(0.2, abs=0.05)


def test_two_seconds_of_looks_that_find_nothing_end_the_series(world: World) -> None:
    world.pool.used = 1
    world.live(3.0)
    world.pool.used = 0
    asked = world.pool.asked
    world.live(1.5)
    world.pool.used = 1
    world.live(0.1)
    world.pool.used = 0
    world.live(1.5)
    assert world.dispatcher._looks.due < inf
    assert world.pool.asked - asked > 25
    world.live(1.0)
    assert world.dispatcher._looks.due == inf


def test_who_waits_is_reason_enough(world: World) -> None:
    world.pool.waiting = 3
    world.live(4.0)
    looks = world.pool.looks
    assert looks.looks == looks.looks_waiting
    assert looks.looks > 20


def test_a_source_that_does_not_say_who_holds_is_left_alone(world: World) -> None:
    class Plain:
        is_gone, read, after_fork = Pool.is_gone, Pool.read, Pool.after_fork

    plain: Any = Plain()
    world.stream.add(plain)
    world.pool.used = 1
    world.live(4.0)
    assert world.signs().looks > 20


def test_a_source_that_fails_is_told_of_once_and_costs_nobody_else(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    broken = Pool()
    broken.error = RuntimeError("no holders today")
    world.stream.add(broken)
    world.pool.used = 1
    world.live(10.0)
    assert world.pool.looks.looks > 80
    said = [record.getMessage() for record in caplog.records if record.name != "poolhouse.verdicts"]
    assert said == ["poolhouse cannot look at who holds connections"]


def test_a_look_that_took_long_is_followed_by_a_long_pause() -> None:
    clock, spent = VirtualClock(), count(step=0.006)
    looks, pool, pauses = Looks(clock, lambda: next(spent)), Pool(), []
    pool.used = 1
    for _ in range(400):
        looks.look([pool])
        pauses.append(looks.due - clock.monotonic())
        clock.advance(pauses[-1])
    # 2 s, and the standard deviation of the mean of 400 is 0.03 s.
    assert sum(pauses) / 400 == pytest.approx(2.0, abs=0.1)
    assert min(pauses) >= 1.0
    assert max(pauses) <= 3.0


def test_looks_are_due_at_the_pace_of_those_taken_and_ten_times_a_second_where_none_is() -> None:
    """A full pool is found however rare the looks are, and one that is seldom used is not taken for full."""
    clock, spent = VirtualClock(), 0.0

    def cpu() -> float:
        """0.6 ms of each look: 0.3 % of a core make one every 0.2 s of it."""
        nonlocal spent
        spent += 0.0006
        return spent

    looks, pool = Looks(clock, cpu), Pool()
    pool.used = 1

    def live(seconds: float) -> tuple[int, float]:
        """How many looks found something in so many seconds, with a report every two, and how many were due."""
        found, due, until = pool.looks.looks, looks.looks_due, clock.monotonic() + seconds
        while clock.monotonic() < until:
            looks.look([pool])
            clock.advance(min(looks.due - clock.monotonic(), 2.0))
        return pool.looks.looks - found, looks.looks_due - due

    found, due = live(80.0)
    assert found == due == pytest.approx(400 + 40, abs=40), "with those of 40 reports"
    pool.used = 0
    found, due = live(20.0)
    assert found == 0
    # Twenty looks that find nothing take four seconds and end the series.
    assert due == pytest.approx(20 + 10 * 16, abs=21)
    pool.used = 1
    found, due = live(4.0)
    # At a report it is seen that something is out again.
    assert found == pytest.approx(20, abs=1)
    assert due == pytest.approx(20 + 20, abs=1)


def test_loops_are_asked_ten_times_a_second_where_looks_are_rare() -> None:
    """A look costs 1.5 ms, which makes two a second, and a question 0.03 ms, which makes them a little rarer."""
    stalls.forget_all()
    world = World()
    spent, loop = 0.0, StandingLoop(world.clock)
    looks = world.dispatcher._looks
    looks._cpu = lambda: spent
    holding, look_at = world.pool.holding, looks._stalls.look

    def costly_holding() -> Holding:
        nonlocal spent
        spent += 0.00147
        return holding()

    def asked(late_s: float) -> None:
        nonlocal spent
        spent += 0.00003
        assert late_s == 0
        loop.turn()
        look_at(late_s)

    world.pool.holding = costly_holding  # type: ignore[method-assign]
    looks._stalls.look = asked  # type: ignore[method-assign]
    looks._stalls._line_of = lambda thread: (A_HOLD.code, 0, {})
    stalls.remember(loop, 7)
    world.pool.used = 1
    try:
        world.live(4.0)
        seen, stalled_s, cpu_s = world.pool.asked, world.signs().stalled_s, spent
        world.live(60.0)
    finally:
        stalls.forget_all()
    assert 90 <= world.pool.asked - seen <= 140
    # Of each second, it stands for 0.45; a stamp comes 0.05 s after the beginning, on average.
    assert world.signs().stalled_s - stalled_s == pytest.approx(60 * 0.4, rel=0.1)
    assert world.signs().longest_stall_s == pytest.approx(0.45, abs=0.1)
    assert spent - cpu_s < 60 * 0.003 + 30 * 0.0015, "beside the looks of 30 reports"


def test_late_looks_are_counted_and_those_after_a_lookup_are_not_late() -> None:
    clock = VirtualClock()
    looks, pool = Looks(clock, lambda: 0.0), Pool()
    pool.used = 1
    for late in (0.0, 0.0, 0.3, 0.0, 0.04):
        looks.look([pool])
        clock.advance(PAUSE_S + late)
    looks.put_off()
    looks.look([pool])
    assert (looks.signs().looks, looks.signs().late_looks) == (6, 1)


def test_connection_seconds_are_those_between_the_looks() -> None:
    clock = VirtualClock()
    looks, pool = Looks(clock, lambda: 0.0), Pool()
    pool.used = 1
    before = A_HOLD.looks.held_s
    for _ in range(11):
        looks.look([pool])
        clock.advance(0.1)
    assert A_HOLD.looks.held_s - before == pytest.approx(1.0)


def test_pools_made_are_those_that_were_ever_reported(world: World) -> None:
    reports: list[Any] = []
    for _ in range(3):
        world.stream.add(Pool())
    world.live(4.0)
    assert world.stream._roster.made == 4
    assert reports == []
