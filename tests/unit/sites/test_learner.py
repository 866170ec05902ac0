"""Lines that take connections for their callers are learned from what came back."""

from typing import Any

import pytest

from poolhouse.meter.signs import Looks
from poolhouse.sites.learner import Learner
from poolhouse.sites.modules import Modules
from poolhouse.sites.seen import Seen, State
from poolhouse.sites.site import Site
from poolhouse.sites.table import SiteTable


class World:
    def __init__(self) -> None:
        self.table = SiteTable(Modules())
        self.learner = Learner(self.table)
        self.site = self.take()

    def take(self) -> Site:
        return self.table.find(0)

    def comes_back(self, *states: State | None, is_collected: bool = False) -> None:
        """A connection is out for some looks, and then no more."""
        lease: Any = (0.0, None, self.site, 1)
        for state in states:
            (hold,) = self.learner.follow([lease], [])
            hold.looks.count(Seen(state))
            hold.looks.held_s += 0.1
        assert self.learner.follow([], [lease] if is_collected else []) == []

    @property
    def is_helper(self) -> bool:
        return self.take().helper is not None


@pytest.fixture
def world() -> World:
    return World()


def test_three_that_were_used_by_others_are_enough(world: World) -> None:
    for _ in range(2):
        world.comes_back(State.ENDED)
    assert not world.is_helper
    world.comes_back(State.BUSY, State.ENDED)
    assert world.is_helper
    assert world.site.looks.looks == (1, 0, 0, 3)
    assert world.site.looks.held_s == pytest.approx(0.4)


def test_a_third_that_was_not_is_too_many(world: World) -> None:
    for _ in range(2):
        world.comes_back(State.IDLE)
    for _ in range(5):
        world.comes_back(State.ENDED)
    assert not world.is_helper
    world.comes_back(State.ENDED)
    assert world.is_helper


def test_what_leaks_teaches_nothing(world: World) -> None:
    for _ in range(5):
        world.comes_back(State.ENDED, is_collected=True)
        world.comes_back(None)
        world.comes_back()
    assert not world.is_helper
    leases: list[Any] = [(float(number), None, world.site, 1) for number in range(5)]
    for _ in range(5):
        for hold in world.learner.follow(leases, []):
            hold.looks.count(Seen(State.ENDED))
    assert not world.is_helper


ASKS_AGAIN = Seen(State.ENDED, (compile("pass", "app.py", "exec"), 0, {}), asks_again=True)


def look(world: World, leases: list[Any], *seen: Seen) -> None:
    for hold, one in zip(world.learner.follow(leases, []), seen, strict=True):
        hold.looks.count(one)


def test_a_loop_that_keeps_what_it_takes_and_asks_for_more_at_the_same_line_has_forgotten_nothing(
    world: World,
) -> None:
    leases: list[Any] = [(float(number), None, world.site, 1) for number in range(2)]
    look(world, leases, Seen(None), Seen(State.BUSY))
    for _ in range(5):
        look(world, leases, ASKS_AGAIN, ASKS_AGAIN)
    world.learner.follow(leases, [])
    assert world.site.looks.looks == Looks(busy=1, asks=10)
    assert world.site.looks.idle_line is not None


def test_one_that_was_seen_without_its_call_tells_what_those_are_whose_line_is_asked_again(world: World) -> None:
    """Threads that have forgotten a connection at each call, and now queue like everybody."""
    leases: list[Any] = [(float(number), None, world.site, number) for number in range(2)]
    look(world, leases, Seen(State.ENDED), Seen(State.BUSY))
    for _ in range(5):
        look(world, leases, ASKS_AGAIN, ASKS_AGAIN)
    world.learner.follow(leases, [])
    assert world.site.looks.looks == Looks(busy=1, ended=11)


def test_one_that_comes_back_and_is_taken_again_between_two_looks_did_neither(world: World) -> None:
    """The holds are listed before the stacks are read: a worker may have given it back and ask again by then."""
    for number in range(5):
        look(world, [(float(number), None, world.site, 1)], ASKS_AGAIN)
    world.learner.follow([], [])
    assert world.site.looks.looks == Looks()
    assert not world.is_helper


def test_a_forked_child_begins_anew(world: World) -> None:
    for _ in range(2):
        world.comes_back(State.ENDED)
    world.learner.clear()
    world.comes_back(State.ENDED)
    assert not world.is_helper
