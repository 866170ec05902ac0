"""What the pools of psycopg_pool and of drivers, which `poolhouse.watch` reports, share as sources."""

from collections.abc import Callable
from typing import Generic, TypeVar

from poolhouse.instrumentation.measured import Measured
from poolhouse.report.source import AnyStream, Source
from poolhouse.verdicts.verdict import Verdict

M = TypeVar("M", bound=Measured)


class WatchedPool(Source, Generic[M]):
    """One pool; from its first use in this process on, it is a source of its stream.

    Attributes:
        stream: The stream that reports it.
        made_at: The line of the application that had it watched, in words; empty if not known.
        looks: The results of the looks.
    """

    def __init__(self, stream: AnyStream, checkouts: Callable[[Callable[[], None]], M]) -> None:
        """Start without being reported.

        Args:
            stream: The stream that will report it.
            checkouts: Makes the measurement of the pool's checkouts; its argument is called whenever the pool is
                used.
        """
        self.stream = stream
        self.made_at = ""
        self._is_reported = False
        self._checkouts = checkouts(self._is_used)
        self.looks = self._checkouts.looks

    def _is_used(self) -> None:
        if not self._is_reported:
            self._is_reported = True
            self.stream.add(self)

    def judged(self, verdicts: tuple[Verdict, ...]) -> None:
        """Store what is wrong with the pool now, for the errors of its clients."""
        self._checkouts.verdict = verdicts[0] if verdicts else None
