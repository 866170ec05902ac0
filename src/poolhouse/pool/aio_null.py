"""The pool for asyncio that keeps no idle connections."""

import asyncio
from asyncio import get_running_loop
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from poolhouse.clock import Clock
from poolhouse.pool.aio import AsyncConnectionPool
from poolhouse.pool.aio_behind import ACT
from poolhouse.pool.hooks import PoolHooks
from poolhouse.pool.jobs import Close, Reason
from poolhouse.pool.options import Order, Shrink
from poolhouse.pool.parameters import given


class AsyncNullConnectionPool(AsyncConnectionPool[ACT]):
    """A pool for asyncio that keeps no idle connections: each client makes its own or waits for a returned one.

    At most `max_size` connections are open at a time; 0 for no limit. `reset` is called only for connections that
    go to a waiting client.
    """

    _is_null = True

    def __init__(
        self,
        conninfo: str | Callable[[], str | Awaitable[str]] = "",
        *,
        connection_class: type[ACT] | None = None,
        kwargs: Mapping[str, Any] | Callable[[], Mapping[str, Any] | Awaitable[Mapping[str, Any]]] | None = None,
        min_size: int = 0,
        max_size: int | None = None,
        open: bool | None = None,  # noqa: A002 - psycopg_pool's name
        configure: Callable[[ACT], object] | None = None,
        check: Callable[[ACT], object] | None = None,
        reset: Callable[[ACT], object] | None = None,
        name: str | None = None,
        close_returns: bool = False,
        timeout: float = 30.0,
        max_waiting: int = 0,
        max_lifetime: float = 60 * 60.0,
        max_idle: float = 10 * 60.0,
        reconnect_timeout: float = 5 * 60.0,
        reconnect_failed: Callable[["AsyncConnectionPool[ACT]"], object] | None = None,
        num_workers: int = 3,
        driver: Any = None,
        check_idle: float | None = None,
        idle_order: Order = "fifo",
        shrink: Shrink = "one",
        reset_inline: bool = False,
        hold_warning: float | None = None,
        hooks: PoolHooks | None = None,
        clock: Clock | None = None,
    ) -> None:
        super().__init__(**given(locals(), "clock"))

    async def wait(self, timeout: float = 30.0) -> None:
        """Make one connection and close it, to show that the server is reachable; retry until the timeout.

        Args:
            timeout: How long to retry, in seconds.

        Raises:
            PoolTimeout: If no connect succeeded in time; the pool is then closed.
            PoolClosed: If the pool is not open, or is closed during the wait.
        """
        self._warn_at_first_request(stacklevel=3)
        await super().wait(timeout)

    async def _wait_until(self, deadline: float, timeout: float) -> None:
        ended: asyncio.Future[Any] = get_running_loop().create_future()
        self._full.append(ended)
        try:
            while (error := await self._rehearsed(ended, deadline)) is not None:
                now = self._now()
                pause = min(deadline, self._core.next_rehearsal_at(now)) - now
                await asyncio.wait({ended}, timeout=max(0.0, pause))
                if self._core.was_closed:
                    raise self._closed() from error
                if self._now() >= deadline:
                    await self.close(timeout=0)
                    raise self._incomplete(timeout, error) from error
        finally:
            self._full.remove(ended)

    async def _rehearsed(self, ended: asyncio.Future[Any], deadline: float) -> BaseException | None:
        """Run `_rehearse` in a task of its own; return at the deadline or when the pool is closed."""
        rehearsal = asyncio.ensure_future(self._rehearse(deadline))
        self._behind[rehearsal] = None
        rehearsal.add_done_callback(self._behind.pop)
        either: set[asyncio.Future[Any]] = {rehearsal, ended}
        remaining = max(0.0, deadline - self._now())
        await asyncio.wait(either, timeout=remaining, return_when=asyncio.FIRST_COMPLETED)
        return rehearsal.result() if rehearsal.done() else TimeoutError("no answer in time")

    async def _rehearse(self, deadline: float) -> BaseException | None:
        """Make a connection and close it; return the error, or ``None``."""
        began = self._now()
        try:
            conn = await self._work.connection(max(0.0, deadline - began))
        except Exception as error:
            is_loud = self._core.rehearsed(0, error, self._now())
            self._log_failed_connect(error, is_loud=is_loud)
            self._settle()  # `reconnect_failed` may be due.
            return self._copied(error)
        now = self._now()
        self._core.rehearsed(now - began, None, now)
        await self._work.close(Close(conn, Reason.NOT_KEPT))
        return None
