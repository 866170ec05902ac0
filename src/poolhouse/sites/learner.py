"""Learns which lines take connections for their callers, from the looks at connections that came back.

A function that returns its connection, or that makes the first statement of a session which its caller keeps, has
ended while the connection is in use. A leaking function has ended, too; but its connections do not come back, or
the garbage collector returns them.
"""

from collections.abc import Iterable
from typing import Any

from poolhouse.sites.frames import Place
from poolhouse.sites.look import Hold
from poolhouse.sites.seen import Seen, State
from poolhouse.sites.site import Site
from poolhouse.sites.table import SiteTable
from poolhouse.sites.tally import SiteLooks

#: This many connections must have been seen without the function that took them, and this many times more than
#: with it.
ENOUGH = 3


class LeaseLooks(SiteLooks):
    """Counts the looks at one connection for its line, and remembers their results."""

    __slots__ = ("_asked_at", "_of_site", "has_ended", "has_run", "lease", "site")

    def __init__(self, site: Site, lease: object) -> None:
        self.site = site
        #: Where the last look found its function asking for another one at the same line; ``None`` if it did not.
        self._asked_at: Place | None = None
        #: Kept alive, so that no other lease gets its identity.
        self.lease = lease
        self._of_site = site.looks
        self.has_ended = self.has_run = False

    def count(self, seen: Seen) -> None:
        """Count one look at the connection."""
        if seen.asks_again:
            # Since the holds were listed, it may have come back and been asked for again.
            self._asked_at = seen.line
            return
        self._of_site.count(seen)
        if seen.state is State.ENDED:
            self.has_ended = True
        elif seen.state is not None:
            self.has_run = True

    def is_still_out(self, forgets: bool) -> None:
        """Note that the next look finds it still out, which confirms the last look at a function that asks again.

        Args:
            forgets: Whether a call of this line has certainly ended without returning its connection. Then this
                one is from an earlier call, too; otherwise the call keeps what it has and wants more.
        """
        if self._asked_at is not None:
            self._of_site.count(Seen(State.ENDED if forgets else State.ASKS, self._asked_at))
            self._asked_at = None

    @property
    def held_s(self) -> float:
        """Connection-seconds of the line."""
        return self._of_site.held_s

    @held_s.setter
    def held_s(self, value: float) -> None:
        self._of_site.held_s = value


class Learner:
    """Follows the connections of a pool through the looks; for the reporter's thread."""

    def __init__(self, table: SiteTable) -> None:
        self._table = table
        self._followed: dict[int, LeaseLooks] = {}
        #: For each line, how many connections came back that were seen without its function, and only with it.
        self._came_back: dict[Site, tuple[int, int]] = {}

    def clear(self) -> None:
        """Start afresh, in a forked child."""
        self._followed.clear()
        self._came_back.clear()

    def follow(self, leases: Iterable[Any], collected: Iterable[Any]) -> list[Hold]:
        """The present holds, for a look. Lines of connections that came back since may turn out to be helpers'.

        Args:
            leases: As in `poolhouse.instrumentation.checkout`.
            collected: Some leases that the garbage collector has ended.
        """
        before, self._followed = self._followed, {}
        forgetting = {looks.site for looks in before.values() if looks.has_ended}
        holds = []
        for lease in leases:
            key = id(lease)
            looks = before.pop(key, None) or LeaseLooks(lease[2], lease)
            self._followed[key] = looks
            looks.is_still_out(looks.site in forgetting)
            code, instruction = looks.site.place or (None, 0)
            holds.append(Hold(looks, code, instruction, lease[0], lease[3], looks.site.loop))
        if before:
            for lease in collected:
                if id(lease) in before:
                    del before[id(lease)]
            for looks in before.values():
                self._ended(looks)
        return holds

    def _ended(self, looks: LeaseLooks) -> None:
        if not (looks.has_ended or looks.has_run) or looks.site.place is None:
            return
        without, with_it = self._came_back.get(looks.site, (0, 0))
        self._came_back[looks.site] = without, with_it = without + looks.has_ended, with_it + (not looks.has_ended)
        if without >= ENOUGH and without >= ENOUGH * with_it:
            self._table.pass_over(looks.site)
