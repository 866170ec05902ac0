"""All processes that report, and what they sum up to by program, by host and as a fleet.

Rules (``docs/reference/fleet.md`` has them with their reasons):

- Counters and durations of a row are differences between what its processes told, so they never fall.
- A process is *stale* two intervals after its newest report and gone after five, or at its goodbye; only then do
  its gauges leave the sums. Freshness is told by the aggregator's clock alone.
- What a process had counted before it was first heard of counts only if the process is younger than what the
  fleet remembers.
- Everything is bounded by `FleetLimits`.

The shell owes one caller at a time and a clock that does not fall. The cost of a datagram does not depend on how
many processes there are; that of a snapshot depends on programs and hosts, and on the processes of the program
that is asked for.
"""

from poolhouse.defaults import GONE_INTERVALS
from poolhouse.errors import PacketError
from poolhouse.fleet.deadlines import Deadlines
from poolhouse.fleet.events import EventLog
from poolhouse.fleet.limits import FleetLimits
from poolhouse.fleet.names import clean_name
from poolhouse.fleet.process import ENDED, LIVING, SILENT, Process, State, bounded
from poolhouse.fleet.sequence import Sequence
from poolhouse.fleet.snapshot import Health, HostProgram, ProcessRow, Row, Snapshot
from poolhouse.fleet.sums import Sums
from poolhouse.fleet.table import Table
from poolhouse.fleet.vectors import ONE_PROCESS
from poolhouse.wire.message import LegacyDatagram, ReportDatagram, decode_message, legacy_datagram
from poolhouse.wire.values import ValueList

#: An earlier client does not tell how old it is: what it tells first counts if it comes this many seconds after
#: the aggregator's start, because by then every older process of its kind has reported.
EARLIER_GRACE = 10.0
#: How long datagrams may be under way after their process's goodbye, in seconds.
ENDED_MEMORY = 60.0
#: By how much the birth of a process that returns may seem later than before, in seconds: its clock runs
#: differently from ours, and its datagrams take their time.
BIRTH_ERROR = 60.0


class OverLimit(Exception):
    """A bound was reached; handled within `Fleet.receive`."""


class Fleet:
    """Everything that is known of all processes."""

    def __init__(self, limits: FleetLimits, now: float) -> None:
        """Begin empty.

        Args:
            limits: The bounds.
            now: The aggregator's time, in seconds; every later one is at least as large.
        """
        self._limits = limits
        self._started = now
        #: A process born before this may have been counted already.
        self._horizon = now
        #: The newest time of day that was told, for events.
        self._wall_time = 0.0
        self._processes: dict[tuple[str, str, str], Process] = {}
        #: Those of them that are not living, the longest gone first.
        self._gone: dict[Process, None] = {}
        self._deadlines: Deadlines[Process] = Deadlines()
        self._sums = Sums(("", ""), now, 1.0)
        self._programs = Table(limits.programs, limits)
        self._hosts = Table(limits.hosts, limits)
        # Each has a process, or is remembered: other bounds bound their number.
        self._host_programs = Table(limits.processes, limits)
        #: What the living processes of a program on a host share.
        self._rows_in_use: dict[tuple[str, str], tuple[Sums, Sums, Sums, Sums]] = {}
        self._members: dict[str, dict[Process, None]] = {}
        #: Under how many programs each living process of a host reports, by host and token.
        self._tokens: dict[str, dict[str, int]] = {}
        self._events = EventLog(limits.events)
        self._received = self._refused = self._expected = self._lost = 0
        self._over: dict[str, int] = {}

    def receive(self, datagram: bytes, now: float, wall_time: float) -> str | None:
        """Take a datagram as it came from the network; never raises.

        Args:
            datagram: Its bytes.
            now: The aggregator's time, in seconds.
            wall_time: The time of day, for events.

        Returns:
            Why it was refused, in words for a log, or ``None``.
        """
        self._received += 1
        self._wall_time = wall_time
        try:
            message = decode_message(datagram)
            if type(message) is ReportDatagram:
                self._take_report(message, datagram, now)
            elif type(message) is LegacyDatagram:
                self._take_legacy(message, now)
            else:
                lists = [legacy_datagram(told) for told in message if isinstance(told, ValueList)]
                earlier = [told for told in lists if told is not None]
                if not earlier:
                    raise PacketError("neither a report nor an earlier client's sums", 0)
                for told in earlier:
                    self._take_legacy(told, now)
        except (PacketError, OverLimit) as error:
            self._refused += 1
            return str(error)
        return None

    def set_linger(self, seconds: float) -> None:
        """Show rows without processes for so long, if five of their intervals are less.

        For those who look seldom, so that they too see gauges 0 before the row is gone.
        """
        for table in (self._programs, self._hosts, self._host_programs):
            table.linger = seconds

    def expire(self, now: float) -> None:
        """Let go whoever was silent for too long; at least once a second, if no snapshot is taken so often."""
        while process := self._deadlines.pop_passed(now):
            if process.state is not LIVING:
                self._forget(process)
                continue
            gone_at = process.heard_at + GONE_INTERVALS * process.interval
            if gone_at > now:
                self._deadlines.set(process, gone_at)
            else:
                self._leave(process, SILENT, now)
        while len(self._gone) > self._limits.remembered:
            self._count_over("remembered")
            self._forget(next(iter(self._gone)))
        for table in (self._programs, self._hosts, self._host_programs):
            table.expire(now)

    def snapshot(self, now: float, wall_time: float, program: str | None = None) -> Snapshot:
        """The fleet as it is now.

        Args:
            now: The aggregator's time, in seconds.
            wall_time: The time of day, for people.
            program: Whose processes and pools are told one by one; none if ``None``.
        """
        self._wall_time = wall_time
        self.expire(now)
        processes: list[ProcessRow] = []
        if program is not None:
            processes = [process.row(now) for process in self._members.get(program, ())]
            processes.sort(key=lambda row: (row.host, row.token))
        return Snapshot(
            wall_time,
            self._sums.row(now),
            tuple(row.row(now) for _, row in sorted(self._programs.shown.items())),
            tuple(row.row(now) for _, row in sorted(self._hosts.shown.items())),
            self.health(now),
            self._events.events(),
            program,
            tuple(processes),
        )

    def hosts(self, now: float) -> tuple[Row, ...]:
        """The hosts' rows, by name."""
        self.expire(now)
        return tuple(row.row(now) for _, row in sorted(self._hosts.shown.items()))

    def host_programs(self, now: float) -> tuple[HostProgram, ...]:
        """The rows of each program on each host, by host and program."""
        self.expire(now)
        return tuple(HostProgram(*key, row.row(now)) for key, row in sorted(self._host_programs.shown.items()))

    def health(self, now: float) -> Health:
        """What the aggregator says of itself."""
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
        )

    def _take_report(self, message: ReportDatagram, datagram: bytes, now: float) -> None:
        key = message.host, message.program, message.token
        process = self._processes.get(key)
        if process is None:
            born = now - message.uptime
            process = self._admit(key, message.interval, born < self._horizon, now)
            process.born = born
        if not self._note_sequence(process, message):
            return
        if process.state is SILENT and process.is_newer(message):
            self._return(process, now)
        refused = process.report(message, datagram, self._limits.pools, now, self._tell)
        if message.goodbye and process.state is LIVING:
            self._leave(process, ENDED, now)
        if refused is not None:
            raise self._over_limit(refused)

    def _take_legacy(self, message: LegacyDatagram, now: float) -> None:
        key = message.host, message.program, message.token
        process = self._processes.get(key)
        if process is None:
            process = self._admit(key, message.interval, now < self._started + EARLIER_GRACE, now)
        if process.state is SILENT:
            self._return(process, now)
        process.earlier(message, now, self._tell)

    def _note_sequence(self, process: Process, message: ReportDatagram) -> bool:
        """Count what is lost; False if the datagram came before."""
        sequence = process.sequence
        if sequence is None:
            # The others of the report that is the first to come are expected too.
            sequence = process.sequence = Sequence(message.sequence - message.place)
        expected, lost = sequence.expected, sequence.lost
        is_new = sequence.is_new(message.sequence)
        self._expected += sequence.expected - expected
        if sequence.lost != lost:
            self._count_lost(process, sequence.lost - lost)
        return is_new

    def _settle(self, process: Process) -> None:
        """Nothing is under way any more: what has not come is lost."""
        if process.sequence is not None:
            lost = process.sequence.lost
            process.sequence.settle()
            if process.sequence.lost != lost:
                self._count_lost(process, process.sequence.lost - lost)

    def _count_lost(self, process: Process, lost: int) -> None:
        self._lost += lost
        self._tell(process, "lost", f"{lost} datagrams of {process.token}")

    def _admit(self, key: tuple[str, str, str], interval: float, is_base: bool, now: float) -> Process:
        """Make room for a process that was not heard of, or raise `OverLimit`."""
        host, program, token = map(clean_name, key)
        if not (host and program and token):
            raise PacketError("an empty host, program or token", 0)
        if max(map(len, key)) > self._limits.name_length:
            raise self._over_limit("name_length")
        if len(self._processes) - len(self._gone) >= self._limits.processes:
            raise self._over_limit("processes")
        interval = bounded(interval)
        rows = self._rows(host, program, interval, now)
        if (host, program) == key[:2]:
            # The names of thousands of processes: one object each instead of thousands.
            key = (*rows[0].key, token)
        process = Process(key, token, rows, is_base, now, interval)
        self._processes[key] = process
        self._join(process, now)
        self._tell(process, "appeared", token)
        return process

    def _return(self, process: Process, now: float) -> None:
        """A silent process is heard of again; raises `OverLimit` if there is no room for its rows any more."""
        process.rows = self._rows(*process.rows[0].key, process.interval, now)
        process.learn_anew()
        del self._gone[process]
        process.state = LIVING
        process.heard_at = now
        self._join(process, now)
        self._tell(process, "returned", process.token)

    def _rows(self, host: str, program: str, interval: float, now: float) -> tuple[Sums, Sums, Sums, Sums]:
        """The rows of a program on a host, or raise `OverLimit`."""
        rows = self._rows_in_use.get((host, program))
        if rows is not None:
            return rows
        by_bound = {
            "processes": (self._host_programs, (host, program)),
            "programs": (self._programs, ("", program)),
            "hosts": (self._hosts, (host, "")),
        }
        for bound, (table, key) in by_bound.items():
            if not table.has_room(key):
                raise self._over_limit(bound)
        both, of_program, of_host = (table.obtain(key, now, interval) for table, key in by_bound.values())
        rows = self._rows_in_use[host, program] = both, of_program, of_host, self._sums
        return rows

    def _join(self, process: Process, now: float) -> None:
        host, program = process.rows[0].key
        self._members.setdefault(program, {})[process] = None
        tokens = self._tokens.setdefault(host, {})
        programs = tokens.get(process.token, 0)
        tokens[process.token] = programs + 1
        for row in process.rows if not programs else process.rows[:2]:
            row.join(ONE_PROCESS)
        self._deadlines.set(process, now + GONE_INTERVALS * process.interval)

    def _leave(self, process: Process, state: State, now: float) -> None:
        host, program = process.rows[0].key
        members = self._members[program]
        del members[process]
        if not members:
            del self._members[program]
        tokens = self._tokens[host]
        programs = tokens[process.token] = tokens[process.token] - 1
        if not programs:
            del tokens[process.token]
        if not tokens:
            del self._tokens[host]
        for place, row in enumerate(process.rows):
            # A process under two programs is one process of its host until it leaves the last of them.
            row.leave(process.gauges + (ONE_PROCESS if place < 2 or not programs else 0))
        if not process.rows[0].processes:
            del self._rows_in_use[host, program]
        tables = self._host_programs, self._programs, self._hosts
        for table, row in zip(tables, process.rows, strict=False):
            if not row.processes:
                table.vacate(row, now)
        process.leave(state)
        if state is SILENT:
            self._settle(process)
        self._gone[process] = None
        self._deadlines.set(process, now + (self._limits.memory if state is SILENT else ENDED_MEMORY))
        self._tell(process, "silent" if state is SILENT else "goodbye", process.token)

    def _forget(self, process: Process) -> None:
        """What a silent process counted is not known any more, so that of its age is not counted again."""
        del self._gone[process]
        del self._processes[process.key]
        process.deadline = None
        self._settle(process)
        if process.state is SILENT:
            self._horizon = max(self._horizon, process.born + BIRTH_ERROR)

    def _over_limit(self, bound: str) -> OverLimit:
        self._count_over(bound)
        return OverLimit(f"over the limit of {bound}")

    def _count_over(self, bound: str) -> None:
        self._over[bound] = self._over.get(bound, 0) + 1

    def _tell(self, process: Process, kind: str, text: str) -> None:
        self._events.add(self._wall_time, kind, *process.rows[0].key, text)
