"""This machine's sockets, over which reports leave.

They are those of the C module, which gevent and eventlet do not patch: a report must be sent even while their hub
is busy.
"""

import _socket
import os

from poolhouse.report.route import Address

#: The most bytes read of a datagram to a process.
LONGEST_HEARD = 2048


class OwnSocket:
    """A socket that knows whether its descriptor is still its own, and never waits.

    An application may close all descriptors (``os.closerange``, as daemons do), and files that it opens then get
    the same numbers. So the inode tells whether a descriptor still leads to this socket.
    """

    def __init__(self, family: int, kind: int) -> None:
        self._socket = _socket.socket(family, kind)
        try:
            self._socket.setblocking(False)
            self._inode = self._inode_now()
        except BaseException:
            self._socket.close()
            raise

    def is_ours(self) -> bool:
        """Whether the descriptor still leads to the inode that it was opened with. Costs about a microsecond."""
        try:
            return self._inode_now() == self._inode
        except OSError:
            return False

    def pending_error(self) -> OSError | None:
        """The error that has arrived since the last call, once; ``None`` if there was none."""
        number = self._socket.getsockopt(_socket.SOL_SOCKET, _socket.SO_ERROR)
        return OSError(number, os.strerror(number)) if number else None

    def close(self) -> None:
        """Close the socket if it is ours; otherwise only forget it."""
        if self.is_ours():
            self._socket.close()
        else:
            self._socket.detach()

    def _inode_now(self) -> tuple[int, int]:
        status = os.fstat(self._socket.fileno())
        return status.st_dev, status.st_ino


class UdpSocket(OwnSocket):
    """A `poolhouse.report.network.Socket` of the operating system."""

    def __init__(self, address: Address) -> None:
        super().__init__(address.family, _socket.SOCK_DGRAM)
        try:
            self._socket.connect(address.sockaddr)
        except BaseException:
            self._socket.close()
            raise
        self.send = self._socket.send

    def receive(self) -> bytes | None:
        """A datagram from the address, if one is waiting; one longer than ours is cut."""
        try:
            return self._socket.recv(LONGEST_HEARD)
        except OSError:  # Nothing is waiting; or a refusal, which the next report notices.
            return None


class SystemTcpSocket(OwnSocket):
    """A `poolhouse.report.network.TcpSocket` of the operating system; OSError if connecting fails at once."""

    def __init__(self, address: Address) -> None:
        super().__init__(address.family, _socket.SOCK_STREAM)
        try:
            self._socket.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
            self._socket.connect(address.sockaddr)
        except BlockingIOError:
            pass  # The connect is under way, as expected.
        except BaseException:
            self._socket.close()
            raise
        self.send = self._socket.send
        self.receive = self._socket.recv
        self.fileno = self._socket.fileno

    def is_connected(self) -> bool:
        """Whether the peer's address is known; OSError if the connection has failed."""
        if error := self.pending_error():
            raise error
        try:
            self._socket.getpeername()
        except OSError:
            return False
        return True


class SystemNetwork:
    """The `poolhouse.report.network.Network` of this machine."""

    open = staticmethod(UdpSocket)
    connect = staticmethod(SystemTcpSocket)

    @staticmethod
    def look_up(host: str, port: int) -> list[Address]:
        """The addresses from ``getaddrinfo``."""
        # As bytes, so that the codec for other names need not be imported.
        name = host.encode() if host.isascii() else host
        found = _socket.getaddrinfo(name, port, 0, _socket.SOCK_DGRAM)
        return [Address(family, sockaddr) for family, _, _, _, sockaddr in found]
