"""The counts of this process's pools, by name, for all its collectors."""

import os
from collections.abc import Callable

from poolhouse.meter.histogram import Histogram
from poolhouse.otel.ledger import Ledger, Now
from poolhouse.report import readings
from poolhouse.report.native import Lock
from poolhouse.report.readings import Readings
from poolhouse.report.unsent import UNSENT, begin_afresh_in_children


class Figures:
    """The figures of one moment.

    Attributes:
        now: The present state of the existing pools, by name.
        timeouts: Callers that gave up, by name.
        times: Durations by name and kind (``create``, ``wait``, ``use``), as far as they are measured.
    """

    def __init__(
        self, now: dict[str, Now], timeouts: dict[str, int], times: dict[tuple[str, str], Histogram]
    ) -> None:
        self.now = now
        self.timeouts = timeouts
        self.times = times


class Sums:
    """The sums of this process. They never fall, whatever pools end; a forked child starts at zero."""

    def __init__(self) -> None:
        self._has_begun = False
        self._begin()

    def _begin(self) -> None:
        self._turn = Lock()
        self._ledger = Ledger()
        self._newest = Figures({}, {}, {})

    def begin(self) -> None:
        """Start taking what other readers have read. Idempotent."""
        if not self._has_begun:
            self._has_begun = True
            begin_afresh_in_children()
            os.register_at_fork(after_in_child=self._begin)
            UNSENT.share(self.tell)
            readings.observe(self.tell)

    def tell(self, read: Readings) -> None:
        """Take the readings of the reporter, or of another reader; called in its thread."""
        self._ledger.tell(read)

    def figures(self, failed: Callable[[Exception], None]) -> Figures:
        """The present figures.

        While another thread is making them, or under a signal handler, the previous ones.

        Args:
            failed: Called with the error of a pool that cannot be read.
        """
        turn = self._turn
        if not turn.acquire(timeout=0):
            return self._newest
        try:
            ledger = self._ledger
            ledger.settle(UNSENT.read(self.tell, failed))
            times = {key: ledger.grown[key].copy() if key in ledger.grown else Histogram() for key in ledger.kinds}
            self._newest = Figures(ledger.now(), ledger.timeouts.copy(), times)
        finally:
            turn.release()
        return self._newest


#: The sums of this process.
SUMS = Sums()
