"""psycopg_pool's own pools, watched: measured at ``getconn`` and ``putconn``, else read from ``get_stats()``.

Measured (`watched_checkouts`): waits, uses, timeouts, errors of callers, high-water marks, the lines of the
application that hold connections, failed connects by class. All of these count from `watch` on; connections that
were already out are an upper bound until they have come back.

From the statistics: idle, opened, closed and lost connections, and earlier checkouts. If a pool has statistics but
cannot be measured, checkouts, in use and waiting come from them too, as upper bounds; the rest is unknown, not 0.
The counters belong to the application, which may reset them by ``pop_stats()``. We never do that, and continue our
sums after it. Counts between our last reading and a pop are lost.

Transactions are unknown. psycopg_pool is not imported: any object with its methods will do.
"""

import sys
import weakref
from collections.abc import Callable, Mapping, MutableMapping
from contextlib import suppress
from types import CoroutineType
from typing import Any

from poolhouse.instrumentation import pools
from poolhouse.instrumentation.names import pool_name, target_name
from poolhouse.instrumentation.proxies import unproxied
from poolhouse.instrumentation.watched import WatchedPool
from poolhouse.instrumentation.watched_checkouts import WatchedCheckouts
from poolhouse.meter.meter import Meter
from poolhouse.meter.reading import Counters, Gauges, Limits, PoolReading
from poolhouse.report import reporter
from poolhouse.report.source import AnyStream
from poolhouse.report.unsent import moved
from poolhouse.sites.looker import Holding
from poolhouse.sites.modules import modules_of
from poolhouse.sites.stack import line_in_words
from poolhouse.verdicts.readiness import Condition

#: The keys that only ever rise, until they are popped.
COUNTERS = (
    "requests_num",
    "requests_errors",
    "connections_num",
    "connections_errors",
    "connections_lost",
    "returns_bad",
)

#: The methods by which a pool is first used; `connection` calls the second.
USES = ("open", "getconn")

#: The watched pools.
_sources: "MutableMapping[Any, StatsSource]" = weakref.WeakKeyDictionary()


def watch(pool: Any, to: Callable[[], AnyStream] = reporter.default_stream) -> None:
    """Report a pool of psycopg_pool, for threads or asyncio, until it is closed or collected.

    Reports go where ``poolhouse.report_to()`` or the environment variable ``POOLHOUSE_REPORT`` says, otherwise to
    port 25827 of this machine. A pool that is watched already stays unchanged. A forked child reports the pool
    from its own first use on: `open`, or `getconn` and `connection`. A pool of poolhouse needs no watching, and is
    reported as usual.

    Args:
        pool: An object with ``get_stats()``, open or not. It is not kept alive.
        to: Returns the stream that reports it.

    Raises:
        SettingError: If ``POOLHOUSE_REPORT`` is needed and wrong.
        TypeError: If this is not such a pool.
    """
    pool = unproxied(pool, "get_stats")
    if isinstance(getattr(pool, "meter", None), Meter):
        pools.report(pool, to)
        return
    if not has_stats(pool):
        raise TypeError(
            f"expected a pool with get_stats(), not {type(pool).__name__}; "
            "for an engine of SQLAlchemy there is poolhouse.instrument()"
        )
    stream = to()
    source = _sources.get(pool)
    if source is None:
        made = StatsSource(pool, stream)
        source = _sources.setdefault(pool, made)
        if source is made:
            source.made_at = line_in_words(sys._getframe(1), modules_of())
            source.begin(pool)
    source.stream = moved(source, source.stream, stream)
    source.stream.expect(source)
    source.stream.add(source)


def source_of(pool: Any) -> "StatsSource | None":
    """The source of this pool; ``None`` if it is not watched."""
    try:
        return _sources.get(pool)
    except TypeError:  # It allows no weak reference.
        return None


def has_stats(pool: Any) -> bool:
    """Whether the pool has statistics; a mock has every method, but no figures."""
    get_stats = getattr(pool, "get_stats", None)
    if not callable(get_stats):
        return False
    try:
        stats: Any = get_stats()
    except Exception:
        return True  # The reporter will log the error, and ask again.
    if isinstance(stats, CoroutineType):
        stats.close()
    return isinstance(stats, Mapping)


class Sums:
    """Turns counters that are reset whenever they are popped into sums that never fall.

    >>> sums = Sums()
    >>> sums.add({"requests_num": 5, "returns_bad": 1})["requests_num"]
    5
    >>> sums.add({"requests_num": 2, "returns_bad": 1})  # popped meanwhile, all of them together
    {'requests_num': 7, 'returns_bad': 2}
    """

    def __init__(self) -> None:
        self._last: Mapping[str, int] = {}
        self._sums: dict[str, int] = {}

    def add(self, counters: Mapping[str, int]) -> dict[str, int]:
        """The sums after another reading of the counters; a missing key is 0."""
        if any(counters.get(name, 0) < value for name, value in self._last.items()):
            self._last = {}
        for name, value in counters.items():
            self._sums[name] = self._sums.get(name, 0) + value - self._last.get(name, 0)
        self._last = dict(counters)
        return self._sums.copy()

    def skip(self, counters: Mapping[str, int]) -> None:
        """Start at zero: these counts so far belong to the parent process."""
        self._last, self._sums = dict(counters), {}


class StatsSource(WatchedPool[WatchedCheckouts]):
    """One pool, which it does not keep alive."""

    def __init__(self, pool: Any, stream: AnyStream) -> None:
        super().__init__(stream, WatchedCheckouts)
        self._is_measured = False
        #: Checkouts counted by the pool before it was measured.
        self._before = 0
        self._target = target_name(getattr(pool, "conninfo", None), getattr(pool, "kwargs", None))
        self._pool: weakref.ref[Any] = weakref.ref(pool)
        self._name = pool_name(
            str(getattr(pool, "name", "pool-0")), getattr(pool, "conninfo", None), getattr(pool, "kwargs", None)
        )
        self._kind = type(pool).__name__
        self._sums = Sums()
        #: A pool that has not been opened yet is ``closed``, too.
        self._was_open = False
        self._last = PoolReading(0, self._name, self._kind, counters=Counters(*[None] * len(Counters._fields)))

    def begin(self, pool: Any) -> None:
        """Measure the pool from now on, if that is possible."""
        with suppress(Exception):  # An error of its statistics will show in the reports.
            stats = pool.get_stats()
            sums = self._sums.add(_counters(stats))
            self._before = _served(stats, sums)
            if not getattr(pool, "closed", False):  # Before it is opened, no connection can be out.
                self._checkouts.expect_unknown(stats)
            self._is_measured = self._checkouts.wrap(pool)

    def holding(self) -> Holding:
        """The present holds, for the looks; empty if the pool is not measured."""
        return self._checkouts.holding() if self._is_measured else Holding()

    def condition(self) -> Condition:
        """The pool's condition, for `poolhouse.ready`; any thread may call this.

        Raises:
            Exception: If ``get_stats()`` raises.
        """
        pool = self._pool()
        if pool is None or not self._is_measured:
            return Condition(was_closed=pool is None, is_known=False)
        stats, is_closed = pool.get_stats(), bool(getattr(pool, "closed", False))
        # A pool that has not been opened is closed, too; an attribute of its own says which it is.
        was_open = self._was_open or bool(getattr(pool, "_opened", True))
        return self._checkouts.condition(stats)._replace(
            is_open=not is_closed or was_open,
            was_closed=is_closed and was_open,
            most=stats.get("pool_max") or None,
        )

    def is_gone(self) -> bool:
        """Whether the pool was collected, or closed after having been open."""
        pool = self._pool()
        return pool is None or (self._was_open and bool(getattr(pool, "closed", False)))

    def read(self, number: int) -> PoolReading:
        """The pool's present figures, as far as it has them.

        Raises:
            Exception: If ``get_stats()`` raises, or does not return statistics.
        """
        pool = self._pool()
        if pool is not None:
            stats = pool.get_stats()
            is_open = not getattr(pool, "closed", False)
            self._was_open = self._was_open or is_open
            sums = self._sums.add(_counters(stats))
            told = _reading(self._last, stats if is_open else {}, sums)
            self._last = (
                self._measured(number, told, stats if is_open else {}, sums) if self._is_measured else told
            )
        elif self._is_measured:  # Collected since the last reading; the measurements until then are known.
            self._last = self._measured(number, self._last, {}, self._sums.add({}))
        return self._last

    def _measured(
        self, number: int, told: PoolReading, stats: Mapping[str, int], sums: Mapping[str, int]
    ) -> PoolReading:
        """The measurements, and the rest from the pool's statistics."""
        checkouts = self._checkouts
        reading = checkouts.meter.read(
            number, lambda: checkouts.gauges(stats), told.limits, name=self._name, kind=self._kind
        )
        counters, counted = reading.counters, told.counters
        return reading._replace(
            counters=counted._replace(
                checkouts=self._before + (counters.checkouts or 0),
                timeouts=counters.timeouts,
                acquire_errors=counters.acquire_errors,
            ),
            is_bound=checkouts.is_bound,
            signs=checkouts.signs(self._target, self.made_at, sums["returns_bad"]),
        )

    def after_fork(self) -> None:
        """Leave the pool's counts to the parent, and report it again once this process uses it."""
        pool = self._pool()
        self._was_open = self._is_reported = False
        self._last = PoolReading(0, self._name, self._kind, counters=Counters(*[None] * len(Counters._fields)))
        self._before = 0
        self._checkouts.after_fork(pool)
        if pool is None:
            self._sums.skip({})
            return
        for name in USES:
            FirstUse(self, name).replace(pool)
        self._sums.skip(_counters(pool.get_stats()))

    def __repr__(self) -> str:
        """For the log."""
        return f"<{self._kind} {self._name!r}, watched>"


class FirstUse:
    """Replaces a method of a pool that this process has not used yet; its first call has the pool reported.

    In a forked child nothing else shows that a pool is used. The pool's own method is restored before it is
    called.
    """

    def __init__(self, source: StatsSource, name: str) -> None:
        self._source = source
        self._name = name

    def replace(self, pool: Any) -> None:
        """Replace the method, unless the application has replaced it itself."""
        attributes = getattr(pool, "__dict__", {})
        if callable(getattr(pool, self._name, None)) and self._name not in attributes:
            attributes[self._name] = self

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Have the pool reported, then call the pool's own method."""
        pool = self._source._pool()
        for name in USES:
            if type(vars(pool).get(name)) is FirstUse:
                del vars(pool)[name]
        self._source._is_used()
        return getattr(pool, self._name)(*args, **kwargs)


def _counters(stats: Mapping[str, int]) -> dict[str, int]:
    return {name: int(stats.get(name, 0)) for name in COUNTERS}


def _served(stats: Mapping[str, int], sums: Mapping[str, int]) -> int:
    """How many callers have got a connection."""
    return sums["requests_num"] - sums["requests_errors"] - stats.get("requests_waiting", 0)


def _reading(last: PoolReading, stats: Mapping[str, int], sums: Mapping[str, int]) -> PoolReading:
    """A reading made from a pool's statistics.

    Args:
        last: The previous reading, below which no counter falls.
        stats: The pool's gauges; empty for a pool that is not open.
        sums: The pool's counters.
    """
    idle = stats.get("pool_available", 0)
    gauges = Gauges(idle, max(0, stats.get("pool_size", 0) - idle), waiting=stats.get("requests_waiting", 0))
    most = stats.get("pool_max") or None
    # Requests and attempts are counted when they begin, and their errors when they end. So requests that still
    # wait are left out here; how many attempts are under way is unknown, so connects may be ahead by these.
    counters = last.counters
    connects = max(counters.connects or 0, sums["connections_num"] - sums["connections_errors"])
    return last._replace(
        limits=Limits(most, most, stats.get("pool_min", 0)),
        gauges=gauges,
        counters=counters._replace(
            checkouts=max(counters.checkouts or 0, _served(stats, sums)),
            connects=connects,
            disconnects=max(counters.disconnects or 0, connects - gauges.connections),
            invalidated=sums["returns_bad"] + sums["connections_lost"],
            connect_errors=sums["connections_errors"],
        ),
        is_bound=True,
    )
