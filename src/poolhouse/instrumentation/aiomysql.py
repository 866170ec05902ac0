"""The pools of aiomysql.

Callers wait without a limit; one that gives up is cancelled from outside, and counts as an error of the caller. So
timeouts are unknown. aiomysql is not imported here.
"""

import weakref
from collections.abc import Callable
from typing import Any

from poolhouse.clock import monotonic
from poolhouse.instrumentation.driver_checkouts import DriverCheckouts
from poolhouse.instrumentation.driver_pools import Opened, Reference, function_of
from poolhouse.meter.reading import Limits


class AiomysqlKind:
    """``aiomysql.Pool``."""

    backend = "mysql"
    package = "aiomysql"
    is_async = True
    is_opaque = False
    has_timeouts = False

    def opened(self, pool: Any) -> Opened:
        """The connections that are open."""
        return Opened(list(pool._free), list(pool._used))

    def limits(self, pool: Any) -> Limits:
        """The limits of the pool; a ``maxsize`` of 0 means no limit."""
        most = pool.maxsize or None
        return Limits(most, most, pool.minsize)

    def settings(self, pool: Any) -> tuple[Any, Any]:
        """The arguments of ``aiomysql.connect``."""
        return None, pool._conn_kwargs

    def is_closed(self, pool: Any) -> bool:
        """Whether the pool was closed and has all its connections back."""
        return bool(pool._closed or (pool._closing and not pool._used and not pool._free))

    def refer(self, pool: Any, gone: Callable[[Any], None]) -> Reference:
        """A weak reference."""
        return weakref.ref(pool, gone)

    def measure(self, pool: Any, checkouts: DriverCheckouts) -> None:
        """Replace the pool's own methods that give, take back and make connections.

        Raises:
            AttributeError: If it has none of these methods.
        """
        attributes = vars(pool)
        plain = {name: function_of(pool, name) for name in ("_acquire", "release", "_fill_free_pool")}
        reference = weakref.ref(pool)
        attributes["release"] = _measuring_release(plain["release"], reference, checkouts)
        attributes["_acquire"] = _measuring_acquire(plain["_acquire"], reference, checkouts)
        attributes["_fill_free_pool"] = _measuring_fill(plain["_fill_free_pool"], reference, checkouts)


def _measuring_acquire(
    acquire: Callable[..., Any], pool: Reference, checkouts: DriverCheckouts
) -> Callable[..., Any]:
    async def measured_acquire() -> Any:
        me, began = checkouts.asker()
        try:
            checkouts.asks(me, began)
            connection = await acquire(pool())
            ended = monotonic()
        except BaseException as error:
            checkouts.took_none(error, began, is_timeout=False)
            raise
        finally:
            checkouts.has_asked(me)
        checkouts.took(connection, me, began, ended)
        return connection

    return measured_acquire


def _measuring_release(
    release: Callable[..., Any], pool: Reference, checkouts: DriverCheckouts
) -> Callable[..., Any]:
    """The measured `release`. Not a coroutine: the connection is back when it returns."""

    def measured_release(conn: Any) -> Any:
        lease, ended = checkouts.gives_back(conn)
        try:
            future = release(pool(), conn)
        except BaseException:
            checkouts.kept(conn, lease)
            raise
        checkouts.gave_back(lease, ended)
        return future

    return measured_release


def _measuring_fill(fill: Callable[..., Any], pool: Reference, checkouts: DriverCheckouts) -> Callable[..., Any]:
    """The measured connect of the pool: one call makes all missing connections, usually one or none.

    The pool holds its lock meanwhile, so no others are made. Of several, each counts with their mean time.
    """

    async def measured_fill(override_min: bool) -> Any:
        this = pool()
        before = {id(connection) for connection in (*this._free, *this._used)}
        began = monotonic()
        try:
            return await fill(this, override_min)
        except Exception as error:
            checkouts.did_not_connect(error)
            raise
        finally:
            made = [connection for connection in list(this._free) if id(connection) not in before]
            for _ in made:
                checkouts.connected((monotonic() - began) / len(made))

    return measured_fill
