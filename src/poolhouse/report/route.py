"""The addresses of a destination: which one to use, and when to look its name up. No I/O, no clock, no thread.

A name is looked up at its first use, repeatedly while its server cannot be reached, and every five minutes
otherwise; never for every report. A lookup may block the only thread that reports until the resolver times out. So
lookups of a name are spaced to take at most a tenth of the time, or a hundredth while the server is reached. After
a failed lookup the known addresses stay in use.

IPv4 is tried first where a name has both families, since servers of sqlalchemy-collectd listen on IPv4 only. If an
address refuses, the next one is tried. So a destination counts as unreachable only when all of its addresses have
refused: the name ``localhost`` also reaches a server that listens on ``::1`` alone.
"""

from enum import Enum
from math import inf
from typing import Any, NamedTuple

#: Seconds from a lookup to the next one without trouble; in trouble, doubling from the first to the second.
REFRESH_S = 300.0
FIRST_RETRY_S, LAST_RETRY_S = 2.0, 16.0
#: A name is looked up again when so many times the last lookup's duration have passed, in trouble and without.
PATIENCE, REFRESH_PATIENCE = 9.0, 99.0


class Address(NamedTuple):
    """Where a datagram goes: an address family, and what ``connect`` takes in it."""

    family: int
    sockaddr: tuple[Any, ...]


class State(Enum):
    """What is known of a destination."""

    UNTRIED = "not tried yet"
    UNRESOLVED = "its name could not be looked up"
    UNREACHED = "none of its addresses could be reached"
    REACHED = "nothing speaks against it: UDP confirms nothing"


class Route:
    """How one host and port are reached.

    Attributes:
        state: What is known of it.
        error: What went wrong last, in a lookup or at an address; ``None`` where nothing has since it was reached.
        was_looked_up: Whether a lookup has ended, whatever it gave.
    """

    def __init__(self, host: str, port: int) -> None:
        self.host = host
        self.port = port
        self.state = State.UNTRIED
        self.error: Exception | None = None
        self.was_looked_up = False
        self._addresses: tuple[Address, ...] = ()
        self._at = 0
        #: Those of the addresses that have refused since the destination was reached.
        self._refusing: set[Address] = set()
        #: When the lookup under way began; ``None`` if there is none.
        self._began: float | None = None
        #: The next lookup: as soon as there is trouble, and without trouble.
        self._retry_due = self._refresh_due = -inf
        self._retry_s = FIRST_RETRY_S

    @property
    def lookup_due(self) -> float:
        """The monotonic time from which on the name should be looked up; infinite during a lookup."""
        if self._began is not None:
            return inf
        return self._refresh_due if self.error is None else self._retry_due

    @property
    def address(self) -> Address | None:
        """The address to use; ``None`` if none is known."""
        return self._addresses[self._at] if self._addresses else None

    @property
    def alternatives(self) -> int:
        """How many addresses there are to try."""
        return len(self._addresses)

    def begin_lookup(self, now: float) -> None:
        """A lookup begins; `found` or `not_found` will follow."""
        self._began = now

    def found(self, addresses: list[Address], now: float) -> None:
        """The lookup gave these addresses, at least one; the one in use stays so if it is among them."""
        used = self.address
        # An IPv4 socket's address is a pair, an IPv6 one's has four items.
        self._addresses = tuple(sorted(dict.fromkeys(addresses), key=lambda address: len(address.sockaddr)))
        self._at = self._addresses.index(used) if used in self._addresses else 0
        self._refusing.intersection_update(self._addresses)
        if self.state is State.UNRESOLVED:
            self.state, self.error = State.UNTRIED, None
        self._end_lookup(now)

    def not_found(self, error: Exception, now: float) -> None:
        """The lookup failed."""
        if not self._addresses:
            self.state, self.error = State.UNRESOLVED, error
        self._end_lookup(now)

    def refused(self, error: Exception) -> None:
        """The address in use did not take a report: the next one is to be used, and the name looked up afresh."""
        self.error = error
        self._refusing.add(self._addresses[self._at])
        if len(self._refusing) == len(self._addresses):
            self.state = State.UNREACHED
        self._at = (self._at + 1) % len(self._addresses)

    def reached(self) -> None:
        """A report left, and by the time of the next one nothing had come back."""
        self.state, self.error = State.REACHED, None
        self._refusing.clear()
        self._retry_s = FIRST_RETRY_S

    def _end_lookup(self, now: float) -> None:
        assert self._began is not None, "a lookup ends that has begun"
        duration = now - self._began
        self._retry_due = now + max(self._retry_s, PATIENCE * duration)
        self._retry_s = min(2 * self._retry_s, LAST_RETRY_S)
        self._refresh_due = now + max(REFRESH_S, REFRESH_PATIENCE * duration)
        self._began = None
        self.was_looked_up = True
