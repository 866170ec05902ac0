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

#: How long a cancelled client waits, in seconds, for its transaction to end and its connection to become idle. A
#: healthy server has answered by then, and a silent one delays nobody.
SETTLED = 0.05
#: How often another event loop that waits for the pool's loop checks whether that still runs, in seconds.
LOOP_PAUSE = 1.0


class Behind(BasePool, Generic[ACT]):
    """A pool's event loop, and the tasks in it that no client waits for any more."""

    _loop: asyncio.AbstractEventLoop | None
    _behind: dict[asyncio.Task[Any], Any]
    _work: AsyncWork

    def _open(self) -> None:
        raise NotImplementedError("a subclass opens the pool")

    def _settle(self) -> None:
        raise NotImplementedError("a subclass carries out the core's decisions")

    def _is_at_home(self) -> bool:
        """Whether the pool's event loop is running here: only there may the core be changed off the fast path."""
        return asyncio._get_running_loop() is self._loop

    def _attend_from_elsewhere(self) -> None:
        """Apply rule 1 of the core from another loop or thread; in the pool's own loop nothing can interleave."""
        if not self._is_at_home():
            self._at_home_soon(self._core.attend, self._now())

    def _at_home_soon(self, call: Callable[..., object], *arguments: Any) -> None:
        """Schedule a call in the pool's loop, followed by `_settle`; does nothing if the loop has ended."""

        def called() -> None:
            call(*arguments)
            self._settle()

        if self._loop is not None:
            with suppress(RuntimeError):  # The loop is closed; the next `close` takes care of what came back.
                self._loop.call_soon_threadsafe(called)

    async def _at_home(self, call: Callable[..., Coroutine[Any, Any, None]], *arguments: Any) -> None:
        """Run in the pool's loop what a client in another loop asks for, even if the client is then cancelled.

        Raises:
            RuntimeError: If the pool's loop is not running (any more).
        """
        assert self._loop is not None, "a pool without a loop has no second loop"
        if not self._loop.is_running():
            self._demand_loop()
        done = asyncio.wrap_future(asyncio.run_coroutine_threadsafe(call(*arguments), self._loop))
        while not done.done():
            await asyncio.wait({done}, timeout=LOOP_PAUSE)
            if not done.done() and not self._loop.is_running():
                self._demand_loop()
        await done

    async def _settled(self, conn: Any) -> None:
        """Wait, for a client that was cancelled, until its background work is done; for `SETTLED` seconds at most.

        The work has been started already, so a second cancellation does no harm.
        """
        deadline = self._now() + SETTLED
        while tasks := [task for task, used in self._behind.items() if used is conn]:
            remaining = deadline - self._now()
            if remaining <= 0:
                return
            await asyncio.wait(tasks, timeout=remaining)
            await asyncio.sleep(0)  # Let their done callbacks start the next step.

    async def _shielded(self, work: Coroutine[Any, Any, object], conn: Any, *, settles: bool = True) -> None:
        """Await work that must complete whether or not the client is cancelled.

        A cancelled client is released at once or, if it `settles`, within `SETTLED` seconds.
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
        """Let a task continue after its client has left, and then call `then`.

        No client waits for the task any more, so the connection is cut off after `limit` to end it.

        Args:
            task: The task.
            conn: The connection that it uses.
            then: Called afterwards with whether the task ended in time.
            limit: How long it may last, in seconds.
        """
        self._behind[task] = conn
        guard = Guard(self._driver.abort, conn, limit, task)

        def done(_lease: Lease | None, _task: object) -> None:
            in_time = guard.end()
            del self._behind[task]
            if not task.cancelled() and (error := task.exception()) is not None:
                logger.warning(
                    "pool %r: error after the client had left: %s", self.name, describe(error, self._secrets())
                )
            then(in_time)

        # The block that held the lease is gone; keep the lease from looking abandoned while the task continues.
        task.add_done_callback(partial(done, self._core.leases.get(id(conn))))

    def _demand_loop(self) -> None:
        if self._loop is not None and get_running_loop() is not self._loop:
            raise RuntimeError(
                f"the pool {self.name!r} was opened in another event loop, and its connections belong to that; "
                "open a pool inside each loop that needs one"
            )
