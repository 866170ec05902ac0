"""Where a listener or a face is plugged into the daemon.

A listener brings reports in; a face shows the fleet, or sends it on. Each is a `Part`. They share the `Hub`: the
fleet, the time, and the rule that reports come first.
"""

import asyncio
from collections.abc import Callable
from math import inf
from typing import Protocol

from poolhouse.admission.sources import Sources
from poolhouse.clock import Clock
from poolhouse.fleet.fleet import Fleet, Way

#: Seconds of reading between two steps of other work, although more reports wait. A step takes 2 to 4 ms: a flood
#: leaves a part of the core to those who watch it. Reports that take 80 % of a core, as much as is promised, are
#: all read in this time.
LONGEST_READ_S = 0.02
#: After so many seconds without a read, this process was stopped or starved: then everything is read that waits,
#: in at most `MOST_READS` reads of each listener. The buffers of the kernel hold less.
ABSENT_S, MOST_READS = 0.25, 256


class Hub:
    """The services that the parts of a daemon share; for the thread of its loop.

    Attributes:
        fleet: All that was reported.
        clock: Where time comes from.
        sources: Whose share of the fleet an address counts to.
        refused_over_http: How many connections and requests over HTTP were refused; the face for HTTP sets it.
        failed_pushes: How many pushes of metrics failed.
    """

    def __init__(self, fleet: Fleet, clock: Clock, sources: Sources | None = None) -> None:
        self.fleet = fleet
        self.sources = sources or Sources()
        self.clock = clock
        self.refused_over_http: Callable[[], int] = int
        self.failed_pushes = 0
        self._reads: list[Callable[[], bool]] = []
        self._read_at = clock.monotonic()

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
        now = self.clock.monotonic()
        end = inf if now - self._read_at >= ABSENT_S else now + LONGEST_READ_S
        for read in self._reads:
            for _ in range(MOST_READS):
                if not read() or self.clock.monotonic() >= end:
                    break
        self._read_at = self.clock.monotonic()

    def receive(self, datagram: bytes, address: str = "127.0.0.1") -> None:
        """Give a report that came over TCP from this address to the fleet."""
        now, wall_time = self.clock.monotonic(), self.clock.wall_time()
        self.fleet.receive(datagram, now, wall_time, Way.TCP, source=self.sources.of(address))


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
