"""One process under one program name: its newest report, and the difference that the next one makes.

A reading is cumulative, so a datagram that is lost, late or repeated does no harm: a pool takes only what is newer
than what it has, by the report's number, and passes on the difference.
"""

from collections.abc import Callable, Iterator
from enum import Enum, auto
from math import inf
from typing import NamedTuple, TypeAlias

from poolhouse.fleet import rows
from poolhouse.fleet.account import NO_AMOUNT, Amount, RatePoints, add
from poolhouse.fleet.aggregate import Aggregate
from poolhouse.fleet.distribution import NO_DISTRIBUTIONS, Distributions, summed
from poolhouse.fleet.legacy import LegacySums
from poolhouse.fleet.limits import FleetLimits
from poolhouse.fleet.packed import FIELD_MASK
from poolhouse.fleet.past import Past
from poolhouse.fleet.pool import Pool, PoolState
from poolhouse.fleet.sequence import Sequence
from poolhouse.fleet.snapshot import Peaks, PoolRow, ProcessRow, Times
from poolhouse.fleet.vectors import COUNT_SHIFT, FULL_SHIFT, ONE_PROCESS, TROUBLE_SHIFT, WAITING_SHIFT, Knows
from poolhouse.meter.reading import MARKS, REST, Mark
from poolhouse.wire.message import LegacyDatagram, PoolSums, RawPool, ReportDatagram

#: An interval outside these bounds, in seconds, is taken for the nearer one.
SHORTEST_INTERVAL, LONGEST_INTERVAL = 0.05, 3600.0
#: A longer interval than this is believed only of a process that has once been silent for nearly as long.
UNPROVEN_INTERVAL = 60.0
#: A report may arrive early or late by this factor of its interval.
SLACK = 1.5
#: A report of more datagrams than this is not ours: a process reports at most 64 pools, and a few that ended.
MOST_DATAGRAMS = 512
#: Bytes of a process without its pools, its place in the tables included; measured with tracemalloc.
PROCESS_BYTES = 1_400

#: Reports without a waiter, after the first, before recovery is announced: occasional waits are one trouble.
CALM_REPORTS = 2
NONE_CALM: dict[int, int] = {}
NONE_FAILING: frozenset[int] = frozenset()
#: The key where a process does not report its pools one by one.
NO_POOL = -1

#: For `Process.base_until`.
NOT_COMPLETE = inf

#: Called with the process, the kind of an event and its text.
Tell: TypeAlias = Callable[["Process", str, str], None]
#: The sums that a process adds to: its program on its host, its program, its host, and the fleet.
Rows: TypeAlias = tuple[Aggregate, Aggregate, Aggregate, Aggregate]


class State(Enum):
    """Whether a process still reports."""

    LIVING = auto()
    #: Not heard of for five intervals; it may return.
    SILENT = auto()
    #: It said goodbye; datagrams that still arrive were sent before that.
    ENDED = auto()


LIVING, SILENT, ENDED = State.LIVING, State.SILENT, State.ENDED


class Process:
    """State of one process, and the rows that it adds to.

    Attributes:
        key: Host, program and token as they stand in its datagrams.
        token: The token for people.
        rows: The sums of its program on its host, its program, its host, and the fleet.
        state: Whether it still reports.
        heard_at: When the first datagram of its newest report came.
        interval: Seconds between its reports.
        born: When it began, by the aggregator's clock; -inf where it does not tell.
        deadline: When to look whether it has fallen silent, or can be forgotten.
        is_proven: Whether a second report came, about when it should have.
        size: Its bytes and those of its pools, about.
        keeps_base: Whether what came before its base was counted and forgotten, so that no node may add it again.
        base_until: A pool that first appears in a report after this one is new, and counts in full; `NOT_COMPLETE`
            as long as no report has come complete.
        number: Its newest report; -1 for none.
        is_ahead: Whether only another node has received that report.
        uptime: What it told of its age in that report.
        totals: The vector of all it has added to the rows.
        knows: The values that it sends, a bit for each.
        sent: The counters that it sends, a bit for each.
        pools: What it reports, by the pools' keys.
        past: Its ended pools, for other nodes; ``None`` without any.
        legacy: Its sums, as long as it reports like an earlier client.
        returned_with: The report with which it last returned from a silence; -1 for none.
        lost_elsewhere: How many of its datagrams another node has counted as lost.
    """

    __slots__ = (
        "_calm",
        "_failing",
        "_longest_gap",
        "_places",
        "base_until",
        "born",
        "deadline",
        "heard_at",
        "interval",
        "is_ahead",
        "is_proven",
        "keeps_base",
        "key",
        "knows",
        "legacy",
        "lost_elsewhere",
        "number",
        "past",
        "pools",
        "returned_with",
        "rows",
        "sent",
        "sequence",
        "size",
        "state",
        "token",
        "totals",
        "uptime",
    )

    def __init__(
        self,
        key: tuple[str, str, str],
        token: str,
        rows: Rows,
        is_base: bool,
        now: float,
        interval: float,
    ) -> None:
        """Begin without a reading.

        Args:
            key: Host, program and token.
            token: The token for people.
            rows: The sums it adds to.
            is_base: Whether its first report only sets where counting begins, and adds nothing.
            now: The aggregator's time.
            interval: Seconds between its reports.
        """
        self.key = key
        self.token = token
        self.rows = rows
        self.state = LIVING
        self.heard_at = now
        #: The longest time between two of its reports.
        self._longest_gap = 0.0
        self.interval = self._believed(interval)
        self.is_proven = False
        self.size = PROCESS_BYTES + 4 * len(token)
        self.born = -inf
        self.deadline: float | None = None
        self.sequence: Sequence | None = None
        self.keeps_base = False
        self.base_until: float = NOT_COMPLETE if is_base else -1
        #: A bit for each datagram of report `_number` that arrived; kept only while that matters.
        self._places = 0
        self.number = -1
        self.is_ahead = False
        self.uptime: float | None = None
        self.totals = 0
        self.knows = 0
        self.sent = 0
        self.pools: dict[int, Pool] = {}
        self.past: Past | None = None
        self.legacy: LegacySums | None = None
        self.lost_elsewhere = 0
        self.returned_with = -1
        #: Pools without waiting callers, and since which report; one empty dictionary for all processes
        #: without any.
        self._calm = NONE_CALM
        #: Keys of the pools whose last connects failed; one empty set for all processes without any.
        self._failing = NONE_FAILING

    @property
    def gauges(self) -> int:
        """The vector of all its pools' gauges; 0 while it is not living."""
        gauges = sum(pool.gauges for pool in self.pools.values())
        return gauges + self.legacy.gauges if self.legacy else gauges

    @property
    def lost(self) -> int:
        """Datagrams that never arrived."""
        return max(self.sequence.lost, self.lost_elsewhere) if self.sequence else self.lost_elsewhere

    @property
    def is_born(self) -> bool:
        """Whether it tells its age."""
        return self.born != -inf

    def is_newer(self, message: ReportDatagram) -> bool:
        """Whether the datagram belongs to a newer report than all before it."""
        return message.number > self.number or (self.is_ahead and message.number == self.number)

    def report(
        self,
        message: ReportDatagram,
        datagram: bytes,
        limits: FleetLimits,
        may_grow: bool,
        now: float,
        tell: Tell,
    ) -> str | None:
        """Take one datagram of a report.

        Args:
            message: The datagram, decoded.
            datagram: Its bytes, kept for consoles that ask for the pool.
            limits: The most pools that are kept, and the most ended ones.
            may_grow: Whether there are bytes left for more.
            now: The aggregator's time.
            tell: Called with events.

        Returns:
            The name of the bound that kept its pool out, or ``None``.

        Raises:
            PacketError: If its pool cannot be summed.
        """
        if self.legacy is not None:
            self._drop_earlier(now)
        if message.number > self.number or (self.is_ahead and message.number == self.number):
            self._begin_report(message, limits.ended_pools, now)
        raw = message.pool
        refused = None
        if raw is not None:
            pool = self.pools.get(raw.key)
            if pool is not None:
                if message.number > pool.number or (pool.is_ahead and message.number == pool.number):
                    if may_grow or not pool.would_grow(raw, datagram):
                        self._take(pool, message, raw, datagram, now, tell)
                    else:
                        refused = "bytes"
            # A datagram older than that may be of a pool that is gone and forgotten.
            elif message.number >= self.number - MARKS:
                if not may_grow:
                    refused = "bytes"
                elif self._has_ended(raw.key):
                    pass
                elif self._has_room(limits.pools, limits.ended_pools):
                    pool = Pool.new(message, raw, message.number <= self.base_until)
                    self._take(pool, message, raw, datagram, now, tell)
                    self.pools[raw.key] = pool
                else:
                    refused = "pools"
        if self.base_until == NOT_COMPLETE:
            self._note_place(message)
        return refused

    def earlier(self, message: LegacyDatagram, now: float, tell: Tell, *, is_relayed: bool) -> None:
        """Take one earlier list; ignored from a process that reports its pools one by one.

        Args:
            message: The list.
            now: The aggregator's time.
            tell: Called with events.
            is_relayed: Whether another node has passed it on.

        Raises:
            PacketError: If it cannot be summed.
        """
        if self.number >= 0:
            return
        sums = self.obtain_legacy()
        before, counts = sums.gauges, 0
        if isinstance(message.sums, PoolSums):
            sums.take_gauges(message, message.sums, now, is_relayed=is_relayed)
            waiting = Knows.WAITING if message.sums.waiting is not None else 0
            self.learn(Knows.SUMS | Knows.UNMARKED | waiting, 0)
        else:
            is_base = self.base_until == NOT_COMPLETE
            counts = sums.take_counts(message, message.sums, is_base, now, is_relayed=is_relayed)
            self.learn(Knows.UNMARKED | Knows.CHECKOUTS, sums.sent)
        self._hear(message.interval, now)
        if self.state is not LIVING:
            sums.gauges = 0
        self._add(sums.gauges - before, counts, NO_DISTRIBUTIONS, now)
        if counts >> TROUBLE_SHIFT:
            self._tell_trouble(NO_POOL, counts, tell)

    def leave(self, state: State) -> None:
        """The process leaves: its gauges are 0, its counters stay."""
        self.state = state
        for pool in self.pools.values():
            pool.gauges = 0
            self.size -= pool.size
            pool.forget_samples()
            self.size += pool.size
        if self.legacy is not None:
            self.legacy.gauges = 0
            self.legacy.forget_samples()

    def learn_anew(self) -> None:
        """Pass on to new rows which values and counters it sends."""
        for row in self.rows:
            row.learn(self.knows, self.sent)

    def state_at(self, now: float) -> "ProcessState":
        """The process at this instant."""
        pools = [pool.state(now) for pool in self.pools.values()]
        points = [pool.points for pool in pools]
        if self.legacy is not None:
            points.append(self.legacy.rate_points())
        host, program = self.rows[0].key
        age = now - self.heard_at
        uptime = None if self.uptime is None else self.uptime + age
        return ProcessState(
            host, program, self.token, self.gauges + ONE_PROCESS, self.knows, self.sent, self.totals, age,
            self.interval, uptime, self.lost, pools, points,
        )  # fmt: skip

    def obtain_past(self) -> Past:
        """Its ended pools."""
        if self.past is None:
            self.past = Past()
        return self.past

    def obtain_legacy(self) -> LegacySums:
        """Its sums as an earlier client."""
        if self.legacy is None:
            self.legacy = LegacySums()
        return self.legacy

    def end_legacy(self) -> None:
        """It reports its pools one by one now: what its lists have counted stays counted."""
        assert self.legacy is not None, "only of a process that reported like an earlier client"
        past = self.obtain_past()
        past.older = add(past.older, (self.legacy.risen, NO_DISTRIBUTIONS))
        past.floor = max(past.floor, 1)
        self.legacy = None

    def skip_to(self, number: int, uptime: float | None) -> None:
        """Another node has heard its newest report."""
        self.number = number
        self.is_ahead = True
        self.uptime = uptime
        self._places = 0

    def amount(self) -> Amount:
        """What it has counted, as far as its pools tell."""
        amount = self.past.older if self.past is not None else NO_AMOUNT
        ended = self.past.accounts if self.past is not None else {}
        for account in {**ended, **self.pools}.values():
            amount = add(amount, account.amount())
        return add(amount, (self.legacy.risen, NO_DISTRIBUTIONS)) if self.legacy is not None else amount

    def count_all(self) -> Amount:
        """Count what came before the base, too; return what that adds."""
        amount = NO_AMOUNT
        for pool in self.pools.values():
            amount = add(amount, pool.count_all())
        for account in self.past.accounts.values() if self.past is not None else ():
            amount = add(amount, account.count_all())
        self.base_until = -1
        return amount

    def weigh(self) -> None:
        """Estimate its bytes anew."""
        self.size = PROCESS_BYTES + 4 * len(self.token) + sum(pool.size for pool in self.pools.values())
        if self.past is not None:
            self.size += self.past.size

    def _begin_report(self, message: ReportDatagram, most_ended: int, now: float) -> None:
        self.number = message.number
        self.is_ahead = False
        self._places = 0
        self._hear(message.interval, now)
        self.uptime = message.uptime
        oldest = message.number - MARKS
        for key in [key for key, pool in self.pools.items() if pool.number < oldest]:
            self._withdraw(key, most_ended, now)
        if message.pool is None:
            # Nothing else in this datagram updates the rows' time of the newest report.
            self._add(0, 0, NO_DISTRIBUTIONS, now)

    def _hear(self, interval: float, now: float) -> None:
        """Begin a report; its interval is believed as far as the process has kept to it."""
        gap = now - self.heard_at
        self._longest_gap = max(self._longest_gap, gap)
        self.heard_at = now
        self.interval = self._believed(interval)
        if gap * SLACK >= self.interval:
            self.is_proven = True

    def _believed(self, interval: float) -> float:
        return min(bounded(interval), max(UNPROVEN_INTERVAL, SLACK * self._longest_gap))

    def _withdraw(self, key: int, most_ended: int, now: float) -> None:
        """A pool is no longer reported: it adds nothing, and is forgotten if it is gone."""
        pool = self.pools[key]
        if pool.is_over:
            self._end(key, most_ended)
        if pool.gauges:
            self._add(-pool.gauges, 0, NO_DISTRIBUTIONS, now)
            pool.gauges = 0

    def _end(self, key: int, most_ended: int) -> None:
        """A pool is gone; its account is kept for other nodes, where there are any."""
        pool = self.pools.pop(key)
        self.size -= pool.size
        if most_ended:
            past = self.obtain_past()
            size = past.size if past.accounts else 0
            past.accounts[key] = pool.account()
            past.fold(most_ended)
            self.size += past.size - size

    def _has_ended(self, key: int) -> bool:
        """Whether a pool is known to have ended: what comes of it now is late."""
        past = self.past
        return past is not None and key != REST and (key in past.accounts or key < past.floor)

    def _has_room(self, most: int, most_ended: int) -> bool:
        """Whether there is room for one more pool, if need be in place of one that is no longer reported."""
        if len(self.pools) >= most:
            oldest = self.number - MARKS
            untold = next((key for key, pool in self.pools.items() if pool.number < oldest and key != REST), None)
            if untold is None:
                return False
            self._end(untold, most_ended)
        return True

    def _note_place(self, message: ReportDatagram) -> None:
        """After every datagram of one report, all pools that the process already had are known."""
        if message.number == self.number and message.datagrams <= MOST_DATAGRAMS:
            self._places |= 1 << message.place
            if self._places == (1 << message.datagrams) - 1:
                self.base_until = message.number

    def _take(
        self, pool: Pool, message: ReportDatagram, raw: RawPool, datagram: bytes, now: float, tell: Tell
    ) -> None:
        before, size = pool.gauges, pool.size if raw.key in self.pools else 0
        counts, grown = pool.take(message, raw, datagram, now)
        self.size += pool.size - size
        after = pool.gauges
        self.learn(
            Knows.SUMS
            | Knows.WAITING
            | Knows.POOLS
            | (pool.sent & 1) * Knows.CHECKOUTS
            | (raw.wait != b"") * Knows.WAIT_TIMES
            | (raw.use != b"") * Knows.USE_TIMES
            | (raw.create != b"") * Knows.CREATE_TIMES,
            pool.sent,
        )
        if self.state is not LIVING:
            pool.gauges = after = 0
        if message.number == self.returned_with:
            # It tells the work of its whole silence, which belongs to no rate.
            self.totals += counts
            for row in self.rows:
                row.join_amount((counts, grown))
            self._add(after - before, 0, NO_DISTRIBUTIONS, now)
        else:
            self._add(after - before, counts, grown, now)
        if after >> FULL_SHIFT & 1 and not before >> FULL_SHIFT & 1:
            tell(self, "full", f"{raw.gauges.used} of {raw.limits.max_open} in use")
        if after >> WAITING_SHIFT & FIELD_MASK:
            if not before >> WAITING_SHIFT & FIELD_MASK and self._calm.pop(raw.key, None) is None:
                tell(self, "waiting", f"{raw.gauges.waiting} waiting for a connection")
        elif before >> WAITING_SHIFT & FIELD_MASK:
            self._calm = {**self._calm, raw.key: message.number}
        elif raw.key in self._calm and message.number - self._calm[raw.key] >= CALM_REPORTS:
            del self._calm[raw.key]
            if self.state is LIVING:
                tell(self, "recovered", "nobody waits for a connection any more")
        if counts >> TROUBLE_SHIFT:
            self._tell_trouble(raw.key, counts, tell)
        elif raw.key in self._failing and counts >> COUNT_SHIFT["connects"] & FIELD_MASK:
            self._failing -= {raw.key}
            tell(self, "recovered", "connects succeed again")

    def _add(self, gauges: int, counts: int, grown: Distributions, now: float) -> None:
        self.totals += counts
        interval = self.interval
        for row in self.rows:
            row.add(gauges, counts, grown, now, interval)

    def learn(self, knows: int, sent: int) -> None:
        """Note the values and the counters that it sends, a bit for each, and pass them on to its rows."""
        if knows & ~self.knows or sent & ~self.sent:
            self.knows |= knows
            self.sent |= sent
            self.learn_anew()

    def _tell_trouble(self, key: int, counts: int, tell: Tell) -> None:
        timeouts = counts >> COUNT_SHIFT["timeouts"] & FIELD_MASK
        connect_errors = counts >> COUNT_SHIFT["connect_errors"] & FIELD_MASK
        if timeouts:
            tell(self, "timeouts", f"{timeouts} timed out")
        if connect_errors:
            self._failing |= {key}
            tell(self, "connect errors", f"{connect_errors} connects failed")

    def _drop_earlier(self, now: float) -> None:
        """It reports its pools one by one now: the counts of its lists stay, and its pools begin to count."""
        assert self.legacy is not None
        self._add(-self.legacy.gauges, 0, NO_DISTRIBUTIONS, now)
        self.end_legacy()
        self.base_until = NOT_COMPLETE


class ProcessState(NamedTuple):
    """One process at one instant, as immutable values: taken in microseconds, and made readable by `row` later."""

    host: str
    program: str
    token: str
    gauges: int
    knows: int
    sent: int
    totals: int
    age: float
    interval: float
    uptime: float | None
    lost: int
    pools: list[PoolState]
    #: Of everything with rates: the pools, and the sums of an earlier client.
    points: list[RatePoints]

    def row(self, *, with_times: bool = True) -> ProcessRow:
        """The row for the faces, with the rows of its pools; without durations at a fraction of the cost."""
        (row,) = filter(None, self.row_steps(with_times))
        return row

    def row_steps(self, with_times: bool) -> Iterator[ProcessRow | None]:
        """The same in small steps: ``None`` after each, and then the row."""
        newer, older = NO_DISTRIBUTIONS, NO_DISTRIBUTIONS
        found: list[PoolRow] = []
        for pool in self.pools:
            recent = pool.recent() if with_times else None
            if recent is not None:
                newer, older = summed(newer, recent[0]), summed(older, recent[1])
            if pool.is_shown and (row := pool.row(recent, self.knows)) is not None:
                found.append(row)
            yield None
        pools = tuple(sorted(found, key=lambda row: row.reading.key))
        sums = rows.row(
            self.token,
            self.gauges,
            self.knows,
            self.age,
            self.interval,
            totals=rows.totals(self.totals, self.sent),
            rates=rows.summed_rates([points.rates() for points in self.points]),
            interval_peaks=_peaks([pool.interval_mark for pool in pools]),
            peaks=_peaks([pool.reading.peak for pool in pools]),
            recent=rows.recent_times(newer, older, self.knows) if with_times else Times(),
            since_start=rows.times(newer, self.knows) if with_times else Times(),
        )
        yield ProcessRow(self.host, self.program, self.token, sums, self.uptime, self.lost, pools)


def bounded(interval: float) -> float:
    """The interval, or the bound that it is beyond."""
    return min(max(SHORTEST_INTERVAL, interval), LONGEST_INTERVAL)


def _peaks(marks: list[Mark]) -> Peaks:
    """A process's peaks: the marks of its pool; of several pools only the sum, which is an upper bound."""
    bound = sum(mark.used for mark in marks)
    if len(marks) != 1:
        return Peaks(1, used_bound=bound)
    return Peaks(1, marks[0].connections, marks[0].used, marks[0].waiting, bound)
