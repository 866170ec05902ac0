"""connmond's TCP port: clients that report, and consoles, each on its own connection."""

import asyncio
import os
import socket
import ssl
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from enum import Enum
from logging import WARNING
from typing import Protocol

from poolhouse.clock import Clock
from poolhouse.configuration.service import Login
from poolhouse.crowd import Crowd
from poolhouse.daemon.acceptor import Acceptor
from poolhouse.daemon.part import Hub, forever
from poolhouse.daemon.reception import Failures, Reception, Refused
from poolhouse.errors import PacketError
from poolhouse.wire.framing import EARLIER_CLIENT, Frame, Kind, frame
from poolhouse.wire.introduction import GREETING_PATIENCE_S
from poolhouse.wire.session import NONCE_BYTES, Hello, Role, Welcome

#: The most connections, and the most of them without an introduction.
MOST_GUESTS, MOST_UNKNOWN = 20_000, 256
#: The most bytes that may wait for a guest that does not read; beyond this its connection is closed.
LARGEST_BACKLOG = 1 << 20
#: Seconds in which connections closed for the same reason make at most one line in the log.
SAID_PERIOD_S = 60.0
#: The same for earlier clients of connmon, which retry forever: each address has lines of its own, so that
#: administrators who upgrade find every forgotten machine. And the most such addresses; further ones share lines.
EARLIER_PERIOD_S, MOST_EARLIER = 3600.0, 1000
#: Seconds without traffic after which the kernel probes the other side, seconds between two probes, and how many
#: may go unanswered, so that machines that are gone leave no connection behind.
KEEPALIVE = (60, 15, 4)

#: Takes a report's datagram, and its sender's address.
Take = Callable[[bytes, str], object]
#: Logs a sentence; takes level and text.
Say = Callable[[int, str], object]


class Why(Enum):
    """Why connections are closed, worded to follow "connections were closed"."""

    CROWDED = "there are too many of their addresses"
    SILENT = "they do not say who they are"
    STRANGER = "they do not keep to the protocol"
    EARLIER = "they are clients of connmon 0.x"
    REFUSED = "they are not let in"
    STUCK = "they are silent, or do not read"


class Desk(Protocol):
    """Serves the guests of one role; every call is made in the daemon's loop."""

    def refusal(self, guest: "Guest", hello: Hello, has_login: bool) -> str | None:
        """Why a guest is refused, in a sentence; ``None`` if it is let in. `has_login`: the login is proved."""
        ...

    def join(self, guest: "Guest", hello: Hello) -> None:
        """Let the guest in."""
        ...

    def take(self, guest: "Guest", one: Frame) -> None:
        """Handle a frame; a PacketError ends the connection."""
        ...

    def hold(self, guest: "Guest") -> None:
        """Send nothing until `release`: the guest reads less than it is sent."""
        ...

    def release(self, guest: "Guest") -> None:
        """Resume sending: the guest has read everything."""
        ...

    def leave(self, guest: "Guest") -> None:
        """Record that the connection has ended."""
        ...

    def say_goodbye(self, guest: "Guest") -> None:
        """Tell the guest that the node is ending, if that helps it."""
        ...


class TcpPort:
    """The state shared by a node's connections.

    Attributes:
        refused: How many connections were closed, by reason.
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
        """Start without a connection; `guest` is for an `Acceptor`.

        Args:
            me: The node's introduction.
            login: The login that a guest must prove; ``None`` for none.
            clock: The clock.
            take: Called with each datagram of a report, and its sender's address.
            say: Called with lines for the log, at most once a minute for each `Why`, and once an hour for each
                address of earlier clients of connmon.
            desks: Serve the guests that do not report, by role.
        """
        self.refused: Counter[Why] = Counter()
        self.desks = desks or {}
        self.me = me
        self.login = login
        self.clock = clock
        self.take = take
        self.failures = Failures()
        self.guests: Crowd[Guest] = Crowd(MOST_GUESTS)
        self.unknown: Crowd[Guest] = Crowd(MOST_UNKNOWN)
        self._say = say
        #: When each reason was last logged, and how many connections were closed for it since.
        self._said: dict[Why | str, tuple[float, int]] = {}

    def guest(self) -> "Guest":
        """The protocol of a new connection."""
        return Guest(self)

    def close(self) -> None:
        """Close every connection; the clients try another node."""
        for guest in list(self.guests):
            guest.say_goodbye()
            guest.end()

    def admit(self, guest: "Guest") -> None:
        """Count a new connection; if there are too many, close one of the address that has the most.

        Of those without an introduction, the oldest: honest clients introduce themselves at once. Of those that
        are let in, the newest.
        """
        self.guests.add(guest, guest.address)
        self.unknown.add(guest, guest.address)
        if self.unknown.is_too_large:
            self.unknown.oldest_of_largest().turn_away("too many connections", Why.CROWDED)
        if self.guests.is_too_large:
            self.guests.newest_of_largest().turn_away("too many connections", Why.CROWDED)

    def turn_away(self, address: str, reason: str, why: Why) -> None:
        """Count a closed connection, and log it unless another was logged for this reason lately."""
        self.refused[why] += 1
        now = self.clock.monotonic()
        is_earlier = why is Why.EARLIER and (address in self._said or len(self._said) < MOST_EARLIER)
        key, period = (address, EARLIER_PERIOD_S) if is_earlier else (why, SAID_PERIOD_S)
        said_at, others = self._said.get(key, (now - period, 0))
        if now - said_at < period:
            self._said[key] = said_at, others + 1
            return
        self._said[key] = now, 0
        sentence = f"a connection from {address} is closed: {reason}"
        self._say(WARNING, f"{sentence} ({others:,} others since: {why.value})" if others else sentence)


class Guest(asyncio.Protocol):
    """One connection.

    Attributes:
        address: The other side's address, without a port; empty before it is connected.
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
        """Greet the guest, if there is room."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        try:
            self._greet(transport)
        except MemoryError:  # Nothing else would ever close it.
            self.end(abort=True)
            raise

    def data_received(self, data: bytes) -> None:
        """Handle the other side's bytes."""
        port, reception = self._port, self._reception
        if reception is None:
            return
        taken = self._taken
        try:
            for one in reception.receive(data, port.clock.monotonic()):
                self._welcome()
                self._take(one)
        except PacketError as error:
            words, is_refused = error.args[0], isinstance(error, Refused)
            why = Why.REFUSED if is_refused else Why.EARLIER if words == EARLIER_CLIENT else Why.STRANGER
            self.turn_away(words, why, abort=not is_refused)
            return
        if reception.guest is not None:
            self._welcome()
        if self._taken > taken:
            reception.outgoing += frame(Kind.TAKEN, self._taken.to_bytes(8, "big"))
        self._flush()

    def pause_writing(self) -> None:
        """Stop sending for a while: the other side reads less than it is sent."""
        if self._desk is not None:
            self._desk.hold(self)

    def resume_writing(self) -> None:
        """Resume sending: the other side has read everything."""
        if self._desk is not None:
            self._desk.release(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection. Reports, not connections, show whether its process lives."""
        self._forget()

    def send(self, frames: bytes) -> None:
        """Send frames; does nothing if the connection has ended."""
        if self._transport is not None and self._reception is not None:
            self._transport.write(frames)

    def turn_away(self, reason: str, why: Why = Why.STUCK, *, abort: bool = True) -> None:
        """Close the connection, and log why."""
        self._port.turn_away(self.address, reason, why)
        if not abort:
            self._flush()
        self.end(abort=abort)

    def say_goodbye(self) -> None:
        """Have its desk announce that the node is ending."""
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

    def _greet(self, transport: asyncio.Transport) -> None:
        port = self._port
        self.address = str((transport.get_extra_info("peername") or ("an unknown address",))[0])
        _keep_alive(transport)
        now = port.clock.monotonic()
        nonce = os.urandom(NONCE_BYTES)
        self._reception = Reception(port.me, nonce, port.login, port.failures, self.address, now, self._refusal)
        self._patience = asyncio.get_running_loop().call_later(GREETING_PATIENCE_S, self._is_silent)
        port.admit(self)
        if self in port.guests:
            self._flush()

    def _refusal(self, hello: Hello) -> str | None:
        if hello.role == "report":
            return None
        desk = self._port.desks.get(hello.role)
        if desk is None:
            return f"this node does not serve the role {hello.role!r}"
        return desk.refusal(self, hello, self._port.login is not None)

    def _welcome(self) -> None:
        """Handle the guest's admission, once."""
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
            raise PacketError(f"{one.kind.name} from a client that reports")
        self._taken += 1
        self._port.take(one.payload, self.address)

    def _flush(self) -> None:
        transport, reception = self._transport, self._reception
        assert transport is not None, "frames are sent only while connected"
        assert reception is not None, "frames are sent only to admitted guests"
        if reception.outgoing:
            transport.write(bytes(reception.outgoing))
            reception.outgoing.clear()
        if transport.get_write_buffer_size() > LARGEST_BACKLOG:
            self.turn_away("it does not read what it is sent")

    def _is_silent(self) -> None:
        if self in self._port.unknown:
            self.turn_away(f"it did not say who it is within {GREETING_PATIENCE_S:g} s", Why.SILENT)

    def _forget(self) -> None:
        self._reception = None
        self._port.guests.discard(self)
        self._port.unknown.discard(self)
        desk, self._desk = self._desk, None
        if desk is not None:
            desk.leave(self)
        if self._patience is not None:
            self._patience.cancel()


def _keep_alive(transport: asyncio.Transport) -> None:
    """Have the kernel find out if the other side is gone: the next report may be an hour away."""
    sock = transport.get_extra_info("socket")
    if sock is None:
        return
    options = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]
    names = ("TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT")
    options += [
        (socket.IPPROTO_TCP, getattr(socket, name, 0), value) for name, value in zip(names, KEEPALIVE, strict=True)
    ]
    for level, name, value in options:
        with suppress(OSError):
            sock.setsockopt(level, name, value)


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
            sockets: Listening sockets; their owner closes them.
            me: The node's introduction.
            login: The login that a client must prove; ``None`` for none.
            context: The TLS context; ``None`` without TLS.
            say: Called with lines for the log.
            desks: Serve the guests that do not report, by role.
        """
        self._desks = desks
        self._acceptor = Acceptor(sockets, lambda: self._port.guest(), context)
        self._me = me
        self._login = login
        self._say = say

    @property
    def refused(self) -> int:
        """How many connections were closed."""
        return self._port.refused.total()

    @property
    def refused_by_reason(self) -> Mapping[Why, int]:
        """How many connections were closed, by reason."""
        return self._port.refused

    def set_login(self, login: Login | None) -> None:
        """Require this login of new connections."""
        self._login = self._port.login = login

    def set_context(self, context: ssl.SSLContext | None) -> None:
        """Use this context's certificate for new connections."""
        self._acceptor.context = context

    def attach(self, hub: Hub) -> None:
        """Prepare to run; connections are accepted once the part runs."""
        hub.refusals["clients"] = lambda: (
            Counter({why.name.lower(): count for why, count in self._port.refused.items()})
            + self._acceptor.refused
        )
        self._port = TcpPort(self._me, self._login, hub.clock, hub.receive, self._say, self._desks)

    async def run(self) -> None:
        """Accept connections."""
        self._acceptor.begin()
        await forever()

    def detach(self) -> None:
        """Close every connection: the clients go to other nodes."""
        self._acceptor.close()
        self._port.close()
