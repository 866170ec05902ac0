"""connmond's one loop: its parts receive and show. Once a second, silent processes go, and others are examined."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence

from poolhouse.admission.door import SECRET_BYTES
from poolhouse.admission.sources import Sources
from poolhouse.clock import Clock, SystemClock
from poolhouse.daemon.part import Hub, Part
from poolhouse.daemon.slices import Slices
from poolhouse.fleet.fleet import Fleet
from poolhouse.fleet.limits import FleetLimits
from poolhouse.fleet.snapshot import Health

#: Seconds between two checks for silent processes, and before a failed part runs again.
TICK = 1.0


class Daemon:
    """A fleet, and the listeners and faces that are plugged into it."""

    def __init__(
        self,
        parts: Sequence[Part],
        limits: FleetLimits | None = None,
        clock: Clock | None = None,
        sources: Sources | None = None,
    ) -> None:
        """Prepare.

        Args:
            parts: The listeners and faces.
            limits: The limits of the fleet; ``None`` for the defaults.
            clock: ``None`` for `SystemClock`.
            sources: Assigns each address to the share of the fleet's memory that it counts towards.
        """
        self._parts = parts
        self._clock = clock or SystemClock()
        fleet = Fleet(limits or FleetLimits(), self._clock.monotonic(), os.urandom(SECRET_BYTES))
        fleet.advances_in_steps = True
        self._hub = Hub(fleet, self._clock, sources)

    def health(self) -> Health:
        """The fleet's own figures."""
        return self._hub.fleet.health(self._clock.monotonic())

    async def run(self, end: asyncio.Event) -> None:
        """Receive and show until `end` is set."""
        for part in self._parts:
            part.attach(self._hub)
        tasks = [asyncio.create_task(self._repeat(part.run)) for part in self._parts]
        tasks.append(asyncio.create_task(self._repeat(self._judge)))
        try:
            await end.wait()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for part in self._parts:
                part.detach()

    async def _repeat(self, run: Callable[[], Awaitable[None]]) -> None:
        """Run a part again and again: the loop logs an exception, and a second passes."""
        while True:
            try:
                await run()
            except Exception as error:
                asyncio.get_running_loop().call_exception_handler(
                    {"message": "a part of connmond failed", "exception": error}
                )
            await asyncio.sleep(TICK)

    async def _judge(self) -> None:
        """Remove silent processes, and find out what is wrong with the others."""
        self._hub.read_reports()
        slices = Slices(self._hub)
        while self._hub.fleet.advance(self._clock.monotonic()):
            await slices.pause()
