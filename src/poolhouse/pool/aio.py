"""The pool for asyncio: settings, life cycle and upkeep.

No lock: nothing is awaited between two calls of the core that belong together.
"""

import asyncio
import warnings
from asyncio import get_running_loop
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from inspect import isawaitable
from types import TracebackType
from typing import TYPE_CHECKING, Any

from poolhouse.clock import Clock, SystemClock
from poolhouse.pool import registry
from poolhouse.pool.aio_clients import ACT, AsyncClients
from poolhouse.pool.aio_work import AsyncWork
from poolhouse.pool.alarm import Alarm
from poolhouse.pool.backoff import FIRST_PAUSE
from poolhouse.pool.core import FULL, PoolCore
from poolhouse.pool.hooks import PoolHooks
from poolhouse.pool.jobs import Close, Lane, Reason
from poolhouse.pool.options import Order, Shrink, size_limits
from poolhouse.pool.slot import Slot

if TYPE_CHECKING:
    from typing import Self


class AsyncConnectionPool(AsyncClients[ACT]):
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
        self._alarm = Alarm(self._core, self._now)
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
        for lane in Lane if core.has_jobs(now) else ():
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

    def _set_timer(self, core: PoolCore, now: float) -> None:
        core.has_new_deadline = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        deadline = core.next_deadline(now)
        if deadline is not None and self._loop is not None:
            self._timer = self._loop.call_later(max(0.0, deadline - now), self._tick)

    def _tick(self) -> None:
        self._timer = None
        self._core.tick(self._now())
        self._core.has_new_deadline = True
        self._settle()

    def _wake_full(self) -> None:
        for future in self._full:
            if not future.done():
                future.set_result(None)

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
        registry.opened(self)

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
            raise self._errors.closed(f"the pool {self.name!r} is already closed") from core.connect_error

    async def close(self, timeout: float = 5.0) -> None:
        """See `ConnectionPool.close`."""
        self._opens_itself = False
        if self._core.was_closed:
            return
        self._core.close(self._now())
        self._settle()
        self._wake_full()
        self._alarm.stop()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        deadline = self._now() + timeout
        while tasks := self._tasks[Lane.CONNECT] | self._tasks[Lane.RETURN] | self._behind:
            remaining = deadline - self._now()
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

    @staticmethod
    async def check_writable(conn: ACT) -> None:
        """See `ConnectionPool.check_writable`."""
        from poolhouse.pool.drivers.writable import check_writable_async

        await check_writable_async(conn)

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
        deadline = self._now() + timeout
        while True:
            began = self._now()
            try:
                async with asyncio.timeout(deadline - began):
                    conn = await self._work.connection(None)
            except Exception as error:
                self._core.rehearsed(0, error)
                self._log_failed_connect(error, is_loud=True)
                await asyncio.sleep(max(0.0, min(FIRST_PAUSE, deadline - self._now())))
                if self._now() >= deadline:
                    await self.close()
                    raise self._incomplete(timeout, error) from error
            else:
                self._core.rehearsed(self._now() - began, None)
                await self._work.close(Close(conn, Reason.NOT_KEPT))
                return
