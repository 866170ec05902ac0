"""A check in a thread of its own, so that the client that waits for it may leave before it ends."""

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
    #: The check has ended while the client was waiting; the client gets the result.
    ENDED = 2
    #: The client has left; the check continues if it was running.
    LEFT = 3


class CheckBeside:
    """The check of a connection for one client; it decides about the connection even if the client leaves.

    Only shutting down the socket can free a thread that waits for a server, and a server that is silent for a
    moment is no reason for that: the client may have less time than the check may take.

    Attributes:
        was_cut: Whether the connection was aborted because the check took too long after its client had left.
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
            core: The pool's core.
            core_lock: The pool's lock.
            workers: The pool's workers, which end a check that takes too long.
            clock: The pool's clock.
            waiter: The client.
            slot: The slot that it was given.
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
        """Whether the client left before the check ended."""
        return self._state is _State.LEFT

    def run(self) -> BaseException | None:
        """Check, in the separate thread. Returns what `examine` raised, for a client that still waits."""
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
        """Let the client leave. Returns False if the check has just ended: the client can then use the result."""
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
            # The check has not begun, and the thread that was to run it will not.
            job = Probe(self._slot)
            self._core.dropped(job, self._core.lease_of(job), now)
