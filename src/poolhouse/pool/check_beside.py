"""A check in a thread of its own, beside the client that waits for it and may leave before it ends."""

from collections.abc import Callable
from enum import Enum

from poolhouse.clock import Clock
from poolhouse.pool.core import PoolCore, Waiter
from poolhouse.pool.core_lock import NOT_LOCKED, CoreLock
from poolhouse.pool.jobs import Probe
from poolhouse.pool.options import PROBE_LIMIT
from poolhouse.pool.slot import Slot
from poolhouse.pool.workers import Workers


class _State(Enum):
    NOT_BEGUN = 0
    RUNNING = 1
    #: The client is there, and gets the result.
    ENDED = 2
    #: The client has left; the check, if it was running, goes on.
    LEFT = 3


class CheckBeside:
    """The check of a connection that a client was given; it decides about the connection though the client leaves.

    A thread that waits for a server can be freed only by shutting down the socket, and a server that is silent for
    a moment is no reason for that: the client has less time than the check may take.

    Attributes:
        was_cut: Whether the connection was aborted because the check went on for too long behind its client.
    """

    def __init__(
        self,
        core: PoolCore,
        core_lock: CoreLock,
        workers: Workers,
        clock: Clock,
        waiter: Waiter,
        slot: Slot,
        examine: Callable[[], None],
    ) -> None:
        """A check that has not begun.

        Args:
            core: The pool's.
            core_lock: The pool's.
            workers: The pool's, who end a check that goes on for too long.
            clock: The pool's.
            waiter: The client.
            slot: What it was given.
            examine: Raises if the connection is dead.
        """
        self._core = core
        self._core_lock = core_lock
        self._workers = workers
        self._clock = clock
        self._waiter = waiter
        self._slot = slot
        self._examine = examine
        self._state = _State.NOT_BEGUN
        self.was_cut = False

    @property
    def has_been_left(self) -> bool:
        """Whether the client has left before the end."""
        return self._state is _State.LEFT

    def run(self) -> BaseException | None:
        """Check, in the thread beside the client; what `examine` raised, for a client that is still there."""
        if not self._core_lock(self._begin_locked):
            return None
        error: BaseException | None = None
        try:
            self._examine()
        except BaseException as raised:
            error = raised.with_traceback(None)
        self._core_lock.finish(self._end_locked, error is None)
        return error

    def leave(self) -> bool:
        """The client leaves. Returns False if the check has ended after all, and it can have the result."""
        self._core_lock.finish(self._leave_locked)
        return self.has_been_left

    def _begin_locked(self) -> bool:
        assert self._core_lock.is_mine(), NOT_LOCKED
        if self._state is _State.LEFT:
            return False
        self._state = _State.RUNNING
        return True

    def _end_locked(self, is_alive: bool) -> None:
        assert self._core_lock.is_mine(), NOT_LOCKED
        if self._state is _State.RUNNING:
            self._state = _State.ENDED
        elif self._slot in self._core.worked_on:
            self.was_cut = not self._workers.unguard(self._slot)
            self._core.probed(self._slot, is_alive and not self.was_cut, self._clock.monotonic())

    def _leave_locked(self) -> None:
        assert self._core_lock.is_mine(), NOT_LOCKED
        was, now = self._state, self._clock.monotonic()
        if was in (_State.ENDED, _State.LEFT):
            return
        self._state = _State.LEFT
        self._core.take_over(self._waiter, now)
        if was is _State.RUNNING:
            self._workers.guard(self._slot, now + PROBE_LIMIT)
        else:
            # Nobody has looked at it, and the thread that was to do it will not.
            job = Probe(self._slot)
            self._core.dropped(job, self._core.lease_of(job), now)
