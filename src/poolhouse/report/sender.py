"""Datagrams to one destination, over UDP. Nothing here waits, except the lookup of a name."""

from math import inf
from typing import TYPE_CHECKING, Protocol

from poolhouse.report.network import Network, Socket
from poolhouse.report.route import Address, Route, State

if TYPE_CHECKING:
    from poolhouse.report.sealer import Sealer

#: The most datagrams that are read before a report.
MOST_HEARD = 16


class AnySender(Protocol):
    """The dispatcher's interface to whatever carries reports to one host or one service."""

    @property
    def route(self) -> Route:
        """The route to it, or to its node in use, whose name to look up."""
        ...

    @property
    def state(self) -> State:
        """What is known about it, for the log."""
        ...

    @property
    def error(self) -> Exception | None:
        """The last error, for the log."""
        ...

    @property
    def where(self) -> str:
        """Its name in the log."""
        ...

    @property
    def is_ready(self) -> bool:
        """Whether a report would leave now."""
        ...

    def step(self, now: float, /) -> float:
        """Do what needs no waiting. Returns when to call again, in monotonic seconds."""
        ...

    def send(self, datagrams: list[bytes], /) -> bool:
        """Send a report's datagrams. Returns whether no error is known."""
        ...

    def renew(self) -> None:
        """Note that the name has been looked up again."""
        ...

    def close(self) -> None:
        """Close everything."""
        ...


class Sender:
    """Sends to its route's address, and informs the route of the result.

    Args:
        route: The route to the destination.
        network: The operating system's sockets.
        seal: Signs or encrypts datagrams; ``None`` to send them unchanged.
    """

    def __init__(self, route: Route, network: Network, seal: "Sealer | None" = None) -> None:
        self.route = route
        self._seal = seal
        self._network = network
        self._socket: Socket | None = None
        self._address: Address | None = None
        self._is_renewed = False

    @property
    def state(self) -> State:
        """What is known about the destination."""
        return self.route.state

    @property
    def error(self) -> Exception | None:
        """The last error."""
        return self.route.error

    @property
    def where(self) -> str:
        """The host and its port."""
        return f"{self.route.host} port {self.route.port}"

    @property
    def is_ready(self) -> bool:
        """True: UDP never waits."""
        return True

    def step(self, now: float) -> float:
        """Do nothing: UDP needs no preparation."""
        return inf

    def send(self, datagrams: list[bytes]) -> bool:
        """Send a report's datagrams. Returns whether no error is known.

        A refusal of the last report is known by now, since it had an interval's time to arrive. Each of the
        destination's addresses is tried once; on this machine a refusal arrives at once.
        """
        self._judge_last_report()
        if self._is_renewed:
            self.close()
        if self._seal is not None:
            self._hear(self._seal)
            datagrams = [self._seal(datagram) for datagram in datagrams]
            self._seal.end_report()
        for _ in range(self.route.alternatives):
            try:
                self._send(datagrams)
            except BlockingIOError:
                return False  # The socket's buffer is full: this report is lost, as any datagram may be.
            except OSError as error:
                self._refused(error)
            else:
                return True
        return False

    def renew(self) -> None:
        """Send the next report from a new socket.

        Behind a service address, a router remembers where a socket's datagrams go as long as the socket keeps
        sending, even if the server there is gone.
        """
        self._is_renewed = True

    def close(self) -> None:
        """Close the socket; the next report opens a new one."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _judge_last_report(self) -> None:
        if self._socket is None:
            return
        if not self._socket.is_ours():
            self.close()
            return
        error = self._socket.pending_error()
        if error is None:
            self.route.reached()
        else:
            self._refused(error)

    def _hear(self, seal: "Sealer") -> None:
        """Read what the aggregator has sent since the last report; only a question matters."""
        for _ in range(MOST_HEARD):
            datagram = self._socket.receive() if self._socket is not None else None
            if datagram is None:
                return
            seal.hear(datagram)

    def _send(self, datagrams: list[bytes]) -> None:
        first, *others = datagrams
        self._open_socket().send(first)
        if error := self._open_socket().pending_error():
            raise error
        for datagram in others:
            self._open_socket().send(datagram)

    def _open_socket(self) -> Socket:
        """The socket to the route's address: the existing one if it is still ours, else a new one."""
        address = self.route.address
        if self._socket is None or self._address != address or not self._socket.is_ours():
            self.close()
            assert address is not None, "there is an alternative, so there is an address"
            self._socket, self._address = self._network.open(address), address
            self._is_renewed = False
        return self._socket

    def _refused(self, error: OSError) -> None:
        self.close()
        self.route.refused(error)
