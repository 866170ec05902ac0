"""A measured pool without a database: it counts what it is told to, and reports itself as instrumentation does."""

import os
import threading

from poolhouse.meter.reading import Counters, Gauges, Limits, PoolReading
from poolhouse.report.destination import Destination
from poolhouse.report.reporter import stream


class CountedPool:
    """A source that reports to `url` from its first use in this process on."""

    def __init__(self, url: str, name: str = "db") -> None:
        self._stream = stream(Destination.from_url(url))
        self._lock = threading.Lock()
        self.name = name
        self.after_fork()

    def after_fork(self) -> None:
        """Be a pool that was never used."""
        self.checkouts = 0
        self.is_added = False

    def use(self, times: int = 1) -> None:
        """Check out and in again."""
        with self._lock:
            self.checkouts += times
        if not self.is_added:
            self.is_added = True
            self.pid = os.getpid()
            self._stream.add(self)

    def is_gone(self) -> bool:
        return False

    def read(self, number: int) -> PoolReading:
        assert self.pid == os.getpid(), "a child reads no pool of its parent"
        return PoolReading(
            0,
            self.name,
            "CountedPool",
            limits=Limits(5, 5, 0),
            gauges=Gauges(idle=1),
            counters=Counters(self.checkouts),
        )
