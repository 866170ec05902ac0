"""Which console is served next, in virtual time: nothing here takes any."""

import random

import pytest

from poolhouse.feed.protocol.schedule import CREDIT, QUANTUM, SHARE, Schedule

INTERVAL = 1.0


class World:
    """A server whose steps cost what the test says, and consoles that ask for topics."""

    def __init__(self, costs: dict[object, float], step: float = 0.02) -> None:
        self.now = 0.0
        self.worked = 0.0
        self.schedule = Schedule(INTERVAL, self.now)
        #: Seconds of work that a topic takes, and what is left of those that were begun.
        self.costs = costs
        self.left: dict[object, float] = {}
        self.step = step
        self.consoles: dict[int, object] = {}
        #: When each console was sent which topic.
        self.sent: list[tuple[float, int, object]] = []

    def ask(self, console: int, topic: object) -> None:
        self.consoles[console] = topic

    def run(self, seconds: float, each_step=lambda: None) -> None:
        end = self.now + seconds
        while self.now < end:
            each_step()
            self.schedule.set_consoles(self.consoles.items(), self.now)
            self.left = {topic: left for topic, left in self.left.items() if self.schedule.is_wanted(topic)}
            chosen = self.schedule.next(self.now)
            if chosen is None:
                due = self.schedule.next_due(self.now)
                assert due > self.now
                self.now = min(due, self.now + 0.05)
                continue
            (topic,) = chosen
            left = self.left.get(topic, self.costs[topic])
            cost = min(self.step, left)
            self.now += cost
            self.worked += cost
            self.left[topic] = left - cost
            self.schedule.spent(cost, topic)
            if self.left[topic] <= 1e-9:
                del self.left[topic]
                self.sent += [(self.now, key, topic) for key in self.schedule.finish(topic)]

    def served(self, console: int) -> list[object]:
        return [topic for _, key, topic in self.sent if key == console]


def test_a_small_fleet_is_shown_once_an_interval_and_at_once_to_a_newcomer():
    world = World({None: 0.002})
    world.ask(1, None)
    world.run(0.1)
    assert world.served(1) == [None]
    world.run(9.95)
    assert len(world.served(1)) == 11


def test_consoles_that_see_the_same_share_the_work_though_they_began_at_different_times():
    world = World({"shop": 0.01})
    world.ask(1, "shop")
    world.run(0.7)
    world.ask(2, "shop")
    world.run(20.0)
    assert world.worked == pytest.approx(0.01 * (len(world.served(1)) + 1), abs=0.025)
    assert abs(len(world.served(1)) - len(world.served(2))) <= 1


@pytest.mark.parametrize("cost", [0.06, 0.7, 5.0])
def test_consoles_take_no_more_than_their_share_of_the_time(cost):
    world = World({f"program{number}": cost for number in range(12)})
    for number in range(12):
        world.ask(number, f"program{number}")
    world.run(60.0)
    assert world.worked <= SHARE * 60.0 + CREDIT + world.step
    assert world.worked >= 0.95 * min(SHARE * 60.0, 12 * 60.0 * cost)


def test_each_of_many_consoles_gets_an_equal_part():
    world = World({f"program{number}": 0.06 for number in range(12)})
    for number in range(12):
        world.ask(number, f"program{number}")
    world.run(60.0)
    counts = [len(world.served(number)) for number in range(12)]
    assert max(counts) - min(counts) <= 1


def test_a_console_that_looks_at_a_huge_program_does_not_slow_the_others():
    world = World({"huge": 7.0, "small": 0.01})
    world.ask(1, "huge")
    world.run(5.0)
    world.ask(2, "small")
    world.run(60.0)
    assert len(world.served(2)) >= 55
    assert len(world.served(1)) >= 1


@pytest.mark.parametrize("changers", [1, 10])
def test_a_console_that_changes_its_program_all_the_time_gets_no_fresh_budget(changers):
    luck = random.Random(1)
    world = World({f"program{number}": 0.2 for number in range(1000)} | {"shop": 0.2})
    world.ask(0, "shop")

    def change() -> None:
        for console in range(1, 1 + changers):
            if luck.random() < 0.2:
                world.ask(console, f"program{luck.randrange(1000)}")

    change_count = 0

    def each_step() -> None:
        nonlocal change_count
        change_count += 1
        change()

    world.run(60.0, each_step)
    assert change_count > 1000
    assert world.worked <= SHARE * 60.0 + CREDIT + world.step
    # The honest one is served as often as its part of the share allows.
    assert len(world.served(0)) >= 0.8 * SHARE * 60.0 / (1 + changers) / 0.2


def test_work_that_nobody_waits_for_any_more_is_dropped():
    world = World({"huge": 50.0, "small": 0.01})
    world.ask(1, "huge")
    world.run(1.0)
    world.ask(1, "small")
    world.run(0.5)
    assert world.served(1) == ["small"]
    assert not world.schedule.is_wanted("huge")
    del world.consoles[1]
    world.run(1.0)
    assert not world.schedule.is_wanted("small")


def test_a_console_that_changes_its_program_is_answered_before_its_interval_is_over():
    world = World({"shop": 0.01, "nightly": 0.01})
    world.ask(1, "shop")
    world.run(0.3)
    world.ask(1, "nightly")
    world.run(0.1)
    assert world.served(1) == ["shop", "nightly"]


def test_a_console_to_which_something_is_still_being_sent_is_given_nothing_more():
    schedule = Schedule(INTERVAL, 0.0)
    schedule.set_consoles([(1, "shop")], 0.0)
    assert schedule.next(0.0, busy={1}) is None
    assert schedule.next_due(0.0, busy={1}) > 10.0
    assert schedule.next(0.0) == ("shop",)


def test_one_topic_is_worked_on_for_a_while_so_that_not_all_are_half_done():
    world = World({"one": QUANTUM, "other": QUANTUM})
    world.ask(1, "one")
    world.ask(2, "other")
    world.run(0.3)
    (first, _, _), (second, _, _) = world.sent[:2]
    assert second - first >= 0.9 * QUANTUM
