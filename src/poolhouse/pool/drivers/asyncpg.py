"""asyncpg, for asyncio.

asyncpg commits each statement by itself. A transaction begins where the application says so, by
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

#: How long a server has to answer to a goodbye, in seconds. asyncpg itself would wait for ever.
_CLOSE_TIMEOUT = 2.0


class AsyncpgDriver:
    """Connections of ``asyncpg.connect``."""

    def __init__(self, defaults: Mapping[str, Any] | None = None) -> None:
        """A driver that connects with these arguments, unless the pool's `kwargs` say otherwise."""
        self._defaults: dict[str, Any] = {} if defaults is None else dict(defaults)
        #: The class of the future that asyncpg's protocol keeps while it waits for an answer: ``None`` before the
        #: first connection, ``False`` if there is no such future to be seen.
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
        """What the server's last answer and asyncpg's own state say. A transaction that has failed counts as open.

        asyncpg does not tell whether a statement is under way. But its protocol then refers to the future on which
        the statement waits, and the garbage collector tells what an object refers to; `connect` has seen it do so.
        """
        if conn.is_closed():
            return BROKEN
        protocol = conn._protocol
        if protocol._is_cancelling():
            return UNSETTLED  # Whether the cancelled statement was carried out, the server has yet to say.
        if not self._future_class:
            return UNTOLD
        if self._future_class in map(type, gc.get_referents(protocol)):
            return ACTIVE
        # The last is what asyncpg believes: a cancelled or failed BEGIN leaves it, a ROLLBACK by hand as well.
        return IN_TRANSACTION if protocol.is_in_transaction() or conn._top_xact is not None else IDLE

    async def commit(self, conn: Conn) -> None:
        """``COMMIT``, once a statement that was cancelled has ended."""
        await self._end(conn, "COMMIT")

    async def rollback(self, conn: Conn) -> None:
        """``ROLLBACK``, once a statement that was cancelled has ended."""
        await self._end(conn, "ROLLBACK")

    async def _end(self, conn: Conn, command: str) -> None:
        await conn.execute(command)
        # asyncpg would take the next client's transaction for one inside that which `transaction()` began and
        # nobody ended. Only `reset()` makes it forget, which takes longer and undoes what `configure` has set.
        conn._top_xact = None

    async def probe(self, conn: Conn) -> None:
        """``SELECT 1``. Not an empty query: asyncpg does not understand the answer to one."""
        await conn.execute("SELECT 1")

    async def close(self, conn: Conn) -> None:
        """Say goodbye, and cancel what is under way; a server that does not answer is left without its answer."""
        try:
            await conn.close(timeout=_CLOSE_TIMEOUT)
        except TimeoutError:
            return  # asyncpg has cut the connection.

    @staticmethod
    async def reset_session(conn: Conn) -> None:
        """A `reset` for pools: ``conn.reset()``, which asyncpg's own pool calls at each release."""
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
        """Cut the socket: the event loop sees the end of the connection and tells whoever waits for it."""
        cut(partial(self.fileno, conn))


async def _future_class_of(conn: Conn) -> Any:
    """The class of the future that is seen while a statement is under way, and only then; ``False`` if none is."""
    protocol = conn._protocol
    before = set(map(type, gc.get_referents(protocol)))
    statement = asyncio.ensure_future(conn.execute("SELECT 1"))
    # The statement is sent, and its answer not read: the event loop has not looked at the sockets since.
    await asyncio.sleep(0)
    during = [type(held) for held in gc.get_referents(protocol) if asyncio.isfuture(held)]
    await statement
    after = set(map(type, gc.get_referents(protocol)))
    return next((seen for seen in during if seen not in before | after), False)
