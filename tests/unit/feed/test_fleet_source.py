"""What faces read of a fleet in small steps is the fleet's snapshot."""

import sys
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from types import FrameType
from typing import Any, Self

import pytest

from poolhouse.feed.fleet_source import TOLD_LINES_SECONDS, FleetSource
from poolhouse.fleet.fleet import Fleet
from poolhouse.fleet.holders import Line
from poolhouse.fleet.limits import FleetLimits
from poolhouse.meter.signs import Finding, PoolSigns, SiteReading
from poolhouse.testing.clock import VirtualClock
from poolhouse.views.as_json import json_line, state_pieces
from support.reports import report

LINE = "app/views.py:88 in cart"


class World:
    """A fleet of three programs, and its time."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.fleet = Fleet(FleetLimits(), self.clock.monotonic())
        self.source = FleetSource(self.fleet, self.clock, nullcontext())
        for place, program in enumerate(("shop", "billing", "mail")):
            self.report(program, place)

    def report(self, program: str, waiting: int, number: int = 1, is_open: int = 3, token: str = "") -> None:
        """A process has found a leak; another one, which is named by its token, has found nothing."""
        signs = PoolSigns(sites=tuple(SiteReading(f"{LINE}{n}", open=is_open, held_s=n + 0.5) for n in range(8)))
        leak = Finding("leak", 1, f"{LINE}0", "", 12.0, (3.0, 15.0, 41.0, 4.0, 0.0, 1.0))
        fields = {"used": 3, "waiting": waiting, "pool_signs": signs, "findings": () if token else (leak,)}
        for datagram in report(program, token=token or "1:abcdef", number=number, interval=60.0, **fields):
            assert self.fleet.receive(datagram, self.clock.monotonic(), self.clock.wall_time()) is None

    def lines(self) -> list[Line]:
        return [line for some in self.source.lines() for line in some or ()]


def test_json_made_row_by_row_is_that_of_the_snapshot() -> None:
    world = World()
    for program in (None, "shop", "nobody"):
        snapshot = world.fleet.snapshot(world.clock.monotonic(), world.clock.wall_time(), program)
        pieces = state_pieces(
            world.source.state(),
            [row for one in snapshot.processes for row in (None, one)],
            [holder for one in snapshot.holders for holder in (one, None)],
        )
        assert "".join(pieces) == json_line(snapshot)


def test_holders_read_in_steps_are_those_of_the_snapshot() -> None:
    world = World()
    snapshot = world.fleet.snapshot(world.clock.monotonic(), world.clock.wall_time())
    assert tuple(filter(None, world.source.holders())) == snapshot.holders
    assert tuple(filter(None, world.source.holders())) == snapshot.holders  # Those that are kept.


def test_exporters_are_told_lines_again_for_two_seconds() -> None:
    world = World()
    first = world.lines()
    assert sorted({line.program for line in first}) == ["billing", "mail", "shop"]
    assert len(first) == 15
    world.report("shop", 0, number=2, is_open=4)
    assert world.lines() == first
    world.clock.advance(TOLD_LINES_SECONDS)
    assert {line.open for line in world.lines() if line.program == "shop"} == {4}


class CountingLock:
    """A lock that counts the lines of Python that run while it is held."""

    def __init__(self) -> None:
        self.is_held = False
        self.lines: list[int] = []

    def __enter__(self) -> Self:
        self.is_held = True
        self.lines.append(0)
        sys.settrace(self._enter)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(None)
        self.is_held = False

    def _enter(self, frame: FrameType, event: str, argument: object) -> Any:
        return self._line

    def _line(self, frame: FrameType, event: str, argument: object) -> Any:
        self.lines[-1] += event == "line"
        return self._line


#: What is read in steps, and the lines that run under the lock for each process more. With 20,000 of them, the
#: most that a fleet has, 5 lines each take some 6 ms.
READS: dict[str, tuple[Callable[[FleetSource], Iterable[object]], int]] = {
    "processes": (lambda source: source.processes("shop").rows(True, 1_000), 0),
    "programs of a host": (lambda source: source.processes("\0web1").rows(True, 1_000), 0),
    "sums": (FleetSource.sums, 5),
    "holders of a program": (lambda source: source.processes("shop").holders(), 5),
    "holders": (FleetSource.holders, 5),
    "lines": (FleetSource.lines, 5),
}


@pytest.mark.parametrize("name", READS)
def test_a_look_at_a_large_program_does_not_hold_the_lock_that_collectd_and_reports_need(name: str) -> None:
    read, lines_each = READS[name]

    def longest(processes: int) -> int:
        world, lock = World(), CountingLock()
        for number in range(processes):
            world.report("shop", 0, token=f"{number}:abcdef")
        for _ in read(FleetSource(world.fleet, world.clock, lock)):
            assert not lock.is_held
        return max(lock.lines)

    assert longest(20) > 0
    assert longest(60) <= longest(20) + 40 * lines_each
