"""Messages that reach the application from outside its event loop. Each kind collapses into the newest."""

from textual.message import Message

from poolhouse.feed.link import Link
from poolhouse.fleet.snapshot import Snapshot


class SnapshotArrived(Message):
    """The aggregator has sent a snapshot."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        super().__init__()

    def can_replace(self, message: Message) -> bool:
        """Any later snapshot replaces this one."""
        return isinstance(message, SnapshotArrived)


class LinkChanged(Message):
    """The state of the connection to the aggregator has changed, or something was heard."""

    def __init__(self, link: Link) -> None:
        self.link = link
        super().__init__()

    def can_replace(self, message: Message) -> bool:
        """Only the newest state of the link matters."""
        return isinstance(message, LinkChanged)


class TerminalGone(Message):
    """The terminal of the window no longer exists."""
