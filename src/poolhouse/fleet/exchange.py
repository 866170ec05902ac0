"""What one node of a service sends to the others about its fleet, and accepts from them.

Reports are relayed; this does what relaying cannot: bring a node up to date that was absent. Entries of the ledger
are joined process by process (`poolhouse.fleet.ledger`). A join raises totals, but neither gauges nor rates; a
process that only other nodes have heard of is remembered as a silent one, which its next report makes living.
"""

from collections.abc import Callable
from math import inf
from typing import NamedTuple, ParamSpec, TypeVar

from poolhouse.errors import PacketError
from poolhouse.fleet import ledger
from poolhouse.fleet.account import NO_AMOUNT, Amount, amount_of, largest, less, sums_of
from poolhouse.fleet.aggregate import Aggregate
from poolhouse.fleet.fleet import Fleet
from poolhouse.fleet.members import OverLimit
from poolhouse.fleet.names import clean_name
from poolhouse.fleet.presence import ENDED, LIVING, SILENT, UNPROVEN_INTERVAL
from poolhouse.fleet.process import Process
from poolhouse.fleet.undo import kept, kept_whole
from poolhouse.wire.ledger import Entry, RowSums
from poolhouse.wire.tuples import made

#: Beginnings of the service further apart than this, in seconds, are different ones: ages take time to arrive.
SINCE_ERROR = 1.0
#: A process silent for up to this many seconds less than a forgotten one may have been forgotten, too.
HEARD_ERROR = 60.0

P = ParamSpec("P")
T = TypeVar("T")


class Learned(NamedTuple):
    """The result of taking an entry.

    Attributes:
        process: The process of the entry.
        has_learned: Whether the entry had news for the other nodes.
        knows_more: Whether its sender must be told what this node has.
    """

    process: Process
    has_learned: bool
    knows_more: bool


class Exchange:
    """The ledger of a fleet, for the exchange between nodes."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet

    def counting_for(self, now: float) -> float:
        """Seconds since the service began to count, as far as this node knows."""
        return max(0.0, now - self._fleet._since)

    def forgotten_for(self, now: float) -> float | None:
        """Seconds since the latest report of a forgotten process; ``None`` if none was forgotten."""
        heard = self._fleet._forgotten_heard
        return None if heard == -inf else max(0.0, now - heard)

    def processes(self) -> list[Process]:
        """All processes, living or remembered, the longest gone first."""
        fleet = self._fleet
        gone = [*fleet._gone_once, *fleet._gone]
        return gone + [process for process in fleet._processes.values() if process.state is LIVING]

    def entry(self, process: Process, now: float) -> Entry:
        """The ledger of one process."""
        return ledger.entry_of(process, now)

    def forgotten(self) -> list[RowSums]:
        """What each row's forgotten processes had counted, without rows that have none."""
        fleet = self._fleet
        rows = [fleet._sums]
        for table in fleet._tables:
            rows += table.rows()
        return [
            RowSums(*row.key, row.knows, row.sent, sums_of(row.forgotten))
            for row in rows
            if row.forgotten != NO_AMOUNT
        ]

    def learn_since(self, counting_for: float, now: float) -> list[Process] | None:
        """Take another node's statement of how long the service has been counting.

        Returns:
            The processes whose earlier work counts now; ``None`` if the service is not older than this node knew.
        """
        fleet, since = self._fleet, now - counting_for
        if since >= fleet._since - SINCE_ERROR:
            return None
        changed: list[Process] = []
        self._change(now, self._count_since, since, changed)
        return changed

    def _count_since(self, since: float, changed: list[Process]) -> None:
        fleet = self._fleet
        for process in list(fleet._processes.values()):
            if process.is_born and process.born >= since and not process.keeps_base:
                fleet._kept += kept_whole(process)
                amount = ledger.count_all(process)
                if amount != NO_AMOUNT:
                    self._raise(process, amount)
                    changed.append(process)
                fleet._kept.clear()
        fleet._since = since

    def _change(self, now: float, change: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Change the fleet; if memory runs out, the change is undone and MemoryError raised."""
        fleet = self._fleet
        try:
            if not fleet.is_whole(now):
                raise MemoryError
            changed = change(*args, **kwargs)
            fleet._commit()
        except PacketError:
            fleet._commit()
            raise
        except MemoryError:
            fleet.tear()
            raise
        return changed

    def join(self, entry: Entry, now: float) -> Learned | None:
        """Take another node's entry of a process; ``None`` if it is not counted here.

        Raises:
            PacketError: If it is too large to be added; nothing is taken then.
            MemoryError: If there is no memory for it; nothing is taken then.
        """
        return self._change(now, self._join, entry, now)

    def _join(self, entry: Entry, now: float) -> Learned | None:
        fleet = self._fleet
        process = fleet._processes.get((entry.host, entry.program, entry.token))
        is_unknown = process is None
        if process is None:
            process = self._remember(entry, now)
            if process is None:
                return None
        elif ledger.is_known(process, entry, fleet._limits.ended_pools):
            ledger.join_ages(process, entry, now)
            self._remember_better(process)
            return made(Learned, (process, False, False))
        fleet._kept += kept_whole(process)
        gauges, size = process.gauges, process.size
        joined = ledger.join(process, entry, now, fleet._limits.ended_pools)
        process.weigh()
        fleet._weigh(process, size)
        if process.state is LIVING and (left := gauges - process.gauges):
            for row in process.rows:
                row.leave(left)
        self._raise(process, joined.amount)
        is_newest = (entry.number if entry.number is not None else -1) >= process.number
        has_ended = entry.is_ended and is_newest and process.state is not ENDED
        if has_ended and process.state is LIVING:
            fleet._leave(process, ENDED, now)
        elif has_ended:
            process.state = ENDED
        self._remember_better(process)
        knows_more = joined.knows_more or (process.state is ENDED and not entry.is_ended)
        return Learned(process, joined.has_learned or has_ended or is_unknown, knows_more)

    def join_forgotten(self, told: RowSums, now: float) -> None:
        """Take what a row's forgotten processes had counted on another node.

        Raises:
            PacketError: If it is too large to be added.
            MemoryError: If there is no memory for it; nothing is taken then.
        """
        self._change(now, self._join_forgotten, told, now)

    def _join_forgotten(self, told: RowSums, now: float) -> None:
        row = self._row(told.host, told.program, now)
        amount = amount_of(told.sums)
        self._fleet._kept.append(kept(row, "joined", "forgotten"))
        row.join_amount(less(amount, row.forgotten))
        row.forgotten = largest(row.forgotten, amount)
        row.learn(told.knows, told.sent)

    def learn_forgotten(self, forgotten_for: float | None, now: float) -> None:
        """Note the age of another node's forgotten processes: equally old ones are not counted again here."""
        if forgotten_for is not None:
            fleet = self._fleet
            fleet._forgotten.note_elsewhere(now - forgotten_for)
            fleet._forgotten_heard = max(fleet._forgotten_heard, now - forgotten_for)

    def _remember(self, entry: Entry, now: float) -> Process | None:
        """Remember a process that only another node has heard of."""
        fleet = self._fleet
        key = entry.host, entry.program, entry.token
        heard_at = now - entry.silent_for
        if heard_at <= fleet._forgotten_heard + HEARD_ERROR:
            return None
        try:
            host, program, token = fleet._clean(key)
        except OverLimit:
            return None
        if fleet._budget.is_full and not fleet._free_bytes("", now):
            fleet._count_over("bytes")
            return None
        interval = min(entry.interval, UNPROVEN_INTERVAL)
        both, of_program, of_host = (
            table.recall(row, now, interval)
            for table, row in zip(fleet._tables, ((host, program), ("", program), (host, "")), strict=True)
        )
        process = Process(key, token, (both, of_program, of_host, fleet._sums), True, now, entry.interval)
        process.state = SILENT
        process.heard_at = heard_at
        process.is_proven = entry.is_proven
        if entry.age is not None:
            process.born = now - entry.age
            process.keeps_base = fleet._forgotten.may_hold(key, process.born)
        fleet._admitted = key
        fleet._processes[key] = process
        fleet._weigh(process, 0)
        (fleet._gone if process.is_proven else fleet._gone_once).add(process)
        fleet._deadlines.set(process, heard_at + fleet._limits.memory)
        return process

    def _remember_better(self, process: Process) -> None:
        """Forget a process that is gone as late as if all that is known of it now had been heard here."""
        fleet = self._fleet
        if process.state is not LIVING:
            fleet._prove_late(process)
            fleet._deadlines.set(process, process.heard_at + fleet._limits.memory)

    def _raise(self, process: Process, amount: Amount) -> None:
        if amount != NO_AMOUNT:
            process.totals += amount[0]
            for row in process.rows:
                row.join_amount(amount)

    def _row(self, host: str, program: str, now: float) -> Aggregate:
        fleet = self._fleet
        if not host and not program:
            return fleet._sums
        key = clean_name(host), clean_name(program)
        if max(map(len, key)) > fleet._limits.name_length:
            raise PacketError("a row with a long name")
        both, programs, hosts = fleet._tables
        table = both if host and program else hosts if host else programs
        return table.recall(key, now, UNPROVEN_INTERVAL)
