"""connmond's TCP port: clients that report, and consoles, each on a connection of its own."""

import asyncio
import os
import socket
import ssl
from collections.abc import Callable, Mapping, Sequence
from logging import WARNING
from typing import Protocol

from poolhouse.clock import Clock
from poolhouse.configuration.service import Login
from poolhouse.daemon.part import Hub, forever
from poolhouse.daemon.ports import BACKLOG
from poolhouse.daemon.reception import Failures, Reception, Refused
from poolhouse.errors import PacketError
from poolhouse.wire.framing import Frame, Kind, frame
from poolhouse.wire.introduction import GREETING_PATIENCE_S
from poolhouse.wire.session import NONCE_BYTES, Hello, Role, Welcome

#: Connections at once, and those of them without an introduction.
MOST_GUESTS, MOST_UNKNOWN = 20_000, 256
#: Bytes that may wait for a guest that does not read, before its connection is closed.
LARGEST_BACKLOG = 1 << 20
#: Seconds in which one address makes at most one line of the log, and how many addresses are distinguished.
SAID_PERIOD_S, MOST_SAID = 60.0, 1000

#: Takes a report's datagram.
Take = Callable[[bytes], object]
#: Says a sentence; level and text.
Say = Callable[[int, str], object]


class Desk(Protocol):
    """Serves the guests of one role; every call is made in the daemon's loop."""

    def refusal(self, guest: "Guest", hello: Hello, has_login: bool) -> str | None:
        """Why a guest is not let in, in a sentence; ``None`` if it is. `has_login`: it has proved the login."""
        ...

    def join(self, guest: "Guest", hello: Hello) -> None:
        """The guest is let in."""
        ...

    def take(self, guest: "Guest", one: Frame) -> None:
        """Take a frame; PacketError ends the connection."""
        ...

    def hold(self, guest: "Guest") -> None:
        """The guest reads less than it is sent: send nothing more until `release`."""
        ...

    def release(self, guest: "Guest") -> None:
        """The guest has read what was sent."""
        ...

    def leave(self, guest: "Guest") -> None:
        """The connection has ended."""
        ...

    def say_goodbye(self, guest: "Guest") -> None:
        """The node ends: say so to the guest, if that helps it."""
        ...


class TcpPort:
    """Everything that the connections of a node share.

    Attributes:
        refused: Connections that were not let in.
    """

    def __init__(
        self,
        me: Welcome,
        login: Login | None,
        clock: Clock,
        take: Take,
        say: Say,
        desks: Mapping[Role, Desk] | None = None,
    ) -> None:
        """Begin without a connection; give `guest` to ``loop.create_server``.

        Args:
            me: The node's introduction.
            login: The login that a guest has to prove; ``None`` for none.
            clock: The clock.
            take: Called with each datagram of a report.
            say: Called with lines for the log, at most once a minute for each kind and address.
            desks: Who serves the guests that do not report.
        """
        self.refused = 0
        self.desks = desks or {}
        self.me = me
        self.login = login
        self.clock = clock
        self.take = take
        self.failures = Failures()
        self.guests: set[Guest] = set()
        self.unknown: set[Guest] = set()
        self._say = say
        self._said: dict[str, float] = {}

    def guest(self) -> "Guest":
        """The protocol of a new connection."""
        return Guest(self)

    def close(self) -> None:
        """End every connection; their clients try another node."""
        for guest in list(self.guests):
            guest.say_goodbye()
            guest.end()

    def turn_away(self, address: str, reason: str, level: int = WARNING) -> None:
        """Count a connection that is not let in, and say so unless the same was said of the address lately."""
        self.refused += 1
        now = self.clock.monotonic()
        if len(self._said) >= MOST_SAID:
            self._said = {one: at for one, at in self._said.items() if now - at < SAID_PERIOD_S}
        if len(self._said) < MOST_SAID and now - self._said.get(address, -SAID_PERIOD_S) >= SAID_PERIOD_S:
            self._said[address] = now
            self._say(level, f"a connection from {address} is closed: {reason}")


class Guest(asyncio.Protocol):
    """One connection.

    Attributes:
        address: The other side's address, without a port; empty before there is a connection.
    """

    def __init__(self, port: TcpPort) -> None:
        self._port = port
        self._transport: asyncio.Transport | None = None
        self._reception: Reception | None = None
        self._desk: Desk | None = None
        self._patience: asyncio.TimerHandle | None = None
        self._taken = 0
        self.address = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greet it, if there is room."""
        assert isinstance(transport, asyncio.Transport)
        port, self._transport = self._port, transport
        self.address = str((transport.get_extra_info("peername") or ("an unknown address",))[0])
        if len(port.guests) >= MOST_GUESTS or len(port.unknown) >= MOST_UNKNOWN:
            port.turn_away(self.address, "too many connections")
            transport.abort()
            return
        port.guests.add(self)
        port.unknown.add(self)
        now = port.clock.monotonic()
        nonce = os.urandom(NONCE_BYTES)
        self._reception = Reception(port.me, nonce, port.login, port.failures, self.address, now, self._refusal)
        self._patience = asyncio.get_running_loop().call_later(GREETING_PATIENCE_S, self._is_silent)
        self._flush()

    def data_received(self, data: bytes) -> None:
        """Take the other side's bytes."""
        port, reception = self._port, self._reception
        if reception is None:
            return
        taken = self._taken
        try:
            for one in reception.receive(data, port.clock.monotonic()):
                self._welcome()
                self._take(one)
        except PacketError as error:
            self.turn_away(error.args[0], abort=not isinstance(error, Refused))
            return
        if reception.guest is not None:
            self._welcome()
        if self._taken > taken:
            reception.outgoing += frame(Kind.TAKEN, self._taken.to_bytes(8, "big"))
        self._flush()

    def pause_writing(self) -> None:
        """The other side reads less than it is sent."""
        if self._desk is not None:
            self._desk.hold(self)

    def resume_writing(self) -> None:
        """The other side has read what was sent."""
        if self._desk is not None:
            self._desk.release(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it: reports, not connections, show whether its process lives."""
        self._forget()

    def send(self, frames: bytes) -> None:
        """Send frames; nothing happens if the connection has ended."""
        if self._transport is not None and self._reception is not None:
            self._transport.write(frames)

    def turn_away(self, reason: str, *, abort: bool = True) -> None:
        """End the connection, and say why in the log."""
        self._port.turn_away(self.address, reason)
        if not abort:
            self._flush()
        self.end(abort=abort)

    def say_goodbye(self) -> None:
        """Have its desk say that the node ends."""
        if self._desk is not None:
            self._desk.say_goodbye(self)

    def end(self, *, abort: bool = False) -> None:
        """Close the connection; queued bytes are still sent, unless it is aborted."""
        self._forget()
        if self._transport is not None:
            if abort:
                self._transport.abort()
            else:
                self._transport.close()

    def _refusal(self, hello: Hello) -> str | None:
        if hello.role == "report":
            return None
        desk = self._port.desks.get(hello.role)
        if desk is None:
            return f"this node does not serve the role {hello.role!r}"
        return desk.refusal(self, hello, self._port.login is not None)

    def _welcome(self) -> None:
        """Once: it has been let in."""
        reception = self._reception
        if self not in self._port.unknown or reception is None or reception.guest is None:
            return
        self._port.unknown.discard(self)
        self._desk = self._port.desks.get(reception.guest.role)
        if self._desk is not None:
            self._desk.join(self, reception.guest)

    def _take(self, one: Frame) -> None:
        if self._desk is not None:
            self._desk.take(self, one)
            return
        if one.kind is not Kind.REPORT:
            raise PacketError(f"{one.kind.name} from a client that reports", 0)
        self._taken += 1
        self._port.take(one.payload)

    def _flush(self) -> None:
        transport, reception = self._transport, self._reception
        assert transport is not None, "only what is connected is sent to"
        assert reception is not None, "only who is let in is sent to"
        if reception.outgoing:
            transport.write(bytes(reception.outgoing))
            reception.outgoing.clear()
        if transport.get_write_buffer_size() > LARGEST_BACKLOG:
            self._port.turn_away(self.address, "it does not read what it is sent")
            self.end(abort=True)

    def _is_silent(self) -> None:
        if self in self._port.unknown:
            self.turn_away(f"it did not say who it is within {GREETING_PATIENCE_S:g} s")

    def _forget(self) -> None:
        self._reception = None
        self._port.guests.discard(self)
        self._port.unknown.discard(self)
        desk, self._desk = self._desk, None
        if desk is not None:
            desk.leave(self)
        if self._patience is not None:
            self._patience.cancel()


class TcpListener:
    """The part of the daemon that receives reports over TCP, and brings consoles to their desk."""

    def __init__(
        self,
        sockets: Sequence[socket.socket],
        me: Welcome,
        login: Login | None,
        context: ssl.SSLContext | None,
        say: Say,
        desks: Mapping[Role, Desk] | None = None,
    ) -> None:
        """Prepare.

        Args:
            sockets: Listening sockets; they stay their owner's to close.
            me: The node's introduction.
            login: The login that a client has to prove; ``None`` for none.
            context: The TLS context; ``None`` without TLS.
            say: Called with lines for the log.
            desks: Who serves the guests that do not report.
        """
        self._desks = desks
        self._sockets = sockets
        self._context = context
        self._me = me
        self._login = login
        self._say = say
        self._servers: list[asyncio.Server] = []

    @property
    def refused(self) -> int:
        """Connections that were not let in."""
        return self._port.refused

    def set_login(self, login: Login | None) -> None:
        """Require this login of new connections."""
        self._login = self._port.login = login

    def attach(self, hub: Hub) -> None:
        """Get ready; connections are accepted once it runs."""
        self._port = TcpPort(self._me, self._login, hub.clock, hub.receive, self._say, self._desks)

    async def run(self) -> None:
        """Accept connections."""
        loop = asyncio.get_running_loop()
        for sock in self._sockets[len(self._servers) :]:
            # A socket of its own, because a server closes the one that it has.
            server = await loop.create_server(
                self._port.guest,
                sock=sock.dup(),
                backlog=BACKLOG,
                ssl=self._context,
                ssl_handshake_timeout=None if self._context is None else GREETING_PATIENCE_S,
            )
            self._servers.append(server)
        await forever()

    def detach(self) -> None:
        """End every connection: the clients go to other nodes."""
        for server in self._servers:
            server.close()
        self._port.close()
