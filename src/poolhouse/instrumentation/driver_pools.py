"""A pool that comes with a driver, as a source of reports. A `Kind` has the specifics of a driver.

Measured from `begin` on: waits, uses, connects and their durations, errors, high-water marks, and which line of
the application has which connection. Sizes come from the pool itself. Transactions are unknown, and so is how many
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

#: A weak reference to a pool, in whatever way it allows one.
Reference = Callable[[], Any]


class Opened(NamedTuple):
    """The connections that a pool has open."""

    idle: Sequence[Any] = ()
    used: Sequence[Any] = ()


class Kind(Protocol):
    """What is particular to the pools of one driver. Its methods may raise: that costs one report."""

    #: The pool's name in reports where host and database are not known.
    backend: str
    #: The package between our functions and the application, and whether it runs in tasks of asyncio.
    package: str
    is_async: bool
    #: Whether the driver is written in C.
    is_opaque: bool
    #: Whether such a pool lets callers wait for a limited time, or refuses them: else no timeout can be known.
    has_timeouts: bool

    def opened(self, pool: Any) -> Opened:
        """The connections that are open. Called from any thread."""
        ...

    def limits(self, pool: Any) -> Limits:
        """What the pool may hold."""
        ...

    def settings(self, pool: Any) -> tuple[Any, Any]:
        """A connection string or ``None``, and the arguments of the driver's connect: what `target_name` takes."""
        ...

    def is_closed(self, pool: Any) -> bool:
        """Whether the pool has ended for good."""
        ...

    def refer(self, pool: Any, gone: Callable[[Any], None]) -> Reference:
        """A weak reference to the pool; `gone` is called when it is collected."""
        ...

    def measure(self, pool: Any, checkouts: DriverCheckouts) -> None:
        """Have the checkouts told of all that happens in the pool from now on.

        Raises:
            TypeError: If that is not possible with this version of the driver; the pool is then as it was.
        """
        ...


class DriverPool(WatchedPool[DriverCheckouts]):
    """One pool. It does not keep the pool alive."""

    def __init__(self, pool: Any, kind: Kind, stream: AnyStream, gone: Callable[[Any], None]) -> None:
        """Measure nothing yet.

        Args:
            pool: The pool.
            kind: What is particular to it.
            stream: Where it is reported.
            gone: Called when the pool is collected.
        """
        checkouts = partial(
            DriverCheckouts, is_async=kind.is_async, between=kind.package, is_opaque=kind.is_opaque
        )
        super().__init__(stream, checkouts)
        self._driver = kind
        self._gone = gone
        self._target = ""
        with suppress(Exception):  # Settings of the application's own make.
            self._target = target_name(*kind.settings(pool))
        self._name = self._target or kind.backend
        self._class = type(pool).__name__
        self._pool: Reference = lambda: None

    def begin(self, pool: Any) -> None:
        """Measure the pool from now on.

        Raises:
            TypeError: If that is not possible with this version of the driver.
        """
        self._driver.measure(pool, self._checkouts)
        self._pool = self._driver.refer(pool, self._gone)
        opened = Opened()
        with suppress(Exception):  # What it says is told by the reports.
            opened = self._driver.opened(pool)
        self._checkouts.adopt(len(opened.idle), opened.used)

    def pool(self) -> Any:
        """The pool; ``None`` once it was collected."""
        return self._pool()

    @property
    def checkouts(self) -> DriverCheckouts:
        """What is measured of it."""
        return self._checkouts

    def holding(self) -> Holding:
        """What is out, for the looks."""
        return self._checkouts.holding()

    def condition(self) -> Condition:
        """What the pool knows of itself, for `poolhouse.ready`; any thread may call it.

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
        """The pool's figures now.

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
        """Start from zero, and be reported again once this process uses the pool."""
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

    Where the application has put a function of its own into the pool, that is called.
    """
    own = vars(pool).get(name)
    if own is None:
        function: Callable[..., Any] = getattr(type(pool), name)
        return function

    def called(_pool: Any, *arguments: Any, **options: Any) -> Any:
        return own(*arguments, **options)

    return called
