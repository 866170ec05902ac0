"""Memory that ends at any line of some code, and whether a fleet is whole after that."""

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any, Self

from poolhouse.fleet.fleet import Fleet
from poolhouse.fleet.presence import LIVING
from poolhouse.fleet.standing import standing_of

#: What handles a shortage, and what ends a change: it assigns, and needs no memory.
HANDLERS = {"receive", "expire", "advance", "_tear", "tear", "_change", "_commit"}

#: Of a line that runs again and again, so many times are told apart.
MOST_RUNS = 2


class Shortage:
    """Within its block, memory ends at line `first` of those of `poolhouse.fleet` that run.

    It ends at all later ones, too, if it `stays`.
    """

    def __init__(self, first: int, *, stays: bool) -> None:
        self.first, self.stays = first, stays
        self.lines = 0
        self._ran: dict[tuple[object, int], int] = {}

    def __enter__(self) -> Self:
        self._before = sys.gettrace()
        sys.settrace(self._enter)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(self._before)

    @property
    def has_come(self) -> bool:
        """Whether so many lines ran."""
        return self.lines >= self.first

    def _enter(self, frame: FrameType, event: str, _: Any) -> Callable[..., Any] | None:
        code = frame.f_code
        if "/poolhouse/fleet/" not in code.co_filename or code.co_name in HANDLERS:
            return None
        return self._line

    def _line(self, frame: FrameType, event: str, _: Any) -> Callable[..., Any]:
        if event == "line":
            place = frame.f_code, frame.f_lineno
            self._ran[place] = ran = self._ran.get(place, 0) + 1
            is_counted = ran <= MOST_RUNS
            self.lines += is_counted
            if (is_counted and self.lines == self.first) or (self.stays and self.has_come):
                raise MemoryError
        return self._line


def assert_whole(fleet: Fleet) -> None:
    """What the fleet keeps incrementally is what follows from its processes."""
    processes = list(fleet._processes.values())
    found = standing_of(processes)
    rows = [fleet._sums, *(row for table in fleet._tables for row in table.rows())]
    assert {row.key: row.gauges for row in rows if row.gauges} == {row.key: n for row, n in found.gauges.items()}
    assert {(id(row), row.proven) for row in rows if row.proven and row is not fleet._sums} == {
        (id(row), n) for row, n in found.proven.items() if n and row is not fleet._sums
    }
    assert fleet._bytes_of == found.bytes_of
    assert fleet._budget.used == (
        fleet.timelines.size + sum(process.size for process in processes) + sum(row.size for row in rows)
    )
    assert {host: (place.tokens, _members(place)) for host, place in fleet._living.items()} == {
        host: (place.tokens, _members(place)) for host, place in found.places.items()
    }
    assert {program: set(hosts) for program, hosts in fleet._hosts_of.items()} == {
        program: set(hosts) for program, hosts in found.hosts_of.items()
    }
    living = {process for process in processes if process.state is LIVING}
    assert set(fleet._present) == living
    assert set(fleet._unproven) == {process for process in living if not process.is_proven}
    gone = set(processes) - living
    assert set(fleet._gone) == {process for process in gone if process.is_proven}
    assert set(fleet._gone_once) == {process for process in gone if not process.is_proven}
    assert all(process.deadline is not None for process in processes)
    for table in fleet._tables:
        assert not set(table.shown) & {*table._heard_once, *table._remembered}
        assert set(table.of_source) == set(table.shown.values())
        assert set(table._candidates) == {row for row in table.shown.values() if not row.proven}


def _members(place: Any) -> dict[str, set[Any]]:
    return {program: set(members) for program, (members, _) in place.programs.items()}
