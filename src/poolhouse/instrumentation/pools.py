"""Our own pools, reported.

A pool of ours always measures itself. Once reporting is configured, every open pool is reported, and every pool
that opens later, each to the destination that was configured when it was first seen.
"""

import sys
import weakref
from collections.abc import Callable, MutableMapping
from typing import Any

from poolhouse.errors import SettingError
from poolhouse.instrumentation.names import pool_name, target_name
from poolhouse.instrumentation.own_sites import OwnSites
from poolhouse.meter.meter import Folded, Meter
from poolhouse.meter.reading import Counters, Gauges, Limits, PoolReading
from poolhouse.pool import registry
from poolhouse.report import reporter
from poolhouse.report.destination import Destination
from poolhouse.report.log import log
from poolhouse.report.source import AnyStream
from poolhouse.report.unsent import moved
from poolhouse.safely import ERROR, Log
from poolhouse.sites.looker import Holding
from poolhouse.sites.modules import modules_of
from poolhouse.sites.stack import line_in_words
from poolhouse.sites.tally import PoolLooks
from poolhouse.verdicts import current
from poolhouse.verdicts.verdict import Verdict

_logger = Log("poolhouse.instrumentation")

#: The counters of a pool that has not been used.
_NOTHING = Counters(commits=None, rollbacks=None, transactions=None)

#: The reported pools.
_sources: "MutableMapping[Any, PoolSource]" = weakref.WeakKeyDictionary()


def report_to(url: str) -> None:
    """Report all pools of poolhouse in this process to `url`: those that are open, and those that open later.

    A pool that is reported already keeps its destination. Engines that are created or instrumented later take from
    this URL every setting that they do not have themselves; pools that are watched later are reported there.

    Args:
        url: ``collectd://host:port/?program_name=…``; ``docs/reference/settings.md`` has all of it.

    Raises:
        SettingError: If the URL is wrong; the message names the setting.
    """
    reporter.report_to(url)
    registry.observe(report)


def report_at(destination: Destination | None) -> None:
    """`report_to` for a destination made from other settings.

    Args:
        destination: The destination; ``None`` for the default one of pools whose settings name none.
    """
    if destination is not None:
        reporter.report_at(destination)
    registry.observe(report)


def report_as_environment_says() -> None:
    """Report all pools to the destination in ``POOLHOUSE_REPORT``; a wrong value is logged.

    `poolhouse.pool.registry` calls it when the first pool opens.
    """
    try:
        reporter.default_destination()
    except SettingError as error:
        log(ERROR, "poolhouse reports no pools: %s", error, logger=_logger)
    else:
        registry.observe(report)


def report(pool: Any, to: Callable[[], AnyStream] = reporter.default_stream) -> None:
    """Report a pool of ours from now on. Idempotent.

    A pool that serves an engine with ``?plugin=collectd`` is reported by the plugin, which knows more about it.

    Args:
        pool: The pool.
        to: Returns the stream that reports it.
    """
    if _is_an_engines(pool):
        return
    stream = to()
    source = _sources.get(pool)
    if source is None:
        made = PoolSource(pool, stream)
        # Only now is the line that opens the pool on the stack; a FairQueuePool opens at its first checkout.
        if sys._getframe(1).f_code is registry.opened.__code__ and not hasattr(pool, "_dialect"):
            made.made_at = line_in_words(sys._getframe(1), modules_of())
        source = _sources.setdefault(pool, made)
    source.stream = moved(source, source.stream, stream)
    source.stream.add(source)


def hand_over(pool: Any) -> None:
    """Stop reporting this pool here: the SQLAlchemy instrumentation measures it from now on."""
    source = _sources.get(pool)
    if source is not None:
        source.hand_over()


class PoolSource:
    """One pool of ours, as a `poolhouse.report.source.Source`. The pool is not kept alive.

    Attributes:
        stream: The stream that reports it.
        made_at: The line of the application that opened it, in words; empty if not known.
    """

    def __init__(self, pool: Any, stream: AnyStream) -> None:
        self.stream = stream
        self.made_at = ""
        self._pool: weakref.ref[Any] = weakref.ref(pool)
        self._meter: Meter = pool.meter
        self._name = _name_of(pool)
        self._target = target_name(getattr(pool, "conninfo", None), getattr(pool, "kwargs", None))
        self._kind = type(pool).__name__
        self._last = PoolReading(0, self._name, self._kind, counters=_NOTHING)
        self.looks = PoolLooks()
        self._sites = OwnSites()
        #: The figures at the time of `hand_over`.
        self._final: Folded | None = None

    def hand_over(self) -> None:
        """Stop: the SQLAlchemy instrumentation reports the pool from now on."""
        if self._final is None:
            self._final = self._meter.totals()

    def is_gone(self) -> bool:
        """Whether the pool was collected, was handed over, or was closed and has all its connections back."""
        pool = self._pool()
        return pool is None or self._final is not None or _is_empty_for_good(pool._core)

    def read(self, number: int) -> PoolReading:
        """The pool's present figures. Transactions are unknown: the pool sees only those that it ends itself."""
        if (final := self._final) is not None:
            ended = self._last.counters._replace(
                checkouts=final.checkouts, timeouts=final.timeouts, connects=final.connects
            )
            return self._last._replace(counters=ended, wait=final.wait, use=final.use, create=final.create)
        pool = self._pool()
        look, limits = (Gauges, Limits()) if pool is None else (pool._core.gauges, pool._core.limits())
        reading = self._meter.read(number, look, limits, name=self._name, kind=self._kind)
        if pool is not None:
            pool._core.interval_closed(reading.marks[0])
        unknown = reading.counters._replace(commits=None, rollbacks=None, transactions=None)
        signs = self._sites.signs(pool, self.looks, self._target)._replace(made_at=self.made_at)
        self._last = reading._replace(counters=unknown, signs=signs)
        return self._last

    def holding(self) -> Holding:
        """The holders of the pool's connections, for a look."""
        pool = self._pool()
        return Holding() if pool is None or self._final is not None else self._sites.holding(pool)

    def judged(self, verdicts: tuple[Verdict, ...]) -> None:
        """Store what is wrong with the pool now, for the errors of its clients."""
        if (pool := self._pool()) is not None:
            current.tell(pool, verdicts)

    def after_fork(self) -> None:
        """Forget the last reading: the pool and its meter start afresh by themselves."""
        self.judged(())
        self._last = PoolReading(0, self._name, self._kind, counters=_NOTHING)
        self.looks.reset()
        self._sites = OwnSites()

    def __repr__(self) -> str:
        """For the log."""
        return f"<{self._kind} {self._name!r}>"


def _name_of(pool: Any) -> str:
    """The pool's name in reports. SQLAlchemy's have no URL: their logging name, else the kind of database."""
    dialect = getattr(pool, "_dialect", None)
    if dialect is not None:
        return str(pool._orig_logging_name or dialect.name)
    return pool_name(pool.name, pool.conninfo, pool.kwargs)


def _is_empty_for_good(core: Any) -> bool:
    # SQLAlchemy's pools are disposed instead of closed: they keep no connection, and still serve waiting callers.
    is_over = core.was_closed or (core.max_kept == 0 and core.options.max_kept != 0)
    return is_over and not core.slots and not core.waiters


def _is_an_engines(pool: Any) -> bool:
    """Whether the pool is measured as that of an engine of SQLAlchemy."""
    watch = sys.modules.get("poolhouse.instrumentation.watch")  # If not imported (needs SQLAlchemy), no engine is.
    return watch is not None and watch.is_watched(pool)
