"""The interface between the pool and a database driver.

A driver is any object with the methods of `Driver` (for threads) or `AsyncDriver` (for asyncio); `Traits` names
its optional ones. A driver keeps no state of a connection that the pool relies on: connections are arguments.

All methods except `abort` are called only while no other caller uses the connection. `abort` is called by
another thread, while a call on the connection is stuck.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Protocol, TypeAlias

from poolhouse.pool.core import ACTIVE, BROKEN, IDLE, IN_ERROR, IN_TRANSACTION, UNSETTLED, UNTOLD

__all__ = [
    "ACTIVE",
    "BROKEN",
    "IDLE",
    "IN_ERROR",
    "IN_TRANSACTION",
    "UNSETTLED",
    "UNTOLD",
    "AsyncDriver",
    "Conn",
    "Driver",
    "Traits",
    "lacks",
]

#: A connection: whatever the driver's `connect` returns.
Conn: TypeAlias = Any


@dataclass(frozen=True, slots=True)
class Traits:
    """The attributes that a driver may have, and what the pool assumes if they are missing.

    Attributes:
        error_base: The base of the pool's own errors beside `poolhouse.errors.PoolError`:
            ``psycopg.OperationalError`` makes ``except psycopg.OperationalError`` catch a `PoolTimeout`.
        marks_connections: Whether the pool sets ``conn._pool`` to itself while the connection is checked out, as
            psycopg expects.
        has_pgconn: Whether ``conn.pgconn.transaction_status or conn._tpc or conn._pipeline`` is false exactly
            where `status` returns ``IDLE``. The pool then reads these itself, without a call.
        is_thread_bound: Whether only the thread that made a connection may use it. The clients of a null pool then
            connect in their own threads; other pools cannot serve such connections.
        connection_class: The class of the connections, if the driver knows it.
        let_close_return: Called once, before the first `connect`, if the pool's `close_returns` is true: from then
            on, ``conn.close()`` gives a connection that is checked out back to its pool.
        close_at_once: For asyncio: closes a connection without waiting, and raises nothing. It is called for the
            connections of a pool that was dropped, or whose event loop has ended; without it, `abort` is.
        inherit: Called in the child of a fork with the connections that were idle in the parent. It must not use
            them before the child connects: another thread may have held any lock when the process was forked.
    """

    error_base: type[Exception] | None = None
    marks_connections: bool = False
    has_pgconn: bool = False
    is_thread_bound: bool = False
    connection_class: type[Any] | None = None
    let_close_return: Callable[[], object] | None = None
    close_at_once: Callable[[Any], object] | None = None
    inherit: Callable[[list[Any]], object] | None = None

    @classmethod
    def of(cls, driver: object) -> "Traits":
        """The traits of a driver, as they are at present."""
        names = [field.name for field in fields(cls) if hasattr(driver, field.name)]
        return cls(**{name: getattr(driver, name) for name in names})


class _Common(Protocol):
    """The part shared by drivers for threads and for asyncio. None of these methods may block."""

    def status(self, conn: Conn) -> int:
        """The connection's state without asking the server.

        Returns:
            ``IDLE`` (0) only if that is certain: no transaction is open or partly begun, no work is running or
            queued, no rows are unread, and the connection is in no special mode. Otherwise ``IN_TRANSACTION``;
            ``IN_ERROR`` (a transaction that can only be rolled back); ``ACTIVE`` (a command is running, or rows
            are unread); ``BROKEN`` (closed, or in an unknown state); ``UNSETTLED`` if only a rollback can settle
            it; ``UNTOLD`` always, if the driver can never tell.
        """
        ...

    def fileno(self, conn: Conn) -> int | None:
        """The socket's descriptor, to check whether the server has closed it; ``None`` if there is none."""
        ...

    def abort(self, conn: Conn) -> None:
        """End at once, from outside, any call that is stuck on this connection. Raises nothing."""
        ...


class Driver(_Common, Protocol):
    """A driver for threads."""

    def connect(self, conninfo: str, kwargs: Mapping[str, Any], timeout: float | None) -> Conn:
        """A new connection.

        Args:
            conninfo: The pool's `conninfo`.
            kwargs: The pool's `kwargs`.
            timeout: Give up after about this many seconds if the driver can; ``None`` for the driver's own limit.
        """
        ...

    def commit(self, conn: Conn) -> None:
        """Commit the transaction, as `connection()` does at its end without an exception.

        Raises if it cannot; the client then sees the error.
        """
        ...

    def rollback(self, conn: Conn) -> None:
        """Roll back the transaction, as `connection()` does at its end with an exception; raises if it cannot.

        Waits for work that is queued, and rolls that back too.
        """
        ...

    def probe(self, conn: Conn) -> None:
        """Make one round trip to the server; raises if the connection is dead.

        It leaves no transaction open, and an exception in the middle leaves nothing changed.
        """
        ...

    def close(self, conn: Conn) -> None:
        """Close the connection, which may be closed already."""
        ...


class AsyncDriver(_Common, Protocol):
    """A driver for asyncio: `Driver` with coroutines."""

    async def connect(self, conninfo: str, kwargs: Mapping[str, Any], timeout: float | None) -> Conn:
        """A new connection, as `Driver.connect`."""
        ...

    async def commit(self, conn: Conn) -> None:
        """Commit the transaction, as `Driver.commit`."""
        ...

    async def rollback(self, conn: Conn) -> None:
        """Roll back the transaction, as `Driver.rollback`."""
        ...

    async def probe(self, conn: Conn) -> None:
        """Make one round trip, as `Driver.probe`."""
        ...

    async def close(self, conn: Conn) -> None:
        """Close the connection, as `Driver.close`."""
        ...


def lacks(driver: object) -> str | None:
    """The first method of `Driver` that an object lacks; ``None`` if it has them all."""
    methods = (name for protocol in (Driver, _Common) for name in vars(protocol) if not name.startswith("_"))
    return next((name for name in methods if not hasattr(driver, name)), None)
