"""The pool for asyncio: settings, life cycle and upkeep.

No lock: nothing is awaited between two calls of the core that belong together.
"""

import asyncio
import warnings
import weakref
from asyncio import get_running_loop
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from inspect import isawaitable
from threading import get_ident
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn

from poolhouse.clock import Clock, SystemClock
from poolhouse.pool import registry
from poolhouse.pool.aio_behind import ACT
from poolhouse.pool.aio_clients import AsyncClients
from poolhouse.pool.aio_work import AsyncWork, call_if_alive, own_tasks
from poolhouse.pool.alarm import Alarm
from poolhouse.pool.core import FULL, PoolCore
from poolhouse.pool.eager import EagerTasks, all_of
from poolhouse.pool.hooks import PoolHooks
from poolhouse.pool.jobs import LANES, Close, Job, Lane, Probe, Return
from poolhouse.pool.options import Order, Shrink, time_limit
from poolhouse.pool.parameters import given, sized
from poolhouse.pool.slot import Lease, Slot
from poolhouse.pool.words import logger
from poolhouse.safely import ERROR

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
        super().__init__(given(locals()), clock or SystemClock())
        self._set_up()
        if open:
            category, text = self._implicit_open
            warnings.warn(text, category, stacklevel=3 if self._is_null else 2)  # where the user constructs it
        elif open is None:
            self._warns_of_implicit_open = self._core.warns_at_first_request = True
        if open is None or open:
            try:
                get_running_loop()
            except RuntimeError:
                raise RuntimeError(f"{type(self).__name__} open with no running loop") from None
            self._open()

    def _set_up(self) -> None:
        """Create the state that belongs to the current core and to one event loop."""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread, self._is_running = 0, bool
        self._tasks: dict[Lane, set[asyncio.Task[None]]] = {lane: set() for lane in Lane}
        #: Returns, commits, checks and connects that continue without their client, with the connection of each.
        self._behind: dict[asyncio.Task[Any], Any] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._alarm = Alarm(self._now)
        self._eager = EagerTasks()
        self._full: list[asyncio.Future[Any]] = []
        myself = weakref.ref(self)

        async def reconnect_failed() -> None:
            if (pool := myself()) is not None:
                await pool.reconnect_failed()

        def log_failed_connect(error: BaseException, *, is_loud: bool) -> None:
            if (pool := myself()) is not None:
                pool._log_failed_connect(error, is_loud=is_loud)

        self._work = AsyncWork(
            self.name,
            self._driver,
            self._now,
            self.hooks,
            self._target,
            self._configure,
            self._check,
            self._reset,
            reconnect_failed,
            log_failed_connect,
        )
        self._work.core = self._core

    def _settle(self) -> None:
        """Carry out the core's decisions: wake clients, start jobs, set the timer, report notices."""
        core = self._core
        self._wake(core)
        # A loop, not recursion: any number of returns may complete at once.
        while self._loop is not None and self._begin_jobs(self._loop, core):
            self._wake(core)
        # Last, because it calls the application's log handlers.
        while core.notices:
            notice = core.notices.popleft()
            if isinstance(notice, str):
                assert notice == FULL, "the core has one notice without details"
                self._wake_full()
            else:
                logger.call(self._tell, notice)

    @staticmethod
    def _wake(core: PoolCore) -> None:
        if core.woken:
            woken, core.woken = core.woken, []
            for waiter in woken:
                waiter.wake()

    def _begin_jobs(self, loop: asyncio.AbstractEventLoop, core: PoolCore) -> bool:
        """Start all pending jobs. Returns whether some of them are complete already, so that more may follow."""
        now, is_done = self._now(), False
        for lane in LANES if core.has_jobs(now) else ():
            tasks = self._tasks[lane]
            while len(tasks) < core.options.num_workers and (job := core.next_job(lane, now)) is not None:
                lease, answer = core.lease_of(job), [False]
                if isinstance(job, Return):
                    task = self._begun_return(loop, core, job, lease, answer)
                    if task is None:
                        is_done = True
                        continue
                elif (task := self._begun_task(loop, core, job, lease, answer)) is None:
                    return False
                tasks.add(task)
                task.add_done_callback(partial(self._ended, core, job, lease, answer))
        if core.has_new_deadline:
            self._set_timer(core, now)
        return is_done

    def _begun_return(
        self, loop: asyncio.AbstractEventLoop, core: PoolCore, job: Return, lease: Lease | None, answer: list[bool]
    ) -> asyncio.Task[None] | None:
        """Begin a return. Gives the task in which it continues; ``None`` if it completed without waiting."""
        try:
            rest = self._eager.begin(self._performed(job, answer, is_guarded=False), loop)
        except KeyboardInterrupt:
            core.dropped(job, lease, self._now())
            raise
        except BaseException as error:  # Log it, as a task would: it does not concern the client that called.
            logger.last_word("pool %r: unexpected error; the pool continues", self.name, error=error)
            rest = None
        if rest is None:
            if not answer[0]:
                core.dropped(job, lease, self._now())
            return None
        self._work.guard(job.slot)
        return rest.in_task(all_of(rest))

    def _begun_task(
        self, loop: asyncio.AbstractEventLoop, core: PoolCore, job: Job, lease: Lease | None, answer: list[bool]
    ) -> asyncio.Task[None] | None:
        """The task of any other job; ``None`` if there is no memory for one: the pool tries again in a second."""
        performed = self._performed(job, answer)
        try:
            return loop.create_task(performed)
        except MemoryError as error:
            performed.close()
            core.put_back(job, lease, self._now())
            loop.call_later(1.0, call_if_alive, weakref.WeakMethod(self._settle))
            logger.last_word("pool %r: no memory for a task; trying again", self.name, error=error)
        return None

    async def _performed(self, job: Job, answer: list[bool], *, is_guarded: bool = True) -> None:
        """Perform a job; `answer` becomes true once the core has been answered."""
        answer[0] = await self._work.perform(job, is_guarded=is_guarded)

    def _ended(
        self, core: PoolCore, job: Job, lease: Lease | None, answer: list[bool], task: asyncio.Task[None]
    ) -> None:
        for tasks in self._tasks.values():
            tasks.discard(task)
        # The exception is a KeyboardInterrupt, which the event loop has reported.
        if task.cancelled() or task.exception() is not None or not answer[0]:
            core.dropped(job, lease, self._now())
        self._settle()

    def _set_timer(self, core: PoolCore, now: float) -> None:
        core.has_new_deadline = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        deadline = core.next_deadline(now)
        if deadline is not None and self._loop is not None:
            # A weak reference: the loop must not keep the pool alive.
            tick = weakref.WeakMethod(self._tick)
            self._timer = self._loop.call_later(max(0.0, deadline - now), call_if_alive, tick)

    def _tick(self) -> None:
        self._timer = None
        core, now = self._core, self._now()
        try:
            core.tick(now)
        except Exception as error:  # Nothing else would set the timer again.
            logger.log(ERROR, "pool %r: unexpected error; the pool continues", self.name, error=error)
            core.recover(now)
        core.has_new_deadline = True
        self._settle()

    def _wake_full(self) -> None:
        for future in self._full:
            if not future.done():
                future.set_result(None)

    async def open(self, wait: bool = False, timeout: float = 30.0) -> None:
        """Start connecting and serving, in the running event loop. Does nothing if the pool is open.

        Args:
            wait: Also wait until `min_size` connections are ready, as `wait` does.
            timeout: How long to wait, in seconds.

        Raises:
            PoolClosed: If the pool has been closed: a closed pool cannot be opened again.
            PoolTimeout: If `wait` is true and the connections are not ready in time.
        """
        self._open()
        if wait:
            self._warn_at_first_request(stacklevel=3)
            await self.wait(timeout=timeout)

    def _open(self) -> None:
        self._opens_itself = False
        if self._core.was_closed:
            raise self._errors.closed("pool has already been opened/closed and cannot be reused")
        self._demand_loop()
        if self._loop is None:
            self._loop = get_running_loop()
            self._thread, self._is_running = get_ident(), self._loop.is_running
        self._core.open(self._now())
        self._settle()
        registry.opened(self)

    async def wait(self, timeout: float = 30.0) -> None:
        """Wait until the pool has `min_size` idle connections. Several tasks may wait at once.

        Args:
            timeout: How long to wait, in seconds.

        Raises:
            PoolTimeout: If the connections are not ready in time. Its ``__cause__`` is the last error of a
                connect, if there was one. A pool that never had `min_size` connections is then closed.
            PoolClosed: If the pool is not open, or is closed during the wait.
        """
        self._warn_at_first_request(stacklevel=3)
        self._demand_loop()
        if not self._core.is_open:
            raise self._errors.closed(
                f"the pool {self.name!r} is {'already closed' if self._core.was_closed else 'not open yet'}"
            )
        deadline = self._now() + time_limit(timeout)
        logger.info("waiting for pool %r initialization", self.name)
        await self._wait_until(deadline, timeout)
        logger.info("pool %r is ready to use", self.name)

    async def _wait_until(self, deadline: float, timeout: float) -> None:
        core = self._core
        before = core.watch_full(self._now())
        full: asyncio.Future[None] = get_running_loop().create_future()
        self._full.append(full)
        try:
            self._settle()
            await asyncio.wait({full}, timeout=max(0.0, deadline - self._now()))
            if not full.done():
                await self._fail_to_fill(timeout, self._copied(core.connect_error))
        finally:
            self._full.remove(full)
            core.unwatch_full()
        if core.times_full == before:
            raise self._closed() from self._copied(core.connect_error)

    async def _fail_to_fill(self, timeout: float, cause: BaseException | None) -> NoReturn:
        """Raise `wait`'s PoolTimeout; close the pool if it never was full."""
        error = self._incomplete(timeout, cause)
        if not self._core.was_full:
            await self.close(timeout=0)
        raise error from cause

    async def close(self, timeout: float = 5.0) -> None:
        """Close the pool: clients are refused, and idle connections are closed.

        A connection that a client still holds is closed when the client returns it.

        Args:
            timeout: How long to wait for the pool's tasks to end, in seconds; 0: do not wait. A callback of the
                pool that calls this does not wait for its own task.
        """
        if not (self._core.is_open or self._core.was_closed or self._opens_itself):
            return
        self._opens_itself = self._warns_of_implicit_open = False
        if self._core.was_closed:
            # Close the connections of blocks that were dropped without `__aexit__`.
            self._core.reclaim(self._now())
            self._settle()
            return
        if self._loop is not None and self._loop.is_closed():
            self._close_without_loop()
            return
        self._demand_loop()
        self._core.close(self._now())
        self._settle()
        self._wake_full()
        self._alarm.stop()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        logger.debug("pool %r closed", self.name)
        deadline, own = self._now() + time_limit(timeout), own_tasks()
        while tasks := (self._tasks[Lane.CONNECT] | self._tasks[Lane.RETURN] | self._behind.keys()) - own:
            remaining = deadline - self._now()
            if remaining <= 0:
                worked_on = [slot.conn for slot in self._core.worked_on]
                behind = [conn for conn in self._behind.values() if not any(conn is other for other in worked_on)]
                for conn in worked_on + behind:
                    if conn is not None:
                        logger.call(self._driver.abort, conn)
                # Jobs that need no answer from the server, such as closing an idle connection, end by themselves.
                tasks |= {asyncio.ensure_future(self._work.perform(job)) for job in self._core.leftovers()}
                await asyncio.wait(tasks, timeout=0)
                # A connect goes on, and closes its connection at the end: a cancellation might lose it.
                connecting = {task for task, conn in self._behind.items() if conn is None}
                for task in tasks - connecting - self._tasks[Lane.CONNECT]:
                    task.cancel()
                return
            await asyncio.wait(tasks, timeout=remaining)
            # The callbacks of ended tasks start further tasks.
            await asyncio.sleep(0)

    def _close_without_loop(self) -> None:
        """Close a pool whose event loop is closed: its connections can only be cut off."""
        self._loop = self._timer = None
        self._core.close(self._now())
        self._settle()
        _cut_leftovers(self._core, self._work)

    def __del__(self) -> None:
        # Nothing refers to the pool any more: close idle connections, in its loop if that still runs.
        core, loop = getattr(self, "_core", None), getattr(self, "_loop", None)
        if core is None or loop is None or not core.is_open:
            return
        try:
            loop.call_soon_threadsafe(_close_forgotten, core, self._work, self._now)
        except RuntimeError:  # The loop is closed.
            core.close(self._now())
            _cut_leftovers(core, self._work)

    @property
    def _implicit_open(self) -> tuple[type[Warning], str]:
        name = type(self).__name__
        return (
            RuntimeWarning,
            f"opening the async pool {name} in the constructor is deprecated, as in psycopg_pool: use open=False "
            f"and `await pool.open()`, or use it as a context manager: `async with {name}(...) as pool: ...`",
        )

    async def reconnect_failed(self) -> None:
        """Call the `reconnect_failed` callback; the pool does so once `reconnect_timeout` has passed."""
        if self._reconnect_failed is not None:
            result = self._reconnect_failed(self)
            if isawaitable(result):
                await result

    async def __aenter__(self) -> "Self":
        """Open the pool unless it is open."""
        self._warns_of_implicit_open = False
        await self.open()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the pool."""
        await self.close()

    async def resize(self, min_size: int, max_size: int | None = None) -> None:
        """Change `min_size` and `max_size`. Surplus connections are closed as soon as they are idle.

        Args:
            min_size: The new minimum.
            max_size: The new maximum; ``None`` for `min_size`.

        Raises:
            ValueError: If the sizes contradict each other or the kind of pool.
            TypeError: If they are not numbers.
        """
        self._demand_loop()
        min_size, max_size = sized(min_size, max_size, is_null=self._is_null)
        logger.info("resizing %r to min_size=%s max_size=%s", self.name, min_size, max_size)
        self._core.resize(min_size, max_size, self._now())
        self._settle()

    async def check(self) -> None:
        """Check every idle connection with a round trip to the server, and replace those that do not answer.

        Connections are checked one at a time, so that clients can take the others.
        """
        self._demand_loop()
        seen: set[Slot] = set()
        while (slot := self._core.claim_for_check(seen, self._now())) is not None:
            seen.add(slot)
            await self._shielded(self._work.perform(Probe(slot, is_asked=True)), slot.conn, settles=False)
            self._settle()

    async def drain(self) -> None:
        """Replace every connection with a new one. A connection that is in use is replaced when it is returned."""
        self._demand_loop()
        self._core.drain(self._now())
        self._settle()

    @staticmethod
    async def check_connection(conn: ACT) -> None:
        """Make one round trip through a psycopg connection; pass this as `check`.

        Raises:
            psycopg.Error: If the connection is dead.
        """
        from poolhouse.pool.drivers.psycopg import AsyncPsycopgDriver

        await AsyncPsycopgDriver(type(conn)).probe(conn)

    @staticmethod
    async def check_writable(conn: ACT) -> None:
        """Raise if a psycopg connection is dead or its server accepts no writes; pass this as `check`.

        After a failover, connections to the former primary still answer, but each write fails (SQLSTATE 25006).

        Raises:
            psycopg.errors.ReadOnlySqlTransaction: If the server, or the session, is read-only.
        """
        from poolhouse.pool.drivers.writable import check_writable_async

        await check_writable_async(conn)

    def _heal(self) -> None:
        super()._heal()
        self._set_up()


#: Tasks that close the connections of collected pools: the event loop refers to its tasks only weakly.
_closing: set[asyncio.Task[bool]] = set()


def _close_forgotten(core: PoolCore, work: AsyncWork, now: Callable[[], float]) -> None:
    """Close a pool that has been collected; runs in its event loop."""
    core.close(now())
    for job in core.leftovers():
        # Close without a task where possible: a loop that is about to end cancels a task before it starts.
        if not (isinstance(job, Close) and work.close_at_once(job, cuts=False)):
            task = get_running_loop().create_task(work.perform(job))
            _closing.add(task)
            task.add_done_callback(_closing.discard)


def _cut_leftovers(core: PoolCore, work: AsyncWork) -> None:
    """Close the connections of a closed pool whose event loop has ended."""
    for job in core.leftovers():
        if isinstance(job, Close):
            work.close_at_once(job, cuts=True)
