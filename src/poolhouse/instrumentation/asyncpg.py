"""The pools of asyncpg.

Such a pool accepts neither attributes nor weak references. So two methods of asyncpg's classes are wrapped as soon
as the first pool is watched: ``Pool._acquire``, by which every caller gets its connection, and
``PoolConnectionHolder._release``, where every use ends, by ``release()``, ``close()``, ``terminate()`` or the loss
of the connection. For pools that are not watched, the methods behave as before. In the pool itself, the function
that connects is replaced by an object that knows the pool and allows a weak reference.

A use ends when the connection is free again: asyncpg resets it first. asyncpg is not imported here.
"""

import sys
import weakref
from collections.abc import Callable
from typing import Any

from poolhouse.clock import monotonic
from poolhouse.instrumentation.driver_checkouts import DriverCheckouts
from poolhouse.instrumentation.driver_pools import Opened, Reference
from poolhouse.meter.reading import Limits

#: The measurements of watched pools, by the pool's identity.
_watched: dict[int, DriverCheckouts] = {}

#: A timeout up to this much early still counts as one, as event loops round.
_ROUNDING_S = 0.01


class Anchor:
    """Replaces the function by which a pool connects: it measures connects, and lives as long as the pool."""

    def __init__(self, pool: Any, connect: Callable[..., Any], checkouts: DriverCheckouts) -> None:
        self.pool = pool
        self._connect = connect
        self._checkouts = checkouts

    async def __call__(self, *arguments: Any, **options: Any) -> Any:
        """Connect."""
        began = monotonic()
        try:
            connection = await self._connect(*arguments, **options)
        except Exception as error:
            self._checkouts.did_not_connect(error)
            raise
        self._checkouts.connected(monotonic() - began)
        return connection


class AsyncpgKind:
    """``asyncpg.Pool``, from asyncpg 0.30 on."""

    backend = "postgresql"
    package = "asyncpg"
    is_async = True
    is_opaque = False
    has_timeouts = True

    def opened(self, pool: Any) -> Opened:
        """The connections that are open; one that is being reset is still in use."""
        idle: list[Any] = []
        used: list[Any] = []
        for holder in list(pool._holders):
            connection, is_used = holder._con, holder._in_use  # Another thread may change both.
            if connection is not None and not connection.is_closed():
                (used if is_used else idle).append(connection)
        return Opened(idle, used)

    def limits(self, pool: Any) -> Limits:
        """The limits of the pool."""
        most = pool.get_max_size()
        return Limits(most, most, pool.get_min_size())

    def settings(self, pool: Any) -> tuple[Any, Any]:
        """The arguments of ``asyncpg.connect``."""
        return (pool._connect_args[0] if pool._connect_args else None), pool._connect_kwargs

    def is_closed(self, pool: Any) -> bool:
        """Whether the pool was closed or terminated, or could not be opened."""
        return bool(pool._closed)

    def refer(self, pool: Any, gone: Callable[[Any], None]) -> Reference:
        """A weak reference to the pool's `Anchor`, which refers to the pool."""
        found = id(pool)

        def is_gone(reference: Any) -> None:
            _watched.pop(found, None)
            gone(reference)

        reference = weakref.ref(pool._connect, is_gone)

        def referred() -> Any:
            anchor = reference()
            return None if anchor is None else anchor.pool

        return referred

    def measure(self, pool: Any, checkouts: DriverCheckouts) -> None:
        """Measure the pool from now on.

        Raises:
            TypeError: If asyncpg is older than 0.30, whose pools allow no reference.
        """
        connect = getattr(pool, "_connect", None)
        if connect is None:
            raise TypeError("expected a pool of asyncpg 0.30 or later, which is the first that can be watched")
        classes = sys.modules["asyncpg.pool"]
        _replace(classes.Pool, "_acquire", _measuring_acquire)
        _replace(classes.PoolConnectionHolder, "_release", _measuring_release)
        pool._connect = Anchor(pool, connect, checkouts)
        _watched[id(pool)] = checkouts


def _replace(owner: Any, name: str, measuring: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
    """Replace a method of a class, once."""
    plain = getattr(owner, name)
    if not hasattr(plain, "_poolhouse"):
        measured = measuring(plain)
        measured.__name__, measured.__qualname__ = plain.__name__, plain.__qualname__
        measured.__wrapped__ = plain  # type: ignore[attr-defined]
        measured._poolhouse = True  # type: ignore[attr-defined]
        setattr(owner, name, measured)


def _measuring_acquire(acquire: Callable[..., Any]) -> Callable[..., Any]:
    watched = _watched.get

    def acquiring(pool: Any, timeout: Any) -> Any:
        checkouts = watched(id(pool))
        return acquire(pool, timeout) if checkouts is None else measured_acquire(checkouts, pool, timeout)

    async def measured_acquire(checkouts: DriverCheckouts, pool: Any, timeout: Any) -> Any:
        me, began = checkouts.asker()
        try:
            checkouts.asks(me, began)
            proxy = await acquire(pool, timeout)
            ended = monotonic()
        except BaseException as error:
            checkouts.took_none(error, began, is_timeout=_is_timeout(error, timeout, began))
            raise
        finally:
            checkouts.has_asked(me)
        checkouts.took(proxy._con, me, began, ended)
        return proxy

    return acquiring


def _measuring_release(release: Callable[..., Any]) -> Callable[..., Any]:
    watched = _watched.get

    def measured_release(holder: Any) -> Any:
        checkouts = watched(id(holder._pool))
        if checkouts is not None and holder._in_use is not None:
            checkouts.gave_back(*checkouts.gives_back(holder._con))
        return release(holder)

    return measured_release


def _is_timeout(error: BaseException, timeout: Any, began: float) -> bool:
    """Whether the caller's own limit was reached; a connect has a limit, too."""
    if not isinstance(error, TimeoutError) or not isinstance(timeout, int | float):
        return False
    return monotonic() - began >= timeout - _ROUNDING_S
