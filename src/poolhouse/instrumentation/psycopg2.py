"""The pools of ``psycopg2.pool``.

They never make a caller wait: a caller gets a connection at once, or ``PoolError``. ``connection pool exhausted``
counts as a timeout after no time; any other exception is an error of the caller. A wait is the time that a caller
spends in ``getconn``: for the lock, for a connect, or in a subclass that waits.

psycopg2 is not imported here.
"""

import weakref
from collections.abc import Callable
from typing import Any

from poolhouse.clock import monotonic
from poolhouse.instrumentation.driver_checkouts import DriverCheckouts
from poolhouse.instrumentation.driver_pools import Opened, Reference, function_of
from poolhouse.meter.reading import Limits

#: The message of a pool whose connections are all out.
_EXHAUSTED = "exhausted"


class Psycopg2Kind:
    """``AbstractConnectionPool``, and so ``SimpleConnectionPool`` and ``ThreadedConnectionPool``."""

    backend = "postgresql"
    package = "psycopg2"
    is_async = False
    is_opaque = True
    has_timeouts = True

    def opened(self, pool: Any) -> Opened:
        """The connections that are open."""
        return Opened(list(pool._pool), list(pool._used.values()))

    def limits(self, pool: Any) -> Limits:
        """The limits of the pool: it closes connections that come back beyond its ``minconn``."""
        return Limits(pool.maxconn, pool.minconn, pool.minconn)

    def settings(self, pool: Any) -> tuple[Any, Any]:
        """The arguments of ``psycopg2.connect``."""
        return (pool._args[0] if pool._args else None), pool._kwargs

    def is_closed(self, pool: Any) -> bool:
        """Whether ``closeall()`` was called, which closes connections in use, too."""
        return bool(pool.closed)

    def refer(self, pool: Any, gone: Callable[[Any], None]) -> Reference:
        """A weak reference."""
        return weakref.ref(pool, gone)

    def measure(self, pool: Any, checkouts: DriverCheckouts) -> None:
        """Replace the pool's own methods that give, take back and make connections.

        Raises:
            TypeError: If it has none of these methods.
        """
        # Applications derive pools of their own from `AbstractConnectionPool`.
        get, put = ("getconn", "putconn") if hasattr(pool, "getconn") else ("_getconn", "_putconn")
        attributes = vars(pool)
        plain = {name: function_of(pool, name) for name in (get, put, "_connect")}
        reference = weakref.ref(pool)
        # The return first: `adopt` then sees a connection that another thread takes in between.
        attributes[put] = _measuring_putconn(plain[put], reference, checkouts)
        attributes[get] = _measuring_getconn(plain[get], reference, checkouts)
        attributes["_connect"] = _measuring_connect(plain["_connect"], reference, checkouts)


def _measuring_getconn(
    getconn: Callable[..., Any], pool: Reference, checkouts: DriverCheckouts
) -> Callable[..., Any]:
    asks, has_asked, took = checkouts.asks, checkouts.has_asked, checkouts.took
    asker = checkouts.asker

    def measured_getconn(*arguments: Any, **options: Any) -> Any:
        me, began = asker()
        try:
            asks(me, began)
            conn = getconn(pool(), *arguments, **options)
            ended = monotonic()
        except BaseException as error:
            checkouts.took_none(error, began, is_timeout=_is_exhausted(error))
            raise
        finally:
            has_asked(me)
        took(conn, me, began, ended)
        return conn

    return measured_getconn


def _measuring_putconn(
    putconn: Callable[..., Any], pool: Reference, checkouts: DriverCheckouts
) -> Callable[..., Any]:
    def measured_putconn(*arguments: Any, **options: Any) -> Any:
        conn = arguments[0] if arguments else options.get("conn")
        lease, ended = checkouts.gives_back(conn)
        try:
            result = putconn(pool(), *arguments, **options)
        except BaseException:
            checkouts.kept(conn, lease)
            raise
        checkouts.gave_back(lease, ended)
        return result

    return measured_putconn


def _measuring_connect(
    connect: Callable[..., Any], pool: Reference, checkouts: DriverCheckouts
) -> Callable[..., Any]:
    def measured_connect(*arguments: Any, **options: Any) -> Any:
        began = monotonic()
        try:
            conn = connect(pool(), *arguments, **options)
        except Exception as error:
            checkouts.did_not_connect(error)
            raise
        checkouts.connected(monotonic() - began)
        return conn

    return measured_connect


def _is_exhausted(error: BaseException) -> bool:
    return type(error).__name__ == "PoolError" and _EXHAUSTED in str(error)
