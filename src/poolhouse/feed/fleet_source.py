"""A fleet as the source of consoles' snapshots, read in small steps beside the fleet's other users."""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import replace

from poolhouse.clock import Clock
from poolhouse.fleet.aggregate import Aggregate
from poolhouse.fleet.fleet import Fleet, program_row
from poolhouse.fleet.names import asked_host
from poolhouse.fleet.process import Process
from poolhouse.fleet.snapshot import ProcessRow, Snapshot, Times

#: Processes that are looked at while the lock is held: a millisecond at most, however many pools they have.
BATCH = 8


class FleetSource:
    """Takes immutable states while it holds the lock, and makes rows of them while it does not."""

    def __init__(self, fleet: Fleet, clock: Clock, lock: AbstractContextManager[object]) -> None:
        """Read `fleet`, which `lock` guards."""
        self._fleet = fleet
        self._clock = clock
        self._lock = lock

    def sums(self) -> Iterator[Snapshot | None]:
        """A snapshot without processes, in small steps: ``None`` after each, and then the snapshot."""
        with self._lock:
            state = self._fleet.state(self._clock.monotonic(), self._clock.wall_time())
        yield None
        yield from state.snapshot_steps()

    def processes(self, program: str) -> "ProcessesOfProgram | ProgramsOfHost":
        """The program's processes, as many as there are now; or, if a host is asked for, the programs there."""
        if (host := asked_host(program)) is not None:
            with self._lock:
                rows = self._fleet.programs_on(host)
            return ProgramsOfHost(rows, self._fleet, self._clock, self._lock)
        with self._lock:
            members = self._fleet.members(program)
        return ProcessesOfProgram(members, self._fleet, self._clock, self._lock)

    def values(self) -> Iterator[list[bytes]] | None:
        """None: a shell with such consoles sends them values in another way."""
        return None


class ProcessesOfProgram:
    """The processes that a program had at one moment; those that have gone since are left out."""

    def __init__(
        self, members: list[Process], fleet: Fleet, clock: Clock, lock: AbstractContextManager[object]
    ) -> None:
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


class ProgramsOfHost:
    """The programs that a host had at one moment, each as a row in the place of a process's."""

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
                    else replace(row, sums=replace(row.sums, recent=Times(), since_start=Times()))
                )
                yield None
