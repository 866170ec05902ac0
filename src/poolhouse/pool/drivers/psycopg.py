"""psycopg 3, for threads and for asyncio."""

import asyncio
import re
from collections.abc import Mapping
from math import ceil
from types import ModuleType
from typing import Any, ClassVar, Self

import psycopg
from psycopg.errors import error_from_result
from psycopg.generators import execute
from psycopg.pq import ExecStatus

from poolhouse.pool.drivers import class_of
from poolhouse.pool.drivers.postgres import RESET_SESSION
from poolhouse.pool.drivers.protocol import ACTIVE, IDLE, IN_TRANSACTION, Conn
from poolhouse.pool.drivers.sockets import cut
from poolhouse.pool.options import RETURN_LIMIT

#: The error for a connection that is busy and will not end: psycopg itself would wait forever.
_UNDER_WAY = "a command is still under way on this connection, or a copy() or stream() was left before its end"

_VERSION = tuple(map(int, re.findall(r"\d+", psycopg.__version__)[:3]))
_ASKS_NO_POOL = _VERSION < (3, 3)
#: Before 3.2.13, a copy that has begun waits for its data without psycopg's lock.
_COPIES_WITHOUT_LOCK = _VERSION < (3, 2, 13)
#: The longest timeout that libpq can read, in seconds: its number is a C `int`.
_LONGEST = 2**31 - 1


class _Psycopg:
    """The part that does not depend on the kind of connection."""

    error_base: ClassVar[type[Exception] | None] = psycopg.OperationalError
    marks_connections: ClassVar[bool] = True
    has_pgconn: ClassVar[bool] = True

    def __init__(self, connection_class: type[Any]) -> None:
        """A driver that makes connections by ``connection_class.connect(conninfo, **kwargs)``."""
        self.connection_class = connection_class
        self._connect = connection_class.connect

    def status(self, conn: Conn) -> int:
        """The status by libpq, whose numbers are the pool's; psycopg's own state decides when libpq says idle.

        A prepared two-phase transaction no longer belongs to the session, but psycopg refuses all others until it
        is ended, so it counts as open. A pipeline is a mode in which answers arrive later.
        """
        status = int(conn.pgconn.transaction_status)
        if status != IDLE or not (conn._tpc or conn._pipeline):
            return status
        return IN_TRANSACTION if conn._tpc else ACTIVE

    def let_close_return(self) -> None:
        """Let ``conn.close()`` return a checked-out connection to its pool.

        psycopg's connections ask their pool from 3.3 on; for older versions a subclass does.
        """
        kind = class_of(self.connection_class)
        if issubclass(kind, (psycopg.Connection, psycopg.AsyncConnection)) and _ASKS_NO_POOL:
            self.connection_class = _returning(kind)
            self._connect = self.connection_class.connect

    def fileno(self, conn: Conn) -> int | None:
        """The descriptor of libpq's socket."""
        return None if conn.closed else conn.fileno()

    def abort(self, conn: Conn) -> None:
        """Shut libpq's socket down."""
        cut(conn.fileno)

    def _is_cut(self, conn: Conn) -> bool:
        """Cut a connection that is in use: its user holds its lock, or copies. Returns whether it was in use.

        psycopg's generators keep libpq's pointer while they wait for an answer. Closing the connection then would
        free the memory that they read next: the process would end with a segmentation fault. Or it would close the
        descriptor on which they wait, and nothing would ever wake them. After a cut, the wait ends with an error,
        and libpq closes the connection with the last reference to it.
        """
        lock = getattr(conn, "lock", None)
        if lock is None or not (lock.locked() or _may_copy(conn)):
            return False
        self.abort(conn)
        return True


class PsycopgDriver(_Psycopg):
    """`psycopg.Connection` and its subclasses."""

    @classmethod
    def of(cls, module: ModuleType, connection_class: type[Any] | None) -> Self:
        """The driver of a pool that was given `connection_class`."""
        return cls(_with_connect(connection_class) or module.Connection)

    def connect(self, conninfo: str, kwargs: Mapping[str, Any], timeout: float | None) -> Conn:
        """``connection_class.connect(conninfo, **kwargs)``."""
        return _completed(self._connect(conninfo, **_with_timeout(conninfo, kwargs, timeout)))

    def commit(self, conn: Conn) -> None:
        """``conn.commit()``; waits for work that is under way, but not forever.

        Raises:
            psycopg.OperationalError: If that does not end. The connection is then useless.
        """
        self._wait_for(conn)
        conn.commit()

    def rollback(self, conn: Conn) -> None:
        """``conn.rollback()``, like `commit`."""
        self._wait_for(conn)
        conn.rollback()

    @staticmethod
    def _wait_for(conn: Conn) -> None:
        if conn.pgconn.transaction_status == ACTIVE:
            if not conn.lock.acquire(timeout=RETURN_LIMIT):
                raise psycopg.OperationalError(_UNDER_WAY)
            conn.lock.release()

    def probe(self, conn: Conn) -> None:
        """Send an empty query: the server answers it without planning or logging a statement."""
        if isinstance(conn, psycopg.Connection):
            asked(conn, b"")
            return
        conn.execute("")
        if self.status(conn) != IDLE:
            conn.rollback()

    def close(self, conn: Conn) -> None:
        """``conn.close()``. One that another thread uses is cut, and closed when that thread drops it.

        Since another thread may start using it at any time, libpq closes it under psycopg's lock.
        """
        lock = getattr(conn, "lock", None)
        if lock is None:
            conn.close()
        elif _may_copy(conn) or not lock.acquire(blocking=False):
            self.abort(conn)
        else:
            try:
                if type(conn).close is psycopg.Connection.close:
                    conn.close()
            finally:
                lock.release()
            # A `close` of the user's own may first ask the server, and needs the lock for that.
            conn.close()

    @staticmethod
    def reset_session(conn: "psycopg.Connection[Any]") -> None:
        """A `reset` callback for pools: undo what a client has set, created, locked or listened to."""
        asked(conn, RESET_SESSION.encode())


class AsyncPsycopgDriver(_Psycopg):
    """`psycopg.AsyncConnection` and its subclasses."""

    @classmethod
    def of(cls, module: ModuleType, connection_class: type[Any] | None) -> Self:
        """The driver of a pool that was given `connection_class`."""
        return cls(_with_connect(connection_class) or module.AsyncConnection)

    async def connect(self, conninfo: str, kwargs: Mapping[str, Any], timeout: float | None) -> Conn:
        """``connection_class.connect(conninfo, **kwargs)``."""
        return _completed(await self._connect(conninfo, **_with_timeout(conninfo, kwargs, timeout)))

    async def commit(self, conn: Conn) -> None:
        """``conn.commit()``; waits for work that is under way, as in `PsycopgDriver.commit`."""
        await self._wait_for(conn)
        await conn.commit()

    async def rollback(self, conn: Conn) -> None:
        """``conn.rollback()``, like `commit`."""
        await self._wait_for(conn)
        await conn.rollback()

    @staticmethod
    async def _wait_for(conn: Conn) -> None:
        if conn.pgconn.transaction_status == ACTIVE:
            try:
                async with asyncio.timeout(RETURN_LIMIT):
                    await conn.lock.acquire()
            except TimeoutError:
                raise psycopg.OperationalError(_UNDER_WAY) from None
            conn.lock.release()

    async def probe(self, conn: Conn) -> None:
        """Send an empty query, as `PsycopgDriver.probe`."""
        if isinstance(conn, psycopg.AsyncConnection):
            await asked_async(conn, b"")
            return
        await conn.execute("")
        if self.status(conn) != IDLE:
            await conn.rollback()

    async def close(self, conn: Conn) -> None:
        """``conn.close()``. One that another task uses is cut, and closed when that task drops it."""
        if not self._is_cut(conn):
            await conn.close()

    def close_at_once(self, conn: Conn) -> None:
        """Close libpq's connection like `close`, without waiting."""
        if not self._is_cut(conn):
            conn.pgconn.finish()

    @staticmethod
    async def reset_session(conn: "psycopg.AsyncConnection[Any]") -> None:
        """A `reset` callback for pools: undo what a client has set, created, locked or listened to."""
        await asked_async(conn, RESET_SESSION.encode())


def asked(conn: "psycopg.Connection[Any]", query: bytes) -> list[Any]:
    """Ask the server outside of a transaction, whether or not the connection is in autocommit mode.

    One round trip: no BEGIN before, no ROLLBACK after. No mode is switched that would have to be switched back,
    and an exception in the middle leaves a connection whose status shows a command under way.

    Returns:
        libpq's results.
    """
    with conn.lock:
        results = conn.wait(_asking(conn.pgconn, query))
    return _checked(conn, results)


async def asked_async(conn: "psycopg.AsyncConnection[Any]", query: bytes) -> list[Any]:
    """The same as `asked`, for asyncio."""
    async with conn.lock:
        results = await conn.wait(_asking(conn.pgconn, query))
    return _checked(conn, results)


def _asking(pgconn: Any, query: bytes) -> Any:
    pgconn.send_query(query)
    return (yield from execute(pgconn))


def _checked(conn: Any, results: list[Any]) -> list[Any]:
    for result in results:
        if result.status == ExecStatus.FATAL_ERROR:
            raise error_from_result(result, encoding=conn.info.encoding)
    return results


def _may_copy(conn: Conn) -> bool:
    """Whether another user may be waiting for a copy's data without psycopg's lock."""
    return _COPIES_WITHOUT_LOCK and bool(conn.pgconn.transaction_status == ACTIVE)


def _with_connect(connection_class: type[Any] | None) -> type[Any] | None:
    if connection_class is not None and not hasattr(class_of(connection_class), "connect"):
        raise TypeError(f"connection_class must have a method connect(), and {connection_class!r} has none")
    return connection_class


def _completed(conn: Conn) -> Conn:
    """A new connection; one of a class that is not psycopg's gets the attributes that `status` reads."""
    for name in ("_tpc", "_pipeline"):
        if not hasattr(conn, name):
            setattr(conn, name, None)
    return conn


def _returning(connection_class: type[Any]) -> type[Any]:
    """A subclass whose `close` returns a checked-out connection; for threads and for asyncio."""

    class Returning(connection_class):  # type: ignore[misc]  # whichever class it is
        def close(self) -> Any:
            """Return the connection to its pool, or close it if it is not checked out of one."""
            return super().close() if self._pool is None else self._pool.putconn(self)

    Returning.__name__ = connection_class.__name__
    Returning.__qualname__ = connection_class.__qualname__
    Returning.__module__ = connection_class.__module__
    return Returning


def _with_timeout(conninfo: str, kwargs: Mapping[str, Any], timeout: float | None) -> Mapping[str, Any]:
    """The arguments with libpq's `connect_timeout`, in whole seconds, unless the user has set it."""
    if timeout is None or timeout > _LONGEST or "connect_timeout" in kwargs or "connect_timeout" in conninfo:
        return kwargs
    return {**kwargs, "connect_timeout": max(1, ceil(timeout))}
