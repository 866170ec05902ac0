"""The asyncio twin of `sync_work`; callbacks may be plain functions or coroutine functions."""

import asyncio
import os
import weakref
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from inspect import isawaitable
from types import CoroutineType
from typing import Any

from poolhouse.errors import PoolError
from poolhouse.pool.core import BROKEN, IDLE, PoolCore
from poolhouse.pool.drivers.protocol import AsyncDriver, Traits
from poolhouse.pool.hooks import PoolHooks, tell
from poolhouse.pool.jobs import Close, Connect, Job, Probe, Return
from poolhouse.pool.options import PROBE_LIMIT, RETURN_LIMIT
from poolhouse.pool.slot import Slot
from poolhouse.pool.status import CLEAN, HIDING, STATUS, UNFIT
from poolhouse.pool.target import Target
from poolhouse.pool.words import Shown, describe, log_closed, log_dead, log_returned, logger
from poolhouse.safely import WARNING

#: The pool's task in which this code runs. Its callback may close the pool, even from another task; `close` then
#: neither waits for the task nor cancels it. A weak reference, since the task keeps its context.
_own_task: "ContextVar[weakref.ref[asyncio.Task[Any]] | None]" = ContextVar("poolhouse_task", default=None)


def enter_own_task() -> None:
    """Mark the current task as the pool's own; everything that it calls inherits this."""
    task = asyncio.current_task()
    assert task is not None, "only a task awaits"
    _own_task.set(weakref.ref(task))


def own_tasks() -> "set[asyncio.Task[Any]]":
    """The current task, and the pool's own task that started it, if there is one."""
    own = _own_task.get()
    return {task for task in (asyncio.current_task(), own() if own else None) if task is not None}


async def result_of(value: Any) -> Any:
    """The result of a callback, awaited if it is awaitable."""
    return await value if isawaitable(value) else value


def _is_order(error: BaseException) -> bool:
    """Whether this error cancels the current task. A callback or driver may raise it without that."""
    task = asyncio.current_task()
    return isinstance(error, asyncio.CancelledError) and (task is None or task.cancelling() > 0)


def own_error(error: asyncio.CancelledError) -> BaseException:
    """The error to raise: a `PoolError` if nobody has cancelled the current task, else the cancellation."""
    return error if _is_order(error) else PoolError("a callback, or the driver, awaited what had been cancelled")


class Guard:
    """Cuts a connection off unless the call on it ends in time."""

    def __init__(
        self, abort: Callable[[Any], object], conn: Any, seconds: float, task: "asyncio.Task[Any] | None" = None
    ) -> None:
        """Start the time limit.

        Args:
            abort: The driver's `abort`.
            conn: The connection.
            seconds: How long the call may last.
            task: The calling task; once it is done, the connection may belong to another client.
        """
        self._has_cut = False
        self._abort, self._conn, self._task = abort, conn, task
        self._timer = asyncio.get_running_loop().call_later(max(0.0, seconds), self._cut)

    def _cut(self) -> None:
        if self._task is None or not self._task.done():
            self._has_cut = True
            self._abort(self._conn)

    def end(self) -> bool:
        """End the time limit. Returns whether the call ended in time; if not, its result must not be used."""
        self._timer.cancel()
        return not self._has_cut


class AsyncWork:
    """See `Work`."""

    def __init__(
        self,
        name: str,
        driver: AsyncDriver,
        now: Callable[[], float],
        hooks: PoolHooks,
        target: Target,
        configure: Callable[[Any], Any] | None,
        check: Callable[[Any], Any] | None,
        reset: Callable[[Any], Any] | None,
        reconnect_failed: Callable[[], Awaitable[object]],
        log_failed_connect: Callable[..., None],
    ) -> None:
        """See `Work`."""
        self.core: PoolCore
        self._name = name
        self._driver = driver
        traits = Traits.of(driver)
        self._marks, self._close_at_once = traits.marks_connections, traits.close_at_once
        self._now = now
        self._hooks = hooks
        self._target = target
        self._configure = configure
        self._check = check
        self._reset = reset
        self._reconnect_failed = reconnect_failed
        self._log_failed_connect = log_failed_connect
        self._process = os.getpid()
        #: The guards of returns that are waiting for the server.
        self._guards: dict[Slot, Guard] = {}

    async def perform(self, job: Job, *, is_guarded: bool = True) -> bool:
        """See `Work.perform`; raises CancelledError, and KeyboardInterrupt, which ends the event loop.

        Args:
            job: The job.
            is_guarded: As for `restore`.
        """
        enter_own_task()
        try:
            if isinstance(job, Connect):
                await self._connect(job)
            elif isinstance(job, Return):
                await self.restore(job, is_guarded=is_guarded)
            elif isinstance(job, Probe):
                await self._probe(job)
            elif isinstance(job, Close):
                await self.close(job)
            else:
                logger.warning("reconnection attempt in pool %r failed after %s sec", self._name, job.after)
                await self._reconnect_failed()
        except SystemExit:
            # As in threads. Raised, it would end the event loop in the middle of a turn.
            logger.last_word("pool %r: sys.exit() in a worker does not end the program", self._name, level=WARNING)
        except Exception as error:
            logger.last_word("pool %r: unexpected error; the pool continues", self._name, error=error)
        else:
            return True
        return False

    async def connection(self, timeout: float | None) -> Any:
        """See `Work.connection`."""
        try:
            return await self._connection(timeout)
        except asyncio.CancelledError as error:
            raise own_error(error) from None

    async def _connection(self, timeout: float | None) -> Any:
        conninfo, kwargs = self._target.conninfo, self._target.kwargs
        conninfo = await result_of(conninfo()) if callable(conninfo) else conninfo
        kwargs = await result_of(kwargs()) if callable(kwargs) else kwargs
        conn = await self._driver.connect(conninfo, kwargs or {}, timeout)
        self.core.must_be_new(conn)
        if self._configure is not None:
            try:
                await result_of(self._configure(conn))
                if (status := await self._settled(conn)) not in CLEAN:
                    raise PoolError(
                        f"{Shown(conn)} left in status {STATUS[status]} by configure function "
                        f"{Shown(self._configure)}: discarded"
                    )
            except BaseException:
                # After a fork the child cancels the copied tasks: the connection belongs to the parent.
                if os.getpid() == self._process:
                    await self._driver.close(conn)
                raise
        return conn

    async def _settled(self, conn: Any) -> int:
        """The status after a callback; a transaction that it may have left open is rolled back first."""
        status = self._driver.status(conn)
        if status in HIDING:
            await self._driver.rollback(conn)
            status = self._driver.status(conn)
        return status

    async def _connect(self, job: Connect) -> None:
        began = self._now()
        try:
            conn = await self.connection(None)
            now = self._now()
            close = self.core.connected(job.slot, conn, now - began, now)
        except BaseException as error:
            is_loud = self.core.connect_failed(job.slot, error, self._now())
            if isinstance(error, asyncio.CancelledError):
                raise
            self._log_failed_connect(error, is_loud=is_loud)
            return
        logger.info("adding new connection to the pool %r: %s", self._name, Shown(conn))
        tell(self._hooks.connected, conn, now - began)
        if close is not None:
            await self.close(close)

    async def _probe(self, job: Probe) -> None:
        conn, is_alive = job.slot.conn, False
        guard = Guard(self._driver.abort, conn, PROBE_LIMIT)
        try:
            is_alive = await self.is_alive(conn, is_asked=job.is_asked)
        finally:
            is_alive = guard.end() and is_alive
            self.core.probed(job.slot, is_alive, self._now())

    async def restore(self, job: Return, *, is_guarded: bool = True) -> None:
        """See `Work.restore`.

        Args:
            job: The return to carry out.
            is_guarded: Limit the time from the start; otherwise the caller calls `guard` once the work has to
                wait.
        """
        slot, is_good = job.slot, False
        if is_guarded:
            self.guard(slot)
        try:
            is_good = await self._is_restored(slot.conn, job)
        finally:
            guard = self._guards.pop(slot, None)
            is_good = (guard is None or guard.end()) and is_good
            self.core.returned(slot, is_good, self._now())

    def guard(self, slot: Slot) -> None:
        """Cut off the connection that `restore` works on, unless the work ends within `RETURN_LIMIT`."""
        self._guards[slot] = Guard(self._driver.abort, slot.conn, RETURN_LIMIT)

    async def _is_restored(self, conn: Any, job: Return) -> bool:
        try:
            if self._marks:
                conn._pool = None
            status = self._driver.status(conn)
            if status in UNFIT:
                log_returned(conn, status)
                return False
            if job.roll_back and status != IDLE:
                if not job.is_expected:
                    logger.warning("rolling back returned connection: %s", Shown(conn))
                try:
                    await self._driver.rollback(conn)
                except Exception as error:
                    logger.warning("rollback failed: %s. Discarding connection %s", describe(error), Shown(conn))
                    return False
            if self._reset is None:
                status = self._driver.status(conn)
            else:
                # `result_of` and `_settled` inlined: each coroutine costs a twentieth of the whole return.
                result: Any = self._reset(conn)
                if type(result) is CoroutineType or isawaitable(result):
                    await result
                status = self._driver.status(conn)
                if status in HIDING:
                    status = await self._settled(conn)
            if status not in CLEAN:
                logger.warning(
                    "error resetting connection: %s left in status %s by reset function %s: discarded",
                    Shown(conn),
                    STATUS[status],
                    Shown(self._reset),
                )
                return False
        except (Exception, asyncio.CancelledError) as error:
            if _is_order(error):
                raise
            logger.warning("error resetting connection: %s: %s", Shown(conn), describe(error))
            return False
        return True

    async def examine(self, conn: Any, *, with_check: bool) -> None:
        """Raise if the connection is dead; otherwise leave it idle."""
        try:
            if with_check and self._check is not None:
                await result_of(self._check(conn))
            else:
                await self._driver.probe(conn)
        except asyncio.CancelledError as error:
            raise own_error(error) from None
        await self.settle(conn)

    async def rest_of_check(self, conn: Any, rest: Awaitable[object]) -> None:
        """Finish an `examine` whose first step has been taken; the rest is awaited here."""
        try:
            await rest
        except asyncio.CancelledError as error:
            raise own_error(error) from None
        await self.settle(conn)

    async def settle(self, conn: Any) -> None:
        """See `Work.settle`."""
        status = self._driver.status(conn)
        if status not in UNFIT and status != IDLE:
            await self._driver.rollback(conn)
            status = self._driver.status(conn)
        if status == BROKEN:
            raise ConnectionError("the connection is closed")
        if status not in CLEAN:
            raise ConnectionError(f"the check left the connection in status {STATUS[status]}")

    async def is_alive(self, conn: Any, *, is_asked: bool) -> bool:
        """See `Work.is_alive`."""
        try:
            await self._driver.probe(conn)
        except Exception as error:
            log_dead(conn, error, has_check=self._check is not None and not is_asked)
            return False
        return True

    async def close(self, job: Close) -> None:
        """See `Work.close`."""
        try:
            if self._marks:
                job.conn._pool = None
            await self._driver.close(job.conn)
        except Exception as error:
            logger.warning("error closing connection: %s: %s", Shown(job.conn), describe(error))
        log_closed(self._name, job.conn, job.reason)
        tell(self._hooks.closed, job.conn, job.reason)

    def close_at_once(self, job: Close, *, cuts: bool) -> bool:
        """Close a connection without waiting: by the driver's own means or, if `cuts`, by cutting the socket.

        Returns:
            Whether it was closed.
        """
        close = self._close_at_once or (self._driver.abort if cuts else None)
        if close is None:
            return False
        try:
            if self._marks:
                job.conn._pool = None
            close(job.conn)
        except Exception as error:
            logger.warning("error closing connection: %s: %s", Shown(job.conn), describe(error))
        log_closed(self._name, job.conn, job.reason)
        tell(self._hooks.closed, job.conn, job.reason)
        return True


def call_if_alive(method: "weakref.WeakMethod[Callable[[], None]]") -> None:
    """Call a method unless its object is gone."""
    if (call := method()) is not None:
        call()
