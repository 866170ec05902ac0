"""Loops that stand still, in a time that the test moves."""

import asyncio
import gc
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import gevent
import pytest

from poolhouse.sites import stalls
from poolhouse.sites.frames import Place
from poolhouse.sites.stalls import PATIENCE_S, Stalls, notice, remember, thread_of
from support.collecting import collected_meanwhile

LINE: Place = ((lambda: None).__code__, 2, {"__name__": "shop"})
ANOTHER_LINE: Place = ((lambda: 1).__code__, 2, {"__name__": "shop"})


class Loop:
    """A loop that comes to its callbacks when the test wants it."""

    def __init__(self) -> None:
        self.posted: list[Callable[[], None]] = []
        self.runs = True
        self.is_closed = False

    def is_running(self) -> bool:
        return self.runs

    def call_soon_threadsafe(self, callback: Callable[[], None]) -> None:
        if self.is_closed:
            raise RuntimeError("Event loop is closed")
        self.posted.append(callback)

    def turn(self) -> None:
        posted, self.posted = self.posted, []
        for callback in posted:
            callback()


class World:
    def __init__(self) -> None:
        self.now = 100.0
        self.loop = Loop()
        remember(self.loop, 7)
        self.asked: list[int] = []
        self.line: Place | None = LINE
        self.stalls = Stalls(lambda: self.now, lambda: 7, self.line_of)

    def line_of(self, thread: int) -> Place | None:
        self.asked.append(thread)
        return self.line

    def look(self, *, late_s: float = 0.0, turns: bool = True) -> None:
        self.stalls.look(late_s)
        if turns:
            self.loop.turn()
        self.now += 0.1


@pytest.fixture
def world() -> Iterator[World]:
    stalls.forget_all()
    yield World()
    stalls.forget_all()


def test_the_line_is_where_loops_stood_lately(world: World) -> None:
    """What blocked the loop for hours, and was mended or is over, is not what blocks it now."""

    def stand(looks: int) -> None:
        world.look(turns=False)
        for _ in range(looks):
            world.look(turns=False)
        world.loop.turn()

    for _ in range(1_000):
        stand(10)
    world.line = ANOTHER_LINE
    # Half a second of a window of six: few stalls are an alarm.
    stand(5)
    assert world.stalls.line == ANOTHER_LINE[:2]


def test_a_loop_that_comes_to_its_stamps_does_not_stand_still(world: World) -> None:
    for _ in range(20):
        world.look()
    assert (world.stalls.stalled_s, world.stalls.longest_s, world.stalls.line, world.asked) == (0, 0, None, [])


def test_a_loop_that_stands_is_measured_to_the_moment_and_its_line_is_named(world: World) -> None:
    world.look()
    for _ in range(5):
        world.look(turns=False)
    assert world.stalls.stalled_s == pytest.approx(0.4), "that goes on"
    world.now += 0.03
    world.loop.turn()
    world.look()
    assert world.stalls.stalled_s == pytest.approx(0.53)
    assert world.stalls.longest_s == pytest.approx(0.53)
    assert (world.stalls.line, set(world.asked)) == ((LINE[0], LINE[1]), {7})
    world.look()
    assert world.stalls.stalled_s == pytest.approx(0.53)


def test_loops_that_are_collected_while_others_are_looked_at_disturb_nothing(world: World) -> None:
    def lose_two() -> None:
        stalls.forget_all()
        for loop in (Loop(), world.loop, Loop()):
            remember(loop, 7)
            if loop is not world.loop:
                loop.posted.append(loop.turn)  # A cycle: only the collector ends it.

    for _ in collected_meanwhile(lose_two, world.look):
        assert thread_of(weakref.ref(world.loop)) == 7


def test_a_stamp_is_posted_once_until_it_is_answered(world: World) -> None:
    for _ in range(5):
        world.look(turns=False)
    assert len(world.loop.posted) == 1


def test_a_pause_within_patience_is_none(world: World) -> None:
    world.look(turns=False)
    world.now += PATIENCE_S - 0.11
    world.loop.turn()
    world.look()
    assert world.stalls.stalled_s == 0


def test_a_loop_that_is_at_no_line_of_the_application_has_nothing_to_do_or_gets_no_cpu(world: World) -> None:
    world.line = None
    world.look()
    for _ in range(5):
        world.look(turns=False)
    world.loop.turn()
    world.look()
    assert (world.stalls.stalled_s, world.stalls.longest_s, world.stalls.line) == (0, 0, None)


def test_a_process_without_cpu_is_no_loop_that_stands(world: World) -> None:
    world.look(turns=False)
    world.now += 5.0
    world.look(late_s=5.07, turns=False)
    assert world.stalls.stalled_s == 0


def test_a_loop_that_is_stopped_does_not_stand_still(world: World) -> None:
    world.look(turns=False)
    world.loop.runs = False
    for _ in range(5):
        world.look(turns=False)
    world.loop.runs = True
    world.look()
    assert world.stalls.stalled_s == 0


def test_a_loop_that_is_closed_or_gone_is_left_alone(world: World) -> None:
    world.loop.is_closed = True
    world.look()
    reference = weakref.ref(world.loop)
    world.loop = Loop()
    gc.collect()
    assert reference() is None
    assert thread_of(reference) is None
    world.look()
    assert world.stalls.stalled_s == 0


def test_the_running_loop_is_noticed_and_kept_alive_by_nobody() -> None:
    async def main() -> Any:
        reference = notice()
        assert reference is not None
        assert thread_of(reference) == threading.get_ident()
        return reference

    assert notice() is None
    reference = asyncio.run(main())
    gc.collect()
    assert reference() is None


def test_the_thread_of_a_loop_is_learned_from_its_answer(world: World) -> None:
    loop = Loop()
    reference = remember(loop)
    assert thread_of(reference) is None
    world.look(turns=False)
    loop.turn()
    world.look()
    assert thread_of(reference) == 7


def test_a_real_loop_and_a_real_hub_answer() -> None:
    stalls.forget_all()
    answered = threading.Event()

    class Seen(Stalls):
        def look(self, late_s: float) -> None:
            super().look(late_s)

    async def main() -> None:
        reference = remember(asyncio.get_running_loop(), threading.get_ident())
        assert reference is not None
        assert thread_of(reference) == threading.get_ident()
        looker = Stalls(asyncio.get_running_loop().time, threading.get_ident, lambda thread: None)
        looker.look(0.0)
        (stamp,) = looker._stamps.values()
        await asyncio.sleep(0)
        await asyncio.sleep(0.001)
        assert stamp.answered_at is not None
        answered.set()

    asyncio.run(main())
    assert answered.is_set()
    stalls.forget_all()
    remember(gevent.get_hub(), threading.get_ident())
    looker = Stalls(lambda: 1.0, threading.get_ident, lambda thread: None)
    looker.look(0.0)
    (stamp,) = looker._stamps.values()
    gevent.sleep(0.01)
    assert stamp.answered_at == 1.0
    stalls.forget_all()
