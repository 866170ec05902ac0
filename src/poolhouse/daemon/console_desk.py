"""The desk for consoles on the TCP port: they are served like those over UDP."""

from collections.abc import Callable, Sequence

from poolhouse.clock import Clock
from poolhouse.daemon.tcp import Guest, Why
from poolhouse.errors import PacketError
from poolhouse.feed.protocol.connections import Connections
from poolhouse.feed.protocol.service import ConsoleService
from poolhouse.feed.protocol.subscribers import Network
from poolhouse.wire.framing import Frame, Kind, frame
from poolhouse.wire.session import Denied, Hello, encode_denied

#: The message to consoles when the node ends.
GOODBYE = "it ends"
#: Why a console must leave for one of another address.
CROWDED = "too many consoles, most of them from its address"


class ConsoleDesk:
    """The `poolhouse.daemon.tcp.Desk` for consoles; for the thread of the daemon's loop."""

    def __init__(self, allow: Sequence[Network], wake: Callable[[], None]) -> None:
        """Prepare.

        Args:
            allow: The networks of consoles without a login; empty for any.
            wake: Called when a console needs something.
        """
        self._connections = Connections(allow)
        self._wake = wake
        #: Frames that wait for `flush`.
        self._queued: dict[Guest, bytearray] = {}

    def open(self, service: ConsoleService, clock: Clock) -> None:
        """Start serving; called before the first guest arrives."""
        self._service = service
        self._clock = clock

    def refusal(self, guest: Guest, hello: Hello, has_login: bool) -> str | None:
        """Why a console is refused, in a sentence; ``None`` if it is let in."""
        return self._connections.refusal(guest.address, has_login)

    def join(self, guest: Guest, hello: Hello) -> None:
        """Let the console in; it will ask."""
        crowded = self._connections.join(guest, guest.address, self._clock.monotonic())
        if isinstance(crowded, Guest):
            crowded.turn_away(CROWDED, Why.CROWDED)

    def take(self, guest: Guest, one: Frame) -> None:
        """Handle a datagram of the feed.

        Raises:
            PacketError: If it is another frame.
        """
        if one.kind is not Kind.FEED:
            raise PacketError(f"{one.kind.name} from a console")
        now = self._clock.monotonic()
        self._connections.hear(guest, now)
        answer = self._service.receive(one.payload, (guest.address, 0), now, guest, is_proven=True)
        if answer is not None:
            guest.send(frame(Kind.FEED, answer))
        self._wake()

    def hold(self, guest: Guest) -> None:
        """Stop sending for a while: the console reads less than it is sent."""
        self._connections.hold(guest, self._clock.monotonic())
        self._service.held.add((guest, (guest.address, 0)))

    def release(self, guest: Guest) -> None:
        """Resume sending: the console has read everything."""
        self._connections.release(guest)
        self._service.held.discard((guest, (guest.address, 0)))
        self._wake()

    def leave(self, guest: Guest) -> None:
        """Record that the console has gone."""
        self._connections.leave(guest)
        self._service.held.discard((guest, (guest.address, 0)))
        self._service.subscribers.leave((guest.address, 0), guest)

    def say_goodbye(self, guest: Guest) -> None:
        """Tell the console that the node is ending, so that it switches to another at once."""
        guest.send(frame(Kind.DENIED, encode_denied(Denied(GOODBYE))))

    def queue(self, guest: Guest, datagram: bytes) -> None:
        """Send a datagram with the next `flush`."""
        self._queued.setdefault(guest, bytearray()).extend(frame(Kind.FEED, datagram))

    def flush(self) -> None:
        """Send what was queued, with one write for each console."""
        for guest, frames in self._queued.items():
            guest.send(bytes(frames))
        self._queued.clear()

    def send_away_the_overdue(self) -> None:
        """Close the connections of consoles that are silent, or do not read."""
        for guest, reason in self._connections.overdue(self._clock.monotonic()):
            assert isinstance(guest, Guest), "only guests join"
            guest.turn_away(reason)
