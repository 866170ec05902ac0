"""Reports come first, and a flood of them leaves something to everybody else."""

import pytest

from poolhouse.daemon.part import ABSENT_S, LONGEST_READ_S, MOST_READS, Hub
from poolhouse.fleet.fleet import Fleet
from poolhouse.fleet.limits import FleetLimits
from poolhouse.testing.clock import VirtualClock

#: Seconds that a batch of 64 reports takes: 64 times 80 us.
BATCH_S = 0.005


class Flood:
    """A listener that always has more; each read takes a while."""

    def __init__(self, clock: VirtualClock, waiting: int) -> None:
        self.clock = clock
        self.waiting = waiting
        self.reads = 0

    def read(self) -> bool:
        self.clock.advance(BATCH_S)
        self.reads += 1
        self.waiting -= 1
        return self.waiting > 0


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def hub(clock: VirtualClock) -> Hub:
    return Hub(Fleet(FleetLimits(), clock.monotonic()), clock)


def test_a_flood_leaves_a_part_of_the_core_to_those_who_watch_it(clock: VirtualClock, hub: Hub) -> None:
    flood = Flood(clock, 10**9)
    hub.add_listener(flood.read)
    began = clock.monotonic()
    for _ in range(50):
        hub.read_reports()
        clock.advance(0.004)  # A step of a console's snapshot, which takes 50 of them.
    assert clock.monotonic() - began <= 50 * (LONGEST_READ_S + BATCH_S + 0.004)


def test_every_listener_is_read_also_beside_a_flood(clock: VirtualClock, hub: Hub) -> None:
    flood, quiet = Flood(clock, 10**9), Flood(clock, 1)
    hub.add_listener(flood.read)
    hub.add_listener(quiet.read)
    hub.read_reports()
    assert quiet.reads == 1


def test_after_a_stop_everything_is_read_before_it_is_judged_who_is_silent(clock: VirtualClock, hub: Hub) -> None:
    flood = Flood(clock, 100)
    hub.add_listener(flood.read)
    clock.advance(ABSENT_S)
    hub.read_reports()
    assert flood.waiting == 0


def test_but_a_flood_does_not_keep_it_for_ever(clock: VirtualClock, hub: Hub) -> None:
    flood = Flood(clock, 10**9)
    hub.add_listener(flood.read)
    clock.advance(ABSENT_S)
    hub.read_reports()
    assert flood.reads == MOST_READS
