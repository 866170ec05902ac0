"""aiosqlite, for asyncio: SQLite, with a thread for each connection.

If a client is cancelled, its statement stays in the thread's queue and runs later, so the pool must know when the
queue is empty and nothing runs. A cursor with unread rows keeps its lock on the file.
"""

import sqlite3
import weakref
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
        """The driver of a pool; `connection_class` must be ``None``."""
        class_as_argument(aiosqlite, None, connection_class)
        return cls()

    async def connect(self, conninfo: str, kwargs: Mapping[str, Any], timeout: float | None) -> Conn:
        """``aiosqlite.connect(conninfo, **kwargs)``, or the database that `kwargs` names.

        The time limit is SQLite's own, in `kwargs`: how long it waits for the lock of another connection.
        """
        conn = aiosqlite.connect(conninfo, **kwargs) if conninfo else aiosqlite.connect(**kwargs)
        # A pool that was never closed must not keep the interpreter from exiting.
        conn._thread.daemon = True
        # With `autocommit=False` (Python 3.12) there always is a transaction, if only an empty one. A connection
        # reveals this setting only to its own thread.
        queue = _Counted(conn._tx, UNTOLD if kwargs.get("autocommit") is False else IN_TRANSACTION)
        conn._tx = queue  # type: ignore[assignment]  # It has what aiosqlite calls of a SimpleQueue.
        conn = await conn
        assert queue.put == queue.done > 0, "opening a file is done in the connection's thread"
        return conn

    def status(self, conn: Conn) -> int:
        """``UNSETTLED`` while anything is queued, running or unread; otherwise SQLite's own answer."""
        try:
            is_in_transaction: bool = conn.in_transaction
            queue: _Counted = conn._tx
        except (ValueError, aiosqlite.ProgrammingError):
            return BROKEN  # The connection is closed.
        if queue.put != queue.done:
            return UNSETTLED
        if is_in_transaction:
            return queue.open_transaction
        return UNSETTLED if queue.unread else IDLE

    async def commit(self, conn: Conn) -> None:
        """Commit everything queued before it, and close the cursors that may have unread rows."""
        await conn._execute(conn._tx.end, conn._conn.commit)

    async def rollback(self, conn: Conn) -> None:
        """Roll back everything queued before it, and close the cursors that may have unread rows."""
        await conn._execute(conn._tx.end, conn._conn.rollback)

    async def probe(self, conn: Conn) -> None:
        """``SELECT 1``."""
        await conn.execute_fetchall("SELECT 1")

    async def close(self, conn: Conn) -> None:
        """Close the connection after everything that is queued, and end its thread."""
        await conn.close()

    def close_at_once(self, conn: Conn) -> None:
        """Have the connection's thread close it after everything that is queued, and end; notifies nobody."""
        # Without an event loop in this thread, `stop` notifies none; the connection's loop may have ended.
        conn._tx.put_nowait((None, conn.stop))

    def fileno(self, conn: Conn) -> int | None:
        """``None``: there is no server, and no socket."""
        return None

    def abort(self, conn: Conn) -> None:
        """Interrupt SQLite: the running statement ends with an error."""
        # A coroutine function that awaits nothing: its first step is all of it.
        interrupting = conn.interrupt()
        with suppress(StopIteration, ValueError, aiosqlite.ProgrammingError):
            interrupting.send(None)


class _Counted:
    """The queue to a connection's thread, with counts of the calls put into it and of those completed.

    Only the event loop's thread writes `put`, and only the connection's thread everything else: no lock is needed.

    Attributes:
        put: How many calls have been put into it.
        done: How many of them have completed.
        unread: The cursors that may have unread rows.
        open_transaction: What an open transaction means for this connection: ``IN_TRANSACTION`` or ``UNTOLD``.
    """

    __slots__ = ("_queue", "done", "open_transaction", "put", "unread")

    def __init__(self, queue: Any, open_transaction: int) -> None:
        self._queue = queue
        self.put = self.done = 0
        self.unread: weakref.WeakSet[sqlite3.Cursor] = weakref.WeakSet()
        self.open_transaction = open_transaction

    def put_nowait(self, item: tuple[Any, Callable[[], Any]]) -> None:
        """Queue a call, with the future of its result."""
        future, call = item
        self.put += 1
        self._queue.put_nowait((future, partial(self._do, call)))

    def end(self, commit_or_rollback: Callable[[], object]) -> None:
        """In the connection's thread: commit or roll back, and close the cursors that may have unread rows."""
        for cursor in list(self.unread):
            cursor.close()
        self.unread.clear()
        commit_or_rollback()

    def _do(self, call: Any) -> Any:
        try:
            result = call()
            if isinstance(result, sqlite3.Cursor):
                if result.description is not None:
                    self.unread.add(result)
            elif self.unread:
                self._has_read(call, result)
            return result
        finally:
            self.done += 1

    def _has_read(self, call: Any, result: Any) -> None:
        """Whether a call of a cursor's method has read the last row or closed the cursor."""
        method: Any = getattr(call, "func", None)
        cursor = getattr(method, "__self__", None)
        if isinstance(cursor, sqlite3.Cursor) and (not result or method.__name__ == "fetchall"):
            self.unread.discard(cursor)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._queue, name)
