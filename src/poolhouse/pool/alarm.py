"""One timer for the deadlines of all tasks that wait for a connection.

A timer of the event loop for each would cost as much as all the rest of waiting; hardly one of them ever rings.
"""

from asyncio import TimerHandle, get_running_loop
from collections.abc import Callable

from poolhouse.pool.core import PoolCore
from poolhouse.pool.options import FOREVER


class Alarm:
    """Wakes, at its deadline, each client that still stands in the core's queue then.

    Attributes:
        rings_at: When it will next look, in monotonic seconds. Who begins to wait with a deadline before
            this calls `set`.
    """

    __slots__ = ("_core", "_now", "_timer", "rings_at")

    def __init__(self, core: PoolCore, now: Callable[[], float]) -> None:
        """An alarm that is not set.

        Args:
            core: Whose clients to wake.
            now: Monotonic seconds.
        """
        self._core = core
        self._now = now
        self._timer: TimerHandle | None = None
        self.rings_at = FOREVER

    def set(self, deadline: float) -> None:
        """Ring at this deadline, in monotonic seconds, and no later."""
        self.stop()
        self.rings_at = deadline
        self._timer = get_running_loop().call_later(max(0.0, deadline - self._now()), self._ring)

    def stop(self) -> None:
        """Do not ring."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.rings_at = FOREVER

    def _ring(self) -> None:
        # The loop counts in fractions of a second and may be a little early.
        now = max(self._now(), self.rings_at)
        self._timer, self.rings_at = None, FOREVER
        waiters = list(self._core.waiters)
        for waiter in waiters:
            if waiter.deadline <= now:
                waiter.wake()
        if later := [waiter.deadline for waiter in waiters if waiter.deadline > now]:
            self.set(min(later))
