"""How long connections are held while nothing is wrong."""

from collections import deque
from typing import NamedTuple

from poolhouse.verdicts.moment import Moment, PoolSpan, trails

#: How many connections must have come back before their mean is a habit.
ENOUGH = 5
#: From this many on, older ones count half: a habit may change.
MANY = 1000
#: How many calm intervals must follow one before it counts: trouble begins before callers wait.
BELIEVED_AFTER = 2


class Holds(NamedTuple):
    """Connections that came back, and how long they had been out in total, in seconds."""

    returned: float = 0.0
    held_s: float = 0.0

    def plus(self, more: "Holds") -> "Holds":
        """Both together; the older part counts half if it is large."""
        share = 0.5 if self.returned > MANY else 1.0
        return Holds(share * self.returned + more.returned, share * self.held_s + more.held_s)

    @property
    def mean_s(self) -> float | None:
        """The habit, in seconds; ``None`` while there are too few."""
        return self.held_s / self.returned if self.returned >= ENOUGH else None


#: The name of a pool's own entry, beside those of its sites.
_ALL = ""


class Habits:
    """The habits of one process's pools and sites, and the longest completed hold of each."""

    def __init__(self) -> None:
        self._holds: dict[int, dict[str, Holds]] = {}
        #: Calm intervals that do not count yet, by the pool's key.
        self._pending: dict[int, deque[dict[str, Holds]]] = {}
        #: The longest completed hold, in seconds, until the garbage collector first brought a connection back.
        self._longest: dict[tuple[int, str], float] = {}

    def learn(self, moments: tuple[Moment, ...]) -> None:
        """Learn from the newest interval. Call this once per moment."""
        living = trails(moments) if moments else []
        for trail in living:
            key = trail.now.key
            self._learn_longest(trail.newest)
            pending = self._pending.setdefault(key, deque())
            if not trail.newest.is_calm:
                pending.clear()
                continue
            pending.append(_holds(trail.newest))
            if len(pending) > BELIEVED_AFTER:
                known = self._holds.setdefault(key, {})
                for site, more in pending.popleft().items():
                    known[site] = known.get(site, Holds()).plus(more)
        self._forget({trail.now.key for trail in living})

    def of_site(self, key: int, site: str) -> float | None:
        """A site's mean hold in calm times, in seconds; ``None`` if it is not known."""
        return self._holds.get(key, {}).get(site, Holds()).mean_s

    def of_pool(self, key: int) -> float | None:
        """The same for all sites of a pool."""
        return self.of_site(key, _ALL)

    def longest_s(self, key: int, site: str = _ALL) -> float:
        """The longest completed hold of a site, or of a pool, in seconds; 0 if there is none."""
        return self._longest.get((key, site), 0.0)

    def _learn_longest(self, span: PoolSpan) -> None:
        key, use = span.now.key, span.now.use
        sites = span.signs.sites
        if use is not None and not any(site.collected for site in sites):
            self._longest[key, _ALL] = max(self.longest_s(key), use.max_ns / 1e9)
        for site in sites:
            if site.use is not None and not site.collected:
                self._longest[key, site.site] = max(self.longest_s(key, site.site), site.use.max_ns / 1e9)

    def _forget(self, living: set[int]) -> None:
        """Forget the pools that are gone, with their sites: a pool reports up to 64 of them."""
        for by_key in (self._holds, self._pending):
            for key in [key for key in by_key if key not in living]:
                del by_key[key]
        for key, site in [known for known in self._longest if known[0] not in living]:
            del self._longest[key, site]


def _holds(span: PoolSpan) -> dict[str, Holds]:
    holds = {site.now.site: Holds(site.returned, site.held_s) for site in span.sites}
    returned = sum(one.returned for one in holds.values())
    # A source that does not measure holds by site measures them for the pool.
    holds[_ALL] = Holds(returned, sum(one.held_s for one in holds.values())) if returned else Holds(*span.measured)
    return holds
