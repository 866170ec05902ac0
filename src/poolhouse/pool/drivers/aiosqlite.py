"""aiosqlite, for asyncio: SQLite, with a thread for each connection.

A statement whose client was cancelled stays in the queue to that thread, and is carried out later: the pool has to
know when the queue is empty, and that nothing is under way.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from types import ModuleType
from typing import Any, ClassVar, Self

import aiosqlite

from poolhouse.pool.drivers.dbapi import class_as_argument
from poolhouse.pool.drivers.protocol import BROKEN, IDLE, IN_TRANSACTION, UNSETTLED, UNTOLD, Conn


class AiosqliteDriver:
    """Connections of ``aiosqlite.connect``."""

    error_base: ClassVar[type[Exception] | None] = aiosqlite.OperationalError

    @classmethod
    def of(cls, _module: ModuleType, connection_class: type[Any] | None) -> Self:
        """The driver of a pool; `connection_class` has to be ``None``."""
        class_as_argument(aiosqlite, None, connection_class)
        return cls()

    async def connect(self, conninfo: str, kwargs: Mapping[str, Any], timeout: float | None) -> Conn:
        """``aiosqlite.connect(conninfo, **kwargs)``, or the database that `kwargs` names.

        The time limit is SQLite's own, in `kwargs`: how long it waits for the lock of another connection.
        """
        conn = aiosqlite.connect(conninfo, **kwargs) if conninfo else aiosqlite.connect(**kwargs)
        # A pool that nobody has closed must not keep the interpreter from ending.
        conn._thread.daemon = True
        # With `autocommit=False` (Python 3.12) there always is a transaction, at least an empty one. A connection
        # tells only its own thread that it was opened so.
        queue = _Counted(conn._tx, UNTOLD if kwargs.get("autocommit") is False else IN_TRANSACTION)
        conn._tx = queue  # type: ignore[assignment]  # It has what aiosqlite calls of a SimpleQueue.
        conn = await conn
        assert queue.put == queue.done > 0, "opening a file is done in the connection's thread"
        return conn

    def status(self, conn: Conn) -> int:
        """``UNSETTLED`` while anything is queued or under way; else SQLite itself tells."""
        try:
            is_in_transaction, queue = conn.in_transaction, conn._tx
        except (ValueError, aiosqlite.ProgrammingError):
            return BROKEN  # It has been closed.
        if queue.put != queue.done:
            return UNSETTLED
        return queue.open_transaction if is_in_transaction else IDLE

    async def commit(self, conn: Conn) -> None:
        """Commit all that is queued before it."""
        await conn.commit()

    async def rollback(self, conn: Conn) -> None:
        """Undo all that is queued before it."""
        await conn.rollback()

    async def probe(self, conn: Conn) -> None:
        """``SELECT 1``."""
        await conn.execute_fetchall("SELECT 1")

    async def close(self, conn: Conn) -> None:
        """Close the connection, and end its thread, after all that is queued."""
        await conn.close()

    def fileno(self, conn: Conn) -> int | None:
        """There is no server, and no socket."""
        return None

    def abort(self, conn: Conn) -> None:
        """Interrupt SQLite: the statement that runs ends with an error."""
        # A coroutine function that awaits nothing: its first step is all of it.
        interrupting = conn.interrupt()
        with suppress(StopIteration, ValueError, aiosqlite.ProgrammingError):
            interrupting.send(None)


class _Counted:
    """The queue to a connection's thread, which counts what is put into it and what the thread has done.

    The event loop's thread alone writes `put`, the connection's alone writes `done`: neither needs a lock.

    Attributes:
        put: How many calls were put into it.
        done: How many of them have ended.
        open_transaction: What an open transaction means for this connection: ``IN_TRANSACTION`` or ``UNTOLD``.
    """

    __slots__ = ("_queue", "done", "open_transaction", "put")

    def __init__(self, queue: Any, open_transaction: int) -> None:
        self._queue = queue
        self.put = self.done = 0
        self.open_transaction = open_transaction

    def put_nowait(self, item: tuple[Any, Callable[[], Any]]) -> None:
        """Queue a call, with the future of its result."""
        future, call = item
        self.put += 1
        self._queue.put_nowait((future, partial(self._do, call)))

    def _do(self, call: Callable[[], Any]) -> Any:
        try:
            return call()
        finally:
            self.done += 1

    def __getattr__(self, name: str) -> Any:
        return getattr(self._queue, name)
