"""What reaches the application from outside its event loop. A burst of either collapses into its newest."""

from textual.message import Message

from poolhouse.feed.link import Link
from poolhouse.fleet.snapshot import Snapshot


class SnapshotArrived(Message):
    """The aggregator has sent what it knows."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        super().__init__()

    def can_replace(self, message: Message) -> bool:
        """Any later snapshot says all that this one says."""
        return isinstance(message, SnapshotArrived)


class LinkChanged(Message):
    """The way to the aggregator is another, or something was heard."""

    def __init__(self, link: Link) -> None:
        self.link = link
        super().__init__()

    def can_replace(self, message: Message) -> bool:
        """Only the newest state of the link is of interest."""
        return isinstance(message, LinkChanged)


class TerminalGone(Message):
    """The terminal that the window is drawn on does not exist any more."""
