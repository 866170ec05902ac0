"""The pools that each report of a stream lists, and their sums. No I/O, no clock, no thread.

A pool that is alive at a report is listed under a key of its own while one of `PLACES` places is free. All other
pools are summed in the rest: pools beyond the places, and pools that began and ended between two reports.

The rules for the receiver of the reports:

* A key is never used twice, and all its figures are cumulative and never fall. So the differences under all
  keys add up to what all pools have done, however many pools begin and end, and however many reports are lost.
* After its end a pool is listed in `FAREWELLS` more reports with its final counters, so that its last work is
known
  even if all but one of these reports are lost.
* The rest is listed in every report from the first one that has a rest.

The caller must not call `read` from two threads at once, and must pass report numbers that rise by one.
"""

from collections.abc import Iterable
from typing import NamedTuple

from poolhouse.meter.histogram import Histogram
from poolhouse.meter.reading import MARKS, REST, Counters, Gauges, Limits, Mark, PoolReading
from poolhouse.meter.signs import PoolSigns
from poolhouse.meter.signs_sum import summed_signs
from poolhouse.report.source import Source
from poolhouse.wire.report import ReportSums

#: The most pools listed under keys of their own at a time, each in a datagram of its own.
PLACES = 64
#: How many reports list a pool that has ended.
FAREWELLS = 5

#: The neutral elements of the sums of limits and of counters.
_NOTHING = Limits(0, 0, 0)
_UNCOUNTED = Counters(*[None] * len(Counters._fields))


class Failure(NamedTuple):
    """A source that cannot be read; returned once, until it can be read again."""

    source: Source
    error: Exception


class Statement(NamedTuple):
    """The pools and sums of one report."""

    sums: ReportSums
    pools: tuple[PoolReading, ...]
    failures: tuple[Failure, ...]
    #: The signs of pools that are no longer listed; ``None`` if there are none.
    past_signs: PoolSigns | None = None
    #: Every pool that could be read for this report; those that have ended meanwhile count 0 pools.
    readings: tuple[tuple[Source, PoolReading], ...] = ()


class _Member:
    """A pool on the roster, and its last reading."""

    __slots__ = ("farewells", "has_failed", "key", "last", "source")

    def __init__(self, source: Source) -> None:
        self.source = source
        self.key = REST
        self.last = PoolReading(REST, name="", kind="", counters=_UNCOUNTED)
        self.has_failed = False
        #: How many reports still list it; ``None`` while the pool lives.
        self.farewells: int | None = None

    def read(self, number: int) -> Failure | None:
        """Update `last`; if the source fails, `last` stays unchanged."""
        is_gone = False
        failure = None
        try:
            is_gone = self.source.is_gone()  # First, so that the last reading includes everything before the end.
            self.last = self.source.read(number)._replace(key=self.key, pools=1)
            self.has_failed = False
        except Exception as error:
            failure = None if self.has_failed else Failure(self.source, error)
            self.has_failed = True
        if is_gone:
            self.farewells = FAREWELLS
            self.last = self.last._replace(pools=0, limits=_NOTHING, gauges=Gauges())
        return failure


class Roster:
    """The pools of one stream, from a process's first report to its last.

    Attributes:
        made: How many pools there have been.
    """

    def __init__(self, places: int = PLACES) -> None:
        self._places = places
        self.made = 0
        self._next_key = REST + 1
        self._told: list[_Member] = []
        self._untold: list[_Member] = []
        self._rest = _Rest()
        #: The counters of pools that are no longer listed.
        self._departed = _UNCOUNTED
        self._past_signs: PoolSigns | None = None

    @property
    def sources(self) -> list[Source]:
        """The pools on the roster."""
        return [member.source for member in self._told + self._untold]

    @property
    def keyed(self) -> dict[int, Source]:
        """The living pools that are listed under a key of their own."""
        return {member.key: member.source for member in self._told if member.farewells is None}

    def read(self, arrivals: Iterable[Source], number: int) -> Statement:
        """The pools and sums of report `number`.

        Args:
            arrivals: Pools that are new since the last report; known ones are ignored.
            number: The report's number, starting at 1 and rising by 1.
        """
        self._dismiss()
        new = self._new(arrivals)
        living = [member for member in self._told + self._untold if member.farewells is None]
        failures = [failure for member in living + new if (failure := member.read(number))]
        for member in new:
            self._place(member)
        readings = tuple((member.source, member.last) for member in living + new if not member.has_failed)
        self._rest.absorb([member.last for member in self._untold if member.farewells is not None])
        self._untold = [member for member in self._untold if member.farewells is None]
        pools = [member.last for member in self._told]
        pools += self._rest.read([member.last for member in self._untold], number)
        return Statement(self._sums(pools), tuple(pools), tuple(failures), self._past_signs, readings)

    def _new(self, arrivals: Iterable[Source]) -> list[_Member]:
        """The arrivals that are not on the roster yet, each once."""
        present = {id(source) for source in self.sources}
        new = []
        for source in arrivals:
            if id(source) not in present:
                present.add(id(source))
                new.append(_Member(source))
        self.made += len(new)
        return new

    def _dismiss(self) -> None:
        """Count this report as a farewell of each ended pool, and drop pools that have had all of theirs."""
        for member in self._told:
            if member.farewells is not None:
                member.farewells -= 1
        for member in [member for member in self._told if member.farewells == 0]:
            self._told.remove(member)
            self._departed = _sum_counters([self._departed, member.last.counters])
            self._past_signs = summed_signs((self._past_signs, member.last.signs))

    def _place(self, member: _Member) -> None:
        """Give a new pool a key if it is alive and a place is free; otherwise add it to the rest."""
        if member.farewells is None and len(self._told) < self._places:
            member.key = self._next_key
            self._next_key += 1
            member.last = member.last._replace(key=member.key)
            self._told.append(member)
        else:
            self._untold.append(member)

    def _sums(self, pools: list[PoolReading]) -> ReportSums:
        return ReportSums(
            pools=sum(pool.pools for pool in pools),
            gauges=_sum_gauges(pools),
            limits=_sum_limits(pools),
            counters=_sum_counters([self._departed, *(pool.counters for pool in pools)]),
        )


class _Rest:
    """The sum of all pools without a key of their own."""

    def __init__(self) -> None:
        #: The sum of the pools that have ended; empty if there are none.
        self._gone: list[PoolReading] = []
        self._peak = Mark()

    def absorb(self, last: list[PoolReading]) -> None:
        """Add the last readings of ended pools."""
        if last:
            self._gone = [_merged(self._gone + last)]

    def read(self, living: list[PoolReading], number: int) -> list[PoolReading]:
        """The rest in report `number`; empty until there is one."""
        readings = self._gone + living
        if not readings:
            return []
        rest = _merged(readings)
        # The true mark of several pools together is at most the sum of their own marks in the same interval.
        marks = tuple(mark for mark in rest.marks if mark.interval > number - MARKS)
        most = next((mark for mark in marks if mark.interval == number), Mark())
        self._peak = Mark(number, *map(max, self._peak[1:], most[1:]))
        return [rest._replace(marks=marks, peak=self._peak)]


def _merged(readings: list[PoolReading]) -> PoolReading:
    """Several pools as one without a name: sums, merged histograms, and the sum of the marks of each interval."""
    marks: dict[int, list[Mark]] = {}
    for reading in readings:
        for mark in reading.marks:
            marks.setdefault(mark.interval, []).append(mark)
    return PoolReading(
        key=REST,
        name="",
        kind="",
        pools=sum(reading.pools for reading in readings),
        limits=_sum_limits(readings),
        gauges=_sum_gauges(readings),
        counters=_sum_counters([reading.counters for reading in readings]),
        marks=tuple(_sum_marks(interval, marks[interval]) for interval in sorted(marks, reverse=True)[:MARKS]),
        wait=_merged_histogram(reading.wait for reading in readings),
        use=_merged_histogram(reading.use for reading in readings),
        create=_merged_histogram(reading.create for reading in readings),
        is_bound=any(reading.is_bound for reading in readings),
        signs=summed_signs(reading.signs for reading in readings),
    )


def _sum_gauges(readings: list[PoolReading]) -> Gauges:
    return Gauges(*(sum(column) for column in zip(*(reading.gauges for reading in readings), strict=True)))


def _sum_limits(readings: list[PoolReading]) -> Limits:
    """The sums; ``None`` where a pool has no limit."""
    columns = zip(_NOTHING, *(reading.limits for reading in readings), strict=True)
    return Limits(*(None if None in column else sum(filter(None, column)) for column in columns))


def _sum_counters(all_counters: list[Counters]) -> Counters:
    """The sums of known counters; ``None`` where none is known."""
    known = ([count for count in column if count is not None] for column in zip(*all_counters, strict=True))
    return Counters(*(sum(column) if column else None for column in known))


def _sum_marks(interval: int, marks: list[Mark]) -> Mark:
    return Mark(interval, *(sum(column) for column in list(zip(*marks, strict=True))[1:]))


def _merged_histogram(histograms: Iterable[Histogram | None]) -> Histogram | None:
    """A new histogram of all; ``None`` if there are none."""
    known = [histogram for histogram in histograms if histogram is not None]
    if not known:
        return None
    merged = known[0].copy()
    for histogram in known[1:]:
        merged.add(histogram)
    return merged
