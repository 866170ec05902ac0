"""A network and its resolver, in virtual time, for the reporter."""

from collections import deque

from poolhouse.report.route import Address
from poolhouse.testing.clock import VirtualClock


class FakeSocket:
    """A connected UDP socket of `FakeNetwork`."""

    def __init__(self, network: "FakeNetwork", address: Address) -> None:
        self.network = network
        self.host: str = address.sockaddr[0]
        self.refused_at: deque[float] = deque()
        self.is_closed = False
        self.sent = 0
        #: Whether somebody else has closed the descriptor, and has its number now.
        self.is_stolen = False

    def is_ours(self) -> bool:
        return not self.is_stolen

    def send(self, datagram: bytes) -> None:
        assert not self.is_closed
        assert not self.is_stolen, "a report in somebody else's file"
        if self.network.is_full:
            raise BlockingIOError
        if self.host in self.network.refusing:
            self.refused_at.append(self.network.clock.monotonic())
        else:
            self.network.arrived.append((self.network.clock.monotonic(), self.host, datagram))
            self.sent += 1
            self.is_stolen = self.sent == self.network.steals_after

    def pending_error(self) -> OSError | None:
        assert not self.is_stolen, "an error of somebody else's socket is taken away from him"
        if not self.refused_at or (self.network.is_far and self.network.clock.monotonic() == self.refused_at[0]):
            return None
        self.refused_at.clear()
        return ConnectionRefusedError(111, "Connection refused")

    def receive(self) -> bytes | None:
        assert not self.is_stolen, "a datagram of somebody else's socket is taken away from him"
        waiting = self.network.waiting.get(self.host)
        return waiting.popleft() if waiting else None

    def close(self) -> None:
        self.is_closed = True


class FakeNetwork:
    """A `poolhouse.report.network.Network`.

    Attributes:
        names: What each host resolves to; a host that is missing is unknown.
        lookup_s: How long the lookup of a host takes, in seconds of the clock; 0 if missing.
        lookups: When each lookup began, and whose.
        refusing: Hosts (addresses) where nobody listens.
        unreachable: Hosts that no socket can be opened to.
        is_far: Whether a refusal takes some time to come back.
        is_full: Whether the socket's buffer has no room.
        steals_after: After how many datagrams somebody else has a socket's descriptor; 0 for never.
        arrived: When, where and what arrived.
        waiting: What each host has sent and nobody has read.
    """

    def __init__(self, clock: VirtualClock) -> None:
        self.clock = clock
        self.names: dict[str, list[str]] = {}
        self.lookup_s: dict[str, float] = {}
        self.lookups: list[tuple[float, str]] = []
        self.refusing: set[str] = set()
        self.unreachable: set[str] = set()
        self.is_far = False
        self.is_full = False
        self.steals_after = 0
        self.sockets: list[FakeSocket] = []
        self.arrived: list[tuple[float, str, bytes]] = []
        self.waiting: dict[str, deque[bytes]] = {}

    def look_up(self, host: str, port: int) -> list[Address]:
        self.lookups.append((self.clock.monotonic(), host))
        self.clock.advance(self.lookup_s.get(host, 0.0))
        if host not in self.names:
            raise OSError(-2, "Name or service not known")
        return [
            Address(10, (name, port, 0, 0)) if ":" in name else Address(2, (name, port))
            for name in self.names[host]
        ]

    def open(self, address: Address) -> FakeSocket:
        if address.sockaddr[0] in self.unreachable:
            raise OSError(101, "Network is unreachable")
        self.sockets.append(FakeSocket(self, address))
        return self.sockets[-1]
