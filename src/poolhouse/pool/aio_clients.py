"""The pool for asyncio, as its clients see it: taking connections and giving them back."""

import asyncio
import sys
import weakref
from asyncio import get_running_loop
from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import partial
from threading import get_ident
from types import CodeType, CoroutineType, TracebackType
from typing import TYPE_CHECKING, Any, Generic

from poolhouse.errors import PoolError
from poolhouse.pool.aio_work import AsyncWork, Guard, enter_own_task, own_error, result_of
from poolhouse.pool.alarm import Alarm
from poolhouse.pool.backoff import PROBE_PAUSE
from poolhouse.pool.base import BasePool, describe, log_returned, logger
from poolhouse.pool.core import BROKEN, CALLBACKS, IDLE, SLOW, Vet, Waiter
from poolhouse.pool.eager import EagerTasks
from poolhouse.pool.hooks import failed, tell
from poolhouse.pool.jobs import NOT_LEASED, Close, Reason, Return
from poolhouse.pool.options import PROBE_LIMIT, RETURN_LIMIT
from poolhouse.pool.slot import Lease, Slot

if TYPE_CHECKING:
    import psycopg
    from typing_extensions import TypeVar

    ACT = TypeVar("ACT", default="psycopg.AsyncConnection[tuple[Any, ...]]")
else:
    from typing import TypeVar

    ACT = TypeVar("ACT")

_getframe = sys._getframe

#: How long a client that was cancelled waits, in seconds, for its transaction to end and its connection to be idle
#: again. A server that answers has answered by then; one that says nothing holds nobody up.
SETTLED = 0.05
#: How often another loop looks whether the pool's, which it has asked for something, still runs; in seconds.
LOOP_PAUSE = 1.0


class Unsettled:
    """A connection that a client has claimed, but cannot have yet.

    Attributes:
        lease: The client's.
        check: The task in which the check goes on; ``None`` if the connection was dead, and is gone.
    """

    __slots__ = ("check", "lease")

    def __init__(self, lease: Lease, check: "asyncio.Task[None] | None") -> None:
        self.lease, self.check = lease, check


class AsyncCheckout(Generic[ACT]):
    """What `connection` returns; used once. See `Checkout`."""

    __slots__ = ("_lease", "_pool", "_timeout")
    _lease: Lease | None
    _pool: "AsyncClients[ACT]"
    _timeout: float | None

    async def __aenter__(self) -> ACT:
        if self._lease is not None:
            raise RuntimeError("a block is entered once: call connection() for each")
        pool, frame = self._pool, _getframe(1)
        now = pool._now
        stamp = now()
        if get_ident() == pool._thread and pool._is_running():
            lease = self._lease = pool._core.take(stamp, frame.f_code, frame.f_lasti, True)
            if lease is not None:
                conn = lease[0].conn
                if pool._marks:
                    conn._pool = pool
                return conn  # type: ignore[no-any-return]
            if pool._core.attention == CALLBACKS:
                claimed = pool._claimed(stamp, frame.f_code, frame.f_lasti, True)
                if isinstance(claimed, tuple):
                    self._lease = claimed
                    return claimed[0].conn  # type: ignore[no-any-return]
                return await pool._getconn_slowly(stamp, frame.f_code, frame.f_lasti, self._timeout, self, claimed)
        return await pool._getconn_slowly(stamp, frame.f_code, frame.f_lasti, self._timeout, self)

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        pool, lease = self._pool, self._lease
        assert lease is not None, "only a block that was entered is left"
        core, conn = pool._core, lease[0].conn
        if core.leases.get(lease[0].key) is not lease:
            pool._left_without(conn)
            return
        status = (
            conn.pgconn.transaction_status or conn._tpc or conn._pipeline
            if pool._has_pgconn
            else pool._status(conn)
        )
        if not (status or core.attention) and core.leases.pop(lease[0].key, None) is lease:
            now = pool._now
            if pool._marks:
                conn._pool = None
            if core.give(lease, now()):
                if pool._core.attention:  # now: rule 1 of the core
                    pool._attend_from_elsewhere()
                return
        elif not status and core.attention == CALLBACKS and pool._is_given(conn, lease):
            return
        if exc_type is GeneratorExit:
            pool._put_dropped(conn)
        elif status:
            await pool._end_transaction(conn, exc_type)
        elif not pool._pass_on(conn):
            await pool._putconn_slowly(conn)


class RoutedAsyncCheckout(AsyncCheckout[ACT]):
    """See `RoutedCheckout`."""

    __slots__ = ("_conn",)
    _conn: ACT

    async def __aenter__(self) -> ACT:
        if self._lease is not None:
            raise RuntimeError("a block is entered once: call connection() for each")
        pool, frame = self._pool, _getframe(1)
        self._conn = conn = await pool.getconn(timeout=self._timeout)
        self._lease = pool._core.attribute(conn, frame.f_code, frame.f_lasti)
        return conn

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        pool, conn, lease = self._pool, self._conn, self._lease
        if lease is not None and pool._core.leases.get(lease[0].key) is not lease:
            pool._left_without(conn)
            return
        try:
            if pool._status(conn) not in (IDLE, BROKEN) and not pool._is_parents(conn):
                await (pool._driver.commit if exc_type is None else pool._driver.rollback)(conn)
        except Exception as error:
            if exc_type is None:
                raise
            logger.warning("error ignored in rollback on %s: %s", conn, describe(error))
        finally:
            await pool.putconn(conn)


class AsyncClients(BasePool, Generic[ACT]):
    """Taking connections and giving them back."""

    _loop: asyncio.AbstractEventLoop | None
    #: Where the loop was last seen to run, and whether it does: together as good as `get_running_loop`, which on
    #: CPython 3.11 asks the operating system for the process's number.
    _thread: int
    _is_running: Callable[[], bool]
    _alarm: Alarm
    _behind: dict[asyncio.Task[Any], Any]
    #: Done when the pool is full, or closed.
    _full: list[asyncio.Future[Any]]
    _work: AsyncWork
    _eager: EagerTasks
    _reset_inline: bool

    def _open(self) -> None:
        raise NotImplementedError("the pool itself knows how it is opened")

    def _settle(self) -> None:
        raise NotImplementedError("the pool itself knows what follows a call of the core")

    def connection(self, timeout: float | None = None) -> AsyncCheckout[ACT]:
        """See `ConnectionPool.connection`: ``async with pool.connection() as conn: …``."""
        checkout: AsyncCheckout[ACT] = self._checkout()
        checkout._pool, checkout._timeout, checkout._lease = self, timeout, None
        return checkout

    async def getconn(self, timeout: float | None = None) -> ACT:
        """See `ConnectionPool.getconn`."""
        frame, now = _getframe(1), self._now
        stamp = now()
        if get_ident() == self._thread and self._is_running():
            lease = self._core.take(stamp, frame.f_code, frame.f_lasti, False)
            if lease is not None:
                conn: ACT = lease[0].conn
                if self._marks:
                    conn._pool = self  # type: ignore[attr-defined]  # psycopg's
                return conn
            if self._core.attention == CALLBACKS:
                claimed = self._claimed(stamp, frame.f_code, frame.f_lasti, False)
                if isinstance(claimed, tuple):
                    return claimed[0].conn  # type: ignore[no-any-return]
                return await self._getconn_slowly(stamp, frame.f_code, frame.f_lasti, timeout, claimed=claimed)
        return await self._getconn_slowly(stamp, frame.f_code, frame.f_lasti, timeout)

    async def putconn(self, conn: ACT) -> None:
        """See `ConnectionPool.putconn`."""
        core = self._core
        try:
            status = (
                conn.pgconn.transaction_status or conn._tpc or conn._pipeline  # type: ignore[attr-defined]
                if self._has_pgconn
                else self._status(conn)
            )
        except AttributeError:
            if self._has_pgconn and not hasattr(conn, "pgconn"):
                raise self._foreign(conn) from None
            raise
        if not (status or core.attention):
            lease, now = core.leases.pop(id(conn), None), self._now
            if lease is not None:
                if self._marks:
                    conn._pool = None  # type: ignore[attr-defined]  # psycopg's
                if core.give(lease, now()):
                    if self._core.attention:  # now: rule 1 of the core
                        self._attend_from_elsewhere()
                    return
        elif not status and core.attention == CALLBACKS:
            lease = core.leases.get(id(conn))
            if lease is not None and self._is_given(conn, lease):
                return
        if status or not self._pass_on(conn):
            await self._putconn_slowly(conn)

    def _claimed(
        self, stamp: float, code: CodeType, instruction: int, is_block: bool
    ) -> "Lease | Unsettled | None":
        """The fast path of a pool that has something to call.

        Returns:
            The lease; or what is known of a connection that was claimed, but needs the slow path; ``None`` if none
            was.
        """
        core = self._core
        lease = core.claim(stamp, code, instruction, is_block)
        if lease is None:
            return None
        slot, acquired = lease[0], self._acquired
        waited = 0.0
        try:
            if not self._checks_always:
                slot.takes += 1
            else:
                slot.is_checking = True
                task, error = self._begun_check(slot.conn, with_check=True)
                if task is not None:
                    return Unsettled(lease, task)
                slot.is_checking = False
                now = self._now()
                if error is not None:
                    core.found_dead(slot, error, now)
                    self._settle()
                    return Unsettled(lease, None)
                if not core.passed(slot, stamp, now):
                    core.proven(slot, now)
                waited = now - stamp
            if self._marks:
                slot.conn._pool = self
            if acquired is not None:
                try:
                    # `size` and `free` of the core; their calls would be a fifth of the whole.
                    size = len(core.slots) + len(core.connecting)
                    acquired(slot.conn, waited, size, len(core.slots) - len(core.leases))
                except Exception as error:
                    failed(acquired, error)
        except BaseException:
            core.interrupted_take(stamp, self._now())
            self._settle()
            raise
        return lease

    def _is_given(self, conn: Any, lease: Lease) -> bool:
        """Give back on the fast path of a pool that has something to call; False if `put` must decide."""
        core, clock = self._core, self._now
        if self._reset is not None:
            return False
        released = self._released
        if released is not None and (get_ident() != self._thread or not self._is_running()):
            return False  # The hook is to be called in the pool's loop.
        if core.leases.pop(lease[0].key, None) is not lease:
            return False
        now = clock()
        if self._marks:
            conn._pool = None
        if not core.give(lease, now):
            return False
        if self._core.attention == SLOW:  # now: rule 1 of the core
            self._attend_from_elsewhere()
        if released is not None:
            try:
                released(conn, now - lease[1])
            except Exception as error:
                failed(released, error)
        return True

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

    def _pass_on(self, conn: Any) -> bool:
        """Give a connection that is idle on the server to the next client; False if `put` must decide."""
        core, now = self._core, self._now()
        if core.attention != SLOW or not self._is_at_home():
            return False
        lease = core.leases.get(id(conn))
        waiter = core.hand_to_next(conn, now)
        if waiter is None:
            return False
        waiter.wake()
        if lease is not None:
            tell(self._released, conn, now - lease[1])
        return True

    async def _getconn_slowly(
        self,
        now: float,
        code: CodeType,
        instruction: int,
        timeout: float | None,
        checkout: AsyncCheckout[ACT] | None = None,
        claimed: "Unsettled | None" = None,
    ) -> ACT:
        """A connection by the slow path.

        Args:
            now: When the client asked.
            code: Its call site's code object,
            instruction: and the offset of the instruction in it.
            timeout: As `getconn`.
            checkout: The block, if it is one.
            claimed: What it has claimed. If that is dead, it goes before those who have come since.
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
        """A connection for the waiter, vetted."""
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
            assert slot is not None, "who is woken has been given something"
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
        """Ask, in front of all others, after what the client had was dead. Returns whether it has its answer."""
        if may_wait and self._now() >= deadline:
            self._core.time_out(waiter, self._now())
            raise self._timed_out(waiter)
        return self._request(waiter, woken, may_wait=may_wait, is_first=True)

    def _request(
        self, waiter: Waiter, woken: list[asyncio.Future[None]], *, may_wait: bool, is_first: bool = False
    ) -> bool:
        """Ask the core. Returns whether it has answered; else the last of `woken` will be done when it has."""
        is_answered = self._core.request(waiter, self._now(), may_wait=may_wait, is_first=is_first)
        if not is_answered:
            woken.append(get_running_loop().create_future())
        self._settle()
        return is_answered

    async def _vetted(
        self, waiter: Waiter, slot: Slot, vet: Vet, deadline: float, *, may_leave: bool = True
    ) -> Any:
        """The slot's connection, if it is alive; ``None`` if it was not, and is gone.

        Args:
            waiter: The client.
            slot: What it has been given.
            vet: What is to be done.
            deadline: Until when the client waits for that.
            may_leave: Whether the check goes on if it lasts longer; else the connection is aborted.
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
        """The task in which a check goes on; or, if its first step was all, what it failed with, if it has."""
        loop = self._loop
        assert loop is not None, "a pool without a loop has nothing to check"
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
        """What `_vetted` returns, once a check has ended that a task goes on with."""
        conn, is_cut = slot.conn, False
        try:
            await asyncio.wait({task}, timeout=max(0.0, deadline - self._now()))
            if not task.done() and not may_leave:
                is_cut = True
                self._driver.abort(conn)
                await asyncio.wait({task})
        except asyncio.CancelledError:
            # Cancel the client now; the check goes on, and decides what becomes of the connection.
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
        """The connection, or ``None`` if its check has failed with an error: then it is gone."""
        slot.is_checking = False
        if error is None:
            self._core.proven(slot, self._now())
            return slot.conn
        self._core.found_dead(slot, error, self._now(), waiter=waiter, is_cut=is_cut)
        self._settle()
        return None

    @staticmethod
    def _error_of(task: asyncio.Task[None]) -> Exception | None:
        """What a check has failed with; raises what is no `Exception`."""
        try:
            task.result()
        except Exception as error:
            return error
        return None

    def _leave_check(self, waiter: Waiter, slot: Slot, task: asyncio.Task[None]) -> None:
        """The client goes away; the check goes on for at most `PROBE_LIMIT`, and decides about the connection."""
        self._core.take_over(waiter, self._now())
        self._go_on(task, slot.conn, lambda in_time: self._checked_behind(slot, task, in_time))

    def _checked_behind(self, slot: Slot, task: asyncio.Task[None], in_time: bool) -> None:
        is_alive = in_time and not task.cancelled() and task.exception() is None
        self._core.probed(slot, is_alive, self._now())
        self._settle()

    async def _connect_here(self, waiter: Waiter, slot: Slot, deadline: float) -> Any:
        """A null pool's connection, made for this client alone; ``None`` if the pool was drained meanwhile.

        In a task beside the client's, which leaves when its time is over or it is cancelled: not every driver's
        connect, and no `configure` on a server that has stopped, can be cancelled at once. What becomes of the
        connect is then the next client's.
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
            waiter.slot = None  # The connect goes on, and what comes of it is closed.
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
            if conn is None:  # A check that fails always must not make the client connect as fast as it can.
                await asyncio.sleep(max(0.0, min(PROBE_PAUSE, deadline - self._now())))
        return conn

    async def _connect_for(self, waiter: Waiter, slot: Slot, deadline: float) -> tuple[BaseException | None, Any]:
        """Connect for a client of a null pool, or, should it have left, for the next; see `_connect_here`.

        Returns:
            What it failed with, or the connection; neither if the pool was drained meanwhile.
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
                self._log_failed_connect(error, is_loud=is_loud)  # Nobody is told of it otherwise.
            return error, None
        raised: BaseException | None = None
        try:
            self._settle()
            tell(self.hooks.connected, conn, now - began)
        except BaseException as error:  # To be raised in the client's task, which takes care of the connection.
            raised = error
        if job is None:
            return raised, conn
        await self._work.close(job)
        if job.reason is Reason.CLOSED:
            return self._closed(), None
        return None, None

    async def _end_transaction(self, conn: Any, exc_type: type[BaseException] | None) -> None:
        """What the end of a `connection` block does to an open transaction, and the return after it."""
        if self._is_parents(conn):
            return
        if self._loop is not None and not self._is_at_home():
            await self._at_home(self._end_transaction, conn, exc_type)
            return
        if exc_type is not None and issubclass(exc_type, asyncio.CancelledError):
            self._put_behind(conn)
            await self._settled(conn)
            return
        if self._status(conn) != BROKEN:
            end = self._driver.commit if exc_type is None else self._driver.rollback
            task = asyncio.ensure_future(end(conn))
            try:
                await asyncio.shield(task)
            except asyncio.CancelledError:
                self._go_on(task, conn, lambda in_time: self._put_behind(conn, is_cut=not in_time))
                await self._settled(conn)
                raise
            except Exception as error:
                if exc_type is None:
                    self._put_behind(conn)
                    raise
                # The exception that ends the block matters more; the connection is looked at on return.
                logger.warning("error ignored in rollback on %s: %s", conn, describe(error))
        await self._putconn_slowly(conn)

    async def _putconn_slowly(self, conn: Any) -> None:
        if self._is_parents(conn):
            return
        if self._loop is not None and not self._is_at_home():
            await self._at_home(self._putconn_slowly, conn)
            return
        job = self._put(conn, is_inline=self._reset_inline)
        if isinstance(job, Close) and job.reason not in (Reason.NOT_KEPT, Reason.CLOSED):
            self._core.post(job)
            self._settle()
        elif isinstance(job, Close):
            await self._shielded(self._work.close(job), conn)
        elif job is not None:
            await self._shielded(self._work.restore(job), conn)
            self._settle()

    def _put(
        self, conn: Any, *, is_expected: bool = False, is_inline: bool = False, is_cut: bool = False
    ) -> Close | Return | None:
        """Give the connection to the core; what is left to do."""
        now, lease = self._now(), self._core.leases.get(id(conn))
        status = BROKEN if is_cut else self._status(conn)
        if self._marks and lease is not None:
            conn._pool = None
        job = self._core.put(conn, status, now, is_expected=is_expected, is_inline=is_inline)
        if job == NOT_LEASED:
            raise self._foreign(conn)
        try:
            self._settle()
            if lease is not None:
                tell(self._released, conn, now - lease[1])
            if isinstance(job, Close) and job.reason is Reason.BROKEN:
                log_returned(conn, status)
        except BaseException:
            if isinstance(job, Close):
                self._core.post(job)
            self._core.interrupted_work(now, self._now())
            self._settle()
            raise
        return job

    def _put_behind(self, conn: Any, *, is_cut: bool = False) -> None:
        """Give the connection back without waiting: its client was cancelled, or has an error to raise."""
        job = self._put(conn, is_expected=True, is_inline=True, is_cut=is_cut)
        if job is not None:
            work = self._work.close(job) if isinstance(job, Close) else self._work.restore(job)
            self._go_on(asyncio.ensure_future(work), conn, lambda in_time: self._settle(), RETURN_LIMIT)

    def _put_dropped(self, conn: Any) -> None:
        """Give back the connection of a block whose coroutine is closed: it cannot await anything.

        The garbage collection closes the coroutine of a task that nobody refers to any more, in any thread.
        """
        if self._is_at_home():
            self._put_behind(conn)
        elif not self._is_parents(conn):
            self._at_home_soon(self._put_behind, conn)

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
                logger.warning("pool %r: after its client had left: %s", self.name, describe(error))
            then(in_time)

        # The block that had the lease is no more, and must not seem abandoned while its end goes on.
        task.add_done_callback(partial(done, self._core.leases.get(id(conn))))

    def _demand_loop(self) -> None:
        if self._loop is not None and get_running_loop() is not self._loop:
            raise RuntimeError(
                f"the pool {self.name!r} was opened in another event loop, and its connections belong to that; "
                "open a pool inside each loop that needs one"
            )


AsyncClients._plain = (AsyncClients.getconn, AsyncClients.putconn)
AsyncClients._plain_checkout, AsyncClients._routed_checkout = AsyncCheckout, RoutedAsyncCheckout
