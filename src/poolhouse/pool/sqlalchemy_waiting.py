"""How the callers of a `FairQueuePool` wait: as threads, or as greenlets of SQLAlchemy's asyncio."""

import asyncio
from collections.abc import Callable
from typing import Protocol

from sqlalchemy.util import await_only

from poolhouse.clock import monotonic
from poolhouse.pool.core import Waiter

#: While clients of several event loops wait: how often each checks for closed loops, in seconds.
LOOK_S = 0.5


class Parker(Protocol):
    """A place where one caller waits until it is served."""

    def park(self, timeout: float | None) -> object:
        """Wait for `unpark`, for at most `timeout` seconds; ``None`` for no limit."""
        ...

    def unpark(self) -> None:
        """End the wait. Any thread may call this."""
        ...


class LoopParker:
    """A place where a greenlet of SQLAlchemy's asyncio waits.

    A future and a timer, because ``asyncio.wait_for`` may swallow a cancellation that arrives together with the
    result.
    """

    __slots__ = ("_future", "_is_unparked", "loop", "lost")

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self._future: asyncio.Future[None] | None = None
        self._is_unparked = False
        #: Called by `unpark` if the loop has been closed and cannot wake the greenlet.
        self.lost: Callable[[], object] = bool

    def park(self, timeout: float | None) -> None:
        """See `Parker.park`."""
        if self._is_unparked:
            self._is_unparked = False
            return
        self._future = self.loop.create_future()
        timer = None if timeout is None else self.loop.call_later(timeout, self._end)
        try:
            await_only(self._future)
        finally:
            if timer is not None:
                timer.cancel()
            self._future, self._is_unparked = None, False

    def unpark(self) -> None:
        """See `Parker.unpark`."""
        if asyncio._get_running_loop() is self.loop:
            self._wake()
            return
        try:
            self.loop.call_soon_threadsafe(self._wake)
        except RuntimeError:
            self.lost()

    def _wake(self) -> None:
        self._is_unparked = True
        self._end()

    def _end(self) -> None:
        if self._future is not None and not self._future.done():
            self._future.set_result(None)


class Loops:
    """The event loops in which callers of one pool wait.

    Whatever is given to a caller whose loop has been closed is lost unless the pool takes it back: the loop makes
    no more calls, and drops the scheduled ones. Closing a loop notifies nobody, so waiting callers have to check.
    """

    def __init__(self) -> None:
        self._waiters: dict[asyncio.AbstractEventLoop, dict[Waiter, None]] = {}

    def enter(self, loop: asyncio.AbstractEventLoop, waiter: Waiter) -> None:
        """Record that a caller begins to wait in a loop."""
        self._waiters.setdefault(loop, {})[waiter] = None

    def leave(self, loop: asyncio.AbstractEventLoop, waiter: Waiter) -> None:
        """Record that it no longer waits."""
        waiters = self._waiters.get(loop)
        if waiters is not None:
            waiters.pop(waiter, None)
            if not waiters:
                self._waiters.pop(loop, None)

    def pause(self, deadline: float | None) -> float | None:
        """How long a caller may sleep before it must `look` again, in seconds; ``None`` for no limit."""
        remaining = None if deadline is None else deadline - monotonic()
        if len(self._waiters) < 2:
            return remaining
        return LOOK_S if remaining is None else min(remaining, LOOK_S)

    def look(self) -> list[Waiter]:
        """The callers whose loop has been closed since they began to wait; each is returned once."""
        lost: list[Waiter] = []
        for loop in list(self._waiters):
            if loop.is_closed():
                lost += self._waiters.pop(loop, ())
        return lost
