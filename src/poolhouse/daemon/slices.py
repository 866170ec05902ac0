"""Work in slices of milliseconds, between which reports are read."""

import asyncio
from collections.abc import Iterator, Sequence
from typing import TypeVar

from poolhouse.clock import cpu_seconds
from poolhouse.daemon.part import Hub

#: Seconds of work before reports are read: at 10,000 a second, a socket's usual buffer is full after 18 ms.
SLICE = 0.002
#: Rows whose sums are made at once.
ROWS_AT_ONCE = 8

T = TypeVar("T")


def batches(rows: Sequence[T]) -> Iterator[Sequence[T]]:
    """The rows in batches that fit into a slice.

    >>> [len(batch) for batch in batches(range(20))]
    [8, 8, 4]
    """
    return (rows[at : at + ROWS_AT_ONCE] for at in range(0, len(rows), ROWS_AT_ONCE))


class Slices:
    """The slices of one piece of work."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._end = hub.clock.monotonic() + SLICE
        self._spent = 0.0
        self._began = cpu_seconds()

    @property
    def spent(self) -> float:
        """CPU seconds of the work, without what ran between its slices."""
        return self._spent + cpu_seconds() - self._began

    async def pause(self) -> None:
        """End the slice if it has taken long enough; call this after each small step."""
        if self._hub.clock.monotonic() >= self._end:
            await self.end()

    async def end(self) -> None:
        """End the slice, however short; call this before a step that takes milliseconds by itself."""
        self._spent = self.spent
        self._hub.read_reports()
        await asyncio.sleep(0)  # Let other work in this loop run.
        self._hub.read_reports()
        self._began = cpu_seconds()
        self._end = self._hub.clock.monotonic() + SLICE
