"""The only reader of time.

Everything else is given a `Clock`, or the time itself, so that it can live in virtual time.

An application's tests may freeze the module `time`, or count its calls. The time here goes on, and calls nothing
there.
"""

from collections.abc import Callable
from typing import Protocol

from poolhouse.unpatched import unpatched

_time = unpatched("time")

#: Seconds since an unknown instant; never falls.
monotonic: Callable[[], float] = _time.monotonic
#: Seconds since the epoch.
wall_time: Callable[[], float] = _time.time


class Clock(Protocol):
    """A source of time, in seconds."""

    def monotonic(self) -> float:
        """Seconds since an unknown instant; never falls. For durations and deadlines.

        Each call returns a new object: pools tell their calls apart by its identity.
        """
        ...

    def wall_time(self) -> float:
        """Seconds since the epoch; may jump. For the wire and for people only."""
        ...


#: CPU seconds used by this thread so far: the cost of a piece of work, whatever else the machine does.
cpu_seconds: Callable[[], float] = _time.thread_time


class SystemClock:
    """The operating system's clocks."""

    monotonic = staticmethod(monotonic)
    wall_time = staticmethod(wall_time)
