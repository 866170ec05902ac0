"""All processes that report, and their sums by program, by host and for the whole fleet.

Rules (``docs/reference/fleet.md`` has them with their reasons):

- Counters and durations of a row are sums of differences between reports, so they never fall.
- A process is *stale* two intervals after its latest report and gone after five, or at its goodbye; only then do
  its gauges leave the sums. Freshness depends on the aggregator's clock alone.
- Events before the first report of a process count only if the process is younger than the fleet's memory.
- Everything is limited by `FleetLimits`.

The shell must ensure one caller at a time and a clock that never falls. The cost of a datagram does not depend on
the number of processes; that of a snapshot depends on programs and hosts, and on the processes of the requested
program.
"""

from collections.abc import Iterable
from contextlib import suppress
from math import inf

from poolhouse.defaults import GONE_INTERVALS
from poolhouse.errors import PacketError, SealError
from poolhouse.fleet.aggregate import Aggregate, RowState
from poolhouse.fleet.examiner import Members, Population
from poolhouse.fleet.holders import MOST_SITES, HoldersState
from poolhouse.fleet.intake import Intake, Way
from poolhouse.fleet.members import OverLimit
from poolhouse.fleet.mending import make_anew, undo
from poolhouse.fleet.names import asked_host
from poolhouse.fleet.presence import LIVING, SILENT
from poolhouse.fleet.process import Process
from poolhouse.fleet.process_state import ProcessState
from poolhouse.fleet.signs import NO_SIGNS
from poolhouse.fleet.snapshot import Event, Health, Row, Snapshot
from poolhouse.fleet.state import FleetState, Overview, program_row
from poolhouse.verdicts.verdict import Verdict
from poolhouse.wire.message import LegacyDatagram, ReportDatagram, decode_message, legacy_datagram
from poolhouse.wire.seal import Payload
from poolhouse.wire.values import ValueList


def _by_key(item: tuple[tuple[str, str], Aggregate]) -> tuple[str, str]:
    return item[0]


#: Why a datagram is refused when there is no memory for it.
NO_MEMORY = "there is no memory left"
#: The message after a fleet has been repaired.
MENDED = "memory ran out in the middle of a report; that report is lost, and the sums were restored"
#: How many processes whose deadline has passed are looked at in one step: one that leaves costs up to 0.2 ms.
EXPIRED_AT_ONCE = 16
#: The least seconds between two repairs of the fleet, each of which takes part of a second.
MENDING_PERIOD = 1.0


class Fleet(Intake):
    """All processes and their sums.

    Attributes:
        dropped, unwritten: Figures of the surrounding shell, which sets them; see `Health`.
        relay: Called with what other nodes must receive, too.
        note_change: Called with a process whose ledger other nodes must be told.
        note_verdict: Called when a verdict has begun, changed or ended.
        nodes: The nodes of the service at a time, for `health`.
        is_torn: Whether memory ran out in the middle of a change; no datagram is accepted until that is repaired.
        mended: How often that was repaired.
        timelines: The last hour of the fleet and of each program; a shell samples it.
        seals: Its demands on sealed reports; ``None`` if seals are not opened.
        advances_in_steps: Whether a shell calls `advance` until nothing is due; otherwise `expire` does so.
    """

    is_torn = False
    advances_in_steps = False
    mended = 0
    _may_mend_at = -inf

    def receive(
        self,
        datagram: bytes,
        now: float,
        wall_time: float,
        way: Way = Way.UDP,
        sealed: Payload | None = None,
        source: str = "",
    ) -> str | None:
        """Take a datagram as it arrived from the network; never raises.

        Args:
            datagram: Its bytes.
            now: The aggregator's time, in seconds.
            wall_time: The time of day, for events.
            way: How it arrived.
            sealed: What is known about its seal, if it was sealed and there are `seals`.
            source: Its sender, as far as senders can be distinguished: none displaces another's share.

        Returns:
            Why it was refused, in words for a log, or ``None``.
        """
        self._received += 1
        self._wall_time = wall_time
        message = None
        try:
            if self.is_torn and not self.is_whole(now):
                raise MemoryError
            message = decode_message(datagram)
            if type(message) is ReportDatagram:
                self._take_report(message, datagram, now, way, sealed, source)
            elif type(message) is LegacyDatagram:
                self._take_legacy(message, datagram, now, way, sealed, source)
            else:
                lists = [legacy_datagram(told) for told in message if isinstance(told, ValueList)]
                earlier = [told for told in lists if told is not None]
                if not earlier:
                    raise PacketError("neither a report nor an earlier client's sums")
                self._take_lists(earlier, datagram, now, way, sealed, source)
        except (PacketError, OverLimit) as error:
            self._commit()
            self._refused += 1
            if isinstance(error, OverLimit):
                self._beyond += 1
            elif not isinstance(error, SealError):
                self._malformed += 1
            return str(error)
        except MemoryError:
            self._tear(now, is_torn=message is not None)
            return NO_MEMORY
        return None

    def _tear(self, now: float, *, is_torn: bool) -> None:
        """Memory ran out: undo the interrupted change, now or later; never raises."""
        self.is_torn |= is_torn
        with suppress(MemoryError):
            self._refused += 1
            self._beyond += 1
            self._count_over("memory")
        with suppress(MemoryError):
            if self.is_torn:
                self._mend(now)

    def _mend(self, now: float) -> bool:
        """Repair the fleet if it is time for that. Returns whether it is whole."""
        if now < self._may_mend_at:
            return False
        self._may_mend_at = now + MENDING_PERIOD
        undo(self)
        make_anew(self, now)
        self._commit()
        self.is_torn = False
        self.mended += 1
        return True

    def refuse(self) -> None:
        """Count a datagram that was refused before it came here: its seal is wrong, or not enough."""
        self._received += 1
        self._refused += 1

    def set_linger(self, seconds: float) -> None:
        """Keep rows without processes visible for this many seconds, if that is more than five of their intervals.

        A reader with a long interval then sees gauges of 0 before the row disappears.
        """
        for table in (self._programs, self._hosts, self._host_programs):
            table.linger = seconds

    def expire(self, now: float) -> None:
        """Remove processes that were silent too long, and examine the others; call this at least once a second.

        If it `advances_in_steps`, only some of the silent ones are removed.
        """
        if self.advances_in_steps:
            self.advance(now, examines=False)
            return
        while self.advance(now):
            pass

    def advance(self, now: float, *, examines: bool = True) -> bool:
        """Do some two milliseconds of what is due: remove silent processes, then examine the others.

        The fleet may be used and changed between two steps. What there is no memory for is done later.

        Args:
            now: The aggregator's time, in seconds.
            examines: Whether processes are examined, too.

        Returns:
            Whether there is more to do.
        """
        try:
            return self.is_whole(now) and (self._expire_some(now) or (examines and self._examine_some(now)))
        except MemoryError:
            self.tear()
        return False

    def is_whole(self, now: float) -> bool:
        """Whether it can be changed: it is not torn, or has just been repaired; raises MemoryError."""
        return not self.is_torn or self._mend(now)

    def tear(self) -> None:
        """Note that memory ran out during a change, which is undone before the next one; never raises."""
        self.is_torn = True
        with suppress(MemoryError):
            self._count_over("memory")

    def _expire_some(self, now: float) -> bool:
        if self._forget_some() or self._remove_some(now):
            return True
        for table in (self._programs, self._hosts, self._host_programs):
            table.expire(now)
        return False

    def _remove_some(self, now: float) -> bool:
        """Remove processes whose deadline has passed; whether there may be more of them."""
        for _ in range(EXPIRED_AT_ONCE):
            process = self._deadlines.pop_passed(now)
            if process is None:
                return self._gone_count > self._limits.remembered
            if process.state is not LIVING:
                self._forget(process)
                continue
            gone_at = process.heard_at + GONE_INTERVALS * process.interval
            if gone_at > now:
                self._deadlines.set(process, gone_at)
            else:
                self._leave(process, SILENT, now)
        return True

    def _forget_some(self) -> bool:
        """Forget processes beyond those that are remembered; whether there are more of them."""
        for _ in range(EXPIRED_AT_ONCE):
            if self._gone_count <= self._limits.remembered:
                break
            self._count_over("remembered")
            self._forget_longest_gone((self._gone_once or self._gone).largest())
        return self._gone_count > self._limits.remembered

    def _examine_some(self, now: float) -> bool:
        if not self._examiner.is_due(now):
            return False
        events = self._examiner.step(self._population, now, self._wall_time)
        for event in events or ():
            if self.note_verdict is not None:
                self.note_verdict(event)
        return events is None

    def _population(self) -> Population:
        counts = {program: row.processes for (_, program), row in self._programs.shown.items()}
        places: list[Members] = [
            (program, host, members)
            for host, living in self._living.items()
            for program, (members, _) in living.programs.items()
        ]
        return counts, places

    def snapshot(self, now: float, wall_time: float, program: str | None = None) -> Snapshot:
        """The fleet as it is now.

        Args:
            now: The aggregator's time, in seconds.
            wall_time: The time of day, for people.
            program: The program whose processes and pools are listed; none if ``None``. In the form of
                `asking_for_host`, the host whose programs are listed.
        """
        (snapshot,) = filter(None, self.state(now, wall_time).snapshot_steps())
        if program is None:
            return snapshot
        if (host := asked_host(program)) is not None:
            states = self.row_states(self.programs_on(host), now)
            return snapshot._replace(program=program, processes=tuple(program_row(*state) for state in states))
        members = self.process_states(self.members(program), now)
        others = tuple(holder for holder in snapshot.holders if holder.program != program)
        state = self.holders_state(program)
        holders = [] if state is None else next(filter(None, state.steps(MOST_SITES)), [])
        return snapshot._replace(
            program=program,
            processes=tuple(process.row() for process in members),
            holders=(*holders, *others),
        )

    def programs_on(self, host: str) -> list[Aggregate]:
        """The input of `row_states`: the sums of each program on a host, by name."""
        found = [(program, row) for (at, program), row in self._host_programs.shown.items() if at == host]
        return [row for _, row in sorted(found, key=lambda pair: pair[0])]

    def state(self, now: float, wall_time: float, *, with_holders: bool = True) -> FleetState:
        """The present sums of the fleet; some 2 µs per program and host, and 0.3 µs per process for holders."""
        self._wall_time = wall_time
        self.expire(now)
        return FleetState(
            wall_time,
            self._sums.state(now),
            [row.state(now) for _, row in sorted(self._programs.shown.items(), key=_by_key)],
            [row.state(now) for _, row in sorted(self._hosts.shown.items(), key=_by_key)],
            self.health(now),
            self.events(wall_time),
            self.verdicts(),
            self.holders_states() if with_holders else None,
        )

    def overview(self, now: float) -> Overview:
        """The fleet's sums, and its rows to be read one by one; takes some 0.2 µs per program and host."""
        self.expire(now)
        programs = [row for _, row in sorted(self._programs.shown.items(), key=_by_key)]
        hosts = [row for _, row in sorted(self._hosts.shown.items(), key=_by_key)]
        has_lines = any(row.holders is not None for row in programs)
        health, verdicts = self.health(now), self._examiner.verdicts()
        return Overview(self._sums.state(now), programs, hosts, health, verdicts, has_lines)

    def events(self, wall_time: float) -> tuple[Event, ...]:
        """The events, oldest first."""
        events = (*self._events.events(), *self._examiner.events(wall_time))
        return tuple(sorted(events, key=lambda event: event.wall_time))

    def verdicts(self) -> tuple[Verdict, ...]:
        """The verdicts of the latest examination, the main cause first."""
        return self._examiner.verdicts()

    def holders_states(self, rows: Iterable[Aggregate] | None = None) -> list[HoldersState]:
        """The holders of each program at this instant, or of these of `program_rows`; some 0.3 µs a process."""
        if rows is None:
            rows = [row for _, row in sorted(self._programs.shown.items(), key=_by_key)]
        return [state for row in rows if (state := self._holders_state(row)) is not None]

    def holders_state(self, program: str) -> HoldersState | None:
        """The program's present holders; ``None`` if none of its processes has reported any."""
        row = self._programs.shown.get(("", program))
        return None if row is None else self._holders_state(row)

    def _holders_state(self, row: Aggregate) -> HoldersState | None:
        if row.holders is None:
            return None
        _, program = row.key
        signs = [
            process.signs
            for host in self._hosts_of.get(program, ())
            for process in self._living[host].programs[program][0]
            if process.signs is not NO_SIGNS
        ]
        return row.holders.state(program, signs)

    def members(self, program: str) -> list[Process]:
        """The program's living processes by host and token, for `process_states`."""
        found: list[Process] = []
        for host in sorted(self._hosts_of.get(program, ())):
            found += sorted(self._living[host].programs[program][0], key=lambda process: process.token)
        return found

    def process_states(self, processes: Iterable[Process], now: float) -> list[ProcessState]:
        """The present state of these processes, if living; takes some 3 µs each, and as much per pool."""
        return [process.state_at(now) for process in processes if process.state is LIVING]

    def hosts(self, now: float) -> tuple[Row, ...]:
        """The hosts' rows, by name."""
        self.expire(now)
        return tuple(row.state(now).row() for _, row in sorted(self._hosts.shown.items()))

    def host_rows(self, now: float) -> list[Aggregate]:
        """The input of `row_states`: the sums of each program on each host, then those of each host, by name."""
        self.expire(now)
        return [row for table in (self._host_programs, self._hosts) for _, row in sorted(table.shown.items())]

    def program_rows(self, now: float, *, by_host: bool = False) -> list[Aggregate]:
        """The input of `row_states`: the sums of each program, or of each program on each host; in no order."""
        self.expire(now)
        return list((self._host_programs if by_host else self._programs).shown.values())

    def row_states(self, rows: Iterable[Aggregate], now: float) -> list[tuple[str, str, RowState]]:
        """Host, program (empty for the host's own sum) and the sums at this instant; some 2 µs each."""
        return [(*row.key, row.state(now)) for row in rows]

    @property
    def since(self) -> float:
        """When the service began to count, as far as this node knows."""
        return self._since

    @property
    def received(self) -> int:
        """Datagrams received."""
        return self._received

    def health(self, now: float) -> Health:
        """The aggregator's own figures."""
        over = dict(self._over)
        rows_forgotten = self._programs.forgotten + self._hosts.forgotten + self._host_programs.forgotten
        if rows_forgotten:
            over["remembered"] = over.get("remembered", 0) + rows_forgotten
        return Health(
            self._received,
            self._refused,
            self._lost,
            self._expected,
            now - self._started,
            tuple(sorted(over.items())),
            self._budget.used,
            self._budget.limit,
            self.nodes(now),
            self.dropped,
            self.unwritten,
            self._refusals(),
            self.seals.users(now) if self.seals is not None else (),
        )

    def _refusals(self) -> tuple[tuple[str, int], ...]:
        """How many datagrams were refused, by reason."""
        counts = {"malformed": self._malformed, "over_limit": self._beyond}
        if self.seals is not None:
            counts |= {reason.word: count for reason, count in self.seals.refused.items()}
        return tuple(sorted((reason, count) for reason, count in counts.items() if count))
