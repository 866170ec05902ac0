"""A fleet as the source of consoles' snapshots, read in small steps beside the fleet's other users."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from math import inf

from poolhouse.clock import Clock
from poolhouse.fleet.aggregate import Aggregate
from poolhouse.fleet.fleet import Fleet
from poolhouse.fleet.holders import MOST_SITES, TOP_LINES, HoldersState, Line
from poolhouse.fleet.names import asked_host
from poolhouse.fleet.process import Process
from poolhouse.fleet.snapshot import Holder, ProcessRow, Snapshot, Times
from poolhouse.fleet.state import FleetState, program_row

#: Processes that are examined while the lock is held: at most a millisecond's work, however many pools they have.
BATCH = 8
#: For each process, seconds until the fleet's lines are made again: making them costs some 30 µs per process.
LINES_SECONDS = 1 / 2_000
#: The least seconds between new lines for exporters: programs report every two seconds.
TOLD_LINES_SECONDS = 2.0
#: Lines that are returned at once if they are known.
LINES_BATCH = 100


class FleetSource:
    """Takes immutable states while it holds the lock, and makes rows from them without it."""

    def __init__(self, fleet: Fleet, clock: Clock, lock: AbstractContextManager[object]) -> None:
        """Read `fleet`, which `lock` guards."""
        self._fleet = fleet
        self._clock = clock
        self._lock = lock
        #: The fleet's lines, and when they are made again.
        self._lines: tuple[Holder, ...] = ()
        self._lines_due = -inf
        #: The same for exporters.
        self._told_lines: list[Line] = []
        self._told_lines_due = -inf

    def sums(self) -> Iterator[Snapshot | None]:
        """A snapshot without processes, in small steps: ``None`` after each, and finally the snapshot."""
        with self._lock:
            now = self._clock.monotonic()
            state = self._fleet.state(now, self._clock.wall_time(), with_holders=now >= self._lines_due)
        yield None
        for snapshot in state.snapshot_steps(self._lines):
            if snapshot is not None and state.holders is not None:
                self._lines = snapshot.holders
                self._lines_due = now + (snapshot.fleet.processes or 0) * LINES_SECONDS
            yield snapshot

    def state(self) -> FleetState:
        """The present sums without holders: immutable, and converted later."""
        with self._lock:
            return self._fleet.state(self._clock.monotonic(), self._clock.wall_time(), with_holders=False)

    def holders(self) -> Iterator[Holder | None]:
        """The largest lines of each program, in small steps: ``None`` after each, finally the lines one by one.

        As in `sums`, lines that were made a short time ago are returned again.
        """
        with self._lock:
            now = self._clock.monotonic()
            rows = self._fleet.program_rows(now) if now >= self._lines_due else None
        if rows is not None:
            holders: list[Holder] = []
            processes = 0
            rows.sort(key=_program_of)
            for state in self._holders_states(rows):
                processes += len(state.processes)
                for found in state.steps(TOP_LINES, with_use=False):
                    holders += found or ()
                    yield None
            self._lines, self._lines_due = tuple(holders), now + processes * LINES_SECONDS
        yield from self._lines

    def lines(self) -> Iterator[list[Line] | None]:
        """The largest lines of each program for exporters, in small steps: some lines, or ``None``, after each.

        Lines that were made a short time ago are returned again: within `TOLD_LINES_SECONDS`, or `LINES_SECONDS`
        per process if that is longer.
        """
        with self._lock:
            now = self._clock.monotonic()
            rows = self._fleet.program_rows(now) if now >= self._told_lines_due else None
        if rows is None:
            for at in range(0, len(self._told_lines), LINES_BATCH):
                yield self._told_lines[at : at + LINES_BATCH]
            return
        lines: list[Line] = []
        processes = 0
        for state in self._holders_states(rows):
            processes += len(state.processes)
            for found in state.lines(TOP_LINES):
                lines += found or ()
                yield found
        self._told_lines = lines
        self._told_lines_due = now + max(TOLD_LINES_SECONDS, processes * LINES_SECONDS)

    def _holders_states(self, rows: Sequence[Aggregate]) -> Iterator[HoldersState]:
        for at in range(0, len(rows), BATCH):
            with self._lock:
                states = self._fleet.holders_states(rows[at : at + BATCH])
            yield from states

    def processes(self, program: str) -> "ProcessesOfProgram | ProgramsOfHost":
        """The program's present processes; or, if a host is requested, the programs there."""
        if (host := asked_host(program)) is not None:
            with self._lock:
                rows = self._fleet.programs_on(host)
            return ProgramsOfHost(rows, self._fleet, self._clock, self._lock)
        with self._lock:
            members = self._fleet.members(program)
        return ProcessesOfProgram(program, members, self._fleet, self._clock, self._lock)

    def values(self) -> Iterator[list[bytes]] | None:
        """``None``: a shell with such consoles sends them values by other means."""
        return None


def _program_of(row: Aggregate) -> str:
    return row.key[1]


class ProcessesOfProgram:
    """The processes of a program at one moment; those that have gone since are left out."""

    def __init__(
        self,
        program: str,
        members: list[Process],
        fleet: Fleet,
        clock: Clock,
        lock: AbstractContextManager[object],
    ) -> None:
        self._program = program
        self._members = members
        self._fleet = fleet
        self._clock = clock
        self._lock = lock

    def __len__(self) -> int:
        """How many there are."""
        return len(self._members)

    def rows(self, with_times: bool, most: int) -> Iterator[ProcessRow | None]:
        """The first `most` rows in small steps, ``None`` between them, with durations or without."""
        for at in range(0, most, BATCH):
            with self._lock:
                states = self._fleet.process_states(
                    self._members[at : min(at + BATCH, most)], self._clock.monotonic()
                )
            for state in states:
                yield from state.row_steps(with_times)

    def holders(self) -> Iterator[list[Holder] | None]:
        """The program's lines in small steps: ``None`` after each, and finally the lines."""
        with self._lock:
            state = self._fleet.holders_state(self._program)
        if state is not None:
            yield from state.steps(MOST_SITES)


class ProgramsOfHost:
    """The programs of a host at one moment, each as a row in place of a process's."""

    def __init__(
        self, members: list[Aggregate], fleet: Fleet, clock: Clock, lock: AbstractContextManager[object]
    ) -> None:
        self._members = members
        self._fleet = fleet
        self._clock = clock
        self._lock = lock

    def __len__(self) -> int:
        """How many there are."""
        return len(self._members)

    def holders(self) -> Iterator[list[Holder] | None]:
        """No lines: each program's are sent when that program is requested."""
        return iter(())

    def rows(self, with_times: bool, most: int) -> Iterator[ProcessRow | None]:
        """The first `most` rows in small steps, ``None`` between them, with durations or without."""
        for at in range(0, most, BATCH):
            with self._lock:
                states = self._fleet.row_states(self._members[at : min(at + BATCH, most)], self._clock.monotonic())
            for state in states:
                row = program_row(*state)
                yield (
                    row
                    if with_times
                    else row._replace(sums=row.sums._replace(recent=Times(), since_start=Times()))
                )
                yield None
