"""One line of the application that takes connections from one pool, and the history of those connections."""

from typing import Any
from weakref import ref

from poolhouse.meter.histogram import Histogram
from poolhouse.meter.meter import Tally
from poolhouse.meter.signs import VIA
from poolhouse.sites.tally import SiteLooks
from poolhouse.sites.words import CallSite, site_of


class Site:
    """One line that takes connections from one pool. It keeps the line's code alive, but no frame.

    The rules are those of `poolhouse.meter.meter`: any thread, task or finalizer may append to `uses` and `waits`
    and call `collected.add`; only the thread that folds the meter calls `fold`; the reporter may do the rest.

    Attributes:
        place: The line; ``None`` for connections whose line is not known.
        helper: The line of the helper through which it takes them; ``None`` if there is none.
        ended: Call it with the seconds that a connection was out, when it comes back.
        waits: The noticeable waits of its callers, in seconds.
        collected: Connections that the garbage collector returned.
        use: How long its connections were out, as far as folded. It is replaced, not changed.
        loop: A weak reference to the event loop that ran in the thread that took its first connection: a task may
            hold it even if the pool is not an asyncio pool. ``None`` if there was none.
        looks: The results of the looks at its connections.
    """

    __slots__ = (
        "_held_s",
        "_waited_s",
        "_words",
        "collected",
        "ended",
        "helper",
        "looks",
        "loop",
        "place",
        "use",
        "uses",
        "waits",
    )

    def __init__(self, place: CallSite | None, helper: CallSite | None = None, words: str = "") -> None:
        self.place = place
        self.helper = helper
        self._words = words
        self.uses: list[float] = []
        self.ended = self.uses.append
        self.waits: list[float] = []
        self._waited_s = self._held_s = 0.0
        self.collected = Tally()
        self.use = Histogram()
        self.loop: ref[Any] | None = None
        self.looks = SiteLooks()

    @property
    def words(self) -> str:
        """The line in words, with the helper's after `VIA`."""
        if not self._words and self.place is not None:
            via = "" if self.helper is None else VIA + site_of(*self.helper)
            self._words = site_of(*self.place) + via
        return self._words

    def fold(self) -> None:
        """Move the use times into `use`, as a new histogram."""
        if self.uses:
            taken = list(self.uses)
            del self.uses[: len(taken)]
            use = self.use.copy()
            use.record_seconds(taken)
            self.use = use

    def held_s(self, now: float) -> float:
        """Its connection-seconds, which never fall; for the single reader only.

        Args:
            now: The present estimate: a connection that comes back meanwhile may be missing from it.
        """
        self._held_s = max(self._held_s, now)
        return self._held_s

    def waited_s(self) -> float:
        """The sum of its callers' waits so far, in seconds; for the single reader only."""
        taken = list(self.waits)
        del self.waits[: len(taken)]
        self._waited_s += sum(taken)
        return self._waited_s

    def __repr__(self) -> str:
        """For example ``<Site app/views.py:88 in checkout_cart>``."""
        return f"<Site {self.words}>"
