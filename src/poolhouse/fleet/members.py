"""All processes, the rows that they add to, and the rules by which one makes room for another.

`Members` holds all processes with their rows, and enforces every limit of `FleetLimits`: when one is reached, the
least useful entry goes, and no sender displaces another's share.
"""

from collections.abc import Callable
from itertools import islice
from math import inf

from poolhouse.defaults import GONE_INTERVALS
from poolhouse.errors import PacketError
from poolhouse.fleet.aggregate import Aggregate
from poolhouse.fleet.budget import Budget
from poolhouse.fleet.deadlines import Deadlines
from poolhouse.fleet.events import EventLog
from poolhouse.fleet.examiner import Examiner
from poolhouse.fleet.forgotten import Forgotten
from poolhouse.fleet.ledger import amount_counted
from poolhouse.fleet.limits import FleetLimits
from poolhouse.fleet.names import clean_name
from poolhouse.fleet.presence import LIVING, SILENT, UNPROVEN_INTERVAL, State
from poolhouse.fleet.process import Process, Rows
from poolhouse.fleet.seals import Seals
from poolhouse.fleet.shares import BySource, above
from poolhouse.fleet.signs import NO_SIGNS
from poolhouse.fleet.snapshot import Event, NodeState
from poolhouse.fleet.standing import Place
from poolhouse.fleet.table import RowTable
from poolhouse.fleet.timelines import Timelines
from poolhouse.fleet.undo import SEQUENCE, Checkpoint, Kept, kept, kept_item
from poolhouse.fleet.vectors import ONE_PROCESS

#: Seconds that a process has for its second report before another may take its place.
GRACE = 10.0
#: How many bytes less a source must take than another before that one must make room for it.
SHARE_BYTES = 8_192
#: How many rows of a source are examined in the search for one that only it adds to.
MOST_TRIED = 16


#: Called with a process, the number of one of its reports, and a datagram of that report.
Relay = Callable[[Process, int, bytes], None]


class OverLimit(Exception):
    """A limit was reached; handled within `Fleet.receive`."""


class Members:
    """The processes of a fleet and their rows; `Fleet` takes their reports."""

    def __init__(self, limits: FleetLimits, now: float, secret: bytes = b"") -> None:
        """Start empty.

        Args:
            limits: The limits.
            now: The aggregator's time, in seconds; every later one is at least as large.
            secret: Random bytes, at least 16 and at most 64, new at each start: without them, a sender can choose
                names that have an honest process taken for a forgotten one.
        """
        self._limits = limits
        self._started = now
        self.relay: Relay | None = None
        self.note_change: Callable[[Process], None] | None = None
        self.nodes: Callable[[float], tuple[NodeState, ...]] = lambda now: ()
        #: When the service began to count: the earlier work of a process born before that does not count.
        self._since = now
        self._forgotten = Forgotten(limits.forgotten_bytes, secret)
        #: When the newest report of any process that was forgotten arrived.
        self._forgotten_heard = -inf
        #: The latest time of day from the shell, for events.
        self._wall_time = 0.0
        self._budget = Budget(limits.bytes)
        #: The last hour of each program, sampled by a shell.
        self.timelines = Timelines(self._budget, limits.programs + 1)
        self._processes: dict[tuple[str, str, str], Process] = {}
        #: Those that are not living, the longest gone first: those that reported once, and others.
        self._gone_once: BySource[Process] = BySource()
        self._gone: BySource[Process] = BySource()
        #: Living processes that have reported once, the first one first, with the time.
        self._unproven: BySource[Process] = BySource()
        #: All living ones, and the bytes of all, by the sender of their first report.
        self._present: BySource[Process] = BySource()
        self._bytes_of: dict[str, int] = {}
        self._deadlines: Deadlines[Process] = Deadlines()
        self._sums = Aggregate(("", ""), now, 1.0, self._budget)
        self._programs = RowTable(limits.programs, limits, self._budget)
        self._hosts = RowTable(limits.hosts, limits, self._budget)
        # Each row has a process or is remembered, so other limits restrict their number.
        self._host_programs = RowTable(limits.processes, limits, self._budget)
        #: The places with living processes, by host; and the hosts with some of a program, by program.
        self._living: dict[str, Place] = {}
        self._hosts_of: dict[str, dict[str, None]] = {}
        self._events = EventLog(limits.events)
        self._examiner = Examiner()
        self.note_verdict: Callable[[Event], None] | None = None
        self.seals: Seals | None = None
        self._received = self._refused = self._expected = self._lost = 0
        self._malformed = self._beyond = 0
        self.dropped = self.unwritten = 0
        self._over: dict[str, int] = {}
        #: What the change in progress may alter: by a datagram; of processes that come back, leave or are
        #: forgotten; and the process that it has admitted.
        self._checkpoint: tuple[int, int, Checkpoint] | None = None
        self._kept: list[Kept] = []
        self._admitted: tuple[str, str, str] | None = None

    def _settle(self, process: Process) -> None:
        """Count missing datagrams as lost, since none is on its way any more."""
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

    def _weigh(self, process: Process, before: int) -> None:
        """Update the account of a process that had `before` bytes."""
        more = process.size - before
        if more:
            self._budget.used += more
            self._bytes_of[process.source] = self._bytes_of.get(process.source, 0) + more

    def _admit(
        self, key: tuple[str, str, str], interval: float, is_base: bool, now: float, source: str
    ) -> Process:
        """Make room for a new process, or raise `OverLimit`."""
        host, program, token = self._clean(key)
        self._need_place(source, now)
        if self._budget.is_full and not self._free_bytes(source, now):
            raise self._over_limit("bytes")
        rows = self._rows(host, program, min(interval, UNPROVEN_INTERVAL), source, now)
        if (host, program) == key[:2]:
            # The names of thousands of processes: one object each instead of thousands.
            key = (*rows[0].key, token)
        process = Process(key, token, rows, is_base, now, interval)
        process.source = source
        self._admitted = key
        self._processes[key] = process
        self._weigh(process, 0)
        self._unproven.add(process, now)
        self._join(process, now)
        self._tell(process, "appeared", token)
        return process

    def _clean(self, key: tuple[str, str, str]) -> tuple[str, str, str]:
        """The names as shown to people, or raise `OverLimit`."""
        host, program, token = map(clean_name, key)
        if not (host and program and token):
            raise PacketError("an empty host, program or token")
        if max(map(len, key)) > self._limits.name_length:
            raise self._over_limit("name_length")
        return host, program, token

    def _return(self, process: Process, now: float) -> None:
        """Take back a silent process that reports again; raises `OverLimit` if there is no room for its rows."""
        self._need_place(process.source, now)
        rows = self._rows(*process.rows[0].key, process.interval, process.source, now)
        self._kept.append(kept(process, "rows", "state"))
        process.rows = rows
        process.learn_anew()
        if process.signs is not NO_SIGNS:
            holders = process.rows[1].obtain_holders()
            self._kept.append(kept(holders, "past"))
            holders.bring_back(process.signs)
        self._gone_once.discard(process)
        self._gone.discard(process)
        process.state = LIVING
        self._join(process, now)
        if process.is_proven:
            self._prove_rows(process)
        else:
            self._unproven.add(process, now)
        self._kept.clear()
        self._tell(process, "returned", process.token)

    def _need_place(self, source: str, now: float) -> None:
        """Make room for one more living process of a source, or raise `OverLimit`."""
        if len(self._present) < self._limits.processes:
            return
        if not (self._make_way(source, now) or self._replace(source, now)):
            raise self._over_limit("processes")

    def _rows(self, host: str, program: str, interval: float, source: str, now: float) -> Rows:
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
            if table.has_room(key) or self._make_row_way(table, source, now):
                continue
            if not self._replace_row(table, source, now):
                raise self._over_limit(bound)
        both, of_program, of_host = (table.obtain(key, now, interval, source) for table, key in by_bound.values())
        return both, of_program, of_host, self._sums

    def _join(self, process: Process, now: float) -> None:
        host, program = process.rows[0].key
        living = self._living.setdefault(host, Place())
        members, _ = living.programs.setdefault(program, ({}, process.rows))
        members[process] = None
        self._present.add(process)
        self._hosts_of.setdefault(program, {})[host] = None
        programs = living.tokens.get(process.token, 0)
        living.tokens[process.token] = programs + 1
        for row in process.rows if not programs else process.rows[:2]:
            row.join(ONE_PROCESS)
        self._deadlines.set(process, now + GONE_INTERVALS * process.interval)

    def _leave(self, process: Process, state: State, now: float) -> None:
        self._kept.append(kept(process, "state", "sequence"))
        if process.sequence is not None:
            self._kept += kept(process.sequence, *SEQUENCE), kept(self, "_lost")
        host, program = process.rows[0].key
        living = self._living[host]
        members, _ = living.programs[program]
        del members[process]
        if not members:
            del living.programs[program]
            del self._hosts_of[program][host]
            if not self._hosts_of[program]:
                del self._hosts_of[program]
        if process.signs is not NO_SIGNS:
            holders = process.rows[1].obtain_holders()
            self._kept.append(kept(holders, "past"))
            if holders.retire(process.signs):
                self._count_over("sites")
            process.rows[1].weigh()
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
        self._unproven.discard(process)
        self._present.discard(process)
        self._examiner.leave(process)
        size = process.size
        process.leave(state)
        self._weigh(process, size)
        if state is SILENT:
            self._settle(process)
        (self._gone if process.is_proven else self._gone_once).add(process)
        self._deadlines.set(process, now + (self._limits.memory if state is SILENT else self._limits.ended_memory))
        self._kept.clear()
        self._tell(process, "silent" if state is SILENT else "goodbye", process.token)

    def _forget(self, process: Process) -> None:
        """Forget the counts of a process that is gone; what they were is not counted again if it returns."""
        self._kept.append(kept(self, "_lost"))
        if process.sequence is not None:
            self._kept.append(kept(process.sequence, *SEQUENCE))
        self._settle(process)
        if self.seals is not None:
            self.seals.forget(process)
        self._forgotten.note(process.key, process.born, process.heard_at, may_return=process.state is SILENT)
        if self._limits.ended_pools:
            self._forgotten_heard = max(self._forgotten_heard, process.heard_at)
            amount = amount_counted(process)
            for row in process.rows:
                self._kept.append(kept(row, "forgotten"))
                row.note_forgotten(amount)
        self._kept.append(kept_item(self._processes, process.key))
        del self._processes[process.key]
        self._kept.clear()
        self._gone_once.discard(process)
        self._gone.discard(process)
        self._budget.used -= process.size
        self._bytes_of[process.source] -= process.size
        if not self._bytes_of[process.source]:
            del self._bytes_of[process.source]
        process.deadline = None

    @property
    def _gone_count(self) -> int:
        return len(self._gone) + len(self._gone_once)

    @property
    def _tables(self) -> tuple[RowTable, RowTable, RowTable]:
        return self._host_programs, self._programs, self._hosts

    def _forget_longest_gone(self, source: str | None, but: Process | None = None) -> bool:
        """Forget what has been gone longest of the source, first what reported once. False if there is nothing."""
        found = self._gone_once.oldest(source, but) or self._gone.oldest(source, but)
        if found is not None:
            self._forget(found[0])
        return found is not None

    def _prove(self, process: Process) -> None:
        """Note that a second report arrived in time, so that the process keeps its place."""
        self._unproven.discard(process)
        self._prove_rows(process)

    def _prove_late(self, process: Process) -> None:
        """Note whether such a report was heard of a process that is gone: it is forgotten after those without."""
        if process.is_proven and process in self._gone_once:
            self._gone_once.discard(process)
            self._gone.add(process)

    def _prove_rows(self, process: Process) -> None:
        for table, row in zip(self._tables, process.rows, strict=False):
            table.prove(row)

    def _replace(self, source: str, now: float, but: Process | None = None) -> bool:
        """Give up the source's process that has been without a second report longest. False if there is none."""
        found = self._unproven.oldest(source, but)
        if found is None or found[1] + GRACE > now:
            return False
        self._give_up(found[0], now)
        return True

    def _make_way(self, source: str, now: float) -> bool:
        """Give up a process of the largest source, if this one has less. False if it does not."""
        largest = self._present.largest()
        if largest is None or not above(self._present.count(source), self._present.count(largest)):
            return False
        self._give_up_newest(largest, now)
        self._count_over("share")
        return True

    def _give_up_newest(self, source: str, now: float) -> bool:
        """Give up the source's newest process, first of those that reported once. False if it has none."""
        process = self._unproven.newest(source) or self._present.newest(source)
        if process is not None:
            self._give_up(process, now)
        return process is not None

    def _give_up(self, process: Process, now: float) -> None:
        self._leave(process, SILENT, now)
        self._forget(process)

    def _make_row_way(self, table: RowTable, source: str, now: float) -> bool:
        """Give up a row of the largest source, if this one has less. False if none can go."""
        largest = table.of_source.largest()
        if largest is None or not above(table.of_source.count(source), table.of_source.count(largest)):
            return False
        for row in islice(table.of_source.newest_first(largest), MOST_TRIED):
            members = self._members_of(row)
            if all(process.source == largest for process in members):
                self._give_up_row(table, row, members, now)
                self._count_over("share")
                return True
        return False

    def _replace_row(self, table: RowTable, source: str, now: float) -> bool:
        """Give up a row of the source without any process that reported twice. False if there is none."""
        row = table.replaceable(now, GRACE, source)
        if row is not None:
            self._give_up_row(table, row, self._members_of(row), now)
        return row is not None

    def _give_up_row(self, table: RowTable, row: Aggregate, members: list[Process], now: float) -> None:
        for process in members:
            self._give_up(process, now)
        if row.key in table.shown:
            table.hide(row, now)

    def _members_of(self, row: Aggregate) -> list[Process]:
        """The living processes that add to a row."""
        host, program = row.key
        found: list[Process] = []
        for one in [host] if host else list(self._hosts_of.get(program, ())):
            living = self._living.get(one)
            for other in [program] if program else list(living.programs) if living else []:
                members = living.programs.get(other) if living else None
                found += members[0] if members else ()
        return found

    def _free_bytes(self, source: str, now: float, reporting: Process | None = None) -> bool:
        """Forget the least useful entries until there are bytes left. False if none can be forgotten.

        A process whose report is being taken does not make room for that.

        First processes that are gone and reported once; then living ones that reported once although there was
        time for a second report; then all that are gone; last the remembered rows. The oldest go first. They are
        those of the largest source, if this one takes less, and then also its newest living ones; otherwise this
        one's own, and those of sources without living processes.
        """
        while self._budget.is_full:
            largest = max(self._bytes_of, key=self._bytes_of.__getitem__, default=source)
            is_above = self._bytes_of.get(source, 0) + SHARE_BYTES < self._bytes_of.get(largest, 0)
            victim = largest if is_above else source
            if (found := self._gone_once.oldest(victim, reporting)) is not None:
                self._forget(found[0])
            elif not (
                self._replace(victim, now, reporting)
                or self._forget_longest_gone(victim, reporting)
                or (is_above and self._give_up_newest(victim, now))
                or any(
                    self._forget_longest_gone(one, reporting)
                    for one in self._bytes_of
                    if not self._present.count(one)
                )
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
