"""The server's side: which consoles over TCP are let in, and which must leave.

A connection proves its address, so no cookie is needed. If the service has a login, every console that has proved
it is let in. Without a login the operator's networks decide. If none are named, every console that reaches the
port is let in, as in connmon. If there are too many, the address that has the most loses
its newest to an address that has fewer.

The shell must call `refusal` before a console is let in, then `join`, and send away the console that it returns;
`hear` for its datagrams; `hold` when its connection accepts no more, and `release` when it does again; `leave` at
its end; and `overdue` once a second.
Times are monotonic seconds.
"""

from collections.abc import Hashable, Iterable

from poolhouse.addresses import as_ip
from poolhouse.crowd import Crowd
from poolhouse.feed.protocol.subscribers import LIFETIME, LOOPBACK, Network

#: The most consoles served over TCP at a time.
MOST_CONNECTIONS = 64


class _Connection:
    __slots__ = ("heard", "held")

    def __init__(self, heard: float) -> None:
        self.heard = heard
        #: Since when it has accepted nothing; ``None`` while it does.
        self.held: float | None = None


class Connections:
    """Every console over TCP, bounded; not thread-safe."""

    def __init__(self, networks: Iterable[Network] = (), limit: int = MOST_CONNECTIONS) -> None:
        """Start without consoles.

        Args:
            networks: The networks of consoles, besides this machine; empty for any.
            limit: The most consoles at a time.
        """
        self._networks = tuple(networks)
        self._limit = limit
        self._connections: dict[Hashable, _Connection] = {}
        self._crowd: Crowd[Hashable] = Crowd(limit)

    def __len__(self) -> int:
        """How many there are."""
        return len(self._connections)

    def refusal(self, host: str, has_login: bool) -> str | None:
        """Why a console is refused, in a sentence; ``None`` if it is let in.

        Args:
            host: Its address, without a port.
            has_login: Whether it has proved the service's login.
        """
        if not has_login and self._networks and not self._is_allowed(host):
            return "its address is in none of the networks that --allow names"
        if not self._crowd.has_room_for(host):
            return f"{self._limit} consoles are connected already"
        return None

    def join(self, key: Hashable, host: str, now: float) -> Hashable:
        """Let the console in. Returns the one that must leave for it; ``None`` if there is room.

        Args:
            key: The console.
            host: Its address, without a port.
            now: The time.
        """
        gone = next(self._crowd.of_largest_but(host), None) if len(self) >= self._limit else None
        self._connections[key] = _Connection(now)
        self._crowd.add(key, host)
        return gone

    def hear(self, key: Hashable, now: float) -> None:
        """Record that it has sent something."""
        self._connections[key].heard = now

    def hold(self, key: Hashable, now: float) -> None:
        """Record that its connection accepts no more."""
        self._connections[key].held = now

    def release(self, key: Hashable) -> None:
        """Record that its connection accepts data again."""
        self._connections[key].held = None

    def leave(self, key: Hashable) -> None:
        """Record that it has gone; an unknown one has gone before."""
        self._connections.pop(key, None)
        self._crowd.discard(key)

    def overdue(self, now: float) -> list[tuple[Hashable, str]]:
        """The consoles that must leave, each with the reason in a sentence."""
        found: list[tuple[Hashable, str]] = []
        for key, one in self._connections.items():
            if one.held is not None and now - one.held >= LIFETIME:
                found.append((key, f"it has read nothing for {LIFETIME:g} s"))
            elif now - one.heard >= LIFETIME:
                found.append((key, f"it has asked for nothing for {LIFETIME:g} s"))
        return found

    def _is_allowed(self, host: str) -> bool:
        address = as_ip(host)
        return address is not None and any(address in network for network in (*LOOPBACK, *self._networks))
