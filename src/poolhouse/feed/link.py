"""The state of the client's connection to its data."""

from dataclasses import dataclass
from typing import Literal

from poolhouse.feed.protocol.datagrams import DenialReason

Phase = Literal["connecting", "connected", "refused", "unresolved", "listening"]


@dataclass(frozen=True, slots=True)
class Link:
    """The way from a server to this console, at one instant. Times are monotonic seconds."""

    phase: Phase
    #: As the user would say it: ``web1:25828``.
    address: str
    #: For example ``connmond 0.1.0``; ``None`` where the server does not introduce itself.
    server: str | None = None
    #: Where programs should report, as ``host:port``; ``None`` where the server does not say.
    reports: str | None = None
    #: How often it was tried since something was heard last.
    tries: int = 0
    #: When it is tried next; ``None`` while there is nothing to try.
    next_try: float | None = None
    #: A sentence for people.
    error: str | None = None
    #: When something was heard last.
    heard_at: float | None = None
    #: Seconds of silence that are normal here.
    patience: float = 0.0
    #: The service, and its node in use or tried next, over TCP; the service is empty as long as any will do.
    #: ``None`` over UDP.
    service: str | None = None
    node: str | None = None
    #: Whether a node demands a login that is not known, or refuses ours.
    login: Literal["", "missing", "wrong"] = ""
    #: Why this is not the way that the user would expect, in half a sentence.
    note: str = ""
    #: Why the server does not serve this console over UDP, if it says so.
    denial: DenialReason | None = None

    def is_silent(self, now: float) -> bool:
        """Whether something was heard once, and nothing for longer than is normal."""
        return self.heard_at is not None and now - self.heard_at > self.patience


def is_refused(error: str) -> bool:
    """Whether this is what the system says where nothing listens.

    >>> is_refused("Connection refused"), is_refused("node1: Connection refused; node2: Connection refused")
    (True, False)
    """
    return error.rstrip(".").lower() in ("connection refused", "it refuses the connection")
