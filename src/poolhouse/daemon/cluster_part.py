"""The links to the other nodes of the service, and the traffic on them (`poolhouse.cluster.core`)."""

import asyncio
import os
import random
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from logging import INFO, WARNING
from typing import Protocol

from poolhouse.cluster.core import Cluster
from poolhouse.cluster.links import Complaints, Rest, dials, refusal, stranger
from poolhouse.configuration.service import Login, Node, Service
from poolhouse.daemon.lookup import Lookup
from poolhouse.daemon.part import Hub
from poolhouse.daemon.tcp import SAID_PERIOD_S, Guest
from poolhouse.errors import PacketError
from poolhouse.fleet.process import Process
from poolhouse.shortage import is_shortage, words_of
from poolhouse.wire.framing import OF_NODES, Frame, Kind, Unframer
from poolhouse.wire.introduction import Introduction, Phase, Refusal
from poolhouse.wire.session import NONCE_BYTES, Hello

#: Seconds within which a name server must answer, and each address of a node must welcome this one.
PATIENCE_S = 2.0
#: Seconds that a link must last for the next one to be tried at once: each begins with the whole ledger, and two
#: nodes with the same name end each other's links.
LASTING_S = 5.0
#: Seconds after the start within which a node that connects to this one should have done so.
EXPECTED_S = 10.0
#: Seconds between two checks for what is due.
TICK_S = 0.25
#: Seconds for which reports are gathered: a write for each would cost half as much as reading it.
GATHER_S = 0.1

#: The most connections with one name that may wait to be linked.
MOST_WAITING = 2

#: Logs a sentence; takes level and text.
Say = Callable[[int, str], object]


class Link(Protocol):
    """One connection to another node."""

    def send(self, frames: bytes) -> None:
        """Send frames; does nothing if the connection has ended."""
        ...

    def end(self, *, abort: bool = False) -> None:
        """Close the connection."""
        ...


class ClusterPart:
    """The part of the daemon that maintains the links."""

    def __init__(self, service: Service, me: Node, product: str, context: ssl.SSLContext | None, say: Say) -> None:
        """Prepare.

        Args:
            service: The service; with a single node there is nothing to do.
            me: This node.
            product: Name and version of this program.
            context: What this node trusts when it connects; ``None`` without TLS.
            say: Called with lines for the log.
        """
        self.service = service
        self.me = me
        self.product = product
        self.login: Login | None = service.login
        self.context = context
        self.desk = NodeDesk(self)
        self._say = say
        self._links: dict[str, Link] = {}
        #: Links whose other side reads less than it is sent.
        self._held: set[Link] = set()
        self._is_due = self._is_gathering = False
        #: Nodes that have not connected to this one yet.
        self._expected = [node.name for node in service.nodes if dials(node.name, me.name)]
        #: Whether links end because this node does, so that no other node is missing.
        self._is_ending = False
        self._complaints = Complaints(SAID_PERIOD_S)

    def attach(self, hub: Hub) -> None:
        """Start passing reports on; links come up once the part runs."""
        self._hub = hub
        self._loop = asyncio.get_running_loop()
        names = [node.name for node in self.service.nodes]
        self.cluster = Cluster(hub.fleet, self.me.name, names, hub.clock.monotonic())
        hub.fleet.relay = self._relay

    async def run(self) -> None:
        """Maintain the links until cancelled."""
        self._is_ending = False
        patient_until = self._hub.clock.monotonic() + EXPECTED_S
        async with asyncio.TaskGroup() as tasks:
            for node in self.service.nodes:
                if dials(self.me.name, node.name):
                    tasks.create_task(self._dial(node))
            try:
                while True:
                    try:
                        self._mind_time(self._hub.clock.monotonic() >= patient_until)
                        self.flush()
                    except MemoryError as error:  # Raised, it would end the tasks, and every link with them.
                        context = {"message": "links to other nodes have to wait", "exception": error}
                        self._loop.call_exception_handler(context)
                    await asyncio.sleep(TICK_S)
            finally:
                self._is_ending = True

    def _mind_time(self, is_overdue: bool) -> None:
        """Give up silent links. `is_overdue`: by now every node should have connected."""
        for name in self.cluster.tick(self._hub.clock.monotonic()):
            self.lose(name, self._links[name], "it has given no sign of life for 3 s", abort=True)
        while is_overdue and self._expected:
            self.complain(self._expected.pop(), "it has not connected to this node")

    def detach(self) -> None:
        """Close every link."""
        for link in list(self._links.values()):
            link.end()
        self._links.clear()

    def join(self, name: str, link: Link) -> None:
        """Record that the link to a node is up; an earlier link to it is given up."""
        before = self._links.pop(name, None)
        if before is not None:
            self._held.discard(before)
            before.end(abort=True)
        self._links[name] = link
        if name in self._expected:
            self._expected.remove(name)
        now = self._hub.clock.monotonic()
        self.cluster.link(name, now)
        if self._complaints.is_linked(name, now):
            self._tell(INFO, name, "is linked")
        self._wake()  # Not at once, so that the welcome leaves first.

    def lose(self, name: str, link: Link, reason: str, *, abort: bool = False) -> None:
        """Record that a link is lost; does nothing if another has taken its place."""
        self._held.discard(link)
        if self._links.get(name) is not link:
            return
        del self._links[name]
        self.cluster.lose(name, self._hub.clock.monotonic())
        self.complain(name, reason)
        if abort:
            link.end(abort=True)

    def complain(self, name: str, reason: str) -> None:
        """Log that a node is missing, unless that is known."""
        if not self._is_ending and self._complaints.is_missing(name, reason, self._hub.clock.monotonic()):
            self._tell(WARNING, name, f"is missing: {reason}")

    def _tell(self, level: int, name: str, words: str) -> None:
        self._say(level, f"node {name} {words}")
        if self._complaints.is_restless(name, self._hub.clock.monotonic()):
            self._say(WARNING, f"node {name} comes and goes: perhaps two nodes have its name, or this node's")

    def take(self, name: str, one: Frame) -> None:
        """Handle a frame from a node.

        Raises:
            PacketError: If it ends the link.
        """
        clock = self._hub.clock
        self.cluster.receive(name, one, clock.monotonic(), clock.wall_time())
        if one.kind is Kind.LEDGER:
            self._hub.read_reports()
        if one.kind is not Kind.REPORT:  # Reports are not answered.
            self._wake()

    def hold(self, link: Link) -> None:
        """Stop sending for a while: the other node reads less than it is sent."""
        self._held.add(link)

    def release(self, link: Link) -> None:
        """Resume sending: the other node has read everything."""
        self._held.discard(link)
        self._wake()

    def flush(self) -> None:
        """Send a piece to each node, and schedule the rest."""
        self._is_due = self._is_gathering = False
        now = self._hub.clock.monotonic()
        for name, link in list(self._links.items()):
            if link not in self._held and self.cluster.ready(name, now):
                link.send(self.cluster.step(name, now))
                if link not in self._held and self.cluster.ready(name, now):
                    self._wake()

    def _relay(self, process: Process, number: int, datagram: bytes) -> None:
        self.cluster.relay(process, number, datagram)
        if not self._is_gathering:
            self._is_gathering = True
            self._loop.call_later(GATHER_S, self.flush)

    def _wake(self) -> None:
        if not self._is_due:
            self._is_due = True
            self._loop.call_soon(self.flush)

    async def _dial(self, node: Node) -> None:
        """Maintain the link to a node; any error costs only one attempt at this node."""
        rest, lookup = Rest(random.random), Lookup(node.host)
        known: str | None = None
        while True:
            try:
                known = await self._keep_link(node, lookup, known, rest)
            except Exception as error:
                with suppress(MemoryError):  # The next attempt can log it.
                    self._tell_failure(node, error)
            await asyncio.sleep(rest.seconds())

    async def _keep_link(self, node: Node, lookup: Lookup, known: str | None, rest: Rest) -> str | None:
        """Connect to a node at any of its addresses; return when the link has ended, or none came up.

        Args:
            node: The node.
            lookup: Finds its addresses.
            known: The address at which it last answered; tried first.
            rest: The pause between attempts; restarted once a link has lasted.

        Returns:
            The address at which it last answered now; ``None`` if none did.
        """
        try:
            addresses = await lookup.addresses(PATIENCE_S)
        except OSError as error:
            late = f"no name server answers within {PATIENCE_S:g} s"
            self.complain(node.name, f"{node.host}: {late if isinstance(error, TimeoutError) else _words(error)}")
            return known
        reasons: list[str] = []
        for address in sorted(addresses, key=lambda address: address != known):
            try:
                await self._link(node, address, rest)
            except Exception as error:
                place = node.address if address == node.host else f"{node.address} ({address})"
                reasons.append(_reason(place, error))
            else:
                return address
        self.complain(node.name, "; ".join(reasons))
        return known

    async def _link(self, node: Node, address: str, rest: Rest) -> None:
        """Connect to a node at one address; return or raise when the link has ended."""
        dialed = Dialed(self, node)
        try:
            async with asyncio.timeout(PATIENCE_S):
                await self._loop.create_connection(
                    lambda: dialed,
                    address,
                    node.port,
                    ssl=self.context,
                    server_hostname=None if self.context is None else node.host,
                )
                await asyncio.shield(dialed.welcomed)
            linked_at = self._hub.clock.monotonic()
            await asyncio.shield(dialed.ended)
            if self._hub.clock.monotonic() - linked_at >= LASTING_S:
                rest.reached()
        finally:
            dialed.end(abort=True)

    def _tell_failure(self, node: Node, error: Exception) -> None:
        if is_shortage(error):
            self.complain(node.name, f"{node.address}: {words_of(error)}")
        else:
            context = {"message": f"connecting to node {node.name} failed", "exception": error}
            self._loop.call_exception_handler(context)


def _reason(place: str, error: Exception) -> str:
    """Why a link does not come up; any other error is raised again."""
    if isinstance(error, TimeoutError):
        return f"{place} does not answer within {PATIENCE_S:g} s"
    if isinstance(error, PacketError):
        return f"{place}: {error.text if isinstance(error, Refusal) else error.args[0]}"
    if isinstance(error, OSError) or is_shortage(error):
        return f"{place}: {_words(error)}"
    raise error


def _words(error: Exception) -> str:
    """Why a connection cannot be made; asyncio's own text repeats the address."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}"
    if isinstance(error, OSError) and error.errno and not isinstance(error, ssl.SSLError | socket.gaierror):
        return os.strerror(error.errno)
    return words_of(error)


class NodeDesk:
    """The `poolhouse.daemon.tcp.Desk` for nodes that connect to this one."""

    def __init__(self, part: ClusterPart) -> None:
        self._part = part
        #: Those that were let in; of these, the ones that have sent a frame since.
        self._names: dict[Guest, str] = {}
        self._linked: set[Guest] = set()

    def refusal(self, guest: Guest, hello: Hello, has_login: bool) -> str | None:
        """Why a node is refused, in a sentence; ``None`` if it is let in."""
        part = self._part
        names = [node.name for node in part.service.nodes]
        if hello.service != part.service.name:
            return f"this node serves {part.service.name!r}, not {hello.service!r}"
        return refusal(part.service.name, part.me.name, names, hello.node)

    def join(self, guest: Guest, hello: Hello) -> None:
        """Let the node in; its first frame links it, because it may find that it meant another node.

        Of several unlinked connections with its name, the oldest is closed: each may have a large frame under way.
        """
        waiting = [one for one, name in self._names.items() if name == hello.node and one not in self._linked]
        if len(waiting) > MOST_WAITING:
            waiting[0].end(abort=True)
        self._names[guest] = hello.node

    def take(self, guest: Guest, one: Frame) -> None:
        """Handle a frame; a PacketError ends the link."""
        if guest not in self._linked:
            self._linked.add(guest)
            self._part.join(self._names[guest], guest)
        self._part.take(self._names[guest], one)

    def hold(self, guest: Guest) -> None:
        """Stop sending for a while: the node reads less than it is sent."""
        self._part.hold(guest)

    def release(self, guest: Guest) -> None:
        """Resume sending: the node has read everything."""
        self._part.release(guest)

    def leave(self, guest: Guest) -> None:
        """Record that the link is lost."""
        name = self._names.pop(guest, None)
        self._linked.discard(guest)
        if name is not None:
            self._part.lose(name, guest, "its connection has ended")

    def say_goodbye(self, guest: Guest) -> None:
        """Do nothing: the end of the connection says it."""


class Dialed(asyncio.Protocol):
    """A connection from this node to another.

    Attributes:
        welcomed: Completed once the other node has let this one in.
        ended: Completed once the link is lost.
    """

    def __init__(self, part: ClusterPart, node: Node) -> None:
        self._part = part
        self._node = node
        self._transport: asyncio.Transport | None = None
        self._outgoing = bytearray()
        self._unframer = Unframer(())
        hello = Hello("node", part.product, os.urandom(NONCE_BYTES), part.service.name, part.me.name)
        self._introduction = Introduction(hello, part.login, self._outgoing)
        loop = asyncio.get_running_loop()
        self.welcomed: asyncio.Future[None] = loop.create_future()
        self.ended: asyncio.Future[None] = loop.create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send this node's introduction."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._send_words()

    def data_received(self, data: bytes) -> None:
        """Handle the other node's bytes."""
        try:
            for one in self._unframer.feed(data):
                if self.welcomed.done() and one.kind is not Kind.DENIED:
                    self._part.take(self._node.name, one)
                else:
                    self._introduction.take(one)
                    self._send_words()
                    self._begin()
        except PacketError as error:
            self._finish(error)
            self.end(abort=True)

    def pause_writing(self) -> None:
        """Stop sending for a while: the other node reads less than it is sent."""
        self._part.hold(self)

    def resume_writing(self) -> None:
        """Resume sending: the other node has read everything."""
        self._part.release(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Record that the link is lost, or was refused."""
        self._finish(OSError("its connection has ended" if exc is None else words_of(exc)))

    def send(self, frames: bytes) -> None:
        """Send frames; does nothing if the connection has ended."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(frames)

    def end(self, *, abort: bool = False) -> None:
        """Close the connection."""
        if self._transport is not None:
            if abort:
                self._transport.abort()
            else:
                self._transport.close()

    def _begin(self) -> None:
        welcome = self._introduction.welcome
        if self._introduction.phase is not Phase.READY or welcome is None or self.welcomed.done():
            return
        reason = stranger(self._part.service.name, self._node.name, welcome.service, welcome.node)
        if reason is not None:
            self._finish(OSError(reason))
            self.end(abort=True)
            return
        self.welcomed.set_result(None)
        self._unframer.kinds = OF_NODES
        self._part.join(self._node.name, self)

    def _finish(self, error: Exception) -> None:
        if not self.welcomed.done():
            self.welcomed.set_exception(error)
            self.welcomed.exception()  # After an earlier timeout nothing else would retrieve it.
        elif not self.ended.done():
            self.ended.set_result(None)
            self._part.lose(self._node.name, self, str(error.args[0]))

    def _send_words(self) -> None:
        self.send(bytes(self._outgoing))
        self._outgoing.clear()
