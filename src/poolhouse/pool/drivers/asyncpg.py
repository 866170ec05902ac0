"""asyncpg, for asyncio.

asyncpg commits each statement by itself. A transaction begins only when the application starts it, by
``connection.transaction()`` or ``BEGIN``; one that is still open at the end of a `connection()` block ends there.
"""

import asyncio
import gc
from collections.abc import Mapping
from functools import partial
from types import ModuleType
from typing import Any, Self

import asyncpg

from poolhouse.pool.drivers.dbapi import class_as_argument
from poolhouse.pool.drivers.protocol import ACTIVE, BROKEN, IDLE, IN_TRANSACTION, UNSETTLED, UNTOLD, Conn
from poolhouse.pool.drivers.sockets import cut

#: How long a server has to answer a goodbye, in seconds. asyncpg itself would wait forever.
_CLOSE_TIMEOUT = 2.0


class AsyncpgDriver:
    """Connections of ``asyncpg.connect``."""

    def __init__(self, defaults: Mapping[str, Any] | None = None) -> None:
        """A driver that connects with the arguments `defaults`, which the pool's `kwargs` override."""
        self._defaults: dict[str, Any] = {} if defaults is None else dict(defaults)
        #: The class of the future that asyncpg's protocol keeps while it waits for an answer: ``None`` before the
        #: first connection, ``False`` if no such future is visible.
        self._future_class: Any = None

    @classmethod
    def of(cls, _module: ModuleType, connection_class: type[Any] | None) -> Self:
        """The driver of a pool that was given `connection_class`."""
        return cls(class_as_argument(asyncpg, "connection_class", connection_class))

    async def connect(self, conninfo: str, kwargs: Mapping[str, Any], timeout: float | None) -> Conn:
        """``asyncpg.connect(conninfo, **kwargs)``, without `conninfo` if it is empty."""
        limit: dict[str, Any] = {} if timeout is None else {"timeout": timeout}
        conn = await asyncpg.connect(*((conninfo,) if conninfo else ()), **(limit | self._defaults | dict(kwargs)))
        if self._future_class is None:
            try:
                async with asyncio.timeout(timeout):
                    self._future_class = await _future_class_of(conn)
            except BaseException:
                conn.terminate()
                raise
        return conn

    def status(self, conn: Conn) -> int:
        """The status by the server's last answer and asyncpg's own state. A failed transaction counts as open.

        asyncpg does not reveal whether a statement is under way. But its protocol then refers to the future on
        which the statement waits, and the garbage collector shows the references of an object; `connect` has
        tested this.
        """
        if conn.is_closed():
            return BROKEN
        protocol = conn._protocol
        if protocol._is_cancelling():
            return UNSETTLED  # The server has not answered yet whether it carried out the cancelled statement.
        if not self._future_class:
            return UNTOLD
        if self._future_class in map(type, gc.get_referents(protocol)):
            return ACTIVE
        # The last is asyncpg's own belief: a cancelled or failed BEGIN leaves it, and so does a manual ROLLBACK.
        return IN_TRANSACTION if protocol.is_in_transaction() or conn._top_xact is not None else IDLE

    async def commit(self, conn: Conn) -> None:
        """``COMMIT``, after a cancelled statement has ended."""
        await self._end(conn, "COMMIT")

    async def rollback(self, conn: Conn) -> None:
        """``ROLLBACK``, after a cancelled statement has ended."""
        await self._end(conn, "ROLLBACK")

    async def _end(self, conn: Conn, command: str) -> None:
        await conn.execute(command)
        # Otherwise asyncpg would nest the next client's transaction in one that `transaction()` began and that
        # never ended. Only `reset()` also clears this, but it takes longer and undoes the settings of `configure`.
        conn._top_xact = None

    async def probe(self, conn: Conn) -> None:
        """``SELECT 1``. Not an empty query, whose answer asyncpg does not understand."""
        await conn.execute("SELECT 1")

    async def close(self, conn: Conn) -> None:
        """Say goodbye and cancel what is under way; do not wait for a server that does not answer."""
        try:
            await conn.close(timeout=_CLOSE_TIMEOUT)
        except TimeoutError:
            return  # asyncpg has cut the connection.

    @staticmethod
    async def reset_session(conn: Conn) -> None:
        """A `reset` callback for pools: ``conn.reset()``, which asyncpg's own pool calls at each release."""
        await conn.reset()

    def fileno(self, conn: Conn) -> int | None:
        """The descriptor of the transport's socket."""
        transport = getattr(conn, "_transport", None)
        sock = None if transport is None else transport.get_extra_info("socket")
        if sock is None:
            return None
        descriptor = int(sock.fileno())
        return None if descriptor < 0 else descriptor

    def abort(self, conn: Conn) -> None:
        """Cut the socket: the event loop sees the end of the connection and notifies whatever waits for it."""
        cut(partial(self.fileno, conn))


async def _future_class_of(conn: Conn) -> Any:
    """The class of the future that is visible only while a statement is under way; ``False`` if none is."""
    protocol = conn._protocol
    before = set(map(type, gc.get_referents(protocol)))
    statement = asyncio.ensure_future(conn.execute("SELECT 1"))
    # The statement is sent and its answer not read: the event loop has not checked the sockets since.
    await asyncio.sleep(0)
    during = [type(held) for held in gc.get_referents(protocol) if asyncio.isfuture(held)]
    await statement
    after = set(map(type, gc.get_referents(protocol)))
    return next((seen for seen in during if seen not in before | after), False)
