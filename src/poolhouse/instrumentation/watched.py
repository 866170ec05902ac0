"""What the pools of psycopg_pool and of drivers, which `poolhouse.watch` reports, have in common as sources."""

from collections.abc import Callable
from typing import Generic, TypeVar

from poolhouse.instrumentation.measured import Measured
from poolhouse.report.source import AnyStream, Source
from poolhouse.verdicts.verdict import Verdict

M = TypeVar("M", bound=Measured)


class WatchedPool(Source, Generic[M]):
    """One pool, from its first use in this process on a source of its stream.

    Attributes:
        stream: Where it is reported.
        made_at: The application's line that had it watched, in words; empty if not known.
        looks: What the looks found.
    """

    def __init__(self, stream: AnyStream, checkouts: Callable[[Callable[[], None]], M]) -> None:
        """Be reported nowhere yet.

        Args:
            stream: Where it is reported.
            checkouts: Makes what measures its checkouts, and calls its argument whenever the pool is used.
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
        """Take what is wrong with the pool now, for the errors that its clients get."""
        self._checkouts.verdict = verdicts[0] if verdicts else None
