"""The pool for threads, as its clients see it: taking connections and giving them back."""

import sys
from contextlib import suppress
from functools import partial
from threading import get_ident
from types import CodeType, TracebackType
from typing import TYPE_CHECKING, Any, Generic

from poolhouse.errors import PoolError
from poolhouse.meter.meter import BATCH
from poolhouse.pool.background_call import BackgroundCall
from poolhouse.pool.backoff import PROBE_PAUSE
from poolhouse.pool.base import BasePool, describe, log_returned, logger
from poolhouse.pool.check_beside import CheckBeside
from poolhouse.pool.core import BROKEN, CALLBACKS, IDLE, SLOW, Vet, Waiter
from poolhouse.pool.hooks import failed, tell
from poolhouse.pool.jobs import NOT_LEASED, Close, Lane, Reason, Return
from poolhouse.pool.options import PROBE_LIMIT
from poolhouse.pool.slot import Lease, Slot
from poolhouse.pool.sync_work import Work
from poolhouse.pool.threads import Parker, Threads
from poolhouse.pool.workers import CoreLock, Workers

if TYPE_CHECKING:
    import psycopg
    from typing_extensions import TypeVar

    CT = TypeVar("CT", default="psycopg.Connection[tuple[Any, ...]]")
else:
    from typing import TypeVar

    CT = TypeVar("CT")

_getframe = sys._getframe


class Checkout(Generic[CT]):
    """What `connection` returns; used once. A class, because a generator would cost 0.6 µs more.

    It has neither a constructor, which would cost a call, nor a finalizer: a block that is never left is found by
    its lease, to which nobody refers any more (`slot.abandoned`).
    """

    __slots__ = ("_lease", "_pool", "_timeout")
    _lease: Lease | None
    _pool: "Clients[CT]"
    _timeout: float | None

    def __enter__(self) -> CT:
        # The same as `getconn`; a call more would cost a tenth of the whole.
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
            return pool._getconn_called(stamp, frame.f_code, frame.f_lasti, self._timeout, self)
        return pool._getconn_slowly(stamp, frame.f_code, frame.f_lasti, self._timeout, self)

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # As `putconn`, for what nearly every block is: nothing to end, and nobody waits.
        pool, lease = self._pool, self._lease
        assert lease is not None, "only a block that was entered is left"
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
            if not (status or core.attention) and core.leases.pop(lease[0].key, None) is lease:
                now = pool._now
                if pool._marks:
                    conn._pool = None
                if core.give(lease, now()):
                    if pool._core.attention:  # now: rule 1 of the core
                        pool._attend()
                    return
            elif not status and core.attention == CALLBACKS and pool._is_given(conn, lease):
                return
        except BaseException:
            pool._undo_give(conn, lease)
            raise
        pool._end_block(conn, lease, exc_type)


class RoutedCheckout(Checkout[CT]):
    """The context of a pool whose `getconn` or `putconn` is overridden: it calls them, as psycopg_pool's does."""

    __slots__ = ("_conn",)
    _conn: CT

    def __enter__(self) -> CT:
        if self._lease is not None:
            raise RuntimeError("a block is entered once: call connection() for each")
        pool, frame = self._pool, _getframe(1)
        self._conn = conn = pool.getconn(timeout=self._timeout)
        self._lease = pool._core.attribute(conn, frame.f_code, frame.f_lasti)
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


class Clients(BasePool, Generic[CT]):
    """Taking connections and giving them back."""

    _threads: Threads
    _workers: Workers
    _core_lock: CoreLock
    _work: Work
    _reset_inline: bool
    _is_thread_bound: bool

    def _open(self) -> None:
        raise NotImplementedError("the pool itself knows how it is opened")

    def connection(self, timeout: float | None = None) -> Checkout[CT]:
        """A context in which one has a connection: ``with pool.connection() as conn: …``.

        At its end an open transaction is committed, or rolled back if an exception ends it, and the connection
        goes back to the pool.

        Args:
            timeout: How long to wait for a connection, in seconds; ``None`` for the pool's `timeout`.

        Raises:
            PoolTimeout: On entering it, if there is none in time.
            PoolClosed: If the pool is not open.
            TooManyRequests: If `max_waiting` clients wait already.
        """
        checkout: Checkout[CT] = self._checkout()
        checkout._pool, checkout._timeout, checkout._lease = self, timeout, None
        return checkout

    def getconn(self, timeout: float | None = None) -> CT:
        """A connection, to be given back by `putconn`. Prefer `connection`.

        Args:
            timeout: How long to wait, in seconds; ``None`` for the pool's `timeout`. With 0, an idle
                connection or nothing.

        Raises:
            PoolTimeout: If there is none in time.
            PoolClosed: If the pool is not open.
            TooManyRequests: If `max_waiting` clients wait already.
        """
        frame, core, now = _getframe(1), self._core, self._now
        stamp = now()
        try:
            # This is `PoolCore.take` written out, as `putconn` is `give`: their calls are a sixth of the whole.
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
                return self._getconn_called(stamp, frame.f_code, frame.f_lasti, timeout)
            return self._getconn_slowly(stamp, frame.f_code, frame.f_lasti, timeout)
        except PoolError:
            raise  # Refused: it has nothing.
        except BaseException:
            self._undo_take(stamp)
            raise

    def putconn(self, conn: CT) -> None:
        """Give back a connection that `getconn` returned.

        An open transaction is rolled back, a broken connection replaced.

        Raises:
            ValueError: If it does not come from this pool, or was given back before.
        """
        lease: Lease | None = None
        try:
            core = self._core
            status = (
                conn.pgconn.transaction_status or conn._tpc or conn._pipeline  # type: ignore[attr-defined]
                if self._has_pgconn
                else self._status(conn)
            )
            if not (status or core.attention):
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
                        if len(uses) >= BATCH:
                            core.meter.fold()
                        if self._core.attention:  # now: rule 1 of the core
                            self._attend()
                        return
                    if not core.restore_lease(lease, now):
                        return
            elif not status and core.attention == CALLBACKS:
                lease = core.leases.get(id(conn))
                if lease is not None and self._is_given(conn, lease):
                    return
            # Known before anything happens, so that what happens to the connection later is not undone.
            lease = core.leases.get(id(conn))
            self._putconn_slowly(conn)
        except AttributeError:
            if self._has_pgconn and not hasattr(conn, "pgconn"):
                raise self._foreign(conn) from None
            raise
        except ValueError:
            raise  # It is not to be given back here; whose it is now keeps it.
        except BaseException:
            self._undo_give(conn, lease)
            raise

    def _attend(self) -> None:
        if self._core_lock.is_mine():
            self._core_lock.later(self._core.attend, self._now())
            return
        self._core_lock(self._core.attend, self._now())
        self._finish_closing()

    def _finish_closing(self) -> None:
        """Close what a closed pool has left: its workers may have gone."""
        while self._core.was_closed and (jobs := self._core_lock(self._core.leftovers)):
            for job in jobs:
                self._work.perform(job)

    def _undo_take(self, stamp: float) -> None:
        self._core_lock.finish(self._core.interrupted_take, stamp, self._now())
        self._finish_closing()

    def _undo_give(self, conn: Any, lease: Lease | None) -> None:
        # Who has not even looked for his lease still has it.
        lease = lease or self._core.leases.get(id(conn))
        self._core_lock.finish(self._core.interrupted_give, conn, lease, self._now())
        self._finish_closing()

    def _end_block(self, conn: Any, lease: Lease, exc_type: type[BaseException] | None) -> None:
        """The end of a block that has something to end, or whose connection is waited for."""
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
        """The fast path of a pool that has something to call."""
        core = self._core
        try:
            limit = self.timeout if timeout is None else timeout
            # A check for which there is less time than a server may be silent is made beside the client.
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
                            # `size` and `free` of the core; their calls would be a fifth of the whole.
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
        """How long a client has waited for what it has claimed; ``None`` if that was dead."""
        core, guards, slot = self._core, self._workers.guards, lease[0]
        conn = slot.conn
        slot.is_checking = True
        try:
            # This is `_failure` written out: its calls are a third of the whole.
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
        """Give back on the fast path of a pool that has something to call; False if `put` must decide."""
        core, clock = self._core, self._now
        if self._reset is not None:
            return self._is_left_to_reset(conn, lease)
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

    def _is_left_to_reset(self, conn: Any, lease: Lease) -> bool:
        """Leave a connection to a worker, for `reset`; False if `put` must decide."""
        if self._reset_inline:
            return False
        now = self._now()
        if self._marks:
            conn._pool = None
        if not self._workers.is_left_to_reset(lease, now):
            return False
        tell(self._released, conn, now - lease[1])
        return True

    def _getconn_slowly(
        self,
        now: float,
        code: CodeType,
        instruction: int,
        timeout: float | None,
        checkout: Checkout[CT] | None = None,
        *,
        is_first: bool = False,
    ) -> CT:
        """A connection by the slow path.

        Args:
            now: When the client asked.
            code: Its call site's code object,
            instruction: and the offset of the instruction in it.
            timeout: As `getconn`.
            checkout: The block, if it is one.
            is_first: What it had was dead: it goes before those who have come since.
        """
        if self._opens_itself:
            self._open()
        if self._core.warns_at_first_request:
            self._warn_at_first_request()
        timeout = self.timeout if timeout is None else timeout
        deadline = now + timeout
        parker = self._threads.parker()
        waiter = Waiter(parker.unpark, code, instruction, get_ident(), now)
        try:
            conn: CT = self._wait_for(waiter, parker, deadline, is_first=is_first)
            if self._marks:
                conn._pool = self  # type: ignore[attr-defined]  # psycopg's
            if self._acquired is not None:
                core = self._core
                tell(self._acquired, conn, self._now() - now, core.size, core.free)
            if checkout is not None:
                checkout._lease = self._core.kept(waiter)
            return conn
        except BaseException as error:
            # Whoever is refused, or gets nothing in time, has nothing.
            if waiter.refusal is None or not isinstance(error, PoolError):
                self._core_lock.finish(self._core.abandon, waiter, self._now())
                self._finish_closing()
            raise

    def _wait_for(self, waiter: Waiter, parker: Any, deadline: float, *, is_first: bool) -> Any:
        """A connection for the waiter, vetted."""
        core, core_lock = self._core, self._core_lock
        may_wait = deadline > waiter.since
        is_answered = False
        if is_first:
            is_answered = self._ask_again(waiter, deadline, may_wait=may_wait)
        elif not (may_wait and core_lock.enqueue_fast(waiter, waiter.since)):
            is_answered = core_lock(core.request, waiter, self._now(), may_wait=may_wait)
        while True:
            while not is_answered:
                is_over = (not core.has_threads and self._is_stranded()) or not parker.park(deadline - self._now())
                if is_over and core_lock(core.time_out, waiter, self._now()):
                    raise self._timed_out(waiter)
                # Wake-ups can be spurious: ask the waiter.
                is_answered = waiter.is_answered
            if waiter.refusal is not None:
                raise self._refused(waiter.refusal, waiter)
            slot, now = waiter.slot, self._now()
            assert slot is not None, "who is woken has been given something"
            if slot.conn is None:
                conn = self._connect_here(waiter, slot, parker, deadline)
            elif (vet := core.vet(slot, now)) is Vet.NOTHING:
                core.accept(waiter, now)
                return slot.conn
            else:
                # With timeout=0 the deadline has passed, but an idle connection may take PROBE_LIMIT to check.
                conn = (
                    self._vetted(waiter, slot, vet, deadline, parker)
                    if may_wait
                    else self._vetted(waiter, slot, vet, now + PROBE_LIMIT, None)
                )
            if conn is not None:
                core.accept(waiter, self._now())
                return conn
            is_answered = self._ask_again(waiter, deadline, may_wait=may_wait)

    def _ask_again(self, waiter: Waiter, deadline: float, *, may_wait: bool) -> bool:
        """Ask, in front of all others, after what the client had was dead. Returns whether it has its answer."""
        core, now = self._core, self._now()
        if may_wait and now >= deadline:
            self._core_lock(core.time_out, waiter, now)
            raise self._timed_out(waiter)
        return self._core_lock(core.request, waiter, now, may_wait=may_wait, is_first=True)

    def _is_stranded(self) -> bool:
        """Whether no connection will come, where no thread can be started; makes fit what was given back."""
        core, core_lock, now = self._core, self._core_lock, self._now()
        try:
            while (job := core_lock(core.next_job, Lane.RETURN, now)) is not None:
                self._work.perform(job)
        except BaseException:
            core_lock.finish(core.interrupted_work, now, self._now())
            raise
        return core.is_stranded

    def _vetted(self, waiter: Waiter, slot: Slot, vet: Vet, deadline: float, parker: Parker | None) -> Any:
        """The slot's connection, if it is alive; ``None`` if it was not, and is gone.

        A server may be silent for `PROBE_LIMIT`. A client that has less time waits, at its parker if it has one,
        for a thread that checks beside it.
        """
        conn, is_check = slot.conn, vet is Vet.CHECK
        if vet is Vet.LOOK and self._is_quiet(conn):
            return conn
        slot.is_checking = True
        if parker is not None and deadline < self._now() + PROBE_LIMIT and not self._is_thread_bound:
            failure = self._failure_beside(waiter, slot, deadline, parker, with_check=is_check)
        else:
            failure = self._failure(slot, deadline, with_check=is_check)
        slot.is_checking = False
        if failure is not None:
            reason, is_cut = failure
            self._core_lock(self._core.found_dead, slot, reason, self._now(), waiter=waiter, is_cut=is_cut)
            return None
        self._core_lock(self._core.proven, slot, self._now())
        return conn

    def _failure(self, slot: Slot, deadline: float, *, with_check: bool) -> tuple[Exception, bool] | None:
        """Why a connection is dead, and whether that is only that it was aborted at the deadline."""
        try:
            self._workers.guard(slot, deadline)
            self._work.examine(slot.conn, with_check=with_check)
            if not self._workers.unguard(slot):
                raise TimeoutError
        except Exception as error:
            is_cut = not self._workers.unguard(slot)
            # No other name for it: the frame that its traceback refers to would refer to it.
            return self._dead_because(slot.conn, error, is_cut), is_cut
        return None

    def _failure_beside(
        self, waiter: Waiter, slot: Slot, deadline: float, parker: Parker, *, with_check: bool
    ) -> tuple[Exception, bool] | None:
        """`_failure` of a check in another thread, which goes on if the client's time is over before it ends."""
        check = CheckBeside(
            self._core,
            self._core_lock,
            self._workers,
            self._clock,
            waiter,
            slot,
            partial(self._work.examine, slot.conn, with_check=with_check),
        )
        try:
            try:
                background = BackgroundCall(
                    partial(self._check_beside, check, slot.conn), self._threads, parker, f"{self.name}-check"
                )
            except RuntimeError:  # No thread can be started.
                return self._failure(slot, deadline, with_check=with_check)
            while not background.is_over:
                if not parker.park(deadline - self._now()):
                    if check.leave():
                        self._core_lock(self._core.time_out, waiter, self._now())
                        raise self._timed_out(waiter)
                    parker.park(None)  # It is over, and about to say so.
            error = background.result()
            if error is None:
                return None
            if not isinstance(error, Exception):
                raise error
            return self._dead_because(slot.conn, error, is_cut=False), False
        except BaseException:
            check.leave()
            raise

    def _check_beside(self, check: CheckBeside, conn: Any) -> BaseException | None:
        error = check.run()
        if isinstance(error, Exception) and check.has_been_left:
            self._dead_because(conn, error, check.was_cut)  # Nobody is told of it otherwise.
        return error

    def _connect_here(self, waiter: Waiter, slot: Slot, parker: Any, deadline: float) -> Any:
        """A null pool's connection, made for this client alone; ``None`` if the pool was drained meanwhile.

        The client waits beside the thread that connects, and leaves when its time is over; what becomes of the
        connect is then the next client's. Where a connection is bound to the thread that makes it (sqlite3), the
        client connects by itself.
        """
        if deadline <= waiter.since:
            self._core_lock(self._core.leave_connect, waiter, self._now(), is_begun=False)
            raise self._timed_out(waiter)
        connect = partial(self._connect_for, waiter, slot, deadline)
        background: BackgroundCall[Any] | None = None
        if not self._is_thread_bound:
            with suppress(RuntimeError):  # No thread can be started: then, too, the client connects by itself.
                background = BackgroundCall(connect, self._threads, parker, f"{self.name}-connect")
        self._workers.watchers.append(parker)  # Woken when the pool is closed, too.
        try:
            while background is not None and not background.is_over:
                if not parker.park(deadline - self._now()):
                    if self._core_lock(self._core.leave_connect, waiter, self._now()):
                        raise self._timed_out(waiter)
                    parker.park(None)  # It is over, and about to say so.
                elif self._core.was_closed and not background.is_over:
                    waiter.slot = None  # The connect goes on, and what comes of it is closed.
                    raise self._closed()
        finally:
            self._workers.watchers.remove(parker)
        conn = connect() if background is None else background.result()
        if conn is None:
            waiter.slot = None
        elif self._core.vet(slot, self._now()) is Vet.CHECK:
            conn = self._vetted(waiter, slot, Vet.CHECK, deadline, parker)
            if conn is None:  # A check that fails always must not make the client connect as fast as it can.
                parker.park(min(PROBE_PAUSE, deadline - self._now()))
        return conn

    def _connect_for(self, waiter: Waiter, slot: Slot, deadline: float) -> Any:
        """Connect for a client of a null pool, or, should it have left, for the next; see `_connect_here`."""
        began = self._now()
        try:
            conn = self._work.connection(max(0.0, deadline - began))
            now = self._now()
            job = self._core_lock(self._core.connected, slot, conn, now - began, now, waiter)
        except BaseException as error:
            is_loud = self._core_lock(self._core.connect_failed, slot, error, self._now())
            if waiter.slot is not slot:
                self._log_failed_connect(error, is_loud=is_loud)  # Nobody is told of it otherwise.
            raise
        tell(self.hooks.connected, conn, now - began)
        if job is None:
            return conn
        self._work.close(job)
        if job.reason is Reason.CLOSED:
            raise self._closed()
        return None

    def _end_transaction(self, conn: Any, exc_type: type[BaseException] | None) -> None:
        """What the end of a `connection` block does to an open transaction."""
        if self._status(conn) == BROKEN or id(conn) in self._parents:
            return
        if exc_type is None:
            self._driver.commit(conn)
            return
        try:
            self._driver.rollback(conn)
        except Exception as error:
            # The exception that ends the block matters more; the connection is looked at on return.
            logger.warning("error ignored in rollback on %s: %s", conn, describe(error))

    def _putconn_slowly(self, conn: Any) -> None:
        if self._parents and self._is_parents(conn):
            return
        core, status = self._core, self._status(conn)
        if self._marks and id(conn) in core.leases:
            conn._pool = None
        now, lease = self._now(), core.leases.get(id(conn))
        if lease is not None and self._core_lock.is_mine():
            # A finalizer may run anywhere, in the middle of what this thread does to the core, too.
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
