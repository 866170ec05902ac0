"""The state of the client's connection to its data."""

from typing import Literal, NamedTuple

from poolhouse.feed.protocol.datagrams import DenialReason

Phase = Literal["connecting", "connected", "refused", "unresolved", "listening"]


class Link(NamedTuple):
    """The connection from a server to this console, at one instant. Times are monotonic seconds."""

    phase: Phase
    #: The server's name as the user would write it: ``web1:25828``.
    address: str
    #: For example ``connmond 0.1.0``; ``None`` if the server does not introduce itself.
    server: str | None = None
    #: Where programs should report, as ``host:port``; ``None`` if the server does not say.
    reports: str | None = None
    #: How many attempts were made since anything was last heard.
    tries: int = 0
    #: When the next attempt is due; ``None`` if none is needed.
    next_try: float | None = None
    #: The error, in a sentence for people.
    error: str | None = None
    #: When something was last heard.
    heard_at: float | None = None
    #: Seconds of silence that are normal for this source.
    patience: float = 0.0
    #: Over TCP, the service, and its node in use or next in turn; the service is empty while any will do. ``None``
    #: over UDP.
    service: str | None = None
    node: str | None = None
    #: Whether a node demands a login that is not known, or refuses ours.
    login: Literal["", "missing", "wrong"] = ""
    #: Why this is not the connection that the user would expect, as half a sentence.
    note: str = ""
    #: Why the server refuses this console over UDP, if it says so.
    denial: DenialReason | None = None

    def is_silent(self, now: float) -> bool:
        """Whether something was heard once, but nothing for longer than is normal."""
        return self.heard_at is not None and now - self.heard_at > self.patience


def is_refused(error: str) -> bool:
    """Whether this is the system's message when nothing listens.

    >>> is_refused("Connection refused"), is_refused("node1: Connection refused; node2: Connection refused")
    (True, False)
    """
    return error.rstrip(".").lower() in ("connection refused", "it refuses the connection")
