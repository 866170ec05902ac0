"""Pools under test: virtual time for threads and asyncio, and a driver whose calls do what the test says."""

from poolhouse.testing.clock import VirtualClock
from poolhouse.testing.driver import AsyncFakeDriver, Does, FakeConnection, FakeDriver, FakeError
from poolhouse.testing.loop import Deadlock, VirtualLoop, run
from poolhouse.testing.threads import VirtualParker, VirtualThreads

__all__ = [
    "AsyncFakeDriver",
    "Deadlock",
    "Does",
    "FakeConnection",
    "FakeDriver",
    "FakeError",
    "VirtualClock",
    "VirtualLoop",
    "VirtualParker",
    "VirtualThreads",
    "run",
]
