"""Descriptors or memory are exhausted where connmond accepts connections, in virtual time.

It tries again after a second, however many connections wait, and serves all of them when the shortage is over.
"""

import asyncio
import socket
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import pytest

from poolhouse.daemon import tcp
from poolhouse.daemon.acceptor import PAUSE_S
from poolhouse.daemon.http import server
from poolhouse.daemon.http.face import HttpFace
from poolhouse.daemon.http.part import HttpPart
from poolhouse.daemon.part import Part
from poolhouse.daemon.server import Daemon
from poolhouse.daemon.tcp import TcpListener
from poolhouse.testing.clock import VirtualClock
from poolhouse.testing.loop import run
from poolhouse.wire.framing import MAGIC
from poolhouse.wire.session import Welcome
from support.exhausted import OF_FILES, OF_MEMORY, Exhausted

SHORTAGES = OF_FILES | OF_MEMORY
Make = Callable[[socket.socket], Part]


def a_tcp_port(sock: socket.socket) -> Part:
    return TcpListener([sock], Welcome("connmond 0", "default", "node1"), None, None, lambda *_: None)


def a_web_server(sock: socket.socket) -> Part:
    return HttpPart([sock], HttpFace, ("127.0.0.1",), (), None, None)


#: How each part is made, what a client says first, and how the answer begins.
PARTS = {
    "tcp": (a_tcp_port, b"", MAGIC),
    "http": (a_web_server, b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", b"HTTP/1.1 200 OK"),
}


class Served:
    """A daemon with one part, and clients of it."""

    def __init__(self, part: str, clock: VirtualClock, stack: ExitStack) -> None:
        make, self._words, self._answer = PARTS[part]
        self._listening = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        self._stack = stack
        self.failed: list[str] = []
        asyncio.get_running_loop().set_exception_handler(self._handle)
        self._end = asyncio.Event()
        self._task = asyncio.create_task(Daemon([make(self._listening)], clock=clock).run(self._end))

    def _handle(self, _: object, context: dict[str, Any]) -> None:
        self.failed.append(f"{context['message']}: {context['exception']!r}")

    def client(self) -> socket.socket:
        sock = self._stack.enter_context(socket.create_connection(self._listening.getsockname()))
        sock.sendall(self._words)
        sock.setblocking(False)
        return sock

    async def is_answered(self, client: socket.socket) -> bool:
        """Whether the client was answered; in virtual time a second is as long as everything takes."""
        await asyncio.sleep(PAUSE_S)
        return client.recv(4096).startswith(self._answer)

    async def end(self) -> None:
        self._end.set()
        await self._task


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("error", SHORTAGES.values(), ids=SHORTAGES)
def test_connections_wait_for_the_end_of_a_shortage_and_the_loop_does_not_turn_for_them(part, error):
    clock = VirtualClock()

    async def scenario(stack: ExitStack) -> None:
        served = Served(part, clock, stack)
        await asyncio.sleep(0.01)
        clients = [served.client() for _ in range(5)]
        with Exhausted(socket.socket, "accept", error) as exhausted:
            await asyncio.sleep(10.5 * PAUSE_S)
        assert exhausted.calls == 11
        assert served.failed == [f"no connection can be accepted: {error!r}"] * 11
        assert [await served.is_answered(client) for client in clients] == [True] * 5
        assert await served.is_answered(served.client())
        await served.end()

    with ExitStack() as stack:
        run(scenario(stack), clock)


#: Where memory may end once a connection is accepted.
STEPS: list[tuple[str, Any, str]] = [
    ("tcp", tcp, "Guest"),
    ("tcp", tcp, "Reception"),
    ("http", server, "HttpConnection"),
    ("http", server.HttpConnection, "_expect"),
]


@pytest.mark.parametrize(("part", "owner", "name"), STEPS)
def test_a_connection_for_which_there_is_no_memory_is_closed_and_no_other(part, owner, name):
    clock = VirtualClock()

    async def scenario(stack: ExitStack) -> None:
        served = Served(part, clock, stack)
        await asyncio.sleep(0.01)
        with Exhausted(owner, name, MemoryError()) as exhausted:
            client = served.client()
            await asyncio.sleep(0.5 * PAUSE_S)
        assert exhausted.calls
        with pytest.raises((ConnectionError, AssertionError)):
            assert client.recv(4096), "the server has closed it"
        assert all("MemoryError" in line for line in served.failed)
        assert served.failed
        assert await served.is_answered(served.client())
        await served.end()

    with ExitStack() as stack:
        run(scenario(stack), clock)
