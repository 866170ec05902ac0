"""psycopg 3, for threads and for asyncio."""

from collections.abc import Mapping
from math import ceil
from operator import attrgetter
from typing import Any, ClassVar

import psycopg

from poolhouse.pool.drivers import class_of
from poolhouse.pool.drivers.protocol import Conn
from poolhouse.pool.drivers.sockets import cut

#: libpq's own numbers are the pool's. An attrgetter costs half of what a function would, on the fastest path.
_status = attrgetter("pgconn.transaction_status")

_ASKS_NO_POOL = tuple(map(int, psycopg.__version__.split(".")[:2])) < (3, 3)


class _Psycopg:
    """What does not depend on the kind of connection."""

    error_base: ClassVar[type[Exception] | None] = psycopg.OperationalError
    marks_connections: ClassVar[bool] = True
    #: `status` only reads ``conn.pgconn.transaction_status``, which the pool does by itself where that is faster.
    has_pgconn: ClassVar[bool] = True
    status = staticmethod(_status)

    def __init__(self, connection_class: type[Any]) -> None:
        """A driver that makes connections by ``connection_class.connect(conninfo, **kwargs)``."""
        self.connection_class = connection_class
        self._connect = connection_class.connect

    def let_close_return(self) -> None:
        """Let ``conn.close()`` give a connection back to the pool that it is checked out of.

        psycopg's connections ask their pool from 3.3 on; for older ones a subclass does.
        """
        kind = class_of(self.connection_class)
        if issubclass(kind, (psycopg.Connection, psycopg.AsyncConnection)) and _ASKS_NO_POOL:
            self.connection_class = _returning(kind)
            self._connect = self.connection_class.connect

    def fileno(self, conn: Conn) -> int | None:
        """See `Driver.fileno`."""
        return None if conn.closed else conn.fileno()

    def abort(self, conn: Conn) -> None:
        """See `Driver.abort`."""
        try:
            descriptor = conn.fileno()
        except Exception:  # Closed already, in one of several ways.
            return
        cut(descriptor)


class PsycopgDriver(_Psycopg):
    """`psycopg.Connection` and its subclasses."""

    def connect(self, conninfo: str, kwargs: Mapping[str, Any], timeout: float | None) -> Conn:
        """See `Driver.connect`."""
        return self._connect(conninfo, **_with_timeout(conninfo, kwargs, timeout))

    def commit(self, conn: Conn) -> None:
        """See `Driver.commit`."""
        conn.commit()

    def rollback(self, conn: Conn) -> None:
        """See `Driver.rollback`."""
        conn.rollback()

    def probe(self, conn: Conn) -> None:
        """An empty query: the server answers it without planning or logging a statement."""
        if conn.autocommit:
            conn.execute("")
            return
        # One round trip instead of three: no BEGIN before, no ROLLBACK after.
        conn.autocommit = True
        try:
            conn.execute("")
        finally:
            if not conn.closed:
                conn.autocommit = False

    def close(self, conn: Conn) -> None:
        """See `Driver.close`."""
        conn.close()


class AsyncPsycopgDriver(_Psycopg):
    """`psycopg.AsyncConnection` and its subclasses."""

    async def connect(self, conninfo: str, kwargs: Mapping[str, Any], timeout: float | None) -> Conn:
        """See `Driver.connect`."""
        return await self._connect(conninfo, **_with_timeout(conninfo, kwargs, timeout))

    async def commit(self, conn: Conn) -> None:
        """See `Driver.commit`."""
        await conn.commit()

    async def rollback(self, conn: Conn) -> None:
        """See `Driver.rollback`."""
        await conn.rollback()

    async def probe(self, conn: Conn) -> None:
        """See `PsycopgDriver.probe`."""
        if conn.autocommit:
            await conn.execute("")
            return
        await conn.set_autocommit(True)
        try:
            await conn.execute("")
        finally:
            if not conn.closed:
                await conn.set_autocommit(False)

    async def close(self, conn: Conn) -> None:
        """See `Driver.close`."""
        await conn.close()


def _returning(connection_class: type[Any]) -> type[Any]:
    """A subclass whose `close` gives the connection back while it is out; for threads and for asyncio."""

    class Returning(connection_class):  # type: ignore[misc]  # whichever class it is
        def close(self) -> Any:
            """Give the connection back to its pool, or close it if it is not checked out of one."""
            return super().close() if self._pool is None else self._pool.putconn(self)

    Returning.__name__ = connection_class.__name__
    Returning.__qualname__ = connection_class.__qualname__
    Returning.__module__ = connection_class.__module__
    return Returning


def _with_timeout(conninfo: str, kwargs: Mapping[str, Any], timeout: float | None) -> Mapping[str, Any]:
    """The arguments with libpq's `connect_timeout`, in whole seconds, unless the user chose one himself."""
    if timeout is None or "connect_timeout" in kwargs or "connect_timeout" in conninfo:
        return kwargs
    return {**kwargs, "connect_timeout": max(1, ceil(timeout))}
