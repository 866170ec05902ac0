"""The slow path of taking a connection from a pool for asyncio: waiting, checking, connecting."""

import asyncio
import weakref
from asyncio import get_running_loop
from collections.abc import Callable
from threading import get_ident
from types import CodeType, CoroutineType
from typing import TYPE_CHECKING, Any

from poolhouse.errors import PoolError
from poolhouse.pool.aio_behind import ACT, Behind
from poolhouse.pool.aio_work import enter_own_task, own_error, result_of
from poolhouse.pool.alarm import Alarm
from poolhouse.pool.backoff import PROBE_PAUSE
from poolhouse.pool.core import Vet, Waiter
from poolhouse.pool.eager import EagerTasks
from poolhouse.pool.hooks import tell
from poolhouse.pool.jobs import Reason
from poolhouse.pool.options import PROBE_LIMIT
from poolhouse.pool.slot import Lease, Slot

if TYPE_CHECKING:
    from poolhouse.pool.aio_clients import AsyncCheckout


class Unsettled:
    """A claimed connection that its client cannot use yet.

    Attributes:
        lease: The client's lease.
        check: The task that continues the check; ``None`` if the connection was dead and has been closed.
    """

    __slots__ = ("check", "lease")

    def __init__(self, lease: Lease, check: "asyncio.Task[None] | None") -> None:
        self.lease, self.check = lease, check


class AsyncWaiting(Behind[ACT]):
    """Serves the clients that the fast path cannot serve."""

    #: The thread in which the loop was last seen running, and whether it runs. Together they replace
    #: `get_running_loop`, which on CPython 3.11 makes a system call (`getpid`).
    _thread: int
    _is_running: Callable[[], bool]
    _alarm: Alarm
    #: Futures to complete when the pool is full, or closed.
    _full: list[asyncio.Future[Any]]
    _eager: EagerTasks

    async def _getconn_slowly(
        self,
        now: float,
        code: CodeType,
        instruction: int,
        timeout: float | None,
        checkout: "AsyncCheckout[ACT] | None" = None,
        claimed: Unsettled | None = None,
    ) -> ACT:
        """Take a connection by the slow path.

        Args:
            now: When the client asked.
            code: The code object of the call site.
            instruction: The offset of the instruction in it.
            timeout: As for `getconn`.
            checkout: The block, if the caller is one.
            claimed: A connection that it has claimed. If that is dead, the client goes ahead of later arrivals.
        """
        if self._opens_itself:
            self._open()
        if self._core.warns_at_first_request:
            self._warn_at_first_request()
        self._demand_loop()
        loop = get_running_loop()
        if self._loop is not None and self._thread != (thread := get_ident()):
            self._thread = thread
        timeout = self.timeout if timeout is None else timeout
        woken: list[asyncio.Future[None]] = []

        def wake() -> None:
            if woken and not woken[-1].done():
                woken[-1].set_result(None)

        task = asyncio.current_task(loop)
        waiter = Waiter(wake, code, instruction, task and weakref.ref(task), now)
        try:
            conn: Any = None
            if claimed is not None and claimed.check is not None:
                slot, may_wait = self._core.claimed_by(waiter, claimed.lease), timeout > 0
                limit = now + (timeout if may_wait else PROBE_LIMIT)
                conn = await self._ended_check(waiter, slot, claimed.check, limit, may_leave=may_wait)
            if conn is not None:
                self._core.accept(waiter, self._now())
            else:
                conn = await self._wait_for(waiter, woken, now + timeout, loop, is_first=claimed is not None)
            if self._marks:
                conn._pool = self
            if self._acquired is not None:
                core = self._core
                tell(self._acquired, conn, self._now() - now, core.size, core.free)
            if checkout is not None:
                checkout._lease = self._core.kept(waiter)
            return conn  # type: ignore[no-any-return]
        except BaseException as error:
            is_refusal = isinstance(error, PoolError)
            if waiter.refusal is None or not is_refusal:
                is_between_calls = is_refusal or isinstance(error, asyncio.CancelledError)
                self._core.abandon(waiter, self._now(), is_between_calls=is_between_calls)
                self._settle()
            raise

    async def _wait_for(
        self,
        waiter: Waiter,
        woken: list[asyncio.Future[None]],
        deadline: float,
        loop: asyncio.AbstractEventLoop,
        *,
        is_first: bool,
    ) -> Any:
        """Wait until the waiter is served, and return its connection, vetted."""
        core = self._core
        may_wait = deadline > waiter.since
        is_answered = False
        if is_first:
            is_answered = self._ask_again(waiter, woken, deadline, may_wait=may_wait)
        elif may_wait and core.enqueue_fast(waiter, waiter.since):
            woken.append(loop.create_future())
        else:
            is_answered = self._request(waiter, woken, may_wait=may_wait)
        while True:
            if not is_answered:
                self._alarm.add(deadline, woken[-1])
                await woken[-1]
                if waiter.slot is None and core.time_out(waiter, self._now()):
                    self._settle()
                    raise self._timed_out(waiter)
            if waiter.refusal is not None:
                raise self._refused(waiter.refusal, waiter)
            slot, now = waiter.slot, self._now()
            assert slot is not None, "a woken client has been given a slot"
            if slot.conn is None:
                conn = await self._connect_here(waiter, slot, deadline)
            elif (vet := core.vet(slot, now)) is Vet.NOTHING:
                core.accept(waiter, now)
                return slot.conn
            else:
                # With timeout=0 the deadline has passed, but an idle connection may take PROBE_LIMIT to check.
                limit = deadline if may_wait else now + PROBE_LIMIT
                conn = await self._vetted(waiter, slot, vet, limit, may_leave=may_wait)
            if conn is not None:
                core.accept(waiter, self._now())
                return conn
            is_answered = self._ask_again(waiter, woken, deadline, may_wait=may_wait)

    def _ask_again(
        self, waiter: Waiter, woken: list[asyncio.Future[None]], deadline: float, *, may_wait: bool
    ) -> bool:
        """Request again, at the head of the queue, after a dead connection. Returns whether the core answered."""
        if may_wait and self._now() >= deadline:
            self._core.time_out(waiter, self._now())
            raise self._timed_out(waiter)
        return self._request(waiter, woken, may_wait=may_wait, is_first=True)

    def _request(
        self, waiter: Waiter, woken: list[asyncio.Future[None]], *, may_wait: bool, is_first: bool = False
    ) -> bool:
        """Request a slot from the core. Returns whether it has answered; if not, `woken[-1]` will be completed."""
        is_answered = self._core.request(waiter, self._now(), may_wait=may_wait, is_first=is_first)
        if not is_answered:
            woken.append(get_running_loop().create_future())
        self._settle()
        return is_answered

    async def _vetted(
        self, waiter: Waiter, slot: Slot, vet: Vet, deadline: float, *, may_leave: bool = True
    ) -> Any:
        """The slot's connection if it is alive; ``None`` if it was dead, and has been closed.

        Args:
            waiter: The client.
            slot: The slot that it has been given.
            vet: How to vet the connection.
            deadline: How long the client waits for the check, in monotonic seconds.
            may_leave: Whether a check that takes longer continues without the client; otherwise the connection
                is aborted.
        """
        conn = slot.conn
        if vet is Vet.LOOK and self._is_quiet(conn):
            return conn
        slot.is_checking = True
        task, error = self._begun_check(conn, with_check=vet is Vet.CHECK)
        if task is not None:
            return await self._ended_check(waiter, slot, task, deadline, may_leave=may_leave)
        return self._judged(waiter, slot, error, is_cut=False)

    def _begun_check(self, conn: Any, *, with_check: bool) -> tuple[asyncio.Task[None] | None, Exception | None]:
        """Begin a check. Returns its task; or, if the first step completed it, its error or ``None``."""
        loop = self._loop
        assert loop is not None, "a pool without a loop has no connection to check"
        try:
            check = self._check if with_check else None
            result: Any = (check or self._driver.probe)(conn)
            if result is not None:
                check_itself = result if type(result) is CoroutineType else result_of(result)
                if (rest := self._eager.begin(check_itself, loop)) is not None:
                    return rest.in_task(self._work.rest_of_check(conn, rest)), None
            if (
                conn.pgconn.transaction_status or conn._tpc or conn._pipeline
                if self._has_pgconn
                else self._status(conn)
            ):
                return asyncio.ensure_future(self._work.settle(conn)), None
        except asyncio.CancelledError as cancelled:
            error = own_error(cancelled)
            if not isinstance(error, Exception):
                raise
            return None, self._dead_because(conn, error, is_cut=False)
        except Exception as error:
            return None, self._dead_because(conn, error, is_cut=False)
        return None, None

    async def _ended_check(
        self, waiter: Waiter, slot: Slot, task: asyncio.Task[None], deadline: float, *, may_leave: bool = True
    ) -> Any:
        """The result of `_vetted`, for a check that continues in a task."""
        conn, is_cut = slot.conn, False
        try:
            await asyncio.wait({task}, timeout=max(0.0, deadline - self._now()))
            if not task.done() and not may_leave:
                is_cut = True
                self._driver.abort(conn)
                await asyncio.wait({task})
        except asyncio.CancelledError:
            # Cancel the client now; the check finishes in the background and decides what becomes of the
            # connection.
            self._leave_check(waiter, slot, task)
            raise
        if not task.done():
            self._leave_check(waiter, slot, task)
            self._core.time_out(waiter, self._now())
            self._settle()
            raise self._timed_out(waiter)
        error = TimeoutError() if is_cut else self._error_of(task)
        if error is not None:
            error = self._dead_because(conn, error, is_cut)
        return self._judged(waiter, slot, error, is_cut=is_cut)

    def _judged(self, waiter: Waiter, slot: Slot, error: Exception | None, *, is_cut: bool) -> Any:
        """The connection; or ``None`` if its check failed with an error, and it has been closed."""
        slot.is_checking = False
        if error is None:
            self._core.proven(slot, self._now())
            return slot.conn
        self._core.found_dead(slot, error, self._now(), waiter=waiter, is_cut=is_cut)
        self._settle()
        return None

    @staticmethod
    def _error_of(task: asyncio.Task[None]) -> Exception | None:
        """The `Exception` with which a check failed, or ``None``; raises any other BaseException."""
        try:
            task.result()
        except Exception as error:
            return error
        return None

    def _leave_check(self, waiter: Waiter, slot: Slot, task: asyncio.Task[None]) -> None:
        """The client leaves; the check continues for at most `PROBE_LIMIT` and decides about the connection."""
        self._core.take_over(waiter, self._now())
        self._go_on(task, slot.conn, lambda in_time: self._checked_behind(slot, task, in_time))

    def _checked_behind(self, slot: Slot, task: asyncio.Task[None], in_time: bool) -> None:
        is_alive = in_time and not task.cancelled() and task.exception() is None
        self._core.probed(slot, is_alive, self._now())
        self._settle()

    async def _connect_here(self, waiter: Waiter, slot: Slot, deadline: float) -> Any:
        """A null pool's connection, made for this client alone; ``None`` if the pool was drained meanwhile.

        The connect runs in a task of its own, and the client leaves it at its deadline or when it is cancelled:
        not every driver's connect, and no `configure` on a stopped server, can be cancelled at once. The
        connection then goes to the next client.
        """
        if deadline <= waiter.since:
            self._core.leave_connect(waiter, self._now(), is_begun=False)
            self._settle()
            raise self._timed_out(waiter)
        task = asyncio.ensure_future(self._connect_for(waiter, slot, deadline))
        self._behind[task] = None
        task.add_done_callback(self._behind.pop)
        closed: asyncio.Future[None] = get_running_loop().create_future()
        self._full.append(closed)
        either: set[asyncio.Future[Any]] = {task, closed}
        try:
            remaining = deadline - self._now()
            await asyncio.wait(either, timeout=remaining, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            if not task.done():
                waiter.slot = None
            raise
        finally:
            self._full.remove(closed)
        if not task.done() and self._core.was_closed:
            waiter.slot = None  # The connect continues; its connection is closed at the end.
            raise self._closed()
        if not task.done():
            self._core.leave_connect(waiter, self._now())
            self._settle()
            raise self._timed_out(waiter)
        error, conn = (self._closed(), None) if task.cancelled() else task.result()
        if error is not None:
            raise error
        if conn is None:
            waiter.slot = None
        elif self._core.vet(slot, self._now()) is Vet.CHECK:
            conn = await self._vetted(waiter, slot, Vet.CHECK, deadline)
            if conn is None:  # A check that always fails must not make the client connect as fast as it can.
                await asyncio.sleep(max(0.0, min(PROBE_PAUSE, deadline - self._now())))
        return conn

    async def _connect_for(self, waiter: Waiter, slot: Slot, deadline: float) -> tuple[BaseException | None, Any]:
        """Connect for a client of a null pool, or for the next client if it has left; see `_connect_here`.

        Returns:
            The error and the connection, one of which is ``None``; both are if the pool was drained meanwhile.
        """
        enter_own_task()
        began = self._now()
        try:
            conn = await self._work.connection(max(0.0, deadline - began))
            now = self._now()
            job = self._core.connected(slot, conn, now - began, now, waiter)
        except BaseException as error:
            is_loud = self._core.connect_failed(slot, error, self._now())
            self._settle()
            if isinstance(error, asyncio.CancelledError):
                raise
            if waiter.slot is not slot:
                self._log_failed_connect(error, is_loud=is_loud)  # No client will raise it.
            return error, None
        raised: BaseException | None = None
        try:
            self._settle()
            tell(self.hooks.connected, conn, now - began)
        except BaseException as error:  # Raised again in the client's task, which takes care of the connection.
            raised = error
        if job is None:
            return raised, conn
        await self._work.close(job)
        if job.reason is Reason.CLOSED:
            return self._closed(), None
        return None, None
