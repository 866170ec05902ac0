"""A fleet at one instant, as immutable values: taken at once, converted later."""

from collections.abc import Iterator
from typing import NamedTuple

from poolhouse.fleet.aggregate import Aggregate, RowState
from poolhouse.fleet.holders import TOP_LINES, HoldersState
from poolhouse.fleet.snapshot import Event, Health, Holder, ProcessRow, Row, Snapshot
from poolhouse.verdicts.verdict import Verdict


class FleetState(NamedTuple):
    """The sums of the whole fleet at one instant, as immutable values: taken at once, converted later."""

    wall_time: float
    fleet: RowState
    programs: list[RowState]
    hosts: list[RowState]
    health: Health
    events: tuple[Event, ...]
    verdicts: tuple[Verdict, ...]
    #: The holders of each program that reports any; ``None`` if they were not requested.
    holders: list[HoldersState] | None

    def snapshot_steps(self, lines: tuple[Holder, ...] = ()) -> Iterator[Snapshot | None]:
        """The snapshot, without processes, in small steps: ``None`` after each row, and finally the snapshot.

        `lines` are its holders if no newer ones were requested.
        """
        made: list[Row] = []
        for row in (self.fleet, *self.programs, *self.hosts):
            made.append(row.row())
            yield None
        hosts_at = 1 + len(self.programs)
        programs, hosts = tuple(made[1:hosts_at]), tuple(made[hosts_at:])
        holders = list(lines) if self.holders is None else []
        for state in self.holders or ():
            for found in state.steps(TOP_LINES, with_use=False):
                holders += found or ()
                yield None
        yield Snapshot(
            self.wall_time,
            made[0],
            programs,
            hosts,
            self.health,
            self.events,
            holders=tuple(holders),
            verdicts=self.verdicts,
        )


class Overview(NamedTuple):
    """For a face that reads row by row: the fleet's sums at one instant, and where its rows are."""

    fleet: RowState
    #: The input of `Fleet.row_states`, by name.
    programs: list[Aggregate]
    hosts: list[Aggregate]
    health: Health
    verdicts: tuple[Verdict, ...]
    #: Whether a process reports which lines hold its connections.
    has_lines: bool


def program_row(host: str, program: str, state: RowState) -> ProcessRow:
    """The sums of a program on a host in place of a process's, for a console that requests a host."""
    return ProcessRow(host, program, "", state.row(), None, 0, ())
