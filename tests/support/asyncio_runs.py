"""Running a coroutine that uses aiosqlite to its true end."""

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any


def run(main: Coroutine[Any, Any, None]) -> None:
    """As `asyncio.run`, but the loop stays until aiosqlite's threads have ended."""
    before = set(threading.enumerate())

    async def whole() -> None:
        await main
        await connections_ended(before)

    asyncio.run(whole())


async def connections_ended(before: set[threading.Thread]) -> None:
    """Wait until aiosqlite's threads, except those of `before`, have ended.

    SQLAlchemy ends a connection whose state is not known by ``stop()``, which nobody awaits; the connection's
    thread tells the loop when it is done, and fails if the loop has closed meanwhile.
    """
    for thread in set(threading.enumerate()) - before:
        if "_connection_worker_thread" in thread.name:
            await asyncio.to_thread(thread.join, 10.0)
            assert not thread.is_alive(), "a connection of aiosqlite was not closed"
