"""The lock of a `FairQueuePool`'s core.

Our other pools have a keeper, a thread that finishes what others could not. There is none here: the owner of the
lock finishes it, before and after its own call. Three kinds of callers must not wait for the lock, and queue their
work instead:

- A return, since it may come from the garbage collector: it interrupts any code of the application, which may hold
  another lock that the owner of this one needs.
- A finalizer or signal handler that interrupts a call of this very thread, which holds the lock.
- An exception that ends a call.
"""

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, ParamSpec, TypeVar

from poolhouse.clock import monotonic
from poolhouse.pool.core import IDLE, PoolCore, Waiter
from poolhouse.pool.core_lock import NOT_LOCKED, CoreLock
from poolhouse.pool.jobs import Close, Lane, Return
from poolhouse.pool.slot import Lease

P = ParamSpec("P")
T = TypeVar("T")


class FairLock(CoreLock):
    """``lock(core.request, waiter, now)`` runs one method of the core under the lock, as `CoreLock` does.

    Afterwards it finishes what was queued meanwhile: `later` and `take_back` never wait.
    """

    __slots__ = ("_close", "_disown", "_left_open")

    def __init__(
        self,
        core: PoolCore,
        close: Callable[[Close], object],
        disown: Callable[[Any], object],
        tell: Callable[[Any], None],
    ) -> None:
        """A lock that is free.

        Args:
            core: The pool's core.
            close: Closes a record that has left the pool, and reports why.
            disown: Takes a record that was returned but is not the pool's.
            tell: Reports a notice of the core.
        """
        super().__init__(core, self._plan_locked, tell, self.settle)
        self._close = close
        self._disown = disown
        #: Records that an interrupted call was to close.
        self._left_open: deque[Close] = deque()

    def __call__(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a method of the core under the lock; returns its result. Must not be called if it `is_mine`."""
        result = super().__call__(call, *args, **kwargs)
        if self._unfinished:
            self.settle()
        return result

    def enqueue_fast(self, waiter: Waiter, now: float) -> bool:
        """The same as `CoreLock.enqueue_fast`."""
        is_in_line = super().enqueue_fast(waiter, now)
        if self._unfinished:
            self.settle()
        return is_in_line

    def later(self, call: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> None:
        """Run a method of the core now if the lock is free; otherwise its present owner runs it afterwards."""
        self._unfinished.append(partial(call, *args, **kwargs))
        self.settle()

    finish = later

    def take_back(self, record: Any, lease: Lease | None) -> None:
        """Take back a record that `PoolCore.give` has not taken, or that has no lease.

        Args:
            record: SQLAlchemy's record.
            lease: The record's lease when the return began.
        """
        core = self._core
        if lease is not None and self.is_mine():
            # The call that this one interrupts continues afterwards, and checks the idle slots at its end.
            if core.leases.pop(id(record), None) is lease and core.give(lease, monotonic()):
                self.later(self.attend_locked, monotonic())
                return
        elif lease is not None and core.waiters and self._hand_over(record):
            return
        self.later(self._take_back_locked, record, lease)

    def settle(self) -> None:
        """Finish queued work. If another thread holds the lock, that thread does it on release."""
        core = self._core
        while self._is_something_left() and not self.is_mine():
            woken: list[Waiter] = []
            try:
                if not self.lock.acquire(False):
                    return
                if self.is_struck:
                    # All work is done under the lock, so an exception has ended any that still counts as begun.
                    core.worked_on.clear()
                    self.is_struck = False
                    self._unfinished.append(partial(core.recover, monotonic()))
                self._finish_locked()
                woken = core.woken
                core.woken = []
                calls = self._plan()
            finally:
                self._release()
                for waiter in woken:
                    waiter.wake()
            for each in calls:
                each()
            if core.notices:
                self.tell_notices()

    def attend_locked(self, now: float) -> None:
        """For `later`: after a return that found the core's `attention` set when it was done."""
        assert self.is_mine(), NOT_LOCKED
        core = self._core
        core.attend(now)
        if core.max_kept == 0 and not core.waiters:
            core.retire(now)

    def tick_locked(self, now: float) -> float | None:
        """`PoolCore.tick`. Returns when to call it again, in monotonic seconds."""
        assert self.is_mine(), NOT_LOCKED
        self._core.tick(now)
        self._core.has_new_deadline = False
        return self._core.next_deadline(now)

    def abandon_locked(self, waiters: "list[Waiter]") -> None:
        """For `later`: these clients no longer exist."""
        assert self.is_mine(), NOT_LOCKED
        for waiter in waiters:
            self._core.abandon(waiter, monotonic())

    def _is_something_left(self) -> bool:
        return bool(self._unfinished or self.is_struck or self._left_open or self._core.woken)

    def _hand_over(self, record: Any) -> bool:
        """`CoreLock.hand_over`; False, too, if another thread holds the lock."""
        core, first = self._core, None
        if not 0 < core.max_size <= len(core.slots):
            return False
        waiter: Waiter | None = None
        try:
            if self.lock.acquire(False):
                # Read before anything changes: an exception may strike in the middle of the change.
                first = next(iter(core.waiters), None)
                waiter = core.hand_to_next(record, monotonic())
        except BaseException:
            self._release()
            if first is not None:
                first.wake()
            raise
        self._release()
        if waiter is not None:
            waiter.wake()
        self.settle()
        return waiter is not None

    def _take_back_locked(self, record: Any, lease: Lease | None) -> None:
        assert self.is_mine(), NOT_LOCKED
        core = self._core
        lease = lease or core.leases.get(id(record))
        if lease is None:
            self._disown(record)
        elif core.leases.get(id(record)) is lease:
            job = core.put(record, IDLE, monotonic())
            if isinstance(job, Close):
                core.post(job)

    def _plan_locked(self) -> list[Callable[[], None]]:
        """The calls to make once the lock is free; in this pool these only close records."""
        assert self.is_mine(), NOT_LOCKED
        core, closing = self._core, deque[Close]()
        while self._left_open:
            closing.append(self._left_open.popleft())
        while (job := core.next_job(Lane.RETURN, monotonic())) is not None:
            if isinstance(job, Return):
                # Unused: its caller left as it was being served.
                core.returned(job.slot, True, monotonic())
            elif isinstance(job, Close):
                closing.append(job)
        return [partial(self._close_all, closing)] if closing else []

    def _close_all(self, jobs: "deque[Close]") -> None:
        try:
            while jobs:
                # Only the caller's own event loop can close this connection.
                self._close(jobs.popleft())
        finally:
            self._left_open.extend(jobs)
