"""One timer for the deadlines of all tasks that wait for a connection.

One timer of the event loop per task would cost as much as the rest of waiting, and hardly any of them would ever
fire.
"""

from asyncio import Future, TimerHandle, get_running_loop
from collections.abc import Callable
from heapq import heapify, heappop, heappush
from itertools import count
from typing import TypeAlias

from poolhouse.pool.options import FOREVER

#: A deadline, a number that makes it unique, and the future of the waiting task. Only the future is kept: once
#: done, it refers to nothing of the task, so an obsolete deadline keeps nothing alive.
_Deadline: TypeAlias = tuple[float, int, "Future[None]"]

#: How many deadlines may accumulate before the obsolete ones are first removed.
_FEW = 64


class Alarm:
    """Completes each waiting task's future at its deadline.

    The cost of a deadline depends neither on the number of waiting tasks nor on the number of deadlines, except
    for the logarithm of a heap.
    """

    __slots__ = ("_deadlines", "_kept", "_now", "_numbers", "_timer", "rings_at")

    def __init__(self, now: Callable[[], float]) -> None:
        """An alarm that is not set.

        Args:
            now: Monotonic seconds.
        """
        self._now = now
        self._deadlines: list[_Deadline] = []
        self._numbers = count()
        #: How many deadlines may be kept until the obsolete ones are next removed.
        self._kept = _FEW
        self._timer: TimerHandle | None = None
        #: When the timer fires next, in monotonic seconds.
        self.rings_at = FOREVER

    def add(self, deadline: float, future: "Future[None]") -> None:
        """Complete the future at this deadline, in monotonic seconds, unless it is done by then."""
        heappush(self._deadlines, (deadline, next(self._numbers), future))
        if len(self._deadlines) > self._kept:
            self._forget()
        if deadline < self.rings_at:
            self._set(deadline)

    def stop(self) -> None:
        """Cancel the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.rings_at = FOREVER
        self._deadlines.clear()

    def _set(self, deadline: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self.rings_at = deadline
        self._timer = get_running_loop().call_later(max(0.0, deadline - self._now()), self._ring)

    def _forget(self) -> None:
        """Remove the deadlines of tasks that no longer wait, so that at most half of the limit is used."""
        self._deadlines = [each for each in self._deadlines if not each[2].done()]
        heapify(self._deadlines)
        self._kept = max(_FEW, 2 * len(self._deadlines))

    def _ring(self) -> None:
        # The loop measures in fractions of a second and may fire a little early.
        now = max(self._now(), self.rings_at)
        self._timer, self.rings_at = None, FOREVER
        deadlines = self._deadlines
        while deadlines and (deadlines[0][0] <= now or deadlines[0][2].done()):
            future = heappop(deadlines)[2]
            if not future.done():
                future.set_result(None)
        if deadlines:
            self._set(deadlines[0][0])
