"""The thread pool's interface for clients: taking connections and giving them back."""

import sys
from types import CodeType, TracebackType
from typing import Any, Generic

from poolhouse.errors import PoolError
from poolhouse.pool.core import BROKEN, CALLBACKS, IDLE, SLOW
from poolhouse.pool.hooks import failed, tell
from poolhouse.pool.jobs import NOT_LEASED, Close, Reason, Return
from poolhouse.pool.options import PROBE_LIMIT
from poolhouse.pool.slot import Lease
from poolhouse.pool.sync_waiting import CT, Waiting
from poolhouse.pool.words import Shown, describe, log_returned, logger

_getframe = sys._getframe


class Checkout(Generic[CT]):
    """The context manager that `connection` returns; used once. A generator would cost 0.6 µs more.

    It has neither a constructor, which would cost a call, nor a finalizer: a block that is never left is found
    through its lease, to which nothing else refers any more (`slot.abandoned`).
    """

    __slots__ = ("_lease", "_pool", "_timeout")
    _lease: Lease | None
    _pool: "Clients[CT]"
    _timeout: float | None

    def __enter__(self) -> CT:
        # The same as `getconn`; one more call would cost a tenth of the whole.
        if self._lease is not None:
            raise RuntimeError("a block is entered once: call connection() for each")
        pool, frame = self._pool, _getframe(1)
        now = pool._now
        stamp = now()
        try:
            lease = self._lease = pool._core.take(stamp, frame.f_code, frame.f_lasti, True)
            if lease is not None:
                conn = lease[0].conn
                if pool._marks:
                    conn._pool = pool
                return conn  # type: ignore[no-any-return]
        except BaseException:
            pool._undo_take(stamp)
            raise
        if pool._core.attention == CALLBACKS:
            if not pool._core.is_called:
                return pool._getconn_called(stamp, frame.f_code, frame.f_lasti, self._timeout, self)
            return pool._getconn_called(stamp, *pool._line_of(frame), self._timeout, self)
        return pool._getconn_slowly(stamp, *pool._line_of(frame), self._timeout, self)

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # Like `putconn`, for the usual block: nothing to end, and nobody waits.
        pool, lease = self._pool, self._lease
        assert lease is not None, "__exit__ runs only after __enter__"
        core, conn = pool._core, lease[0].conn
        if core.leases.get(lease[0].key) is not lease:
            pool._left_without(conn)
            return
        try:
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
                        pool._attend()
                    return
            elif not status and core.attention == CALLBACKS and pool._is_given(conn, lease):
                return
        except BaseException:
            pool._undo_give(conn, lease)
            raise
        pool._end_block(conn, lease, exc_type)


class RoutedCheckout(Checkout[CT]):
    """The context manager of a pool with an overridden `getconn` or `putconn`, which it calls."""

    __slots__ = ("_conn",)
    _conn: CT

    def __enter__(self) -> CT:
        if self._lease is not None:
            raise RuntimeError("a block is entered once: call connection() for each")
        pool, frame = self._pool, _getframe(1)
        self._conn = conn = pool.getconn(timeout=self._timeout)
        self._lease = pool._core.attribute(conn, *pool._line_of(frame))
        return conn

    def __exit__(
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
            if pool._status(conn):
                pool._end_transaction(conn, exc_type)
        finally:
            pool.putconn(conn)


class Clients(Waiting[CT]):
    """Methods that take connections and give them back."""

    _reset_inline: bool

    def connection(self, timeout: float | None = None) -> Checkout[CT]:
        """Hold a connection for a block: ``with pool.connection() as conn: …``.

        At its end, an open transaction is committed, or rolled back if the block raises, and the
        connection goes back to the pool.

        Args:
            timeout: How long to wait for a connection, in seconds; ``None`` for the pool's `timeout`.

        Raises:
            PoolTimeout: On entering the block, if no connection is free in time.
            PoolClosed: If the pool is not open.
            TooManyRequests: If `max_waiting` clients are already waiting.
        """
        checkout: Checkout[CT] = self._checkout()
        checkout._pool, checkout._timeout, checkout._lease = self, timeout, None
        return checkout

    def getconn(self, timeout: float | None = None) -> CT:
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
        try:
            # `PoolCore.take` inlined, as `give` is in `putconn`: their calls would be a sixth of the whole.
            if not core.attention:
                try:
                    slot = core.idle.popleft()
                except IndexError:
                    pass
                else:
                    leases = core.leases
                    lease = (slot, stamp, frame.f_code, frame.f_lasti, None, False)
                    if leases.setdefault(slot.key, lease) is lease:
                        if stamp < slot.fit_until and not slot.is_closed:
                            if len(leases) > core._used.level:
                                core._mark_used()
                            slot.takes += 1
                            conn: CT = slot.conn
                            if self._marks:
                                conn._pool = self  # type: ignore[attr-defined]  # psycopg's
                            return conn
                        del leases[slot.key]
                        core.idle.appendleft(slot)
            elif core.attention == CALLBACKS:
                if not core.is_called:
                    return self._getconn_called(stamp, frame.f_code, frame.f_lasti, timeout)
                return self._getconn_called(stamp, *self._line_of(frame), timeout)
            return self._getconn_slowly(stamp, *self._line_of(frame), timeout)
        except PoolError:
            raise  # The client was refused, and holds nothing.
        except BaseException:
            self._undo_take(stamp)
            raise

    def putconn(self, conn: CT) -> None:
        """Give back a connection that `getconn` returned.

        An open transaction is rolled back; a broken connection is replaced.

        Raises:
            ValueError: If the connection does not come from this pool, or was given back before.
        """
        lease: Lease | None = None
        try:
            core = self._core
            status = (
                conn.pgconn.transaction_status or conn._tpc or conn._pipeline  # type: ignore[attr-defined]
                if self._has_pgconn
                else self._status(conn)
            )
            if not (status or core.attention) or (
                self._returns_at_once and not status and core.attention == CALLBACKS
            ):
                lease = core.leases.pop(id(conn), None)
                if lease is not None:
                    clock, slot = self._now, lease[0]
                    now = clock()
                    if now < slot.retire_at and lease[2] is not None:
                        if self._marks:
                            conn._pool = None  # type: ignore[attr-defined]  # psycopg's
                        slot.fit_until = now + core._look_after
                        hint, uses = core._hint, core._uses
                        hint(slot)
                        uses.append(now - lease[1])
                        if len(uses) >= core.sample_at:
                            core.sample(lease, now)
                        if self._core.attention == SLOW:  # now: rule 1 of the core
                            self._attend()
                        return
                    if not core.restore_lease(lease, now):
                        return
            elif not status and core.attention == CALLBACKS:
                lease = core.leases.get(id(conn))
                if lease is not None and self._is_given(conn, lease):
                    return
            # Read before anything happens, so that later changes to the connection are not undone.
            lease = core.leases.get(id(conn))
            self._putconn_slowly(conn)
        except AttributeError:
            if self._has_pgconn and not hasattr(conn, "pgconn"):
                raise self._foreign(conn) from None
            raise
        except ValueError:
            raise  # It cannot be returned here; its present owner keeps it.
        except BaseException:
            self._undo_give(conn, lease)
            raise

    def _seek_lines(self, is_sought: bool) -> None:
        if not self._core_lock.is_mine():
            self._core_lock(self._core.be_called, is_sought)

    def _attend(self) -> None:
        if self._core_lock.is_mine():
            self._core_lock.later(self._core.attend, self._now())
            return
        self._core_lock(self._core.attend, self._now())
        self._finish_closing()

    def _undo_take(self, stamp: float) -> None:
        self._core_lock.finish(self._core.interrupted_take, stamp, self._now())
        self._finish_closing()

    def _undo_give(self, conn: Any, lease: Lease | None) -> None:
        # If the client has not even looked for its lease, it still has it.
        lease = lease or self._core.leases.get(id(conn))
        self._core_lock.finish(self._core.interrupted_give, conn, lease, self._now())
        self._finish_closing()

    def _end_block(self, conn: Any, lease: Lease, exc_type: type[BaseException] | None) -> None:
        """End a block that has something to end, or whose connection others are waiting for."""
        try:
            if self._status(conn):
                self._end_transaction(conn, exc_type)
        finally:
            if self._core.leases.get(lease[0].key) is lease:
                self.putconn(conn)
            elif not self._is_parents(conn):
                raise self._foreign(conn)

    def _getconn_called(
        self,
        stamp: float,
        code: CodeType,
        instruction: int,
        timeout: float | None,
        checkout: Checkout[CT] | None = None,
    ) -> CT:
        """The fast path of a pool that has callbacks or hooks to call."""
        core = self._core
        try:
            limit = self.timeout if timeout is None else timeout
            # If the client has less time than a server may be silent, the check runs in a separate thread.
            is_brief = self._checks_always and limit <= PROBE_LIMIT
            lease = None if is_brief else core.claim(stamp, code, instruction, checkout is not None)
            waited: float | None = 0.0
            if lease is not None:
                slot, acquired = lease[0], self._acquired
                if not self._checks_always:
                    slot.takes += 1
                else:
                    waited = self._checked(lease, stamp + limit)
                if waited is not None:
                    conn: CT = slot.conn
                    if self._marks:
                        conn._pool = self  # type: ignore[attr-defined]  # psycopg's
                    if acquired is not None:
                        try:
                            # `size` and `free` of the core, inlined: calling them would take a fifth of the whole
                            # checkout.
                            size = len(core.slots) + len(core.connecting)
                            acquired(conn, waited, size, len(core.slots) - len(core.leases))
                        except Exception as error:
                            failed(acquired, error)
                    if checkout is not None:
                        checkout._lease = lease
                    return conn
        except BaseException:
            self._undo_take(stamp)
            raise
        return self._getconn_slowly(stamp, code, instruction, timeout, checkout, is_first=waited is None)

    def _checked(self, lease: Lease, deadline: float) -> float | None:
        """How long a client has waited for its claimed connection; ``None`` if that was dead."""
        core, guards, slot = self._core, self._workers.guards, lease[0]
        conn = slot.conn
        slot.is_checking = True
        try:
            # `_failure` inlined: its calls would be a third of the whole.
            guards[slot] = deadline, lease
            if deadline < self._workers.keeper_wakes_at:
                self._workers.wake_keeper()
            self._check(conn)
            if (
                conn.pgconn.transaction_status or conn._tpc or conn._pipeline
                if self._has_pgconn
                else self._status(conn)
            ):
                self._work.settle(conn)
            if guards.pop(slot, None) is None:
                raise TimeoutError
        except Exception as error:
            is_cut = guards.pop(slot, None) is None
            reason = self._dead_because(conn, error, is_cut)
            slot.is_checking = False
            self._core_lock(core.found_dead, slot, reason, self._now(), is_cut=is_cut)
            return None
        slot.is_checking = False
        now = self._now()
        if not core.passed(slot, lease[1], now):
            self._core_lock(core.proven, slot, now)
        return now - lease[1]

    def _is_given(self, conn: Any, lease: Lease) -> bool:
        """Give back on the fast path of a pool with callbacks or hooks; False if `put` must decide."""
        core, clock = self._core, self._now
        if self._reset is not None:
            if self._reset_inline:
                return False
            now = clock()
            if self._marks:
                conn._pool = None
            if not self._workers.is_left_to_reset(lease, now):
                return False
            if self._released is not None:
                tell(self._released, conn, now - lease[1])
            return True
        if core.leases.pop(lease[0].key, None) is not lease:
            return False
        now = clock()
        if self._marks:
            conn._pool = None
        if not core.give(lease, now):
            return False
        if self._core.attention == SLOW:  # now: rule 1 of the core
            self._attend()
        released = self._released
        if released is not None:
            try:
                released(conn, now - lease[1])
            except Exception as error:
                failed(released, error)
        return True

    def _end_transaction(self, conn: Any, exc_type: type[BaseException] | None) -> None:
        """End an open transaction at the end of a `connection` block."""
        if self._status(conn) == BROKEN or id(conn) in self._parents:
            return
        if exc_type is None:
            self._driver.commit(conn)
            return
        try:
            self._driver.rollback(conn)
        except Exception as error:
            # The exception that ends the block matters more; the return checks the connection.
            logger.warning("error ignored in rollback on %s: %s", Shown(conn), describe(error))

    def _putconn_slowly(self, conn: Any) -> None:
        if self._parents and self._is_parents(conn):
            return
        core, status = self._core, self._status(conn)
        if self._marks and id(conn) in core.leases:
            conn._pool = None
        now, lease = self._now(), core.leases.get(id(conn))
        if lease is not None and self._core_lock.is_mine():
            # A finalizer may run anywhere, also in the middle of this thread's own call of the core.
            self._core_lock.later(core.interrupted_give, conn, lease, now)
            return
        if status == IDLE and self._core_lock.hand_over(conn, now):
            if lease is not None:
                tell(self._released, conn, now - lease[1])
            return
        job: Close | Return | str | None = None
        try:
            job = self._core_lock(core.put, conn, status, now, is_inline=self._reset_inline)
            if lease is not None and job != NOT_LEASED:
                tell(self._released, conn, now - lease[1])
            if isinstance(job, Close):
                if job.reason is Reason.BROKEN:
                    log_returned(conn, status)
                self._work.close(job)
            elif isinstance(job, Return):
                self._work.restore(job)
        except BaseException:
            if isinstance(job, Close):
                self._core_lock.finish(core.post, job)
            self._core_lock.finish(core.interrupted_work, now, self._now())
            raise
        if job == NOT_LEASED:
            raise self._foreign(conn)


Clients._plain = (Clients.getconn, Clients.putconn)
Clients._plain_checkout, Clients._routed_checkout = Checkout, RoutedCheckout
