"""Work that continues after its client has left, and calls from event loops other than the pool's."""

import asyncio
from asyncio import get_running_loop
from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Generic

from poolhouse.pool.aio_work import AsyncWork, Guard
from poolhouse.pool.base import BasePool
from poolhouse.pool.options import PROBE_LIMIT
from poolhouse.pool.slot import Lease
from poolhouse.pool.words import describe, logger

if TYPE_CHECKING:
    import psycopg
    from typing_extensions import TypeVar

    ACT = TypeVar("ACT", default="psycopg.AsyncConnection[tuple[Any, ...]]")
else:
    from typing import TypeVar

    ACT = TypeVar("ACT")

#: How long a client that was cancelled waits, in seconds, for its transaction to end and its connection to be idle
#: again. A server that answers has answered by then; one that says nothing holds nobody up.
SETTLED = 0.05
#: How often another loop looks whether the pool's, which it has asked for something, still runs; in seconds.
LOOP_PAUSE = 1.0


class Behind(BasePool, Generic[ACT]):
    """A pool's event loop, and the tasks in it that no client waits for any more."""

    _loop: asyncio.AbstractEventLoop | None
    _behind: dict[asyncio.Task[Any], Any]
    _work: AsyncWork

    def _open(self) -> None:
        raise NotImplementedError("the pool itself knows how it is opened")

    def _settle(self) -> None:
        raise NotImplementedError("the pool itself knows what follows a call of the core")

    def _is_at_home(self) -> bool:
        """Whether this is the pool's event loop: only there may the core be changed off the fast path."""
        return asyncio._get_running_loop() is self._loop

    def _attend_from_elsewhere(self) -> None:
        """Rule 1 of the core: in the pool's own loop, nothing comes between a return and the look before it."""
        if not self._is_at_home():
            self._at_home_soon(self._core.attend, self._now())

    def _at_home_soon(self, call: Callable[..., object], *arguments: Any) -> None:
        """Have the pool's loop call something, and do what that brings about; nothing is done if it has ended."""

        def called() -> None:
            call(*arguments)
            self._settle()

        if self._loop is not None:
            with suppress(RuntimeError):  # The loop is closed, and the next `close` sees to what came back.
                self._loop.call_soon_threadsafe(called)

    async def _at_home(self, call: Callable[..., Coroutine[Any, Any, None]], *arguments: Any) -> None:
        """Have the pool's loop run what another loop is asked for; it is done though its client is cancelled.

        Raises:
            RuntimeError: If the pool's loop does not run (any more).
        """
        assert self._loop is not None, "a pool without a loop has no other"
        if not self._loop.is_running():
            self._demand_loop()
        done = asyncio.wrap_future(asyncio.run_coroutine_threadsafe(call(*arguments), self._loop))
        while not done.done():
            await asyncio.wait({done}, timeout=LOOP_PAUSE)
            if not done.done() and not self._loop.is_running():
                self._demand_loop()
        await done

    async def _settled(self, conn: Any) -> None:
        """Wait, for a client that was cancelled, until what goes on behind it is done; no longer than `SETTLED`.

        What is to be done is begun already, so that a second cancellation does no harm.
        """
        deadline = self._now() + SETTLED
        while tasks := [task for task, used in self._behind.items() if used is conn]:
            remaining = deadline - self._now()
            if remaining <= 0:
                return
            await asyncio.wait(tasks, timeout=remaining)
            await asyncio.sleep(0)  # Let their ends begin what follows.

    async def _shielded(self, work: Coroutine[Any, Any, object], conn: Any, *, settles: bool = True) -> None:
        """Await what must be done whether or not the client is cancelled.

        A cancelled client is told at once, or, if it `settles`, within `SETTLED`.
        """
        task = asyncio.ensure_future(work)
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            self._go_on(task, conn, lambda in_time: self._settle())
            if settles:
                await self._settled(conn)
            raise

    def _go_on(
        self, task: asyncio.Task[Any], conn: Any, then: Callable[[bool], object], limit: float = PROBE_LIMIT
    ) -> None:
        """Let a task end behind its client, and do something afterwards.

        Nobody waits for it any more, and nobody else would end it: its connection is cut after `limit`.

        Args:
            task: The task.
            conn: The connection that it uses.
            then: What follows; it is told whether the task was in time.
            limit: How long it may last, in seconds.
        """
        self._behind[task] = conn
        guard = Guard(self._driver.abort, conn, limit, task)

        def done(_lease: Lease | None, _task: object) -> None:
            in_time = guard.end()
            del self._behind[task]
            if not task.cancelled() and (error := task.exception()) is not None:
                logger.warning("pool %r: error after its client had left: %s", self.name, describe(error))
            then(in_time)

        # The block that had the lease is no more, and must not seem abandoned while its end goes on.
        task.add_done_callback(partial(done, self._core.leases.get(id(conn))))

    def _demand_loop(self) -> None:
        if self._loop is not None and get_running_loop() is not self._loop:
            raise RuntimeError(
                f"the pool {self.name!r} was opened in another event loop, and its connections belong to that; "
                "open a pool inside each loop that needs one"
            )
