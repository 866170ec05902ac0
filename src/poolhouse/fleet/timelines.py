"""The last hour of the fleet and of each program: a coarse ring of samples, a fixed number of bytes each.

A sample is taken every `STEP` seconds. Gauges are kept as their largest value since the previous sample, so that a
burst between two samples is visible; checkouts as a rate, timeouts as a number, waits as a quantile of those
seconds.
"""

from array import array
from collections.abc import Iterable
from math import isnan, nan
from typing import NamedTuple

from poolhouse.fleet.aggregate import RowState
from poolhouse.fleet.budget import Budget
from poolhouse.fleet.distribution import NOTHING, Distribution
from poolhouse.fleet.snapshot import Totals
from poolhouse.fleet.vectors import COUNTS, PEAKS, Knows

#: Seconds between two samples, and how many are kept: an hour.
STEP, POINTS = 10.0, 360
#: The key of the fleet's own row: no program can have this name.
FLEET = ("", "\0")
#: The size of one timeline in bytes, with the counts of its last sample; measured with tracemalloc.
TIMELINE_BYTES = 12_500
_CHECKOUTS, _TIMEOUTS = (Totals._fields.index(name) for name in ("checkouts", "timeouts"))

Key = tuple[str, str]


class Past(NamedTuple):
    """The samples of one row, oldest first; ``None`` where nothing is known about a time."""

    #: When each sample was taken, in seconds since the epoch.
    times: list[float]
    used: list[float | None]
    max_open: list[float | None]
    waiting: list[float | None]
    checkouts_per_second: list[float | None]
    timeouts: list[float | None]
    wait_p99_seconds: list[float | None]


class Moment(NamedTuple):
    """One sample of one row, as in `Past`; ``None`` where not known."""

    used: float | None
    max_open: float | None
    waiting: float | None
    checkouts_per_second: float | None
    timeouts: float | None
    wait_p99_seconds: float | None


#: How many values a sample has besides its time.
_VALUES = len(Moment._fields)


class _Timeline:
    """The ring of one row."""

    __slots__ = ("at", "columns", "largest", "seen", "totals", "wait")

    def __init__(self) -> None:
        self.columns = tuple(array("f", (nan,)) * POINTS for _ in range(_VALUES))
        #: The number of its latest sample, and the aggregator's time of it.
        self.seen = 0
        self.at = 0.0
        #: The largest sums since then.
        self.largest = 0
        #: The row's counts at that time.
        self.totals = 0
        self.wait: Distribution = NOTHING

    def put(self, number: int, values: Iterable[float | None]) -> None:
        """Store a sample; missed ones are unknown."""
        for missed in range(max(self.seen + 1, number - POINTS + 1), number):
            for column in self.columns:
                column[missed % POINTS] = nan
        for column, value in zip(self.columns, values, strict=True):
            column[number % POINTS] = nan if value is None else value
        self.seen = number

    def column(self, place: int, numbers: range) -> list[float | None]:
        """The values of some samples."""
        ring = self.columns[place]
        values = (ring[number % POINTS] if number <= self.seen else nan for number in numbers)
        return [None if isnan(value) else value for value in values]


class Timelines:
    """The timelines of the fleet and of its programs. No I/O, no clock.

    For every row, the shell must call `watch` at least once every two report intervals, and every `STEP` seconds
    `begin` and then `record`.

    Attributes:
        number: How many samples have begun.
    """

    def __init__(self, budget: Budget, most: int) -> None:
        """Start empty.

        Args:
            budget: Counts their bytes; no timeline begins while it is full.
            most: The most rows that are kept.
        """
        self.number = 0
        self._budget = budget
        self._most = most
        self._times = array("d", (nan,)) * POINTS
        self._timelines: dict[Key, _Timeline] = {}

    @property
    def size(self) -> int:
        """Their approximate size in bytes."""
        return TIMELINE_BYTES * len(self._timelines)

    def __len__(self) -> int:
        """How many rows are kept."""
        return len(self._timelines)

    def watch(self, key: Key, state: RowState) -> None:
        """Note the present largest sums of a row."""
        timeline = self._timelines.get(key)
        if timeline is not None:
            timeline.largest = PEAKS.larger(timeline.largest, PEAKS.larger(state.before, state.window))

    def begin(self, wall_time: float) -> None:
        """Begin a sample; rows without one in the last hour are forgotten."""
        self.number += 1
        self._times[self.number % POINTS] = wall_time
        for key, timeline in list(self._timelines.items()):
            if self.number - timeline.seen >= POINTS:
                self._forget(key)

    def record(self, key: Key, state: RowState) -> None:
        """Store a row in the sample that has begun."""
        timeline = self._timelines.get(key) or self._obtain(key)
        if timeline is None:
            return
        self.watch(key, state)
        is_first, seconds = not timeline.seen, state.now - timeline.at
        checkouts = timeouts = wait = None
        if not is_first and seconds > 0:
            grown = COUNTS.unpack(COUNTS.rise(state.totals, timeline.totals))
            checkouts = grown[_CHECKOUTS] / seconds if state.sent >> _CHECKOUTS & 1 else None
            timeouts = grown[_TIMEOUTS] if state.sent >> _TIMEOUTS & 1 else None
            if state.knows & Knows.WAIT_TIMES:
                wait = state.times[0].latest(timeline.wait).quantile(0.99)
        row = state.gauges_row()
        _, _, used, waiting, _, _ = PEAKS.unpack(timeline.largest)
        timeline.put(
            self.number,
            (
                None if row.used is None else used,
                row.max_open,
                None if row.waiting is None else waiting,
                checkouts,
                timeouts,
                wait,
            ),
        )
        timeline.at, timeline.totals, timeline.wait, timeline.largest = state.now, state.totals, state.times[0], 0

    def past(self, key: Key, points: int = POINTS) -> Past | None:
        """The latest samples of a row; ``None`` if it has none."""
        timeline = self._timelines.get(key)
        if timeline is None:
            return None
        numbers = range(max(1, self.number - min(points, POINTS) + 1), self.number + 1)
        columns = [timeline.column(place, numbers) for place in range(_VALUES)]
        return Past([self._times[number % POINTS] for number in numbers], *columns)

    def used(self, key: Key, points: int) -> list[float | None]:
        """Connections in use at the latest samples; empty if there are none."""
        timeline = self._timelines.get(key)
        numbers = range(max(1, self.number - points + 1), self.number + 1)
        return [] if timeline is None else timeline.column(0, numbers)

    def sample_at(self, wall_time: float) -> tuple[int, float] | None:
        """The number and the time of the sample nearest to a time; ``None`` if none is within `STEP` of it."""
        numbers = range(max(1, self.number - POINTS + 1), self.number + 1)
        taken = ((abs(self._times[number % POINTS] - wall_time), number) for number in numbers)
        distance, nearest = min(taken, default=(STEP, 0))
        return (nearest, self._times[nearest % POINTS]) if nearest and distance <= STEP else None

    def moment(self, key: Key, number: int) -> Moment | None:
        """A row at a sample; ``None`` if that is not, or no longer, known."""
        timeline = self._timelines.get(key)
        if timeline is None or not self.number - POINTS < number <= timeline.seen:
            return None
        found = Moment(*(timeline.column(place, range(number, number + 1))[0] for place in range(_VALUES)))
        return None if found == (None,) * _VALUES else found

    def keys(self) -> list[Key]:
        """The rows that are kept."""
        return list(self._timelines)

    def _obtain(self, key: Key) -> _Timeline | None:
        """A timeline for a new row, if need be in place of one that has gone."""
        if len(self._timelines) >= self._most:
            oldest = min(self._timelines, key=lambda one: self._timelines[one].seen)
            if self._timelines[oldest].seen >= self.number - 1:
                return None
            self._forget(oldest)
        if self._budget.is_full:
            return None
        self._budget.used += TIMELINE_BYTES
        timeline = self._timelines[key] = _Timeline()
        return timeline

    def _forget(self, key: Key) -> None:
        del self._timelines[key]
        self._budget.used -= TIMELINE_BYTES
