"""Reports to a service over TCP: a connection to one of its nodes, and to another node if that one is lost.

Nothing here waits. `TcpSender.step` advances a connection as far as possible. The reporter's thread calls it
before each report, and every `GLANCE_S` while a connection is being made. A report is made only when the node is
ready for it and the previous one has left. So a node always gets the newest state, and without a node a process
keeps only its meters.
"""

import os
from collections.abc import Callable
from math import inf
from typing import TYPE_CHECKING

from poolhouse.clock import Clock
from poolhouse.configuration.service import Certificate, Service
from poolhouse.errors import PacketError, SettingError
from poolhouse.report.conversation import Conversation
from poolhouse.report.network import TcpNetwork, TcpSocket
from poolhouse.report.nodes import Nodes
from poolhouse.report.route import Route, State
from poolhouse.shortage import words_of
from poolhouse.wire.introduction import GREETING_PATIENCE_S
from poolhouse.wire.session import NONCE_BYTES, Hello

if TYPE_CHECKING:
    import ssl

#: Seconds between two checks of a connection that is being made, or that is slow to send.
GLANCE_S = 0.02
#: The most bytes that are read at once.
_READ_BYTES = 16384


class TcpSender:
    """Sends to one node of a service, with the interface of a `poolhouse.report.sender.Sender`.

    Attributes:
        state: What is known about the service.
        error: The last error; ``None`` if there was none since a node last welcomed us.
    """

    def __init__(
        self,
        service: Service,
        product: str,
        interval: float,
        network: TcpNetwork,
        clock: Clock,
        random: Callable[[], float],
    ) -> None:
        """Start without a connection.

        Args:
            service: Its nodes, login and name; an empty name accepts any service.
            product: Name and version of this program, for the node's log.
            interval: Seconds between two reports.
            network: The operating system.
            clock: The source of time.
            random: Returns numbers in [0, 1).
        """
        self.state = State.UNTRIED
        self.error: Exception | None = None
        self._service = service
        self._product = product
        self._interval = interval
        self._network = network
        self._clock = clock
        self._routes = [Route(node.host, node.port) for node in service.nodes]
        self._nodes = Nodes(len(self._routes), random)
        self._socket: TcpSocket | None = None
        self._conversation: Conversation | None = None
        self._began = 0.0
        self._context: ssl.SSLContext | None = None

    @property
    def route(self) -> Route:
        """The route to the node in use, or to the one to be tried next, whose name to look up."""
        return self._routes[self._nodes.current]

    @property
    def where(self) -> str:
        """The node in use, or the whole service, for the log."""
        if self.state is State.REACHED:
            return self._described(self.route)
        nodes = ", ".join(map(self._described, self._routes))
        return f"service {self._service.name!r} ({nodes})" if self._service.name else nodes

    @property
    def is_ready(self) -> bool:
        """Whether a report would leave now."""
        return self._conversation is not None and self._conversation.is_ready

    def send(self, datagrams: list[bytes]) -> bool:
        """Send a report's datagrams to the node. False if they were not sent, or may not have left completely."""
        now = self._clock.monotonic()
        conversation = self._conversation
        if conversation is None or not conversation.is_ready:
            return False
        conversation.report(datagrams, now)
        self.step(now)
        return self.is_ready

    def step(self, now: float) -> float:
        """Do what needs no waiting. Returns when to call again, in monotonic seconds; infinite for never."""
        try:
            return self._step(now)
        except (OSError, PacketError, SettingError, MemoryError) as error:
            # Without memory, some of what was read or sent may be missing.
            self._lose(OSError(words_of(error)) if isinstance(error, MemoryError) else error, now)
            return max(now, self._nodes.due) if self.route.was_looked_up else inf

    def renew(self) -> None:
        """Note that the node's name was looked up; an existing connection is kept."""

    def close(self) -> None:
        """Give up the connection; what was sent before still arrives."""
        if self._socket is not None:
            if self._socket.is_ours():
                _empty(self._socket)
            self._socket.close()
        self._socket = self._conversation = None

    def _step(self, now: float) -> float:
        if self._socket is not None and not self._socket.is_ours():
            raise OSError("its socket was closed by the application")
        if self._socket is None:
            return self._connect(now)
        if self._conversation is None:
            if not self._socket.is_connected():
                if now >= self._began + GREETING_PATIENCE_S:
                    raise TimeoutError(f"no connection within {GREETING_PATIENCE_S:g} s")
                return now + GLANCE_S
            nonce = os.urandom(NONCE_BYTES)
            hello = Hello("report", self._product, nonce, self._service.name)
            self._conversation = Conversation(hello, self._service.login, self._interval, self._began)
        return self._converse(self._socket, self._conversation, now)

    def _connect(self, now: float) -> float:
        route = self.route
        if now < self._nodes.due:
            return self._nodes.due
        if not route.was_looked_up:
            return inf  # The dispatcher looks the name up.
        if route.address is None:
            raise route.error or OSError("its name has no address")
        self._began = now
        plain, certificate = self._network.connect(route.address), self._service.certificate
        try:
            # An attempt that ends before TLS must not go on without it.
            self._socket = plain if certificate is None else self._encrypted(plain, certificate)
        except BaseException:
            plain.close()
            raise
        return now + GLANCE_S

    def _encrypted(self, plain: TcpSocket, certificate: Certificate) -> TcpSocket:
        from poolhouse.report import tls  # Imported here: a process that needs no TLS does not load it.

        if self._context is None:
            self._context = tls.client_context(certificate)
        return tls.TlsSocket(plain, self._context, self.route.host)

    def _converse(self, sock: TcpSocket, conversation: Conversation, now: float) -> float:
        was_welcome = conversation.welcome
        _read(sock, conversation, now)
        if (reason := conversation.overdue(now)) is not None:
            raise TimeoutError(reason)
        if conversation.welcome is not was_welcome:
            self._nodes.reached()
            self.route.reached()
            self.state, self.error = State.REACHED, None
        send_some(sock, conversation.outgoing)
        return inf if conversation.is_ready else now + GLANCE_S

    def _lose(self, error: Exception, now: float) -> None:
        """Give up the connection or the attempt; the node's next address is tried next, then the next node."""
        self.close()
        route = self.route
        self.error = error
        if route.address is not None:
            route.refused(error if isinstance(error, OSError) else OSError(str(error)))
            if route.state is not State.UNREACHED:
                return
        self._nodes.failed(now)
        if all(one.state in (State.UNREACHED, State.UNRESOLVED) for one in self._routes):
            resolved = any(one.state is State.UNREACHED for one in self._routes)
            self.state = State.UNREACHED if resolved else State.UNRESOLVED

    @staticmethod
    def _described(route: Route) -> str:
        return f"{route.host} port {route.port}"


def _read(sock: TcpSocket, conversation: Conversation, now: float) -> None:
    while True:
        try:
            data = sock.receive(_READ_BYTES)
        except BlockingIOError:
            return
        if not data:
            raise ConnectionResetError("the node has closed the connection")
        conversation.receive(data, now)


def _empty(sock: TcpSocket) -> None:
    """Read all waiting data: closing a socket with unread data resets it, and what it last sent may be lost."""
    try:
        while sock.receive(_READ_BYTES):
            pass
    except OSError:
        pass


def send_some(sock: TcpSocket, outgoing: bytearray) -> None:
    """Send what leaves from the front without waiting, and remove it; OSError as in `TcpSocket.send`."""
    while outgoing:
        try:
            del outgoing[: sock.send(bytes(outgoing))]
        except BlockingIOError:
            return
