"""What the pool needs to know of a database driver.

A driver is any object with the methods of `Driver` (for threads) or `AsyncDriver` (for asyncio). It has no state
of its own that the pool relies on: connections come in as arguments.

Who calls what: all methods but `abort` only for a connection that nobody else uses at the time. `abort` is called
by another thread, while a call on the connection is stuck.

A driver may have one attribute more: `is_thread_bound`, true of a library whose connections only that thread may
use that made them. In null pools its clients then connect by themselves.
"""

from collections.abc import Mapping
from typing import Any, Protocol, TypeAlias

from poolhouse.pool.core import ACTIVE, BROKEN, IDLE, IN_ERROR, IN_TRANSACTION, UNTOLD

__all__ = ["ACTIVE", "BROKEN", "IDLE", "IN_ERROR", "IN_TRANSACTION", "UNTOLD", "AsyncDriver", "Conn", "Driver"]

#: A connection: whatever the driver's `connect` returns.
Conn: TypeAlias = Any


class _Common(Protocol):
    """What drivers for threads and for asyncio have in common. Nothing of this may block."""

    #: The base of the pool's own errors beside `poolhouse.errors.PoolError`: ``psycopg.OperationalError`` makes
    #: ``except psycopg.OperationalError`` catch a `PoolTimeout`. ``None`` for no further base.
    @property
    def error_base(self) -> type[Exception] | None: ...

    #: Whether the pool sets ``conn._pool`` to itself while the connection is checked out, as psycopg expects.
    @property
    def marks_connections(self) -> bool: ...

    def status(self, conn: Conn) -> int:
        """The connection's state without asking the server.

        Returns:
            ``IDLE`` (0), ``IN_TRANSACTION``, ``IN_ERROR`` (a transaction that can only be rolled back),
            ``ACTIVE`` (a command is under way), ``BROKEN`` (closed, or in an unknown state), or always ``UNTOLD``
            if the driver cannot tell.
        """
        ...

    def fileno(self, conn: Conn) -> int | None:
        """The socket's descriptor, to look whether the server has closed it; ``None`` if there is none."""
        ...

    def abort(self, conn: Conn) -> None:
        """End whatever call is stuck on this connection, from outside, at once. Raises nothing."""
        ...


class Driver(_Common, Protocol):
    """A driver for threads."""

    def connect(self, conninfo: str, kwargs: Mapping[str, Any], timeout: float | None) -> Conn:
        """A new connection.

        Args:
            conninfo: The pool's `conninfo`.
            kwargs: The pool's `kwargs`.
            timeout: Give up after about so many seconds if the driver can; ``None`` for the driver's own limit.
        """
        ...

    def commit(self, conn: Conn) -> None:
        """End the transaction: what `connection()` does at its end without an exception."""
        ...

    def rollback(self, conn: Conn) -> None:
        """Undo the transaction: what `connection()` does at its end with an exception."""
        ...

    def probe(self, conn: Conn) -> None:
        """One round trip to the server, leaving no transaction open; raises if the connection is dead."""
        ...

    def close(self, conn: Conn) -> None:
        """Close the connection; it may be closed already."""
        ...


class AsyncDriver(_Common, Protocol):
    """A driver for asyncio: `Driver` with coroutines."""

    async def connect(self, conninfo: str, kwargs: Mapping[str, Any], timeout: float | None) -> Conn:
        """See `Driver.connect`."""
        ...

    async def commit(self, conn: Conn) -> None:
        """See `Driver.commit`."""
        ...

    async def rollback(self, conn: Conn) -> None:
        """See `Driver.rollback`."""
        ...

    async def probe(self, conn: Conn) -> None:
        """See `Driver.probe`."""
        ...

    async def close(self, conn: Conn) -> None:
        """See `Driver.close`."""
        ...
