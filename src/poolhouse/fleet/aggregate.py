"""The sums of one row, kept incrementally: of a program, a host, a program on a host, or the whole fleet."""

from math import inf
from typing import NamedTuple

from poolhouse.defaults import STALE_INTERVALS
from poolhouse.fleet import rows
from poolhouse.fleet.account import NO_AMOUNT, Amount, add
from poolhouse.fleet.budget import Budget, bytes_of_int
from poolhouse.fleet.distribution import NO_DISTRIBUTIONS, NOTHING, Distributions, Kept, summed
from poolhouse.fleet.holders import Holders
from poolhouse.fleet.packed import FIELD_MASK
from poolhouse.fleet.samples import RECENT, Samples, extended, value_since
from poolhouse.fleet.snapshot import Rates, Row, Times
from poolhouse.fleet.vectors import PEAKS, UNMARKED_SHIFT, USED_SHIFT, Knows

#: Rates are taken over this many intervals.
RATE_INTERVALS = 5
#: The last minute begins at one of the samples: between 45 and 60 seconds ago.
TIMES_STEP = 15.0
TIMES_POINTS = 5
#: The size of an aggregate in bytes without durations, including its place in the tables; measured with
#: tracemalloc.
AGGREGATE_BYTES = 2_400
#: Counts the bytes of rows that are forgotten: processes that are gone still refer to them, and may change them.
_OF_THE_FORGOTTEN = Budget(0)


class RowState(NamedTuple):
    """One row at one instant, as immutable values: taken in microseconds, converted by `row`."""

    name: str
    gauges: int
    knows: int
    sent: int
    totals: int
    joined: Amount
    age: float
    interval: float
    now: float
    #: The largest sums of the current interval, of the one before, and of all earlier ones.
    window: int
    before: int
    largest: int
    rate_samples: Samples[int]
    times: Distributions
    times_samples: Samples[tuple[Kept, Kept, Kept]]
    #: See `Aggregate.pool` and `Aggregate.began`.
    pool: str | None = None
    began: float = 0.0

    def gauges_row(self) -> Row:
        """Only the row's gauges."""
        return rows.row(self.name, self.gauges, self.knows, self.age, self.interval)

    def counted(self) -> rows.Counted:
        """The row for exporters."""
        totals = rows.totals(self.totals + self.joined[0], self.sent)
        row = rows.row(self.name, self.gauges, self.knows, self.age, self.interval, totals=totals)
        return rows.counted(row, self.pool or None, summed(self.times, self.joined[1]), self.knows)

    def row(self, *, with_since_start: bool = True) -> Row:
        """The row for faces; without the durations since the start, at two thirds of the cost."""
        minute_ago = self.times
        if (kept := value_since(self.times_samples, self.now - RECENT, None)) is not None:
            wait, use, create = kept
            minute_ago = wait.distribution(), use.distribution(), create.distribution()
        return self._row(
            recent=rows.recent_times(self.times, minute_ago, self.knows),
            since_start=rows.times(summed(self.times, self.joined[1]), self.knows)
            if with_since_start
            else Times(),
        )

    def row_without_times(self) -> Row:
        """The row without any durations, at a third of the cost."""
        return self._row()

    def _row(self, **times: Times) -> Row:
        knows_now = self.knows if self.gauges >> UNMARKED_SHIFT else self.knows & ~Knows.UNMARKED
        window = PEAKS.larger(self.before, self.window)
        return rows.row(
            self.name,
            self.gauges,
            self.knows,
            self.age,
            self.interval,
            totals=rows.totals(self.totals + self.joined[0], self.sent),
            rates=self._rates(),
            interval_peaks=rows.peaks(PEAKS.unpack(window), knows_now),
            peaks=rows.peaks(PEAKS.unpack(PEAKS.larger(self.largest, window)), self.knows),
            **times,
        )

    def _rates(self) -> Rates:
        """Rates from report to report, not diluted by the time since the last one; until now for a silent row."""
        newest, newer = self.rate_samples[-1]
        if self.age >= STALE_INTERVALS * self.interval:
            newest, newer = self.now, self.totals
        begin = newest - (RATE_INTERVALS + 1) * self.interval
        nothing = newest - self.interval, newer
        oldest, older = next((point for point in self.rate_samples if point[0] >= begin), nothing)
        return rows.rates(newer, older, newest - oldest, self.sent)


class Aggregate:
    """The sums of a row: the gauges of its living processes, and the counters of all its processes.

    Attributes:
        key: Its host and its program, each empty if it sums all of them.
        gauges: The vector of the living processes' gauges.
        totals: The vector of all counts since the first report of the row; never falls.
        times: The durations counted since then.
        joined: What other nodes have counted: a part of the row's totals, but of no rate.
        forgotten: What its forgotten processes had counted: a part of the above.
        interval: The longest interval that a process has lately claimed, in seconds.
        deadline: When the row is given up, while it has no processes.
        began: When it began to count.
        pool: The name shared by all of its pools; ``None`` if they had several, empty if none is known.
        proven: How many of its living processes were heard twice (`Process.is_proven`).
        candidate_since: Since when it has had none of them.
        was_proven: Whether it ever had one.
        size: Its approximate size in bytes.
        source: The sender whose report had it shown (`poolhouse.fleet.shares`).
        holders: The names and the past of a program's sites; ``None`` if no process reports any.
    """

    __slots__ = (
        "_before",
        "_budget",
        "_largest",
        "_rate_samples",
        "_sent",
        "_times_samples",
        "_turn_at",
        "_window",
        "began",
        "candidate_since",
        "deadline",
        "forgotten",
        "gauges",
        "heard_at",
        "holders",
        "interval",
        "joined",
        "key",
        "knows",
        "pool",
        "proven",
        "size",
        "source",
        "times",
        "totals",
        "was_proven",
    )

    def __init__(self, key: tuple[str, str], now: float, interval: float, budget: Budget) -> None:
        """Start with nothing.

        Args:
            key: Host and program.
            now: The aggregator's time.
            interval: Seconds between reports.
            budget: Counts its bytes; `forget` removes them.
        """
        self.source = ""
        self.key = key
        self.began = now
        self.pool: str | None = ""
        self.proven = 0
        self.candidate_since = now
        self.was_proven = False
        self._budget = budget
        self.size = AGGREGATE_BYTES + len(key[0]) + len(key[1])
        budget.used += self.size
        self.gauges = 0
        self.totals = 0
        self.times = NO_DISTRIBUTIONS
        self.joined = NO_AMOUNT
        self.forgotten = NO_AMOUNT
        self.holders: Holders | None = None
        self.knows = 0
        self.heard_at = now
        self.interval = interval
        self.deadline: float | None = None
        #: A bit for each counter that was ever sent.
        self._sent = 0
        #: The largest sums of the current interval, of the one before, and of all earlier ones.
        self._window = self._before = self._largest = 0
        #: When the current interval ends: the first report after it opens the next one.
        self._turn_at = -inf
        self._rate_samples: Samples[int] = ()
        self._times_samples: Samples[tuple[Kept, Kept, Kept]] = ()

    @property
    def processes(self) -> int:
        """Living processes."""
        return self.gauges & FIELD_MASK

    @property
    def used(self) -> int:
        """Connections in use by its living processes, at a hundredth of the cost of a row."""
        return self.gauges >> USED_SHIFT & FIELD_MASK

    def add(self, gauges: int, totals: int, grown: Distributions, now: float, interval: float) -> None:
        """Add the changes of a process that reported.

        Args:
            gauges: The vector of changes in its gauges, negative where they fell.
            totals: The vector of rises of its counters.
            grown: Its new durations.
            now: The aggregator's time.
            interval: Seconds between its reports.
        """
        self.heard_at = now
        if interval > self.interval:
            self.interval = interval
        if gauges:
            self.gauges += gauges
            self._window = PEAKS.larger(self._window, self.gauges & PEAKS.mask)
        if totals:
            self.totals += totals
        if grown is not NO_DISTRIBUTIONS:
            self._add_times(grown, now)
        if now >= self._turn_at:
            self._turn(now, interval)

    def join(self, gauges: int) -> None:
        """Add the gauges of a process that joins."""
        self.gauges += gauges
        self._window = PEAKS.larger(self._window, self.gauges & PEAKS.mask)

    def leave(self, gauges: int) -> None:
        """Subtract the gauges of a process that leaves."""
        self.gauges -= gauges

    @property
    def sent(self) -> int:
        """A bit for each counter that was ever sent."""
        return self._sent

    def join_amount(self, amount: Amount) -> None:
        """Add what another node has counted: it raises the totals, but no rate."""
        if amount[1] is NO_DISTRIBUTIONS:
            self.joined = self.joined[0] + amount[0], self.joined[1]
        else:
            is_first = self.joined[1] is NO_DISTRIBUTIONS
            self.joined = add(self.joined, amount)
            if is_first:
                self.weigh()

    def note_forgotten(self, amount: Amount) -> None:
        """Note that a process is forgotten: what it has counted stays in the totals."""
        self.forgotten = add(self.forgotten, amount)
        self.weigh()

    def obtain_holders(self) -> Holders:
        """The names and the past of its sites, created if necessary; call `weigh` if their number changes."""
        if self.holders is None:
            self.holders = Holders()
        return self.holders

    def learn(self, knows: int, sent: int) -> None:
        """Note the values and the counters that a source sends, a bit for each."""
        self.knows |= knows
        self._sent |= sent

    def learn_pool(self, name: str | None) -> None:
        """Note the name of a pool; ``None`` for several."""
        if self.pool is not None and name != self.pool:
            before, self.pool = len(self.pool), name if self.pool == "" else None
            # Not weighed again: the weight of the whole row would depend on the order of datagrams.
            grown = len(self.pool or "") - before
            self.size += grown
            self._budget.used += grown

    def forget_samples(self) -> None:
        """Drop the samples of the last minutes; for a row that is only remembered."""
        self._rate_samples = ()
        self._times_samples = ()
        self.weigh()

    def restore(self, gauges: int) -> None:
        """Set the gauges of its living processes, and weigh it again."""
        self.gauges = gauges
        self.weigh()

    def forget(self) -> None:
        """Return the row's bytes to the budget."""
        self._budget.used -= self.size
        self.size = 0
        self._budget = _OF_THE_FORGOTTEN

    def state(self, now: float) -> RowState:
        """The row's present state."""
        # No report for an interval: the peaks are those of the present gauges. Or no samples: it was not shown.
        if now - self._turn_at > self.interval or not self._rate_samples:
            self._turn(now, self.interval)
        host, program = self.key
        return RowState(
            program or host,
            self.gauges,
            self.knows,
            self._sent,
            self.totals,
            self.joined,
            now - self.heard_at,
            self.interval,
            now,
            self._window,
            self._before,
            self._largest,
            self._rate_samples,
            self.times,
            self._times_samples,
            self.pool,
            self.began,
        )

    def _add_times(self, grown: Distributions, now: float) -> None:
        wait, use, create = self.times
        if self._budget.is_full:
            self._times_samples = ()
        elif not self._times_samples or now - self._times_samples[-1][0] >= TIMES_STEP:
            kept = wait.kept(), use.kept(), create.kept()
            self._times_samples = extended(self._times_samples, now, kept, TIMES_STEP, TIMES_POINTS)
            self.weigh()
        more_wait, more_use, more_create = grown
        self.times = (
            wait.plus(more_wait) if more_wait is not NOTHING else wait,
            use.plus(more_use) if more_use is not NOTHING else use,
            create.plus(more_create) if more_create is not NOTHING else create,
        )

    def weigh(self) -> None:
        """Update its bytes and the budget."""
        size = AGGREGATE_BYTES + len(self.key[0]) + len(self.key[1]) + len(self.pool or "")
        for times in (self.times, self.joined[1], self.forgotten[1]):
            if times is not NO_DISTRIBUTIONS:
                size += sum(bytes_of_int(distribution.counts) for distribution in times)
        size += sum(kept.size() for _, several in self._times_samples for kept in several)
        if self.holders is not None:
            size += self.holders.size
        self._budget.used += size - self.size
        self.size = size

    def _turn(self, now: float, interval: float) -> None:
        """End the interval."""
        self._largest = PEAKS.larger(self._largest, self._window)
        self._before = self._window
        self._window = self.gauges & PEAKS.mask
        self._turn_at = now + rows.INTERVAL_SHARE * interval
        self.interval = interval
        self._rate_samples = extended(self._rate_samples, now, self.totals, 0.0, RATE_INTERVALS + 1)
