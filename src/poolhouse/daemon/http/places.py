"""How many large answers are made at a time, and for whom: no address takes more than half of the places.

A reader that takes its answer slowly keeps its place meanwhile, for as long as the server is patient.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager


class Places:
    """A number of places; for the thread of the daemon's loop."""

    def __init__(self, most: int) -> None:
        """Start with `most` free places, at least 2."""
        self._most_of_one = most // 2
        self._all = asyncio.Semaphore(most)
        #: The places of each address, and how many of its answers have one or wait.
        self._of: dict[str, tuple[asyncio.Semaphore, int]] = {}

    @asynccontextmanager
    async def taken(self, address: str) -> AsyncGenerator[None]:
        """Wait for a place, and keep it while the block runs.

        Args:
            address: Who asks.
        """
        own, count = self._of.get(address) or (asyncio.Semaphore(self._most_of_one), 0)
        self._of[address] = own, count + 1
        try:
            # In this order: those of one address that wait do not stand in front of others.
            async with own, self._all:
                yield
        finally:
            own, count = self._of.pop(address)
            if count > 1:
                self._of[address] = own, count - 1
