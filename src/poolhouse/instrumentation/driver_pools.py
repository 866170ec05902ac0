"""A pool that comes with a driver, as a source of reports. A `Kind` has what is particular to a driver.

Measured from `begin` on: waits, uses, connects and their durations, errors, high-water marks, and the lines of the
application that hold connections. Sizes come from the pool itself. Transactions are unknown, and so is how many
connections were declared unusable.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple, Protocol

from poolhouse.instrumentation.driver_checkouts import DriverCheckouts
from poolhouse.instrumentation.guard import report
from poolhouse.instrumentation.names import target_name
from poolhouse.instrumentation.watched import WatchedPool
from poolhouse.meter.reading import Gauges, Limits, PoolReading
from poolhouse.report.source import AnyStream
from poolhouse.sites.looker import Holding
from poolhouse.verdicts.readiness import Condition

#: A weak reference to a pool, by whatever means it allows.
Reference = Callable[[], Any]


class Opened(NamedTuple):
    """The connections that a pool has open."""

    idle: Sequence[Any] = ()
    used: Sequence[Any] = ()


class Kind(Protocol):
    """The particulars of one driver's pools. Its methods may raise; that costs one report."""

    #: The pool's name in reports if host and database are not known.
    backend: str
    #: The package between our functions and the application, and whether it runs in asyncio tasks.
    package: str
    is_async: bool
    #: Whether the driver is written in C.
    is_opaque: bool
    #: Whether such a pool limits or refuses waits; otherwise timeouts are unknown.
    has_timeouts: bool

    def opened(self, pool: Any) -> Opened:
        """The connections that are open. Called from any thread."""
        ...

    def limits(self, pool: Any) -> Limits:
        """The limits of the pool."""
        ...

    def settings(self, pool: Any) -> tuple[Any, Any]:
        """A connection string or ``None``, and the arguments of the driver's connect, as for `target_name`."""
        ...

    def is_closed(self, pool: Any) -> bool:
        """Whether the pool has ended for good."""
        ...

    def refer(self, pool: Any, gone: Callable[[Any], None]) -> Reference:
        """A weak reference to the pool; `gone` is called when it is collected."""
        ...

    def measure(self, pool: Any, checkouts: DriverCheckouts) -> None:
        """Make the pool report everything that happens in it to `checkouts` from now on.

        Raises:
            TypeError: If this version of the driver does not allow that; the pool is then unchanged.
        """
        ...


class DriverPool(WatchedPool[DriverCheckouts]):
    """One pool, which it does not keep alive."""

    def __init__(self, pool: Any, kind: Kind, stream: AnyStream, gone: Callable[[Any], None]) -> None:
        """Start without measuring.

        Args:
            pool: The pool.
            kind: The particulars of the pool's driver.
            stream: The stream that reports it.
            gone: Called when the pool is collected.
        """
        checkouts = partial(
            DriverCheckouts, is_async=kind.is_async, between=kind.package, is_opaque=kind.is_opaque
        )
        super().__init__(stream, checkouts)
        self._driver = kind
        self._gone = gone
        self._target = ""
        with suppress(Exception):  # The settings may be objects of the application's.
            self._target = target_name(*kind.settings(pool))
        self._name = self._target or kind.backend
        self._class = type(pool).__name__
        self._pool: Reference = lambda: None

    def begin(self, pool: Any) -> None:
        """Measure the pool from now on.

        Raises:
            TypeError: If this version of the driver does not allow that.
        """
        self._driver.measure(pool, self._checkouts)
        self._pool = self._driver.refer(pool, self._gone)
        opened = Opened()
        with suppress(Exception):  # An error will show in the reports.
            opened = self._driver.opened(pool)
        self._checkouts.adopt(len(opened.idle), opened.used)

    def pool(self) -> Any:
        """The pool; ``None`` once it has been collected."""
        return self._pool()

    @property
    def checkouts(self) -> DriverCheckouts:
        """The measurement of the pool."""
        return self._checkouts

    def holding(self) -> Holding:
        """The present holds, for the looks."""
        return self._checkouts.holding()

    def condition(self) -> Condition:
        """The pool's condition, for `poolhouse.ready`; any thread may call this.

        Raises:
            Exception: If the pool does not say how many connections it has.
        """
        pool = self._pool()
        if pool is None or self._driver.is_closed(pool):
            return Condition(was_closed=True)
        opened = self._driver.opened(pool)
        condition = self._checkouts.condition(len(opened.idle), len(opened.used))
        return condition._replace(most=self._driver.limits(pool).max_open)

    def is_gone(self) -> bool:
        """Whether the pool was collected or closed."""
        pool = self._pool()
        return pool is None or self._driver.is_closed(pool)

    def read(self, number: int) -> PoolReading:
        """The pool's present figures.

        Raises:
            Exception: If the pool does not say how many connections it has.
        """
        pool = self._pool()
        is_open = pool is not None and not self._driver.is_closed(pool)
        opened = self._driver.opened(pool) if is_open else Opened()
        limits = self._driver.limits(pool) if is_open else Limits()
        checkouts = self._checkouts
        checkouts.end_lost(opened.used)

        def look() -> Gauges:
            now = self._driver.opened(pool) if is_open else Opened()
            return Gauges(len(now.idle), len(now.used), waiting=checkouts.waiting())

        reading = checkouts.meter.read(number, look, limits, name=self._name, kind=self._class)
        counters = reading.counters._replace(commits=None, rollbacks=None, transactions=None, invalidated=None)
        if not self._driver.has_timeouts:
            counters = counters._replace(timeouts=None)
        return reading._replace(counters=counters, signs=checkouts.signs(self._target, self.made_at))

    def after_fork(self) -> None:
        """Start from zero; the pool is reported again once this process uses it."""
        self._is_reported = False
        opened, pool = Opened(), self._pool()
        try:
            if pool is not None:
                opened = self._driver.opened(pool)
        except Exception:
            report("fork")
        self._checkouts.after_fork([*opened.idle, *opened.used])

    def __repr__(self) -> str:
        """For the log."""
        return f"<{self._class} {self._name!r}, watched>"


def function_of(pool: Any, name: str) -> Callable[..., Any]:
    """A method of a pool as a function of the pool, which it does not keep alive.

    If the application has set a function of its own on the pool, that is called.
    """
    own = vars(pool).get(name)
    if own is None:
        function: Callable[..., Any] = getattr(type(pool), name)
        return function

    def called(_pool: Any, *arguments: Any, **options: Any) -> Any:
        return own(*arguments, **options)

    return called
