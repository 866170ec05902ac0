"""The asyncio pool's interface for clients: taking connections and giving them back."""

import asyncio
import sys
from threading import get_ident
from types import CodeType, TracebackType
from typing import Any, Generic

from poolhouse.pool.aio_behind import ACT
from poolhouse.pool.aio_waiting import AsyncWaiting, Unsettled
from poolhouse.pool.core import BROKEN, CALLBACKS, IDLE, SLOW
from poolhouse.pool.hooks import failed, tell
from poolhouse.pool.jobs import NOT_LEASED, Close, Reason, Return
from poolhouse.pool.options import RETURN_LIMIT
from poolhouse.pool.slot import Lease
from poolhouse.pool.words import Shown, describe, log_returned, logger

_getframe = sys._getframe


class AsyncCheckout(Generic[ACT]):
    """The context manager that `connection` returns; used once. See `Checkout`."""

    __slots__ = ("_lease", "_pool", "_timeout")
    _lease: Lease | None
    _pool: "AsyncClients[ACT]"
    _timeout: float | None

    async def __aenter__(self) -> ACT:
        if self._lease is not None:
            raise RuntimeError("a block is entered once: call connection() for each")
        pool, frame = self._pool, _getframe(1)
        core, now = pool._core, pool._now
        stamp = now()
        if get_ident() == pool._thread and pool._is_running():
            if not core.attention:
                lease = self._lease = core.take(stamp, frame.f_code, frame.f_lasti, True)
                if lease is not None:
                    conn = lease[0].conn
                    if pool._marks:
                        conn._pool = pool
                    return conn  # type: ignore[no-any-return]
            elif core.attention == CALLBACKS:
                line = pool._line_of(frame) if core.is_called else (frame.f_code, frame.f_lasti)
                claimed = pool._claimed(stamp, line[0], line[1], True)
                if isinstance(claimed, tuple):
                    self._lease = claimed
                    return claimed[0].conn  # type: ignore[no-any-return]
                return await pool._getconn_slowly(stamp, *line, self._timeout, self, claimed)
        return await pool._getconn_slowly(stamp, *pool._line_of(frame), self._timeout, self)

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        pool, lease = self._pool, self._lease
        assert lease is not None, "__aexit__ runs only after __aenter__"
        core, conn = pool._core, lease[0].conn
        if core.leases.get(lease[0].key) is not lease:
            pool._left_without(conn)
            return
        status = (
            conn.pgconn.transaction_status or conn._tpc or conn._pipeline
            if pool._has_pgconn
            else pool._status(conn)
        )
        if (
            not (status or core.attention)
            or (pool._returns_at_once and not status and core.attention == CALLBACKS)
        ) and core.leases.pop(lease[0].key, None) is lease:
            now = pool._now
            if pool._marks:
                conn._pool = None
            if core.give(lease, now()):
                if pool._core.attention == SLOW:  # now: rule 1 of the core
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
        self._lease = pool._core.attribute(conn, *pool._line_of(frame))
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
            logger.warning("error ignored in rollback on %s: %s", Shown(conn), describe(error))
        finally:
            await pool.putconn(conn)


class AsyncClients(AsyncWaiting[ACT]):
    """Methods that take connections and give them back."""

    _reset_inline: bool

    def connection(self, timeout: float | None = None) -> AsyncCheckout[ACT]:
        """Hold a connection for a block: ``async with pool.connection() as conn: …``.

        At its end, an open transaction is committed, or rolled back if the block raises, and the
        connection goes back to the pool.

        Args:
            timeout: How long to wait for a connection, in seconds; ``None`` for the pool's `timeout`.

        Raises:
            PoolTimeout: On entering the block, if no connection is free in time.
            PoolClosed: If the pool is not open.
            TooManyRequests: If `max_waiting` clients are already waiting.
        """
        checkout: AsyncCheckout[ACT] = self._checkout()
        checkout._pool, checkout._timeout, checkout._lease = self, timeout, None
        return checkout

    async def getconn(self, timeout: float | None = None) -> ACT:
        """Take a connection; `putconn` gives it back. Prefer `connection`.

        Args:
            timeout: How long to wait, in seconds; ``None`` for the pool's `timeout`. With 0, take an idle
                connection or fail at once.

        Raises:
            PoolTimeout: If no connection is free in time.
            PoolClosed: If the pool is not open.
            TooManyRequests: If `max_waiting` clients are already waiting.
        """
        frame, core, now = _getframe(1), self._core, self._now
        stamp = now()
        if get_ident() == self._thread and self._is_running():
            if not core.attention:
                lease = core.take(stamp, frame.f_code, frame.f_lasti, False)
                if lease is not None:
                    conn: ACT = lease[0].conn
                    if self._marks:
                        conn._pool = self  # type: ignore[attr-defined]  # psycopg's
                    return conn
            elif core.attention == CALLBACKS:
                line = self._line_of(frame) if core.is_called else (frame.f_code, frame.f_lasti)
                claimed = self._claimed(stamp, line[0], line[1], False)
                if isinstance(claimed, tuple):
                    return claimed[0].conn  # type: ignore[no-any-return]
                return await self._getconn_slowly(stamp, *line, timeout, claimed=claimed)
        return await self._getconn_slowly(stamp, *self._line_of(frame), timeout)

    async def putconn(self, conn: ACT) -> None:
        """Give back a connection that `getconn` returned.

        An open transaction is rolled back; a broken connection is replaced.

        Raises:
            ValueError: If the connection does not come from this pool, or was given back before.
        """
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
        if not (status or core.attention) or (
            self._returns_at_once and not status and core.attention == CALLBACKS
        ):
            lease, now = core.leases.pop(id(conn), None), self._now
            if lease is not None:
                if self._marks:
                    conn._pool = None  # type: ignore[attr-defined]  # psycopg's
                if core.give(lease, now()):
                    if self._core.attention == SLOW:  # now: rule 1 of the core
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
        """The fast path of a pool that has callbacks or hooks to call.

        Returns:
            The lease; an `Unsettled` if a connection was claimed but needs the slow path; ``None`` if none was
            claimed.
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
                    # `size` and `free` of the core, inlined: calling them would take a fifth of the whole
                    # checkout.
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
        """Give back on the fast path of a pool with callbacks or hooks; False if `put` must decide."""
        core, clock = self._core, self._now
        if self._reset is not None:
            return False
        released = self._released
        if released is not None and (get_ident() != self._thread or not self._is_running()):
            return False  # The hook must be called in the pool's loop.
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

    def _seek_lines(self, is_sought: bool) -> None:
        if self._loop is None or self._is_at_home():
            self._core.be_called(is_sought)

    def _pass_on(self, conn: Any) -> bool:
        """Hand a connection that is idle on the server to the next client; False if `put` must decide."""
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

    async def _end_transaction(self, conn: Any, exc_type: type[BaseException] | None) -> None:
        """End an open transaction at the end of a `connection` block, then return the connection."""
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
                # The exception that ends the block matters more; the return checks the connection.
                logger.warning("error ignored in rollback on %s: %s", Shown(conn), describe(error))
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
        """Give the connection back to the core. Returns the job left to the caller, or ``None``."""
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
        """Give the connection back without waiting, because the client was cancelled or has an error to raise."""
        job = self._put(conn, is_expected=True, is_inline=True, is_cut=is_cut)
        if job is not None:
            work = self._work.close(job) if isinstance(job, Close) else self._work.restore(job)
            self._go_on(asyncio.ensure_future(work), conn, lambda in_time: self._settle(), RETURN_LIMIT)

    def _put_dropped(self, conn: Any) -> None:
        """Give back the connection of a block whose coroutine is closed: it cannot await anything.

        The garbage collector closes the coroutine of a task that nothing refers to any more, in any thread.
        """
        if self._is_at_home():
            self._put_behind(conn)
        elif not self._is_parents(conn):
            self._at_home_soon(self._put_behind, conn)


AsyncClients._plain = (AsyncClients.getconn, AsyncClients.putconn)
AsyncClients._plain_checkout, AsyncClients._routed_checkout = AsyncCheckout, RoutedAsyncCheckout
