"""Where the console's snapshots come from: what it needs of `poolhouse.feed.client.FeedClient`."""

from collections.abc import Callable
from typing import Protocol

from poolhouse.feed.link import Link
from poolhouse.fleet.snapshot import Snapshot


class Feed(Protocol):
    """A source of snapshots."""

    def start(self) -> None:
        """Begin; from now on the callbacks are called, in a thread of the feed's own."""
        ...

    def ask(self, program: str | None) -> None:
        """From now on the snapshots tell the processes of this program too."""
        ...

    def retry(self) -> None:
        """Try to connect now rather than when the next attempt is due."""
        ...

    def close(self) -> None:
        """End."""
        ...


#: Makes a feed that hands its snapshots and the changes of its link to the two callables.
FeedFactory = Callable[[Callable[[Snapshot], None], Callable[[Link], None]], Feed]
