"""The readings that a process has taken of itself, and the changes between two of them.

Readings are absolute, so a difference can be taken between any two. A number that fell has restarted from 0.
"""

from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple, TypeVar

from poolhouse.meter.reading import REST, PoolReading
from poolhouse.meter.signs import ConnectErrors, Looks, PoolSigns, ProcessSigns, SiteReading
from poolhouse.verdicts.causes import CALM_WAITING, SATURATED_USE, SATURATED_WAITING, WINDOW_REPORTS, WINDOW_S

#: Seconds between two looks if it is not known how many were due.
_LOOK_S = 0.1
#: The share of `WINDOW_S` that is enough, because reports come a little early.
NEARLY = 0.9
#: Moments are kept for this many seconds, and at least this many of them; two of them are this far apart.
KEPT_S, KEPT, APART_S = 30.0, 6, 1.0

Number = TypeVar("Number", int, float)

_NO_SITE = SiteReading("")
_NO_SIGNS = PoolSigns()


class Moment(NamedTuple):
    """One reading of a process by itself."""

    #: Monotonic seconds.
    at: float
    pools: tuple[PoolReading, ...]
    process: ProcessSigns = ProcessSigns()
    #: How many looks a pool would have had by now if one of its connections had always been out. How often the
    #: process looks depends on the cost of a look.
    looks_due: float = 0.0


class History:
    """The latest moments of one process, the oldest first."""

    def __init__(self) -> None:
        self._moments: list[Moment] = []

    def add(self, moment: Moment) -> bool:
        """Add the newest moment. False if it is not newer than the last; it is then ignored."""
        moments = self._moments
        if moments and moment.at <= moments[-1].at:
            return False
        if len(moments) > 1 and moment.at - moments[-2].at < APART_S:
            moments.pop()
        moments.append(moment)
        while len(moments) > KEPT and moment.at - moments[1].at >= KEPT_S:
            del moments[0]
        return True

    def moments(self) -> tuple[Moment, ...]:
        """The moments, the oldest first."""
        return tuple(self._moments)


class SiteSpan:
    """The changes at one site between two moments."""

    __slots__ = ("collected", "held_s", "looks", "now", "returned")

    def __init__(self, before: SiteReading, now: SiteReading) -> None:
        self.now = now
        self.returned = _rise(before.returned, now.returned)
        self.collected = _rise(before.collected, now.collected)
        self.held_s = _rise(before.held_s, now.held_s)
        self.looks = Looks(*map(_rise, before.looks, now.looks))

    @property
    def seen(self) -> int:
        """How often a look found one of its connections out."""
        return sum(self.looks)


class PoolSpan:
    """The changes in one pool between two moments."""

    __slots__ = (
        "_before", "_sites", "looks", "looks_due", "looks_waiting", "now", "seconds", "signs", "used", "waiting",
    )  # fmt: skip

    def __init__(
        self, before: PoolReading | None, now: PoolReading, seconds: float, looks_due: float = 0.0
    ) -> None:
        signs = now.signs or _NO_SIGNS
        earlier = (before.signs if before is not None else None) or _NO_SIGNS
        self.now = now
        self.signs = signs
        self.seconds = seconds
        self.looks_due = looks_due
        self.looks = _rise(earlier.looks, signs.looks)
        self.looks_waiting = _rise(earlier.looks_waiting, signs.looks_waiting)
        #: Connections in use and callers waiting, averaged over the looks.
        self.used = _rise(earlier.used_sum, signs.used_sum) / self.looks if self.looks else 0.0
        self.waiting = _rise(earlier.waiting_sum, signs.waiting_sum) / self.looks if self.looks else 0.0
        self._before = before
        self._sites: tuple[SiteSpan, ...] | None = None

    @property
    def look_s(self) -> float:
        """The time that one look represents on average, in seconds."""
        return look_seconds(self.seconds, self.looks_due)

    @property
    def sites(self) -> tuple[SiteSpan, ...]:
        """The changes at the pool's sites."""
        if self._sites is None:
            before = self._before.signs if self._before is not None else None
            earlier = {} if before is None else {site.site: site for site in before.sites}
            self._sites = tuple(SiteSpan(earlier.get(site.site, _NO_SITE), site) for site in self.signs.sites)
        return self._sites

    @property
    def measured(self) -> tuple[int, float]:
        """Connections that came back to the pool, and how long they had been out in total, in seconds."""
        use, before = self.now.use, self._before.use if self._before is not None else None
        if use is None:
            return 0, 0.0
        count, total = (0, 0) if before is None else (before.count, before.sum_ns)
        return _rise(count, use.count), _rise(total, use.sum_ns) / 1e9

    @property
    def connects(self) -> int:
        """Connects that succeeded."""
        before = self._before.counters.connects if self._before is not None else 0
        return _rise(before or 0, self.now.counters.connects or 0)

    @property
    def errors(self) -> ConnectErrors:
        """Connects that failed."""
        before = (self._before.signs if self._before is not None else None) or _NO_SIGNS
        return ConnectErrors(*map(_rise, before.connect_errors, self.signs.connect_errors))

    @property
    def dead(self) -> int:
        """Connections that were found dead when used."""
        before = (self._before.signs if self._before is not None else None) or _NO_SIGNS
        return _rise(before.dead, self.signs.dead)

    @property
    def inherited(self) -> int:
        """Checkouts of connections that belong to the parent process."""
        before = (self._before.signs if self._before is not None else None) or _NO_SIGNS
        return _rise(before.inherited, self.signs.inherited)

    @property
    def max(self) -> int:
        """The most connections that the pool may have; 0 if there is no limit, or none is known."""
        return self.now.limits.max_open or 0

    @property
    def is_saturated(self) -> bool:
        """Whether a caller waits for most of the time, and nearly all connections are in use."""
        looks = max(self.looks, self.looks_due)
        return (
            self.max > 0
            and self.looks_waiting > 0
            and self.looks_waiting >= SATURATED_WAITING * looks
            and self.used >= SATURATED_USE * self.max
        )

    @property
    def is_calm(self) -> bool:
        """Whether hardly any caller waits, and the pool has connections to spare."""
        return self.looks_waiting <= CALM_WAITING * self.looks and not (
            self.max and self.used >= SATURATED_USE * self.max
        )


class Trail:
    """One living pool over the kept moments."""

    def __init__(self, moments: Sequence[Moment], readings: Sequence[PoolReading | None]) -> None:
        """See `trails`."""
        self._moments = moments
        self._readings = readings
        newest = readings[-1]
        assert newest is not None, "a trail belongs to a living pool"
        self.now = newest
        #: The changes since the previous moment; since the pool's beginning if there is none.
        self.newest = self.span(1)

    def span(self, steps: int) -> PoolSpan:
        """The changes over the newest `steps` intervals, or over all if there are fewer."""
        place = max(-len(self._moments), -1 - steps)
        before = self._readings[place] if steps < len(self._moments) else None
        return self._span(before, self.now, self._moments[place], self._moments[-1])

    def step(self, back: int) -> PoolSpan | None:
        """The interval `back` before the newest, which is 0; ``None`` if the pool did not exist.

        The first moment ends the time before it, whose changes are known but not its length: 0 s.
        """
        if back >= len(self._moments) or (now := self._readings[-1 - back]) is None:
            return None
        if back + 1 == len(self._moments):
            return PoolSpan(None, now, 0.0)
        return self._span(self._readings[-2 - back], now, self._moments[-2 - back], self._moments[-1 - back])

    @staticmethod
    def _span(before: PoolReading | None, now: PoolReading, first: Moment, last: Moment) -> PoolSpan:
        return PoolSpan(before, now, last.at - first.at, _rise(first.looks_due, last.looks_due))

    @cached_property
    def saturated_s(self) -> float:
        """How long it has been saturated without a pause, in seconds; whole intervals only."""
        seconds, back = 0.0, 0
        while (step := self.step(back)) is not None and step.is_saturated:
            seconds += step.seconds
            back += 1
        return seconds

    def readings(self) -> list[PoolReading]:
        """The pool's readings, the oldest first."""
        return [reading for reading in self._readings if reading is not None]


def trails(moments: Sequence[Moment]) -> list[Trail]:
    """The pools of the newest moment that report signs, each over all moments."""
    by_key = [{pool.key: pool for pool in moment.pools} for moment in moments]
    return [
        Trail(moments, [pools.get(key) for pools in by_key])
        for key, pool in by_key[-1].items()
        if key != REST and pool.pools == 1 and pool.signs is not None
    ]


def look_seconds(seconds: float, looks_due: float) -> float:
    """The time that one look represents, in seconds, if `looks_due` were due in `seconds`."""
    return seconds / looks_due if seconds and looks_due else _LOOK_S


def window(moments: Sequence[Moment]) -> int | None:
    """The number of newest intervals over which differences are taken; ``None`` while there are too few moments.

    At least `WINDOW_REPORTS`, and as many as `WINDOW_S` requires.
    """
    for steps in range(WINDOW_REPORTS, len(moments)):
        if moments[-1].at - moments[-1 - steps].at >= NEARLY * WINDOW_S:
            return steps
    return None


def _rise(before: Number, now: Number) -> Number:
    return now - before if now >= before else now
