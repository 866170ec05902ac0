"""The counts of a process's pools by name, from absolute readings. No I/O, no clock.

A reading says what a pool has counted since its first event. Its increase over the previous reading is added to
the sums of the pool's name, which therefore never fall, even if pools end and are replaced. New durations wait in
a histogram until they are recorded elsewhere.
"""

from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

from poolhouse.clean import clean
from poolhouse.export.convention import (
    CREATE_TIME,
    IDLE_MAX,
    IDLE_MIN,
    MAX,
    PENDING_REQUESTS,
    USE_TIME,
    WAIT_TIME,
    Metric,
)
from poolhouse.meter.histogram import ZERO_EXPONENT, Histogram
from poolhouse.meter.reading import Gauges, Limits, PoolReading
from poolhouse.report.readings import Readings
from poolhouse.report.source import Source

#: The most names with sums of their own; pools beyond them are summed under `OTHER`.
MOST_NAMES = 1000
OTHER = "other"
#: The most ended pools of which another reading may still come.
MOST_ENDED = 100

#: The most pools with readings that have not been settled yet.
MOST_TOLD = 10_000

#: The histograms of a reading, and the metric for each.
TIMES = {"create": CREATE_TIME, "wait": WAIT_TIME, "use": USE_TIME}


class Now(NamedTuple):
    """The present state of the living pools of one name."""

    gauges: Gauges
    limits: Limits


#: How to read each number from the living pools of a name; ``None`` is not exported.
NUMBERS: dict[Metric, Callable[[Now], int | None]] = {
    IDLE_MAX: lambda now: now.limits.max_idle,
    IDLE_MIN: lambda now: now.limits.min_idle,
    MAX: lambda now: now.limits.max_open,
    PENDING_REQUESTS: lambda now: now.gauges.waiting,
}


class Ledger:
    """The sums of one process.

    Attributes:
        timeouts: Callers that gave up, by the pools' name.
        grown: Durations that have not been taken yet, by the pools' name and the kind.
        kinds: The durations that are measured, by name.
    """

    def __init__(self) -> None:
        """Start with nothing."""
        self.timeouts: dict[str, int] = {}
        self.grown: dict[tuple[str, str], Histogram] = {}
        self.kinds: dict[tuple[str, str], None] = {}
        self._last: dict[Source, PoolReading] = {}
        #: The same for ended pools: of a reading that comes late, only what exceeds this is new.
        self._ended: dict[Source, PoolReading] = {}
        self._names: dict[str, None] = {}
        #: The latest readings by others. Any thread adds to it, and `settle` takes them.
        self._told: dict[Source, PoolReading] = {}

    def tell(self, readings: Readings) -> None:
        """Have the next `settle` take these readings by another reader; any thread may call this."""
        if len(self._told) < MOST_TOLD:
            self._told.update(readings)

    def settle(self, readings: Readings) -> None:
        """Take these readings and all readings by others, and drop pools that have ended."""
        for source, reading in readings:
            self.take(source, reading)
        with suppress(KeyError):
            while True:
                self.take(*self._told.popitem())
        self.end_gone()

    def take(self, source: Source, reading: PoolReading) -> None:
        """Take a reading of a pool; one that counts 0 pools is its last. A late one changes nothing."""
        name = self._name(reading)
        before = self._last.get(source) or self._ended.get(source)
        if before is not None and _is_older(reading, before):
            return
        timeouts = reading.counters.timeouts
        if timeouts is not None:
            counted = 0 if before is None else before.counters.timeouts or 0
            self.timeouts[name] = self.timeouts.get(name, 0) + max(0, timeouts - counted)
        for kind in TIMES:
            histogram: Histogram | None = getattr(reading, kind)
            if histogram is not None:
                self._grow(name, kind, histogram, None if before is None else getattr(before, kind))
        if reading.pools:
            self._last[source] = reading
        else:
            self._last.pop(source, None)
            self._end(source, reading)

    def end_gone(self) -> None:
        """Drop pools that have ended and whose last reading has not come yet."""
        for source in list(self._last):
            with suppress(Exception):
                if source.is_gone():
                    self._end(source, self._last.pop(source))

    def _end(self, source: Source, reading: PoolReading) -> None:
        self._ended.pop(source, None)
        self._ended[source] = reading
        if len(self._ended) > MOST_ENDED:
            del self._ended[next(iter(self._ended))]

    def now(self) -> dict[str, Now]:
        """The state of the living pools, by name. A limit is ``None`` if one of them has none."""
        found: dict[str, Now] = {}
        for reading in self._last.values():
            name = self._name(reading)
            known = found.get(name)
            if known is None:
                found[name] = Now(reading.gauges, reading.limits)
                continue
            gauges = Gauges(*map(sum, zip(known.gauges, reading.gauges, strict=True)))
            limits = Limits(*map(_sum, known.limits, reading.limits))
            found[name] = Now(gauges, limits)
        return found

    def _grow(self, name: str, kind: str, histogram: Histogram, before: Histogram | None) -> None:
        self.kinds[name, kind] = None
        if before is not None and (histogram is before or histogram.count == before.count):
            return
        grown = histogram.copy()
        if before is not None:
            grown.subtract(before)
        if grown.count <= 0:
            return
        waiting = self.grown.get((name, kind))
        if waiting is None:
            self.grown[name, kind] = grown
        else:
            waiting.add(grown)

    def _name(self, reading: PoolReading) -> str:
        name = clean(reading.name or reading.kind)
        if name not in self._names:
            if len(self._names) >= MOST_NAMES:
                return OTHER
            self._names[name] = None
        return name


def _is_older(reading: PoolReading, known: PoolReading) -> bool:
    """Whether a reading was made before another one of its pool, whose counters never fall."""
    return any(
        count is not None and before is not None and count < before
        for count, before in zip(reading.counters, known.counters, strict=True)
    )


def _sum(one: int | None, other: int | None) -> int | None:
    return None if one is None or other is None else one + other


def representatives(grown: Histogram) -> list[tuple[float, int]]:
    """Durations in seconds, with their counts, that represent those of a histogram, the shortest first.

    Each lies in the bucket of those that it represents: it is the bucket's geometric middle times a factor, the
    same for all buckets, that gives the true sum. Those of the zero bucket are 0.

    >>> histogram = Histogram()
    >>> histogram.record_seconds([0.25, 0.25, 1.0])
    >>> [(round(value, 2), number) for value, number in representatives(histogram)]
    [(0.25, 2), (1.0, 1)]
    """
    width = 2.0**-grown.scale
    used = [
        (2.0 ** (ZERO_EXPONENT + (bucket + 0.5) * width), number)
        for bucket, number in enumerate(grown.counts)
        if number > 0
    ]
    total = sum(middle * number for middle, number in used)
    # A bucket reaches from its middle to half its width on either side; not quite, because of rounding.
    most = 2.0 ** (0.4999999 * width)
    factor = min(max(grown.sum_ns / 1e9 / total, 1 / most), most) if total else 1.0
    zero = [(0.0, grown.zero)] if grown.zero > 0 else []
    return zero + [(middle * factor, number) for middle, number in used]
