"""All processes that report, and their sums by program, by host and as a fleet.

Rules (``docs/reference/fleet.md`` has them with their reasons):

- Counters and durations of a row are sums of differences between reports, so they never fall.
- A process is *stale* two intervals after its newest report and gone after five, or at its goodbye; only then do
  its gauges leave the sums. Freshness depends on the aggregator's clock alone.
- Events before the first report of a process count only if the process is younger than the fleet's memory.
- Everything is bounded by `FleetLimits`.

The shell owes one caller at a time and a clock that does not fall. The cost of a datagram does not depend on how
many processes there are; that of a snapshot depends on programs and hosts, and on the processes of the program
that is asked for.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from enum import Enum, auto
from math import inf
from typing import NamedTuple

from poolhouse.defaults import GONE_INTERVALS
from poolhouse.errors import PacketError
from poolhouse.fleet.aggregate import Aggregate, RowState
from poolhouse.fleet.budget import Budget
from poolhouse.fleet.deadlines import Deadlines
from poolhouse.fleet.events import EventLog
from poolhouse.fleet.limits import FleetLimits
from poolhouse.fleet.names import asked_host, clean_name
from poolhouse.fleet.process import ENDED, LIVING, SILENT, UNPROVEN_INTERVAL, Process, ProcessState, Rows, State
from poolhouse.fleet.sequence import Sequence
from poolhouse.fleet.snapshot import Event, Health, HostProgram, NodeState, ProcessRow, Row, Snapshot
from poolhouse.fleet.table import RowTable
from poolhouse.fleet.vectors import ONE_PROCESS
from poolhouse.wire.message import LegacyDatagram, ReportDatagram, decode_message, legacy_datagram
from poolhouse.wire.values import ValueList

#: An earlier client does not send its age: its first values count if they arrive this many seconds after
#: the aggregator's start, because by then every older process of its kind has reported.
EARLIER_GRACE = 10.0
#: By how much the birth of a process that returns may seem later than before, in seconds: its clock runs
#: differently from ours, and its datagrams take their time.
BIRTH_ERROR = 60.0
#: Seconds that a process is given for its second report before another may take its place.
GRACE = 10.0


class Way(Enum):
    """How a datagram arrived."""

    #: By UDP, which loses some: numbers that are missing are losses.
    UDP = auto()
    #: By TCP: numbers that are missing were never sent here.
    TCP = auto()
    #: By TCP from another node, which received it from the process.
    RELAYED = auto()


_UDP, _RELAYED = Way.UDP, Way.RELAYED


#: Called with a process, the number of one of its reports, and a datagram of that report.
Relay = Callable[[Process, int, bytes], None]


class OverLimit(Exception):
    """A bound was reached; handled within `Fleet.receive`."""


class FleetState(NamedTuple):
    """The sums of the whole fleet at one instant, as immutable values: taken at once, made readable later."""

    wall_time: float
    fleet: RowState
    programs: list[RowState]
    hosts: list[RowState]
    health: Health
    events: tuple[Event, ...]

    def snapshot_steps(self) -> Iterator[Snapshot | None]:
        """The snapshot, without any processes, in small steps: ``None`` after each row, and then the snapshot."""
        made: list[Row] = []
        for row in (self.fleet, *self.programs, *self.hosts):
            made.append(row.row())
            yield None
        hosts_at = 1 + len(self.programs)
        programs, hosts = tuple(made[1:hosts_at]), tuple(made[hosts_at:])
        yield Snapshot(self.wall_time, made[0], programs, hosts, self.health, self.events)


class _Host:
    """The living processes of a host, and their programs."""

    __slots__ = ("programs", "tokens")

    def __init__(self) -> None:
        #: Under how many programs each process reports, by token.
        self.tokens: dict[str, int] = {}
        #: The processes of each program, and the rows that they add to.
        self.programs: dict[str, tuple[dict[Process, None], Rows]] = {}


def program_row(host: str, program: str, state: RowState) -> ProcessRow:
    """The sums of a program on a host in place of a process's, for a console that asks for a host."""
    return ProcessRow(host, program, "", state.row(), None, 0, ())


class Fleet:
    """All processes and their sums.

    Attributes:
        dropped, unwritten: Figures of the shell around it, which sets them; see `Health`.
        relay: Called with what other nodes need to receive, too.
        note_change: Called with a process whose ledger other nodes need to be told.
        nodes: The nodes of the service at a time, for `health`.
    """

    def __init__(self, limits: FleetLimits, now: float) -> None:
        """Begin empty.

        Args:
            limits: The bounds.
            now: The aggregator's time, in seconds; every later one is at least as large.
        """
        self._limits = limits
        self._started = now
        self.relay: Relay | None = None
        self.note_change: Callable[[Process], None] | None = None
        self.nodes: Callable[[float], tuple[NodeState, ...]] = lambda now: ()
        #: Since when the service counts: what a process born before that did until now is not counted.
        self._since = now
        #: A process born before this may have been counted, and forgotten.
        self._forgotten_born = -inf
        #: When the newest report of any process that was forgotten arrived.
        self._forgotten_heard = -inf
        #: The newest time of day from the shell, for events.
        self._wall_time = 0.0
        self._budget = Budget(limits.bytes)
        self._processes: dict[tuple[str, str, str], Process] = {}
        #: Those of them that are not living, the longest gone first: those that reported once, and others.
        self._gone_once: dict[Process, None] = {}
        self._gone: dict[Process, None] = {}
        #: Living processes that reported once, the first one first, and since when.
        self._unproven: dict[Process, float] = {}
        self._deadlines: Deadlines[Process] = Deadlines()
        self._sums = Aggregate(("", ""), now, 1.0, self._budget)
        self._programs = RowTable(limits.programs, limits, self._budget)
        self._hosts = RowTable(limits.hosts, limits, self._budget)
        # Each has a process, or is remembered: other bounds bound their number.
        self._host_programs = RowTable(limits.processes, limits, self._budget)
        #: Where there are living processes, by host, and the hosts that have some of a program, by program.
        self._living: dict[str, _Host] = {}
        self._hosts_of: dict[str, dict[str, None]] = {}
        self._events = EventLog(limits.events)
        self._received = self._refused = self._expected = self._lost = 0
        self.dropped = self.unwritten = 0
        self._over: dict[str, int] = {}

    def receive(self, datagram: bytes, now: float, wall_time: float, way: Way = _UDP) -> str | None:
        """Take a datagram as it arrived from the network; never raises.

        Args:
            datagram: Its bytes.
            now: The aggregator's time, in seconds.
            wall_time: The time of day, for events.
            way: How it arrived.

        Returns:
            Why it was refused, in words for a log, or ``None``.
        """
        self._received += 1
        self._wall_time = wall_time
        try:
            message = decode_message(datagram)
            if type(message) is ReportDatagram:
                self._take_report(message, datagram, now, way)
            elif type(message) is LegacyDatagram:
                self._take_legacy(message, datagram, now, way)
            else:
                lists = [legacy_datagram(told) for told in message if isinstance(told, ValueList)]
                earlier = [told for told in lists if told is not None]
                if not earlier:
                    raise PacketError("neither a report nor an earlier client's sums", 0)
                for told in earlier:
                    self._take_legacy(told, datagram, now, way)
        except (PacketError, OverLimit) as error:
            self._refused += 1
            return str(error)
        return None

    def set_linger(self, seconds: float) -> None:
        """Keep rows without processes visible for this many seconds, if five of their intervals are less.

        A reader with a long interval then sees gauges of 0 before the row is gone.
        """
        for table in (self._programs, self._hosts, self._host_programs):
            table.linger = seconds

    def expire(self, now: float) -> None:
        """Remove processes that were silent for too long; call it at least once a second."""
        while process := self._deadlines.pop_passed(now):
            if process.state is not LIVING:
                self._forget(process)
                continue
            gone_at = process.heard_at + GONE_INTERVALS * process.interval
            if gone_at > now:
                self._deadlines.set(process, gone_at)
            else:
                self._leave(process, SILENT, now)
        while self._gone_count > self._limits.remembered:
            self._count_over("remembered")
            self._forget_longest_gone()
        for table in (self._programs, self._hosts, self._host_programs):
            table.expire(now)

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
            return replace(snapshot, program=program, processes=tuple(program_row(*state) for state in states))
        members = self.process_states(self.members(program), now)
        return replace(snapshot, program=program, processes=tuple(process.row() for process in members))

    def programs_on(self, host: str) -> list[Aggregate]:
        """The input of `row_states`: the sums of each program on a host, by name."""
        found = [(program, row) for (at, program), row in self._host_programs.shown.items() if at == host]
        return [row for _, row in sorted(found, key=lambda pair: pair[0])]

    def state(self, now: float, wall_time: float) -> FleetState:
        """The sums of the fleet at this instant; some 2 µs a program and a host."""
        self._wall_time = wall_time
        self.expire(now)
        return FleetState(
            wall_time,
            self._sums.state(now),
            [row.state(now) for _, row in sorted(self._programs.shown.items())],
            [row.state(now) for _, row in sorted(self._hosts.shown.items())],
            self.health(now),
            self._events.events(),
        )

    def members(self, program: str) -> list[Process]:
        """The program's living processes by host and token, for `process_states`."""
        found: list[Process] = []
        for host in sorted(self._hosts_of.get(program, ())):
            found += sorted(self._living[host].programs[program][0], key=lambda process: process.token)
        return found

    def process_states(self, processes: Iterable[Process], now: float) -> list[ProcessState]:
        """These processes at this instant, if they are living; some 3 µs each, and as much a pool."""
        return [process.state_at(now) for process in processes if process.state is LIVING]

    def hosts(self, now: float) -> tuple[Row, ...]:
        """The hosts' rows, by name."""
        self.expire(now)
        return tuple(row.state(now).row() for _, row in sorted(self._hosts.shown.items()))

    def host_rows(self, now: float) -> list[Aggregate]:
        """The input of `row_states`: the sums of each program on each host, then those of each host, by name."""
        self.expire(now)
        return [row for table in (self._host_programs, self._hosts) for _, row in sorted(table.shown.items())]

    def row_states(self, rows: Iterable[Aggregate], now: float) -> list[tuple[str, str, RowState]]:
        """Host, program (empty for the host's own sum) and the sums at this instant; some 2 µs each."""
        return [(*row.key, row.state(now)) for row in rows]

    def host_programs(self, now: float) -> tuple[HostProgram, ...]:
        """The rows of each program on each host, by host and program."""
        self.expire(now)
        shown = sorted(self._host_programs.shown.items())
        return tuple(HostProgram(*key, row.state(now).row()) for key, row in shown)

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
        )

    def _take_report(self, message: ReportDatagram, datagram: bytes, now: float, way: Way) -> None:
        key = message.host, message.program, message.token
        process = self._processes.get(key)
        if process is None:
            born = now - message.uptime
            is_base = born < self._since or born < self._forgotten_born
            process = self._admit(key, message.interval, is_base, now)
            process.born = born
            process.keeps_base = born < self._forgotten_born
            if is_base and self.note_change is not None:
                self.note_change(process)
        if not self._note_sequence(process, message, way is _UDP):
            return
        if process.state is SILENT and process.is_newer(message):
            self._return(process, now)
            process.returned_with = message.number
        may_grow = not self._budget.is_full or self._free_bytes(now)
        size = process.size
        try:
            refused = process.report(message, datagram, self._limits, may_grow, now, self._tell)
        finally:
            self._budget.used += process.size - size
        if process.is_proven and process in self._unproven:
            self._prove(process)
        if message.goodbye and process.state is LIVING:
            self._leave(process, ENDED, now)
        if refused is not None:
            raise self._over_limit(refused)
        if self.relay is not None and way is not _RELAYED:
            self.relay(process, message.number, datagram)

    def _take_legacy(self, message: LegacyDatagram, datagram: bytes, now: float, way: Way) -> None:
        key = message.host, message.program, message.token
        process = self._processes.get(key)
        if process is None:
            is_base = now < self._started + EARLIER_GRACE
            process = self._admit(key, message.interval, is_base, now)
            if is_base and self.note_change is not None:
                self.note_change(process)
        if process.state is SILENT:
            self._return(process, now)
        process.earlier(message, now, self._tell, is_relayed=way is Way.RELAYED)
        if process.is_proven and process in self._unproven:
            self._prove(process)
        if self.relay is not None and way is not _RELAYED:
            self.relay(process, int(message.wall_time), datagram)

    def _note_sequence(self, process: Process, message: ReportDatagram, is_lossy: bool) -> bool:
        """Count lost datagrams; False if this one is a repetition."""
        sequence = process.sequence
        if sequence is None:
            # The other datagrams of the first report are expected too.
            sequence = process.sequence = Sequence(message.sequence - message.place * is_lossy)
        expected, lost = sequence.expected, sequence.lost
        is_new = sequence.is_new(message.sequence, is_lossy=is_lossy)
        self._expected += sequence.expected - expected
        if sequence.lost != lost:
            self._count_lost(process, sequence.lost - lost)
        return is_new

    def _settle(self, process: Process) -> None:
        """No datagram is under way any more: the missing ones are lost."""
        if process.sequence is not None:
            lost = process.sequence.lost
            process.sequence.settle()
            if process.sequence.lost != lost:
                self._count_lost(process, process.sequence.lost - lost)

    def _count_lost(self, process: Process, lost: int) -> None:
        self._lost += lost
        self._tell(process, "lost", f"{lost} datagrams of {process.token}")
        if self.note_change is not None:
            self.note_change(process)

    def _admit(self, key: tuple[str, str, str], interval: float, is_base: bool, now: float) -> Process:
        """Make room for a new process, or raise `OverLimit`."""
        host, program, token = self._clean(key)
        if len(self._processes) - self._gone_count >= self._limits.processes and not self._replace(now):
            raise self._over_limit("processes")
        if self._budget.is_full and not self._free_bytes(now):
            raise self._over_limit("bytes")
        rows = self._rows(host, program, min(interval, UNPROVEN_INTERVAL), now)
        if (host, program) == key[:2]:
            # The names of thousands of processes: one object each instead of thousands.
            key = (*rows[0].key, token)
        process = Process(key, token, rows, is_base, now, interval)
        self._processes[key] = process
        self._budget.used += process.size
        self._unproven[process] = now
        self._join(process, now)
        self._tell(process, "appeared", token)
        return process

    def _clean(self, key: tuple[str, str, str]) -> tuple[str, str, str]:
        """The names that people see, or raise `OverLimit`."""
        host, program, token = map(clean_name, key)
        if not (host and program and token):
            raise PacketError("an empty host, program or token", 0)
        if max(map(len, key)) > self._limits.name_length:
            raise self._over_limit("name_length")
        return host, program, token

    def _return(self, process: Process, now: float) -> None:
        """Take back a silent process that reports again; raises `OverLimit` if its rows have no room any more."""
        if len(self._processes) - self._gone_count >= self._limits.processes and not self._replace(now):
            raise self._over_limit("processes")
        process.rows = self._rows(*process.rows[0].key, process.interval, now)
        process.learn_anew()
        self._gone_once.pop(process, None)
        self._gone.pop(process, None)
        process.state = LIVING
        self._join(process, now)
        if process.is_proven:
            self._prove_rows(process)
        else:
            self._unproven[process] = now
        self._tell(process, "returned", process.token)

    def _rows(self, host: str, program: str, interval: float, now: float) -> Rows:
        """The rows of a program on a host, or raise `OverLimit`."""
        living = self._living.get(host)
        if living is not None and program in living.programs:
            return living.programs[program][1]
        by_bound = {
            "processes": (self._host_programs, (host, program)),
            "programs": (self._programs, ("", program)),
            "hosts": (self._hosts, (host, "")),
        }
        for bound, (table, key) in by_bound.items():
            if not table.has_room(key) and not self._replace_row(table, now):
                raise self._over_limit(bound)
        both, of_program, of_host = (table.obtain(key, now, interval) for table, key in by_bound.values())
        return both, of_program, of_host, self._sums

    def _join(self, process: Process, now: float) -> None:
        host, program = process.rows[0].key
        living = self._living.setdefault(host, _Host())
        members, _ = living.programs.setdefault(program, ({}, process.rows))
        members[process] = None
        self._hosts_of.setdefault(program, {})[host] = None
        programs = living.tokens.get(process.token, 0)
        living.tokens[process.token] = programs + 1
        for row in process.rows if not programs else process.rows[:2]:
            row.join(ONE_PROCESS)
        self._deadlines.set(process, now + GONE_INTERVALS * process.interval)

    def _leave(self, process: Process, state: State, now: float) -> None:
        host, program = process.rows[0].key
        living = self._living[host]
        members, _ = living.programs[program]
        del members[process]
        if not members:
            del living.programs[program]
            del self._hosts_of[program][host]
            if not self._hosts_of[program]:
                del self._hosts_of[program]
        programs = living.tokens[process.token] = living.tokens[process.token] - 1
        if not programs:
            del living.tokens[process.token]
        if not living.programs:
            del self._living[host]
        for place, row in enumerate(process.rows):
            # A process under two programs is one process of its host until it leaves the last of them.
            row.leave(process.gauges + (ONE_PROCESS if place < 2 or not programs else 0))
        for table, row in zip(self._tables, process.rows, strict=False):
            if process.is_proven:
                table.unprove(row, now)
            if not row.processes:
                table.vacate(row, now)
        self._unproven.pop(process, None)
        size = process.size
        process.leave(state)
        self._budget.used += process.size - size
        if state is SILENT:
            self._settle(process)
        (self._gone if process.is_proven else self._gone_once)[process] = None
        self._deadlines.set(process, now + (self._limits.memory if state is SILENT else self._limits.ended_memory))
        self._tell(process, "silent" if state is SILENT else "goodbye", process.token)

    def _forget(self, process: Process) -> None:
        """Forget the counts of a silent process: no process of its age may be counted again."""
        self._gone_once.pop(process, None)
        self._gone.pop(process, None)
        del self._processes[process.key]
        self._budget.used -= process.size
        process.deadline = None
        self._settle(process)
        if process.state is SILENT:
            self._forgotten_born = max(self._forgotten_born, process.born + BIRTH_ERROR)
        if self._limits.ended_pools:
            self._forgotten_heard = max(self._forgotten_heard, process.heard_at)
            amount = process.amount()
            for row in process.rows:
                row.note_forgotten(amount)

    @property
    def _gone_count(self) -> int:
        return len(self._gone) + len(self._gone_once)

    @property
    def _tables(self) -> tuple[RowTable, RowTable, RowTable]:
        return self._host_programs, self._programs, self._hosts

    def _forget_longest_gone(self) -> bool:
        """Forget the process gone for longest, first of those that reported once; False if none is gone."""
        process = next(iter(self._gone_once or self._gone), None)
        if process is not None:
            self._forget(process)
        return process is not None

    def _prove(self, process: Process) -> None:
        """A second report arrived in time: the process keeps its place."""
        del self._unproven[process]
        self._prove_rows(process)

    def _prove_rows(self, process: Process) -> None:
        for table, row in zip(self._tables, process.rows, strict=False):
            table.prove(row)

    def _replace(self, now: float) -> bool:
        """Give up the living process that has longest failed to report a second time; False if there is none."""
        process, since = next(iter(self._unproven.items()), (None, now))
        if process is None or since + GRACE > now:
            return False
        self._leave(process, SILENT, now)
        self._forget(process)
        return True

    def _replace_row(self, table: RowTable, now: float) -> bool:
        """Give up a row none of whose processes reported twice, and its processes; False if there is none."""
        row = table.replaceable(now, GRACE)
        if row is None:
            return False
        host, program = row.key
        hosts = [host] if host else list(self._hosts_of.get(program, ()))
        for one in hosts:
            living = self._living.get(one)
            programs = [program] if program else list(living.programs) if living else []
            for other in programs:
                members = living.programs.get(other) if living else None
                for process in list(members[0]) if members else ():
                    self._leave(process, SILENT, now)
                    self._forget(process)
        table.hide(row, now)
        return True

    def _free_bytes(self, now: float) -> bool:
        """Forget the least useful entries until there are bytes left; False if none can be forgotten.

        First processes that are gone and reported once; then living ones that reported once although there was
        time for a second report; then all that are gone; last the remembered rows. The oldest go first.
        """
        while self._budget.is_full:
            process = next(iter(self._gone_once), None)
            if process is not None:
                self._forget(process)
            elif not (
                self._replace(now)
                or self._forget_longest_gone()
                or any(table.forget_oldest() for table in self._tables)
            ):
                return False
            self._count_over("bytes")
        return True

    def _over_limit(self, bound: str) -> OverLimit:
        self._count_over(bound)
        return OverLimit(f"over the limit of {bound}")

    def _count_over(self, bound: str) -> None:
        self._over[bound] = self._over.get(bound, 0) + 1

    def _tell(self, process: Process, kind: str, text: str) -> None:
        self._events.add(self._wall_time, kind, *process.rows[0].key, text)
