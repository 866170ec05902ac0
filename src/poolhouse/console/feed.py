"""The interface of the console's source of snapshots: the part of `poolhouse.feed.client.FeedClient` it needs."""

from collections.abc import Callable
from typing import Protocol

from poolhouse.feed.link import Link
from poolhouse.fleet.snapshot import Snapshot


class Feed(Protocol):
    """A source of snapshots."""

    def start(self) -> None:
        """Start; from now on the callbacks are called, in a thread of the feed's own."""
        ...

    def ask(self, program: str | None) -> None:
        """Request that snapshots include the processes of this program; ``None`` for no program."""
        ...

    def retry(self) -> None:
        """Try to connect now instead of at the next scheduled attempt."""
        ...

    def close(self) -> None:
        """Stop."""
        ...


#: Makes a feed that passes its snapshots and the changes of its link to the two callables.
FeedFactory = Callable[[Callable[[Snapshot], None], Callable[[Link], None]], Feed]
