"""An asyncio event loop in which time jumps from one deadline to the next.

While anything can run, time stands still; when everything waits for time, it jumps. Hours pass in milliseconds,
always in the same order. Sockets are polled, but get no time to answer.
"""

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

from poolhouse.testing.clock import VirtualClock

T = TypeVar("T")


class Deadlock(RuntimeError):
    """Everything waits, and nothing is due: passing time cannot help."""


class _JumpingSelector(selectors.DefaultSelector):
    """Advances the clock at once by the time that it was asked to wait."""

    def __init__(self, clock: VirtualClock) -> None:
        super().__init__()
        self._clock = clock

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """What is ready now; if nothing is, the time has passed."""
        ready = super().select(0)
        if ready:
            return ready
        if timeout is None:
            raise Deadlock("every task waits, and no timer is set")
        if timeout > 0:
            # One nanosecond more, so that no rounding leaves the deadline in the future.
            self._clock.advance(timeout + 1e-9)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop with the time of a `VirtualClock`."""

    def __init__(self, clock: VirtualClock) -> None:
        self._virtual_clock = clock
        super().__init__(_JumpingSelector(clock))

    def time(self) -> float:
        """The virtual time, in seconds."""
        return self._virtual_clock.monotonic()


def run(main: Coroutine[Any, Any, T], clock: VirtualClock) -> T:
    """`asyncio.run` in virtual time.

    >>> clock = VirtualClock()
    >>> run(asyncio.sleep(3600, "an hour later"), clock)
    'an hour later'
    """
    with asyncio.Runner(loop_factory=lambda: VirtualLoop(clock)) as runner:
        return runner.run(main)
