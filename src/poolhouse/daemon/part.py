"""Where a listener or a face is plugged into the daemon.

A listener brings reports in; a face shows the fleet, or sends it on. Each is a `Part`. What they share is in the
`Hub`: the fleet, the time, and the rule that reports come first.
"""

import asyncio
from collections.abc import Callable
from typing import Protocol

from poolhouse.clock import Clock
from poolhouse.fleet.fleet import Fleet, Way

#: Reads of each listener before other work goes on although more reports wait: a flood stops nothing for longer.
MOST_READS = 256


class Hub:
    """The services that the parts of a daemon share; for the thread of its loop.

    Attributes:
        fleet: All that was reported.
        clock: Where time comes from.
    """

    def __init__(self, fleet: Fleet, clock: Clock) -> None:
        self.fleet = fleet
        self.clock = clock
        self._reads: list[Callable[[], bool]] = []

    def add_listener(self, read: Callable[[], bool]) -> None:
        """Let `read` be called before anything that takes time.

        Args:
            read: Reads a batch without blocking; returns whether more may be waiting.
        """
        self._reads.append(read)

    def read_reports(self) -> None:
        """Take the reports that wait.

        A face calls this between two steps of some milliseconds, so that no report is lost to its work; and before
        it is judged who is silent, since whoever reported while this process was stopped, or starved, is not.
        """
        for read in self._reads:
            for _ in range(MOST_READS):
                if not read():
                    break

    def receive(self, datagram: bytes) -> None:
        """Give a report that came over TCP to the fleet."""
        self.fleet.receive(datagram, self.clock.monotonic(), self.clock.wall_time(), Way.TCP)


class Part(Protocol):
    """A listener or a face."""

    def attach(self, hub: Hub) -> None:
        """Get ready; called once, in the daemon's loop."""
        ...

    async def run(self) -> None:
        """Work until cancelled; an exception is logged, and the part is run again after a second."""
        ...

    def detach(self) -> None:
        """Receive and send no more. Sockets stay their owner's to close."""
        ...


async def forever() -> None:
    """For a part that has nothing to do but to be called."""
    await asyncio.Event().wait()
