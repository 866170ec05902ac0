"""Datagrams to one destination, over UDP. Nothing here waits, except the lookup of a name.

The sockets are those of the C module, which gevent and eventlet leave alone: a report must go out although their
hub is busy.
"""

import _socket
import os
from typing import Protocol

from poolhouse.report.route import Address, Route


class Socket(Protocol):
    """A UDP socket that is connected to one address and never waits."""

    def send(self, datagram: bytes, /) -> object:
        """Hand over a datagram; OSError if it, or one before it, is known not to arrive."""
        ...

    def pending_error(self) -> OSError | None:
        """What came back since the last send, once; ``None`` if nothing did."""
        ...

    def close(self) -> None:
        """Give it up."""
        ...


class Network(Protocol):
    """What the reporter needs of the operating system."""

    def look_up(self, host: str, port: int) -> list[Address]:
        """The host's addresses; may wait for long. OSError or UnicodeError if there are none."""
        ...

    def open(self, address: Address) -> Socket:
        """A socket connected to the address; OSError if it cannot be reached."""
        ...


class UdpSocket:
    """A `Socket` of the operating system."""

    def __init__(self, address: Address) -> None:
        self._socket = _socket.socket(address.family, _socket.SOCK_DGRAM)
        try:
            self._socket.setblocking(False)
            self._socket.connect(address.sockaddr)
        except BaseException:
            self._socket.close()
            raise
        self.send = self._socket.send
        self.close = self._socket.close

    def pending_error(self) -> OSError | None:
        """What an ICMP message told since the last send."""
        number = self._socket.getsockopt(_socket.SOL_SOCKET, _socket.SO_ERROR)
        return OSError(number, os.strerror(number)) if number else None


class UdpNetwork:
    """The `Network` of this machine."""

    open = staticmethod(UdpSocket)

    @staticmethod
    def look_up(host: str, port: int) -> list[Address]:
        """As ``getaddrinfo`` says."""
        found = _socket.getaddrinfo(host, port, 0, _socket.SOCK_DGRAM)
        return [Address(family, sockaddr) for family, _, _, _, sockaddr in found]


class Sender:
    """Sends to the address that its route says, and tells the route what became of it."""

    def __init__(self, route: Route, network: Network) -> None:
        self.route = route
        self._network = network
        self._socket: Socket | None = None
        self._address: Address | None = None

    def send(self, datagrams: list[bytes]) -> bool:
        """Send a report's datagrams; true if nothing is known to speak against their arrival.

        Whether the last report was refused is known now, since the answer had an interval's time to come. Each of
        the destination's addresses is tried once; on this machine a refusal comes back at once.
        """
        self._judge_last_report()
        for _ in range(self.route.alternatives):
            try:
                self._send(datagrams)
            except BlockingIOError:
                return False  # The socket's buffer is full: the report is lost, as the network may lose one.
            except OSError as error:
                self._refused(error)
            else:
                return True
        return False

    def close(self) -> None:
        """Give up the socket; the next report opens a new one."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _judge_last_report(self) -> None:
        if self._socket is not None:
            error = self._socket.pending_error()
            if error is None:
                self.route.reached()
            else:
                self._refused(error)

    def _send(self, datagrams: list[bytes]) -> None:
        address = self.route.address
        if self._socket is None or self._address != address:
            self.close()
            assert address is not None, "there is an alternative, so there is an address"
            self._socket, self._address = self._network.open(address), address
        first, *others = datagrams
        self._socket.send(first)
        if error := self._socket.pending_error():
            raise error
        for datagram in others:
            self._socket.send(datagram)

    def _refused(self, error: OSError) -> None:
        self.close()
        self.route.refused(error)
