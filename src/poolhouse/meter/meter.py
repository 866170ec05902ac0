"""The measurements of one pool, taken from many threads without a lock.

Who may do what:

- *Any thread, task, finalizer or signal handler, at any time*: append to the four lists, call a `Tally`, raise
  a `HighWater` or ask for its `highest`, call `Meter.fold` or `Meter.totals`. None of this waits for anybody, and
  nothing is lost. It rests on calls that CPython with a GIL does in one step (``list.append``, ``list.pop``, the
  copy or deletion of a slice of numbers, ``next(count)``) and on stores whose races are harmless, as said where
  they are; nothing is claimed for builds without one.
- *One thread at a time* (the reporter's): `Meter.read`.
- *A forked child, while it has one thread*: `Meter.reset`, which keeps the same lists, tallies and marks, so that
  bound methods of theirs stay valid.

The hot path is one append of a duration, in seconds. The thread that sees a list at `BATCH` folds it: the
durations go into histograms, 50 ns each. The lock of folding is a list with one element. The thread that pops the
element folds; a thread that finds the list empty leaves the work to the other. A folder takes the durations
present when it begins; later ones stay for the next. A folder that is interrupted half-way (KeyboardInterrupt)
gives the lock back and loses at most its batch.

>>> meter = Meter()
>>> meter.waits.append(0.002)
>>> meter.used.reach(1)
>>> reading = meter.read(1, lambda: Gauges(idle=1), Limits(), name="db/shop", kind="QueuePool")
>>> reading.counters.checkouts, reading.marks[0].used, reading.gauges.used
(1, 1, 0)
"""

from collections.abc import Callable
from contextlib import suppress
from itertools import count
from typing import NamedTuple, Protocol

from poolhouse.meter.histogram import Histogram
from poolhouse.meter.reading import MARKS, Counters, Gauges, Limits, Mark, PoolReading

#: A thread that sees this many durations in a list folds them.
BATCH = 2_048
#: A caller that is served within this many seconds does not count as waiting.
NO_WAIT = 0.0001


#: How many values a high-water mark keeps before it looks which is the largest.
_MANY = 256


class Tally:
    """A count that any thread may raise by calling `add`.

    ``n += 1`` is three steps, between which another thread may run; taking the next number of an
    ``itertools.count`` is one. Reading takes a number too, and subtracts the numbers taken by readings.

    >>> tally = Tally()
    >>> tally.add(), tally.add(), tally.read(), tally.add(), tally.read()
    (0, 1, 2, 3, 3)
    """

    __slots__ = ("_not_counted", "add")

    def __init__(self) -> None:
        #: Counts one more; its return value means nothing.
        self.add = count().__next__
        self._not_counted = 0

    def read(self) -> int:
        """How often `add` was called; for the single reader only."""
        value = self.add() - self._not_counted
        self._not_counted += 1
        return value

    def reset(self) -> None:
        """Start from zero again, with the same `add`."""
        self._not_counted = self.add() + 1


class HighWater:
    """The largest value within one interval, and since the start.

    Whoever makes the value rise, or is about to make it fall, looks at it and says so::

        if value > mark.level:
            mark.reach(value)

    That is exact: of those who hold something at the moment of the maximum, the last to take (the first
    to give back) sees at least that many. `level` is only a hint that spares calls: a store of it that loses a
    race makes it too low, which costs a call and loses no value. `reach` stores it *before* the append and `close`
    *after* emptying, so that a level is never higher than what will be found for the same interval.

    >>> mark = HighWater()
    >>> mark.reach(3)
    >>> mark.highest(), mark.close(1), mark.close(0), mark.close(0), mark.peak
    (3, 3, 1, 0, 3)
    """

    __slots__ = ("_at_start", "_reached", "level", "peak")

    def __init__(self) -> None:
        #: Values up to this one need not be reported.
        self.level = 0
        #: The largest value of all closed intervals.
        self.peak = 0
        self._reached: list[int] = []
        self._at_start = 0

    def reach(self, value: int) -> None:
        """Report that the value has been this high."""
        self.level = value
        self._reached.append(value)
        if len(self._reached) > _MANY:
            # Without a reader, intervals do not end, and values would accumulate: the largest is enough.
            self._reached.append(_largest(self._reached))

    def tell(self, value: int) -> None:
        """Report the value if it is higher than the mark's level."""
        if value > self.level:
            self.reach(value)

    def highest(self) -> int:
        """The largest value so far, without closing the interval; any thread may call it."""
        return max(self.peak, self._at_start, *self._reached, 0)

    def close(self, now: int) -> int:
        """End the interval with the present value, and return the interval's mark; for the single reader only."""
        mark = max(self._at_start, now, _largest(self._reached))
        self.level = self._at_start = now
        self.peak = max(self.peak, mark)
        return mark

    def reset(self) -> None:
        """Reset everything."""
        self._reached.clear()
        self.level = self.peak = self._at_start = 0


class Uses(Protocol):
    """Use times that are stored elsewhere, for example by the line of the application that had the connection."""

    def fold(self) -> None:
        """Move the durations into histograms; no other thread does so meanwhile."""
        ...

    def use(self) -> Histogram:
        """All use times as far as they are folded: a new histogram."""
        ...


class Folded(NamedTuple):
    """Everything folded so far. A fold replaces it as a whole, so each reader sees one consistent state.

    The histograms no longer change, and readers must not change them.
    """

    wait: Histogram
    use: Histogram
    create: Histogram
    checkouts: int = 0
    timeouts: int = 0
    connects: int = 0

    def with_uses(self, elsewhere: Uses | None) -> "Folded":
        """The same, including the use times that are stored elsewhere."""
        if elsewhere is None:
            return self
        use = elsewhere.use()
        use.add(self.use)
        return self._replace(use=use)

    def with_waits_of_nothing(self, number: int) -> "Folded":
        """The same with `number` more checkouts that did not wait."""
        if not number:
            return self
        wait = self.wait.copy()
        wait.zero += number
        return self._replace(wait=wait, checkouts=self.checkouts + number)


#: The initial state of every meter.
NOTHING = Folded(Histogram(), Histogram(), Histogram())


class Meter:
    """The counters, histograms and high-water marks of one pool. See the module for who may call what.

    Attributes:
        waits: How long each caller that got a connection waited, in seconds; their number is the checkouts.
        timeouts: How long each caller that got none in time waited; their number is the timeouts.
        uses: How long each connection was out, from checkout to checkin.
        creates: How long each successful connect took; their number is the connects.
        used: High-water mark of connections in use.
        waiting: High-water mark of waiting callers.
        connections: High-water mark of open connections.
        adopted: Connections that the pool already had when it began to be measured, so that their ends can be
            counted.
        at_once: How many callers got a connection without waiting that are not in `waits`: a pool that counts
            those itself sets a function here.
        other_uses: Use times that are not in `uses`; ``None`` if all are.
        timed_out_at: When a caller's wait last ended without a connection, in the pool's seconds; ``None`` if no
            wait did.
    """

    __slots__ = (
        "_at_once",
        "_disconnects",
        "_folded",
        "_lock",
        "_marks",
        "acquire_errors",
        "adopted",
        "at_once",
        "commits",
        "connect_errors",
        "connections",
        "creates",
        "invalidated",
        "other_uses",
        "rollbacks",
        "timed_out_at",
        "timeouts",
        "transactions",
        "used",
        "uses",
        "waiting",
        "waits",
    )

    def __init__(self) -> None:
        self.waits: list[float] = []
        self.timeouts: list[float] = []
        self.uses: list[float] = []
        self.creates: list[float] = []
        self.used = HighWater()
        self.waiting = HighWater()
        self.connections = HighWater()
        self.invalidated = Tally()
        self.commits = Tally()
        self.rollbacks = Tally()
        self.transactions = Tally()
        self.acquire_errors = Tally()
        self.connect_errors = Tally()
        self.adopted = Tally()
        self.at_once: Callable[[], int] = int
        self.other_uses: Uses | None = None
        self.timed_out_at: float | None = None
        self._at_once = 0
        self._lock = [True]
        self._folded = NOTHING
        self._marks: tuple[Mark, ...] = ()
        self._disconnects = 0

    def timed_out(self, waited: float, now: float) -> None:
        """Record a caller that waited in vain, in seconds. Of several at once, the last to store counts."""
        self.timeouts.append(waited)
        self.timed_out_at = now

    @property
    def connects(self) -> int:
        """How many connections have been made so far; may be too low for a moment, during a fold."""
        return self._folded.connects + len(self.creates)

    def fold(self) -> None:
        """Move the durations into the histograms, unless another thread is doing so.

        Call it when ``len(meter.waits) >= BATCH`` after an append; each use and each connect belongs to a wait, so
        the other lists stay short with it. Where they do not belong together, look at those too.
        """
        try:
            held = self._lock.pop()
        except IndexError:
            return
        try:
            if self.other_uses is not None:
                self.other_uses.fold()
            old = self._folded
            waits, timeouts, creates = _drained(self.waits), _drained(self.timeouts), _drained(self.creates)
            self._folded = Folded(
                _with(old.wait, waits + timeouts),
                _with(old.use, _drained(self.uses)),
                _with(old.create, creates),
                old.checkouts + len(waits),
                old.timeouts + len(timeouts),
                old.connects + len(creates),
            )
        finally:
            self._lock.append(held)

    def totals(self) -> Folded:
        """Everything measured so far, without closing an interval; any thread may call this."""
        self.fold()
        self._at_once = max(self._at_once, self.at_once())
        return self._folded.with_waits_of_nothing(self._at_once).with_uses(self.other_uses)

    def read(
        self,
        number: int,
        look: Callable[[], Gauges],
        limits: Limits,
        *,
        name: str,
        kind: str,
        pools: int = 1,
    ) -> PoolReading:
        """Close the interval that ends with report `number`, and return everything.

        Args:
            number: The report's number.
            look: Returns the present gauges. It is called after the counters are read: a connection that arrives
                in between then makes the disconnects too low for one reading, never too high.
            limits: The limits of the pool.
            name: As in `PoolReading`.
            kind: As in `PoolReading`.
            pools: As in `PoolReading`.

        Returns:
            The reading, with key 0: the reporting code sets the key.

        If another thread is folding at this moment, its batch is in the next reading.
        """
        folded = self.totals()
        adopted = self.adopted.read()
        gauges = look()
        self._disconnects = max(self._disconnects, folded.connects + adopted - gauges.connections)
        mark = Mark(
            number,
            self.used.close(gauges.used),
            self.waiting.close(gauges.waiting),
            self.connections.close(gauges.connections),
        )
        self._marks = (mark, *self._marks[: MARKS - 1])
        return PoolReading(
            key=0,
            name=name,
            kind=kind,
            pools=pools,
            limits=limits,
            gauges=gauges,
            counters=Counters(
                checkouts=folded.checkouts,
                connects=folded.connects,
                disconnects=self._disconnects,
                invalidated=self.invalidated.read(),
                commits=self.commits.read(),
                rollbacks=self.rollbacks.read(),
                transactions=self.transactions.read(),
                timeouts=folded.timeouts,
                acquire_errors=self.acquire_errors.read(),
                connect_errors=self.connect_errors.read(),
            ),
            marks=self._marks,
            peak=Mark(number, self.used.peak, self.waiting.peak, self.connections.peak),
            wait=folded.wait,
            use=folded.use,
            create=folded.create,
        )

    def reset(self) -> None:
        """Reset everything, as a forked child must: the counts belong to the parent."""
        for durations in (self.waits, self.timeouts, self.uses, self.creates):
            durations.clear()
        for mark in (self.used, self.waiting, self.connections):
            mark.reset()
        for tally in (
            self.invalidated,
            self.commits,
            self.rollbacks,
            self.transactions,
            self.acquire_errors,
            self.connect_errors,
            self.adopted,
        ):
            tally.reset()
        # A thread of the parent may have had the lock when the process forked.
        self._lock = [True]
        self._folded = NOTHING
        self._marks = ()
        self._disconnects = self._at_once = 0
        self.timed_out_at = None


def _largest(values: list[int]) -> int:
    """Empty the list; return its largest value, or 0. Several threads may do this at once."""
    largest = 0
    with suppress(IndexError):
        for _ in range(len(values)):
            largest = max(largest, values.pop())
    return largest


def _drained(values: list[float]) -> list[float]:
    """Empty the list of its present durations; later ones stay. For the folding thread only."""
    taken = list(values)
    del values[: len(taken)]
    return taken


def _with(old: Histogram, durations: list[float]) -> Histogram:
    """The histogram and these durations; a copy, so that readers keep what they have read."""
    if not durations:
        return old
    new = old.copy()
    new.record_seconds(durations)
    return new
