"""Data from a service: from one of its nodes over TCP, and from another if that is lost.

Nothing here waits, except the lookup of a name.
"""

import os
import re
from collections.abc import Callable, Sequence
from math import inf
from typing import Literal, Protocol

from poolhouse.addresses import format_address
from poolhouse.clean import clean
from poolhouse.configuration.service import Node, Service
from poolhouse.errors import PacketError, SettingError
from poolhouse.feed.link import Link, Phase
from poolhouse.feed.product import product
from poolhouse.feed.protocol.conversation import Conversation
from poolhouse.feed.protocol.datagrams import NONCE_BYTES as FEED_NONCE_BYTES
from poolhouse.feed.protocol.frame import Server
from poolhouse.feed.source import Waitable
from poolhouse.fleet.snapshot import Snapshot
from poolhouse.report.network import TcpNetwork, TcpSocket
from poolhouse.report.nodes import Nodes
from poolhouse.report.route import Address
from poolhouse.report.tcp import GLANCE_S, send_some
from poolhouse.wire.introduction import GREETING_PATIENCE_S, LoginMissing, Refusal
from poolhouse.wire.session import NONCE_BYTES, Hello, Welcome

#: The longest rest once every node has been tried, in seconds; after a wrong login it is `LOGIN_REST_S`, so that
#: the address is not barred for its programs.
LAST_REST_S, LOGIN_REST_S = 5.0, 30.0
#: The most bytes per read, and the most reads before something else is done.
READ_BYTES, READS_AT_ONCE = 65536, 64
#: The most characters shown of a node's message.
LONGEST_WORDS = 200

_CLOSED = "it has closed the connection"
_CLOSED_AT_ONCE = _CLOSED + " at once; if it speaks TLS, --config has to name its configuration"
#: OpenSSL's errors end with a line of its source.
_SOURCE_LINE = re.compile(r" \(_ssl\.c:\d+\)$")


class Network(TcpNetwork, Protocol):
    """The interface to the operating system."""

    def look_up(self, host: str, port: int) -> list[Address]:
        """The host's addresses; may block for long. OSError or UnicodeError if there are none."""
        ...


class ServiceCaller:
    """A `poolhouse.feed.source.Source`: one node of a service at a time. Times are monotonic seconds."""

    def __init__(self, service: Service, network: Network, random: Callable[[], float]) -> None:
        """Prepare; nothing is sent.

        Args:
            service: Its nodes, login, certificate and name; an empty name accepts any service.
            network: The operating system.
            random: Returns numbers in [0, 1).

        Raises:
            SettingError: If the service's certificate cannot be used.
        """
        self._service = service
        self._network = network
        self._context = None
        if service.certificate is not None:
            from poolhouse.report.tls import client_context  # Only here: a console without TLS does not load it.

            self._context = client_context(service.certificate)
        self._nodes = Nodes(len(service.nodes), random, LAST_REST_S)
        #: The current node's addresses that have not been tried; ``None`` before its lookup.
        self._addresses: list[Address] | None = None
        self._socket: TcpSocket | None = None
        self._conversation: Conversation | None = None
        self._began = self._glance_due = 0.0
        self._program: str | None = None
        self._tries = 0
        #: Why each node has failed since one last let us in, by number.
        self._failures: dict[int, str] = {}
        #: The phase while no node has let us in, and whether any node has ever sent anything.
        self._phase: Phase = "connecting"
        self._was_spoken_to = False
        #: When a login may be tried again, and why that must wait.
        self._login_due = -inf
        self._login: Literal["", "missing", "wrong"] = ""
        #: The last facts about the node, kept when it is lost.
        self._welcome: Welcome | None = None
        self._server: Server | None = None
        self._heard_at: float | None = None
        self._patience = 0.0

    @property
    def has_failed(self) -> bool:
        """Whether every node was tried, and none has let us in since."""
        return self._phase in ("refused", "unresolved")

    @property
    def is_absent(self) -> bool:
        """Whether every node was tried, and none has ever sent us anything."""
        return self.has_failed and not self._was_spoken_to

    @property
    def sockets(self) -> Sequence[Waitable]:
        """The connection, once there is one."""
        return [] if self._socket is None or self._conversation is None else [self._socket]

    @property
    def next_due(self) -> float:
        """When `step` is due next."""
        if self._socket is None:
            return self._next_try
        if self._conversation is None or self._conversation.outgoing:
            return self._glance_due
        return self._conversation.next_due

    def prepare(self, now: float) -> None:
        """Do nothing: the first `step` connects."""

    def ask(self, program: str | None, now: float) -> None:
        """Request the processes of this program too."""
        self._program = program
        if self._conversation is not None:
            self._conversation.ask(program, now)

    def retry(self, now: float) -> None:
        """Try now, unless a node answers."""
        self._nodes.due = self._login_due = now
        if self._conversation is not None and self.link().is_silent(now):
            self._lose(TimeoutError("it was silent"), now)

    def step(self, now: float) -> Snapshot | None:
        """Advance the connection as far as possible."""
        try:
            return self._step(now)
        except (OSError, PacketError, SettingError) as error:
            self._lose(error, now)
            return None

    def receive(self, sock: Waitable, now: float) -> Snapshot | None:
        """Read received data."""
        return self.step(now) if sock is self._socket else None

    def summed(self, now: float, wall_time: float) -> None:
        """``None``: nodes send snapshots."""

    def link(self) -> Link:
        """The present link to the node."""
        is_connected = self._conversation is not None and self._conversation.welcome is not None
        nodes, current = self._service.nodes, self._node
        welcome = self._welcome
        is_whole = self.has_failed and not is_connected and len(nodes) > 1
        name = welcome.node if is_connected and welcome and welcome.node else current.name
        return Link(
            phase="connected" if is_connected else self._phase,
            address=f"service {self._service.name!r}" if is_whole else format_address(current.host, current.port),
            server=self._server and clean(self._server.name),
            reports=clean(self._server.reports[0]) if self._server and self._server.reports else None,
            tries=self._tries,
            next_try=None if is_connected else self._next_try,
            error=None if is_connected else self._error(),
            heard_at=self._heard_at,
            patience=self._patience,
            service=clean(welcome.service if welcome and welcome.service else self._service.name),
            node=None if is_whole else clean(name),
            login=self._login,
        )

    def close(self) -> None:
        """Close the connection, which the node notices."""
        if self._socket is not None:
            self._socket.close()
        self._socket = self._conversation = None

    @property
    def _node(self) -> Node:
        return self._service.nodes[self._nodes.current]

    @property
    def _next_try(self) -> float:
        return max(self._nodes.due, self._login_due)

    def _step(self, now: float) -> Snapshot | None:
        self._glance_due = now + GLANCE_S
        if self._socket is None:
            if now >= self._next_try:
                self._connect(now)
            return None
        if self._conversation is None:
            if not self._socket.is_connected():
                if now >= self._began + GREETING_PATIENCE_S:
                    raise TimeoutError(f"no connection within {GREETING_PATIENCE_S:g} s")
                return None
            hello = Hello("console", product("connmon"), os.urandom(NONCE_BYTES), self._service.name)
            nonce = os.urandom(FEED_NONCE_BYTES)
            self._conversation = Conversation(hello, self._service.login, nonce, self._program, self._began)
        return self._converse(self._socket, self._conversation, now)

    def _connect(self, now: float) -> None:
        node = self._node
        if not self._addresses:
            self._tries += 1
            try:
                self._addresses = list(dict.fromkeys(self._network.look_up(node.host, node.port)))
            except UnicodeError:
                raise _Unresolved("no host can have that name") from None
            except OSError as error:
                raise _Unresolved(error.strerror or str(error)) from None
        self._began = now
        sock = self._network.connect(self._addresses.pop(0))
        self._socket = sock
        if self._context is not None:
            from poolhouse.report.tls import TlsSocket

            self._socket = TlsSocket(sock, self._context, node.host)

    def _converse(self, sock: TcpSocket, conversation: Conversation, now: float) -> Snapshot | None:
        was_ready = conversation.is_ready
        newest = self._read(sock, conversation, now)
        if conversation.is_ready and not was_ready:
            self._reached(conversation)
        if (reason := conversation.step(now)) is not None:
            raise TimeoutError(reason)
        self._note(conversation)
        send_some(sock, conversation.outgoing)
        return newest

    def _read(self, sock: TcpSocket, conversation: Conversation, now: float) -> Snapshot | None:
        newest: Snapshot | None = None
        for _ in range(READS_AT_ONCE):
            try:
                data = sock.receive(READ_BYTES)
            except BlockingIOError:
                break
            if not data:
                raise ConnectionResetError(_CLOSED if conversation.is_ready or self._context else _CLOSED_AT_ONCE)
            newest = conversation.receive(data, now) or newest
        return newest

    def _reached(self, conversation: Conversation) -> None:
        self._nodes.reached()
        self._welcome = conversation.welcome
        self._failures.clear()
        self._addresses = None
        self._phase, self._login, self._tries = "connecting", "", 0

    def _note(self, conversation: Conversation) -> None:
        """Store the node's introduction."""
        if conversation.heard is not None:
            self._heard_at = conversation.heard
            self._server = conversation.server
            self._patience = conversation.patience

    def _lose(self, error: Exception, now: float) -> None:
        """Give up the connection or the attempt; the node's next address is tried next, then the next node."""
        was_ready = self._conversation is not None and self._conversation.is_ready
        self._was_spoken_to |= was_ready or isinstance(error, (Refusal, LoginMissing))
        self.close()
        self._failures[self._nodes.current] = _words(error)
        if self._addresses and not was_ready:
            return
        self._addresses = None
        self._note_login(error)
        self._nodes.failed(now)
        if self._nodes.due > now:  # Every node has been tried.
            self._phase = "unresolved" if isinstance(error, _Unresolved) else "refused"
            if self._login:
                self._login_due = now + LOGIN_REST_S

    def _note_login(self, error: Exception) -> None:
        if isinstance(error, LoginMissing):
            self._login = "missing"
        elif isinstance(error, Refusal) and error.is_login:
            self._login = "wrong"

    def _error(self) -> str | None:
        """Why no node lets us in: each reason with its nodes; a reason shared by all is given alone."""
        nodes_of: dict[str, list[str]] = {}
        for number, words in self._failures.items():
            nodes_of.setdefault(words, []).append(self._service.nodes[number].name)
        if len(nodes_of) == 1 and (self.has_failed or len(self._service.nodes) == 1):
            return next(iter(nodes_of))
        return "; ".join(f"{', '.join(nodes)}: {words}" for words, nodes in nodes_of.items()) or None


class _Unresolved(OSError):
    """A name that is not known."""


def _words(error: Exception) -> str:
    """The error as half a sentence, without the numbers that mean nothing to people."""
    if isinstance(error, Refusal):
        return clean(error.text, LONGEST_WORDS)
    text = (error.strerror if isinstance(error, OSError) else None) or str(error)
    return clean(_SOURCE_LINE.sub("", text), LONGEST_WORDS)
