"""aiosqlite, for asyncio: SQLite, with a thread for each connection."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any, ClassVar

import aiosqlite

from poolhouse.pool.drivers.protocol import BROKEN, IDLE, IN_TRANSACTION, UNTOLD, Conn


class AiosqliteDriver:
    """Connections of ``aiosqlite.connect``."""

    error_base: ClassVar[type[Exception] | None] = aiosqlite.OperationalError
    marks_connections: ClassVar[bool] = False

    def __init__(self) -> None:
        # With `autocommit=False` (Python 3.12) there always is a transaction, at least an empty one. A connection
        # tells only its own thread that it was opened so.
        self._open_transaction = IN_TRANSACTION

    async def connect(self, conninfo: str, kwargs: Mapping[str, Any], timeout: float | None) -> Conn:
        """``aiosqlite.connect(conninfo, **kwargs)``, or the database that `kwargs` names.

        The time limit is SQLite's own, in `kwargs`: how long it waits for the lock of another connection.
        """
        self._open_transaction = UNTOLD if kwargs.get("autocommit") is False else IN_TRANSACTION
        conn = aiosqlite.connect(conninfo, **kwargs) if conninfo else aiosqlite.connect(**kwargs)
        # A pool that nobody has closed must not keep the interpreter from ending.
        conn._thread.daemon = True
        return await conn

    def status(self, conn: Conn) -> int:
        """See `Driver.status`."""
        try:
            return self._open_transaction if conn.in_transaction else IDLE
        except (ValueError, aiosqlite.ProgrammingError):
            return BROKEN  # It has been closed.

    async def commit(self, conn: Conn) -> None:
        """See `Driver.commit`."""
        await conn.commit()

    async def rollback(self, conn: Conn) -> None:
        """See `Driver.rollback`."""
        await conn.rollback()

    async def probe(self, conn: Conn) -> None:
        """See `Driver.probe`."""
        await conn.execute_fetchall("SELECT 1")

    async def close(self, conn: Conn) -> None:
        """See `Driver.close`."""
        await conn.close()

    def fileno(self, conn: Conn) -> int | None:
        """There is no server, and no socket."""
        return None

    def abort(self, conn: Conn) -> None:
        """See `Driver.abort`: the statement that runs ends with an error."""
        # A coroutine function that awaits nothing: its first step is all of it.
        interrupting = conn.interrupt()
        with suppress(StopIteration, ValueError, aiosqlite.ProgrammingError):
            interrupting.send(None)
