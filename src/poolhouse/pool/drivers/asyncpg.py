"""asyncpg, for asyncio.

asyncpg commits each statement by itself. A transaction begins where the application says so, by
``connection.transaction()`` or ``BEGIN``; one that is still open at the end of a `connection()` block ends there.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import asyncpg

from poolhouse.pool.drivers.protocol import BROKEN, IDLE, IN_TRANSACTION, Conn
from poolhouse.pool.drivers.sockets import cut

#: How long a server has to answer to a goodbye, in seconds. asyncpg itself would wait for ever.
_CLOSE_TIMEOUT = 2.0


class AsyncpgDriver:
    """Connections of ``asyncpg.connect``."""

    error_base: ClassVar[type[Exception] | None] = None
    marks_connections: ClassVar[bool] = False

    def __init__(self, defaults: Mapping[str, Any] | None = None) -> None:
        """A driver that connects with these arguments, unless the pool's `kwargs` say otherwise."""
        self._defaults: dict[str, Any] = {} if defaults is None else dict(defaults)

    async def connect(self, conninfo: str, kwargs: Mapping[str, Any], timeout: float | None) -> Conn:
        """``asyncpg.connect(conninfo, **kwargs)``, without `conninfo` if it is empty; see `Driver.connect`."""
        limit: dict[str, Any] = {} if timeout is None else {"timeout": timeout}
        return await asyncpg.connect(*((conninfo,) if conninfo else ()), **(limit | self._defaults | dict(kwargs)))

    def status(self, conn: Conn) -> int:
        """See `Driver.status`. A transaction that has failed counts as one that is open."""
        if conn.is_closed():
            return BROKEN
        return IN_TRANSACTION if conn.is_in_transaction() else IDLE

    async def commit(self, conn: Conn) -> None:
        """See `Driver.commit`."""
        await self._end(conn, "COMMIT")

    async def rollback(self, conn: Conn) -> None:
        """See `Driver.rollback`."""
        await self._end(conn, "ROLLBACK")

    async def _end(self, conn: Conn, command: str) -> None:
        await conn.execute(command)
        # asyncpg would take the next client's transaction for one inside that which `transaction()` began and
        # nobody ended. Only `reset()` makes it forget, which takes longer and undoes what `configure` has set.
        if getattr(conn, "_top_xact", None) is not None:
            conn._top_xact = None

    async def probe(self, conn: Conn) -> None:
        """See `Driver.probe`. Not an empty query: asyncpg does not understand the answer to one."""
        await conn.execute("SELECT 1")

    async def close(self, conn: Conn) -> None:
        """See `Driver.close`; a server that does not answer is left without its answer."""
        try:
            await conn.close(timeout=_CLOSE_TIMEOUT)
        except TimeoutError:
            return  # asyncpg has cut the connection.

    def fileno(self, conn: Conn) -> int | None:
        """See `Driver.fileno`."""
        transport = getattr(conn, "_transport", None)
        sock = None if transport is None else transport.get_extra_info("socket")
        if sock is None:
            return None
        descriptor = int(sock.fileno())
        return None if descriptor < 0 else descriptor

    def abort(self, conn: Conn) -> None:
        """See `Driver.abort`. The event loop sees the end of the connection and tells whoever waits for it."""
        descriptor = self.fileno(conn)
        if descriptor is not None:
            cut(descriptor)
