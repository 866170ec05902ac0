"""The addresses of a destination: which one to use, and when to look up its name. No I/O, no clock, no thread.

A name is looked up at its first use, repeatedly while its server cannot be reached, and every five minutes
otherwise; never for every report. A lookup may block the only thread that reports until the resolver times out. So
lookups of a name are spaced to take at most a tenth of the time, or a hundredth while the server is reached. After
a failed lookup the known addresses stay in use.

IPv4 is tried first if a name has both families, since servers of sqlalchemy-collectd listen on IPv4 only. If an
address refuses, the next one is tried. So a destination counts as unreachable only when all of its addresses have
refused: the name ``localhost`` also reaches a server that listens on ``::1`` alone.
"""

from enum import Enum
from math import inf
from typing import Any, NamedTuple

#: Seconds from a lookup to the next without trouble; in trouble, doubling from the first to the second.
REFRESH_S = 300.0
FIRST_RETRY_S, LAST_RETRY_S = 2.0, 16.0
#: A name is looked up again after this many times the last lookup's duration, in trouble and without.
PATIENCE, REFRESH_PATIENCE = 9.0, 99.0


class Address(NamedTuple):
    """A datagram's destination: an address family, and the argument of ``connect`` for it."""

    family: int
    sockaddr: tuple[Any, ...]


class State(Enum):
    """What is known about a destination."""

    UNTRIED = "not tried yet"
    UNRESOLVED = "its name could not be looked up"
    UNREACHED = "none of its addresses could be reached"
    REACHED = "nothing speaks against it: UDP confirms nothing"


class Route:
    """The way to one host and port.

    Attributes:
        state: What is known about it.
        error: The last error, in a lookup or at an address; ``None`` if there was none since it was last reached.
        was_looked_up: Whether a lookup has ended, successfully or not.
    """

    def __init__(self, host: str, port: int) -> None:
        self.host = host
        self.port = port
        self.state = State.UNTRIED
        self.error: Exception | None = None
        self.was_looked_up = False
        self._addresses: tuple[Address, ...] = ()
        self._at = 0
        #: The addresses that have refused since the destination was last reached.
        self._refusing: set[Address] = set()
        #: When the lookup under way began; ``None`` if there is none.
        self._began: float | None = None
        #: When to look up next: in trouble, and without trouble.
        self._retry_due = self._refresh_due = -inf
        self._retry_s = FIRST_RETRY_S

    @property
    def lookup_due(self) -> float:
        """When to look up the name, in monotonic seconds; infinite during a lookup."""
        if self._began is not None:
            return inf
        return self._refresh_due if self.error is None else self._retry_due

    @property
    def address(self) -> Address | None:
        """The address to use; ``None`` if none is known."""
        return self._addresses[self._at] if self._addresses else None

    @property
    def alternatives(self) -> int:
        """How many addresses can be tried."""
        return len(self._addresses)

    def begin_lookup(self, now: float) -> None:
        """Note that a lookup begins; `found`, `not_found` or `give_up_lookup` must follow."""
        self._began = now

    def give_up_lookup(self) -> None:
        """Note that a lookup ends without a result, so that the name is looked up again."""
        self._began = None

    def found(self, addresses: list[Address], now: float) -> None:
        """Take the addresses from a lookup, at least one; the one in use is kept if it is among them."""
        used = self.address
        # An IPv4 socket's address is a pair, an IPv6 one's has four items.
        self._addresses = tuple(sorted(dict.fromkeys(addresses), key=lambda address: len(address.sockaddr)))
        self._at = self._addresses.index(used) if used in self._addresses else 0
        self._refusing.intersection_update(self._addresses)
        if self.state is State.UNRESOLVED:
            self.state, self.error = State.UNTRIED, None
        self._end_lookup(now)

    def not_found(self, error: Exception, now: float) -> None:
        """Note that the lookup failed."""
        if not self._addresses:
            self.state, self.error = State.UNRESOLVED, error
        self._end_lookup(now)

    def refused(self, error: Exception) -> None:
        """Note that the address in use refused a report: use the next one, and look up the name again."""
        self.error = error
        self._refusing.add(self._addresses[self._at])
        if len(self._refusing) == len(self._addresses):
            self.state = State.UNREACHED
        self._at = (self._at + 1) % len(self._addresses)

    def reached(self) -> None:
        """Note that a report left and nothing had come back by the time of the next one."""
        self.state, self.error = State.REACHED, None
        self._refusing.clear()
        self._retry_s = FIRST_RETRY_S

    def _end_lookup(self, now: float) -> None:
        assert self._began is not None, "only a lookup that has begun can end"
        duration = now - self._began
        self._retry_due = now + max(self._retry_s, PATIENCE * duration)
        self._retry_s = min(2 * self._retry_s, LAST_RETRY_S)
        self._refresh_due = now + max(REFRESH_S, REFRESH_PATIENCE * duration)
        self._began = None
        self.was_looked_up = True
