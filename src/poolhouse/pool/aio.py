"""The pool for asyncio. No lock: nothing is awaited between two calls of the core that belong together."""

import asyncio
import sys
import warnings
from asyncio import get_running_loop
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from functools import partial
from inspect import isawaitable
from types import CodeType, TracebackType
from typing import TYPE_CHECKING, Any, Generic

from poolhouse.clock import Clock, SystemClock
from poolhouse.pool.aio_work import AsyncWork
from poolhouse.pool.backoff import FIRST_PAUSE
from poolhouse.pool.base import BasePool, describe, logger
from poolhouse.pool.core import BROKEN, FULL, PoolCore, Vet, Waiter
from poolhouse.pool.hooks import PoolHooks, tell
from poolhouse.pool.jobs import Close, Lane, Reason, Return
from poolhouse.pool.options import SECOND, Order, Shrink, size_limits
from poolhouse.pool.slot import Slot

if TYPE_CHECKING:
    from typing import Self

    import psycopg
    from typing_extensions import TypeVar

    ACT = TypeVar("ACT", default="psycopg.AsyncConnection[tuple[Any, ...]]")
else:
    from typing import TypeVar

    ACT = TypeVar("ACT")

_getframe = sys._getframe


class AsyncCheckout(Generic[ACT]):
    """What `AsyncConnectionPool.connection` returns; used once."""

    __slots__ = ("_conn", "_pool", "_timeout", "_token")
    _token: object

    def __init__(self, pool: "AsyncConnectionPool[ACT]", timeout: float | None) -> None:
        self._pool = pool
        self._timeout = timeout
        self._conn: Any = None

    async def __aenter__(self) -> ACT:
        pool, frame = self._pool, _getframe(1)
        now = pool._now
        stamp = self._token = now()
        if get_running_loop() is pool._loop:
            conn = pool._core.take(stamp, frame.f_code, frame.f_lasti)
            if conn is not None:
                if pool._marks:
                    conn._pool = pool
                self._conn = conn
                return conn  # type: ignore[no-any-return]
        return await pool._getconn_slowly(stamp, frame.f_code, frame.f_lasti, self._timeout, self)

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        pool, conn = self._pool, self._conn
        self._conn = None
        if pool.close_returns and not pool._is_held(conn, self._token):
            return  # The block has closed, and so returned, the connection.
        if pool._status(conn):
            await pool._end_transaction(conn, exc_type)
        elif not pool._give(conn):
            await pool._putconn_slowly(conn)

    def __del__(self) -> None:
        # A block that was never left. The collector may run anywhere, also in another thread: word is left with
        # the loop.
        if self._conn is not None:
            self._pool._leave_word(self._conn, self._token)


class AsyncConnectionPool(BasePool, Generic[ACT]):
    """A pool of connections for asyncio, with the interface of psycopg_pool's class of this name.

    Its parameters are those of `ConnectionPool`; callbacks may be functions or coroutine functions.
    """

    _is_async = True

    def __init__(
        self,
        conninfo: str | Callable[[], str | Awaitable[str]] = "",
        *,
        connection_class: type[ACT] | None = None,
        kwargs: Mapping[str, Any] | Callable[[], Mapping[str, Any] | Awaitable[Mapping[str, Any]]] | None = None,
        min_size: int = 4,
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
        super().__init__(
            conninfo,
            connection_class=connection_class,
            driver=driver,
            kwargs=kwargs,
            min_size=min_size,
            max_size=max_size,
            check=check,
            reset=reset,
            configure=configure,
            name=name,
            close_returns=close_returns,
            timeout=timeout,
            max_waiting=max_waiting,
            max_lifetime=max_lifetime,
            max_idle=max_idle,
            reconnect_timeout=reconnect_timeout,
            reconnect_failed=reconnect_failed,
            num_workers=num_workers,
            check_idle=check_idle,
            idle_order=idle_order,
            shrink=shrink,
            hold_warning=hold_warning,
            hooks=hooks,
            clock=clock or SystemClock(),
        )
        self._reset_inline = reset_inline
        self._set_up()
        if open or open is None:
            try:
                get_running_loop()
            except RuntimeError:
                raise RuntimeError(f"{type(self).__name__} open with no running loop") from None
            warnings.warn(
                f"opening the pool {type(self).__name__} in the constructor is deprecated, as in psycopg_pool: "
                "use open=False and `await pool.open()`, or `async with` the pool",
                RuntimeWarning,
                stacklevel=2,
            )
            self._open()

    def _set_up(self) -> None:
        """What belongs to the present core and to one event loop."""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tasks: dict[Lane, set[asyncio.Task[None]]] = {lane: set() for lane in Lane}
        #: Returns, commits and checks that go on after their client was cancelled.
        self._behind: set[asyncio.Task[Any]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._full: list[asyncio.Future[None]] = []
        self._work = AsyncWork(
            self.name,
            self._driver,
            self._now,
            self.hooks,
            self.conninfo,
            self.kwargs,
            self._configure,
            self._check,
            self._reset,
            self._call_reconnect_failed,
            self._log_failed_connect,
        )
        self._work.core = self._core

    async def _call_reconnect_failed(self) -> None:
        if self._reconnect_failed is not None:
            result = self._reconnect_failed(self)
            if isawaitable(result):
                await result

    # -- Getting and giving back ----------------------------------------------------------------------------------

    def connection(self, timeout: float | None = None) -> AsyncCheckout[ACT]:
        """See `ConnectionPool.connection`: ``async with pool.connection() as conn: …``."""
        return AsyncCheckout(self, timeout)

    async def getconn(self, timeout: float | None = None) -> ACT:
        """See `ConnectionPool.getconn`."""
        frame, now = _getframe(1), self._now
        stamp = now()
        if get_running_loop() is self._loop:
            conn: ACT | None = self._core.take(stamp, frame.f_code, frame.f_lasti)
            if conn is not None:
                if self._marks:
                    conn._pool = self  # type: ignore[attr-defined]  # psycopg's
                return conn
        return await self._getconn_slowly(stamp, frame.f_code, frame.f_lasti, timeout)

    async def putconn(self, conn: ACT) -> None:
        """See `ConnectionPool.putconn`."""
        if self._status(conn) or not self._give(conn):
            await self._putconn_slowly(conn)

    def _give(self, conn: Any) -> bool:
        """The fast way back, for a connection that is idle on the server; False if it is barred."""
        key = id(conn)
        core = self._core
        lease = core.leases.get(key)
        if lease is None or core.attention:
            return False
        if self._marks:
            conn._pool = None
        return core.give(key, lease, self._now())

    async def _getconn_slowly(
        self,
        now: int,
        code: CodeType,
        instruction: int,
        timeout: float | None,
        checkout: AsyncCheckout[ACT] | None = None,
    ) -> ACT:
        loop = get_running_loop()
        if self._opens_itself:
            self._open()
        if loop is not self._loop and self._loop is not None:
            raise self._wrong_loop()
        timeout = self.timeout if timeout is None else timeout
        woken: list[asyncio.Future[None]] = []

        def wake() -> None:
            if woken and not woken[-1].done():
                woken[-1].set_result(None)

        waiter = Waiter(wake, code, instruction, asyncio.current_task(), now)
        try:
            conn: ACT = await self._wait_for(waiter, woken, now + int(timeout * SECOND))
            if self._marks:
                conn._pool = self  # type: ignore[attr-defined]  # psycopg's
            if self.hooks.acquired is not None:
                core = self._core
                tell(self.hooks.acquired, conn, (self._now() - now) / 1e9, core.size, core.free)
            if checkout is not None:
                checkout._conn = conn
            return conn
        except BaseException:
            self._core.abandon(waiter, self._now())
            self._settle()
            raise

    async def _wait_for(self, waiter: Waiter, woken: list[asyncio.Future[None]], deadline: int) -> Any:
        """A connection for the waiter, vetted."""
        core = self._core
        is_first = False
        may_wait = deadline > waiter.since
        while True:
            is_answered = core.request(waiter, self._now(), may_wait=may_wait, is_first=is_first)
            if not is_answered:
                woken.append(get_running_loop().create_future())
            self._settle()
            if not is_answered:
                timer = get_running_loop().call_later((deadline - self._now()) / 1e9, waiter.wake)
                try:
                    await woken[-1]
                finally:
                    timer.cancel()
                if core.time_out(waiter, self._now()):
                    self._settle()
                    raise self._timed_out(waiter)
            if waiter.refusal is not None:
                raise self._refused(waiter.refusal, waiter)
            slot = waiter.slot
            assert slot is not None, "who is woken has been given something"
            if slot.conn is None:
                conn = await self._connect_here(waiter, slot, deadline)
            elif (vet := core.vet(slot, self._now())) is Vet.NOTHING:
                conn = slot.conn
            else:
                conn = await self._vetted(waiter, slot, vet, deadline)
            if conn is not None:
                core.accept(waiter, self._now())
                return conn
            is_first = True
            if self._now() >= deadline:
                core.time_out(waiter, self._now())
                raise self._timed_out(waiter)

    async def _vetted(self, waiter: Waiter, slot: Slot, vet: Vet, deadline: int) -> Any:
        """The slot's connection, if it is alive; ``None`` if it was not, and is gone."""
        conn = slot.conn
        if vet is Vet.LOOK and self._is_quiet(conn):
            return conn
        task = asyncio.ensure_future(self._work.examine(conn, with_check=vet is Vet.CHECK))
        guard = get_running_loop().call_later((deadline - self._now()) / 1e9, self._driver.abort, conn)
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            # The client is told at once; the check goes on, and who knows what it finds.
            self._core.take_over(waiter, self._now())
            self._go_on(task, lambda: self._checked_behind(slot, task, guard))
            raise
        except Exception as error:
            guard.cancel()
            logger.warning("discarding broken connection: %s: %s", conn, describe(error))
            self._core.found_dead(waiter, error, self._now())
            self._settle()
            return None
        guard.cancel()
        self._core.proven(slot, self._now())
        return conn

    def _checked_behind(self, slot: Slot, task: asyncio.Task[None], guard: asyncio.TimerHandle) -> None:
        guard.cancel()
        is_alive = not task.cancelled() and task.exception() is None
        self._core.probed(slot, is_alive, self._now())
        self._settle()

    async def _connect_here(self, waiter: Waiter, slot: Slot, deadline: int) -> Any:
        """A null pool's connection, made by the client itself."""
        began = self._now()
        remaining = max(0.0, (deadline - began) / 1e9)
        try:
            async with asyncio.timeout(remaining):
                conn = await self._work.connection(remaining)
        except BaseException as error:
            waiter.slot = None
            self._core.connect_failed(slot, error, self._now())
            self._settle()
            if isinstance(error, TimeoutError) and self._now() >= deadline:
                self._core.time_out(waiter, self._now())
                raise self._timed_out(waiter) from error
            raise
        now = self._now()
        job = self._core.connected(slot, conn, now - began, now, waiter)
        self._settle()
        tell(self.hooks.connected, conn, (now - began) / 1e9)
        if job is not None:
            waiter.slot = None
            await self._work.close(job)
            raise self._errors.closed(f"the pool {self.name!r} is already closed")
        return conn

    async def _end_transaction(self, conn: Any, exc_type: type[BaseException] | None) -> None:
        """What the end of a `connection` block does to an open transaction, and the return after it."""
        if exc_type is not None and issubclass(exc_type, asyncio.CancelledError):
            self._put_behind(conn)
            return
        if self._status(conn) != BROKEN:
            end = self._driver.commit if exc_type is None else self._driver.rollback
            task = asyncio.ensure_future(end(conn))
            try:
                await asyncio.shield(task)
            except asyncio.CancelledError:
                self._go_on(task, lambda: self._put_behind(conn))
                raise
            except Exception as error:
                if exc_type is None:
                    self._put_behind(conn)
                    raise
                # The exception that ends the block matters more; the connection is looked at on return.
                logger.warning("error ignored in rollback of %s: %s", conn, describe(error))
        await self._putconn_slowly(conn)

    async def _putconn_slowly(self, conn: Any) -> None:
        if self._is_parents(conn):
            return
        if self._loop is not None and get_running_loop() is not self._loop:
            raise self._wrong_loop()
        job = self._put(conn, is_inline=self._reset_inline)
        if isinstance(job, Close) and job.reason not in (Reason.NOT_KEPT, Reason.CLOSED):
            self._core.post(job)
            self._settle()
        elif isinstance(job, Close):
            await self._shielded(self._work.close(job))
        elif job is not None:
            await self._shielded(self._work.restore(job))
            self._settle()

    def _put(self, conn: Any, *, is_expected: bool = False, is_inline: bool = False) -> Close | Return | None:
        """Give the connection to the core; what is left to do."""
        now, lease = self._now(), self._core.leases.get(id(conn))
        status = self._status(conn)
        if self._marks and lease is not None:
            conn._pool = None
        try:
            job = self._core.put(conn, status, now, is_expected=is_expected, is_inline=is_inline)
        except KeyError:
            raise self._foreign(conn) from None
        self._settle()
        if lease is not None:
            tell(self.hooks.released, conn, (now - lease[1]) / 1e9)
        if isinstance(job, Close) and job.reason is Reason.BROKEN:
            logger.warning("discarding closed connection: %s", conn)
        return job

    def _put_behind(self, conn: Any) -> None:
        """Give the connection back without waiting: its client was cancelled, or has an error to raise."""
        job = self._put(conn, is_expected=True)
        if isinstance(job, Close):
            self._core.post(job)
            self._settle()

    async def _shielded(self, work: Coroutine[Any, Any, None]) -> None:
        """Await what must be done whether or not the client is cancelled; a cancelled client is told at once."""
        task = asyncio.ensure_future(work)
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            self._go_on(task, self._settle)
            raise

    def _go_on(self, task: asyncio.Task[Any], then: Callable[[], object]) -> None:
        """Let a task end behind its client, and do something afterwards."""
        self._behind.add(task)

        def done(_: object) -> None:
            self._behind.discard(task)
            if not task.cancelled() and (error := task.exception()) is not None:
                logger.warning("pool %r: after its client was cancelled: %s", self.name, describe(error))
            then()

        task.add_done_callback(done)

    def _leave_word(self, conn: Any, token: object) -> None:
        loop = self._loop
        if loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(self._reclaim, conn, token)

    def _reclaim(self, conn: Any, token: object) -> None:
        if self._is_held(conn, token):
            self._core.interrupted_give(conn, self._core.leases[id(conn)], self._now())
            self._settle()

    def _wrong_loop(self) -> RuntimeError:
        return RuntimeError(
            f"the pool {self.name!r} was opened in another event loop, and its connections belong to that loop; "
            "open a pool inside each loop that needs one"
        )

    # -- After each call of the core ------------------------------------------------------------------------------

    def _settle(self) -> None:
        """Wake, tell, begin what is to be done, and set the timer."""
        core = self._core
        if core.woken:
            woken, core.woken = core.woken, []
            for waiter in woken:
                waiter.wake()
        while core.notices:
            notice = core.notices.popleft()
            if isinstance(notice, str):
                assert notice == FULL, "the core has one notice without details"
                self._wake_full()
            else:
                self._tell(notice)
        if self._loop is None:
            return
        now = self._now()
        for lane in Lane:
            tasks = self._tasks[lane]
            while len(tasks) < core.options.num_workers and (job := core.next_job(lane, now)) is not None:
                task = self._loop.create_task(self._work.perform(job))
                tasks.add(task)
                task.add_done_callback(partial(self._ended, tasks))
        if core.has_new_deadline:
            self._set_timer(core, now)

    def _ended(self, tasks: set[asyncio.Task[None]], task: asyncio.Task[None]) -> None:
        tasks.discard(task)
        self._settle()

    def _set_timer(self, core: PoolCore, now: int) -> None:
        core.has_new_deadline = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        deadline = core.next_deadline(now)
        if deadline is not None and self._loop is not None:
            self._timer = self._loop.call_later(max(0.0, (deadline - now) / 1e9), self._tick)

    def _tick(self) -> None:
        self._timer = None
        self._core.tick(self._now())
        self._core.has_new_deadline = True
        self._settle()

    def _wake_full(self) -> None:
        for future in self._full:
            if not future.done():
                future.set_result(None)

    # -- Life cycle -----------------------------------------------------------------------------------------------

    async def open(self, wait: bool = False, timeout: float = 30.0) -> None:
        """See `ConnectionPool.open`. The pool belongs to the event loop in which it is opened."""
        self._open()
        if wait:
            await self.wait(timeout)

    def _open(self) -> None:
        self._opens_itself = False
        if self._core.was_closed:
            raise self._errors.closed("pool has already been opened/closed and cannot be reused")
        if self._loop is None:
            self._loop = get_running_loop()
        self._core.open(self._now())
        self._settle()

    async def wait(self, timeout: float = 30.0) -> None:
        """See `ConnectionPool.wait`."""
        core = self._core
        if not core.is_open:
            raise self._errors.closed(
                f"the pool {self.name!r} is {'already closed' if core.was_closed else 'not open yet'}"
            )
        if core.is_full:
            return
        full: asyncio.Future[None] = get_running_loop().create_future()
        self._full.append(full)
        try:
            async with asyncio.timeout(timeout):
                await full
        except TimeoutError:
            cause = core.connect_error
            await self.close()
            raise self._incomplete(timeout, cause) from cause
        finally:
            self._full.remove(full)
        if not core.is_full:
            raise self._errors.closed(f"the pool {self.name!r} is already closed")

    async def close(self, timeout: float = 5.0) -> None:
        """See `ConnectionPool.close`."""
        self._opens_itself = False
        self._core.close(self._now())
        self._settle()
        self._wake_full()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        deadline = self._now() + int(timeout * SECOND)
        while tasks := self._tasks[Lane.CONNECT] | self._tasks[Lane.RETURN] | self._behind:
            remaining = (deadline - self._now()) / 1e9
            if remaining <= 0:
                for slot in self._core.worked_on.copy():
                    self._driver.abort(slot.conn)
                for task in tasks:
                    task.cancel()
                return
            await asyncio.wait(tasks, timeout=remaining)
            # Let the tasks' ends begin what comes after them.
            await asyncio.sleep(0)

    async def __aenter__(self) -> "Self":
        """See `ConnectionPool.__enter__`."""
        await self.open()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """See `ConnectionPool.__exit__`."""
        await self.close()

    # -- Upkeep ---------------------------------------------------------------------------------------------------

    async def resize(self, min_size: int, max_size: int | None = None) -> None:
        """See `ConnectionPool.resize`."""
        min_size, max_size = size_limits(min_size, max_size, is_null=self._is_null)
        self._core.resize(min_size, max_size, self._now())
        self._settle()

    async def check(self) -> None:
        """See `ConnectionPool.check`."""
        seen: set[Slot] = set()
        while (slot := self._core.claim_for_check(seen, self._now())) is not None:
            seen.add(slot)
            is_alive = False
            try:
                is_alive = await self._work.is_alive(slot.conn)
            finally:
                self._core.probed(slot, is_alive, self._now())
                self._settle()

    async def drain(self) -> None:
        """See `ConnectionPool.drain`."""
        self._core.drain(self._now())
        self._settle()

    @staticmethod
    async def check_connection(conn: ACT) -> None:
        """See `ConnectionPool.check_connection`."""
        from poolhouse.pool.drivers.psycopg import AsyncPsycopgDriver

        await AsyncPsycopgDriver(type(conn)).probe(conn)

    def _heal(self) -> None:
        super()._heal()
        self._set_up()


class AsyncNullConnectionPool(AsyncConnectionPool[ACT]):
    """See `NullConnectionPool`."""

    _is_null = True

    def __init__(
        self, conninfo: str | Callable[[], str | Awaitable[str]] = "", *, min_size: int = 0, **parameters: Any
    ) -> None:
        super().__init__(conninfo, min_size=min_size, **parameters)

    async def wait(self, timeout: float = 30.0) -> None:
        """See `NullConnectionPool.wait`."""
        await super().wait(timeout)
        deadline = self._now() + int(timeout * SECOND)
        while True:
            began = self._now()
            try:
                async with asyncio.timeout((deadline - began) / 1e9):
                    conn = await self._work.connection(None)
            except Exception as error:
                self._core.rehearsed(0, error)
                self._log_failed_connect(error, is_loud=True)
                await asyncio.sleep(max(0, min(FIRST_PAUSE, deadline - self._now())) / 1e9)
                if self._now() >= deadline:
                    await self.close()
                    raise self._incomplete(timeout, error) from error
            else:
                self._core.rehearsed(self._now() - began, None)
                await self._work.close(Close(conn, Reason.NOT_KEPT))
                return
