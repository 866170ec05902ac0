"""A console over TCP that asks and does not read: what it costs the daemon and the other consoles."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import pytest

from poolhouse.clock import SystemClock
from poolhouse.daemon.console_desk import ConsoleDesk
from poolhouse.daemon.consoles import ConsoleFace
from poolhouse.daemon.part import Hub
from poolhouse.daemon.tcp import Guest, TcpListener
from poolhouse.errors import PacketError
from poolhouse.feed.protocol import connections
from poolhouse.feed.protocol.conversation import Conversation
from poolhouse.feed.protocol.datagrams import Ask, encode_datagram
from poolhouse.fleet.fleet import Fleet
from poolhouse.fleet.limits import FleetLimits
from poolhouse.fleet.snapshot import Snapshot
from poolhouse.wire.framing import Kind, frame
from poolhouse.wire.session import Hello, Welcome
from support.reports import report

#: Processes of one program, whose names do not compress: a frame is more than a small socket buffer holds.
PROCESSES = 2000
NONCE = b"console1"


class Server:
    """A node's TCP port and its consoles, in this loop."""

    def __init__(self) -> None:
        clock = SystemClock()
        self.hub = Hub(Fleet(FleetLimits(), clock.monotonic()), clock)
        self.said: list[str] = []
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        udp.setblocking(False)
        udp.bind(("127.0.0.1", 0))
        tcp = socket.create_server(("127.0.0.1", 0))
        tcp.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16384)  # The kernel would hold megabytes for it.
        tcp.setblocking(False)
        self.sockets = [udp, tcp]
        self.port: int = tcp.getsockname()[1]
        self.face = ConsoleFace([udp], ("127.0.0.1:1",))
        self.listener = TcpListener(
            [tcp],
            Welcome("connmond 0.1.0", "default", "node1"),
            None,
            None,
            lambda _, text: self.said.append(text),
            {"console": self.face.desk},
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        parts = (self.face, self.listener)
        for part in parts:
            part.attach(self.hub)
        tasks = [asyncio.create_task(part.run()) for part in parts]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for part in parts:
                part.detach()
            for sock in self.sockets:
                sock.close()

    @property
    def desk(self) -> ConsoleDesk:
        return self.face.desk

    def guests(self) -> list[Guest]:
        return list(self.listener._port.guests)


class Console:
    """A console's end, which reads only when it is told to."""

    def __init__(self, program: str | None) -> None:
        hello = Hello("console", "connmon 0.1.0", os.urandom(16), "default")
        self._asks = frame(Kind.FEED, encode_datagram(Ask(NONCE, program=program)))
        self.talk = Conversation(hello, None, NONCE, program, 0.0)
        self.snapshots: list[Snapshot] = []

    async def connect(self, port: int) -> None:
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", port, limit=4096)
        self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        while not self.talk.is_ready:
            self.write()
            self.talk.receive(await self.reader.read(4096), 0.0)
        self.write()

    def write(self) -> None:
        self.talk.step(0.0)
        self.writer.write(bytes(self.talk.outgoing))
        self.talk.outgoing.clear()

    async def ask(self) -> None:
        with suppress(ConnectionError):
            while True:
                self.writer.write(self._asks)
                await asyncio.sleep(0.5)

    async def read(self) -> None:
        with suppress(PacketError, ConnectionError):
            while data := await self.reader.read(65536):
                if (snapshot := self.talk.receive(data, 0.0)) is not None:
                    self.snapshots.append(snapshot)


async def until(is_so: Callable[[], object], what: str) -> None:
    for _ in range(6000):
        if is_so():
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"not within a minute: {what}")


def test_it_is_sent_no_more_than_its_buffers_hold_and_is_closed_and_the_others_are_served(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connections, "LIFETIME", 4.0)  # 30 s are long for a test.

    async def scenario() -> None:
        server = Server()
        for number in range(PROCESSES):
            token = f"{number}:{os.urandom(100).hex()}"
            for datagram in report("huge", token=token, used=1, interval=60.0):
                server.hub.receive(datagram)
        async with server.running():
            stuck, other = Console("huge"), Console(None)
            await stuck.connect(server.port)
            (guest,) = server.guests()
            await other.connect(server.port)
            tasks = [asyncio.create_task(one) for one in (other.read(), other.ask(), stuck.ask())]
            largest = 0

            def is_held() -> bool:
                nonlocal largest
                if guest._transport is not None:
                    largest = max(largest, guest._transport.get_write_buffer_size())
                return bool(server.face._service.held)

            await until(is_held, "the console's connection takes nothing more")
            before = len(other.snapshots)
            # What it asks is heard; that it does not read counts all the same.
            await until(lambda: is_held() and len(other.snapshots) > before + 1, "the other console is served")
            await until(lambda: guest not in server.guests(), "it is closed")
            assert "it has read nothing for 4 s" in server.said[0]
            # asyncio's own mark (64 KiB), and one burst of 32 datagrams of 1.4 kB that passed it.
            assert largest < (64 << 10) + 32 * 1400
            assert not server.face._service.held
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            stuck.writer.close()
            other.writer.close()

    asyncio.run(scenario())
