"""The slow path of taking a connection from a pool for threads: waiting, checking, connecting."""

from contextlib import suppress
from functools import partial
from threading import get_ident
from types import CodeType
from typing import TYPE_CHECKING, Any, Generic

from poolhouse.errors import PoolError
from poolhouse.pool.background_call import BackgroundCall
from poolhouse.pool.backoff import PROBE_PAUSE
from poolhouse.pool.base import BasePool
from poolhouse.pool.check_beside import CheckBeside
from poolhouse.pool.core import Vet, Waiter
from poolhouse.pool.core_lock import CoreLock
from poolhouse.pool.hooks import tell
from poolhouse.pool.jobs import Lane, Reason
from poolhouse.pool.options import PROBE_LIMIT
from poolhouse.pool.reused_threads import ReusedThreads
from poolhouse.pool.slot import Slot
from poolhouse.pool.sync_work import Work
from poolhouse.pool.threads import Parker, Threads
from poolhouse.pool.workers import Workers

if TYPE_CHECKING:
    import psycopg
    from typing_extensions import TypeVar

    from poolhouse.pool.sync_clients import Checkout

    CT = TypeVar("CT", default="psycopg.Connection[tuple[Any, ...]]")
else:
    from typing import TypeVar

    CT = TypeVar("CT")


class Waiting(BasePool, Generic[CT]):
    """Serves the clients that the fast path cannot serve."""

    _threads: Threads
    #: The threads of calls that a client may leave before they end.
    _beside: ReusedThreads
    _workers: Workers
    _core_lock: CoreLock
    _work: Work
    _is_thread_bound: bool

    def _open(self) -> None:
        raise NotImplementedError("a subclass opens the pool")

    def _finish_closing(self) -> None:
        """Close what a closed pool has left, as its workers may be gone."""
        while self._core.was_closed and (jobs := self._core_lock(self._core.leftovers)):
            for job in jobs:
                self._work.perform(job)

    def _getconn_slowly(
        self,
        now: float,
        code: CodeType,
        instruction: int,
        timeout: float | None,
        checkout: "Checkout[CT] | None" = None,
        *,
        is_first: bool = False,
    ) -> CT:
        """Take a connection by the slow path.

        Args:
            now: When the client asked.
            code: The code object of the call site.
            instruction: The offset of the instruction in it.
            timeout: As for `getconn`.
            checkout: The block, if the caller is one.
            is_first: Whether it had a dead connection, so that it goes ahead of later arrivals.
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
            # A client that was refused, or timed out, holds nothing.
            if waiter.refusal is None or not isinstance(error, PoolError):
                self._core_lock.finish(self._core.abandon, waiter, self._now())
                self._finish_closing()
            raise

    def _wait_for(self, waiter: Waiter, parker: Any, deadline: float, *, is_first: bool) -> Any:
        """Wait until the waiter is served, and return its connection, vetted."""
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
            assert slot is not None, "a woken client has been given a slot"
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
        """Request again, at the head of the queue, after a dead connection. Returns whether the core answered."""
        core, now = self._core, self._now()
        if may_wait and now >= deadline:
            self._core_lock(core.time_out, waiter, now)
            raise self._timed_out(waiter)
        return self._core_lock(core.request, waiter, now, may_wait=may_wait, is_first=True)

    def _is_stranded(self) -> bool:
        """Whether no connection will come because no thread can start; first prepares what was returned."""
        core, core_lock, now = self._core, self._core_lock, self._now()
        try:
            while (job := core_lock(core.next_job, Lane.RETURN, now)) is not None:
                self._work.perform(job)
        except BaseException:
            core_lock.finish(core.interrupted_work, now, self._now())
            raise
        return core.is_stranded

    def _vetted(self, waiter: Waiter, slot: Slot, vet: Vet, deadline: float, parker: Parker | None) -> Any:
        """The slot's connection if it is alive; ``None`` if it was dead, and has been closed.

        A server may be silent for `PROBE_LIMIT`. A client with less time waits, at its parker if it has one, for a
        separate thread that runs the check.
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
        """Why a connection is dead, and whether only because it was aborted at the deadline; ``None`` if alive."""
        try:
            self._workers.guard(slot, deadline)
            self._work.examine(slot.conn, with_check=with_check)
            if not self._workers.unguard(slot):
                raise TimeoutError
        except Exception as error:
            is_cut = not self._workers.unguard(slot)
            # No variable for it: the frame that its traceback refers to would refer to it.
            return self._dead_because(slot.conn, error, is_cut), is_cut
        return None

    def _failure_beside(
        self, waiter: Waiter, slot: Slot, deadline: float, parker: Parker, *, with_check: bool
    ) -> tuple[Exception, bool] | None:
        """`_failure` of a check in a separate thread, which continues if the client's deadline comes first."""
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
                    partial(self._check_beside, check, slot.conn), self._beside, parker, f"{self.name}-check"
                )
            except RuntimeError:  # No thread can be started.
                return self._failure(slot, deadline, with_check=with_check)
            while not background.is_over:
                if not parker.park(deadline - self._now()):
                    if check.leave():
                        self._core_lock(self._core.time_out, waiter, self._now())
                        raise self._timed_out(waiter)
                    parker.park(None)  # The check has ended and is about to wake this client.
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
        if check.has_been_left:
            if isinstance(error, Exception):
                self._dead_because(conn, error, check.was_cut)  # No client will raise it.
            self._finish_closing()  # The pool may have been closed and have no worker left.
        return error

    def _connect_here(self, waiter: Waiter, slot: Slot, parker: Any, deadline: float) -> Any:
        """A null pool's connection, made for this client alone; ``None`` if the pool was drained meanwhile.

        The client waits beside the thread that connects, and leaves at its deadline; the connection then goes to
        the next client. If a connection is bound to the thread that makes it (sqlite3), the client connects in its
        own thread.
        """
        if deadline <= waiter.since:
            self._core_lock(self._core.leave_connect, waiter, self._now(), is_begun=False)
            raise self._timed_out(waiter)
        connect = partial(self._connect_for, waiter, slot, deadline)
        background: BackgroundCall[Any] | None = None
        if not self._is_thread_bound:
            with suppress(RuntimeError):  # No thread can be started: the client then connects for itself.
                background = BackgroundCall(connect, self._beside, parker, f"{self.name}-connect")
        self._workers.watchers.append(parker)  # Woken when the pool is closed, too.
        try:
            while background is not None and not background.is_over:
                if not parker.park(deadline - self._now()):
                    if self._core_lock(self._core.leave_connect, waiter, self._now()):
                        raise self._timed_out(waiter)
                    parker.park(None)  # The connect has ended and is about to wake this client.
                elif self._core.was_closed and not background.is_over:
                    waiter.slot = None  # The connect continues; its connection is closed at the end.
                    raise self._closed()
        finally:
            self._workers.watchers.remove(parker)
        conn = connect() if background is None else background.result()
        if conn is None:
            waiter.slot = None
        elif self._core.vet(slot, self._now()) is Vet.CHECK:
            conn = self._vetted(waiter, slot, Vet.CHECK, deadline, parker)
            if conn is None:  # A check that always fails must not make the client connect as fast as it can.
                parker.park(min(PROBE_PAUSE, deadline - self._now()))
        return conn

    def _connect_for(self, waiter: Waiter, slot: Slot, deadline: float) -> Any:
        """Connect for a client of a null pool, or for the next client if it has left; see `_connect_here`."""
        began = self._now()
        try:
            conn = self._work.connection(max(0.0, deadline - began))
            now = self._now()
            job = self._core_lock(self._core.connected, slot, conn, now - began, now, waiter)
        except BaseException as error:
            is_loud = self._core_lock(self._core.connect_failed, slot, error, self._now())
            if waiter.slot is not slot:
                self._log_failed_connect(error, is_loud=is_loud)  # No client will raise it.
            raise
        tell(self.hooks.connected, conn, now - began)
        if job is None:
            return conn
        self._work.close(job)
        if job.reason is Reason.CLOSED:
            raise self._closed()
        return None
