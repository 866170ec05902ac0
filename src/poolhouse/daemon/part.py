"""Where a listener or a face is plugged into the daemon.

A listener brings reports in; a face shows the fleet, or sends it on. Each is a `Part`. They share the `Hub`: the
fleet, the clock, and the rule that reports come first.
"""

import asyncio
from collections.abc import Callable, Mapping
from math import inf
from typing import Protocol

from poolhouse.admission.sources import Sources
from poolhouse.clock import Clock
from poolhouse.fleet.fleet import Fleet
from poolhouse.fleet.intake import Way

#: The longest reading, in seconds, between two steps of other work, even if more reports wait. A step takes 2 to 4
#: ms, so a flood leaves a part of the core to those who watch it. Reports that take 80 % of a core, the promised
#: load, are all read in this time.
LONGEST_READ_S = 0.02
#: After this many seconds without a read, this process was stopped or starved: then everything that waits is read,
#: in at most `MOST_READS` reads of each listener. The kernel's buffers hold less.
ABSENT_S, MOST_READS = 0.25, 256


class Hub:
    """The services that the parts of a daemon share; for the thread of its loop.

    Attributes:
        fleet: Everything that was reported.
        clock: The source of time.
        sources: Assigns each address to the share of the fleet's memory that it counts towards.
        refusals: Each listener's count of what it has refused, by reason; reports are counted by the fleet.
        failed_pushes: How many pushes of metrics failed.
    """

    def __init__(self, fleet: Fleet, clock: Clock, sources: Sources | None = None) -> None:
        self.fleet = fleet
        self.sources = sources or Sources()
        self.clock = clock
        self.refusals: dict[str, Callable[[], Mapping[str, int]]] = {}
        self.failed_pushes = 0
        self._reads: list[Callable[[], bool]] = []
        self._read_at = clock.monotonic()

    def add_listener(self, read: Callable[[], bool]) -> None:
        """Have `read` called before anything that takes time.

        Args:
            read: Reads a batch without blocking; returns whether more may be waiting.
        """
        self._reads.append(read)

    def read_reports(self) -> None:
        """Read all waiting reports.

        A face calls this between two steps of some milliseconds, so that its work loses no report; and before
        silent processes are judged, since those that reported while this process was stopped or starved are not
        silent.
        """
        now = self.clock.monotonic()
        end = inf if now - self._read_at >= ABSENT_S else now + LONGEST_READ_S
        for read in self._reads:
            for _ in range(MOST_READS):
                if not read() or self.clock.monotonic() >= end:
                    break
        self._read_at = self.clock.monotonic()

    def receive(self, datagram: bytes, address: str = "127.0.0.1") -> None:
        """Give the fleet a report that came over TCP from this address."""
        now, wall_time = self.clock.monotonic(), self.clock.wall_time()
        self.fleet.receive(datagram, now, wall_time, Way.TCP, source=self.sources.of(address))


class Part(Protocol):
    """A listener or a face."""

    def attach(self, hub: Hub) -> None:
        """Get ready; called once, in the daemon's loop."""
        ...

    async def run(self) -> None:
        """Work until cancelled; an exception is logged, and the part runs again after a second."""
        ...

    def detach(self) -> None:
        """Stop receiving and sending. The sockets' owner closes them."""
        ...


async def forever() -> None:
    """For a part that only has to be called."""
    await asyncio.Event().wait()
