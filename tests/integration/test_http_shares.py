"""connmond's HTTP beside an address that takes all it can get: others keep their connections, and get new ones."""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from contextlib import ExitStack

import pytest

from poolhouse.daemon.http import live, server
from poolhouse.daemon.http.face import HttpFace
from poolhouse.daemon.http.part import HttpPart
from poolhouse.daemon.server import Daemon
from poolhouse.testing.clock import VirtualClock
from poolhouse.testing.loop import run

#: One address of the loopback network floods, the other one is honest.
MALLORY, ALICE = "127.0.0.66", "127.0.0.1"
STREAM = "GET {} HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n"
PLAIN = "GET {} HTTP/1.1\r\nHost: localhost\r\n\r\n"


class Web:
    """A daemon with HTTP only, in virtual time, and connections to it."""

    def __init__(self, clock: VirtualClock, stack: ExitStack) -> None:
        self._stack = stack
        self._listening = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        self._end = asyncio.Event()
        part = HttpPart([self._listening], HttpFace, ("127.0.0.1",), (), None, None)
        self._task = asyncio.create_task(Daemon([part], clock=clock).run(self._end))

    def connect(self, address: str, words: str = "") -> socket.socket:
        sock = self._stack.enter_context(
            socket.create_connection(self._listening.getsockname(), 30, source_address=(address, 0))
        )
        sock.sendall(words.encode())
        sock.setblocking(False)
        return sock

    async def answer(self, sock: socket.socket) -> bytes:
        """The status that was answered; empty if the connection is closed, or nothing was."""
        await asyncio.sleep(0.5)  # In virtual time that is as long as everything takes.
        try:
            return sock.recv(65_536).partition(b"\r\n")[0][9:12]
        except (BlockingIOError, ConnectionError):
            return b""

    async def end(self) -> None:
        self._end.set()
        await self._task


def play(scenario: Callable[[Web], Awaitable[None]]) -> None:
    clock = VirtualClock()

    async def whole(stack: ExitStack) -> None:
        web = Web(clock, stack)
        await asyncio.sleep(0.01)
        await scenario(web)
        await web.end()

    with ExitStack() as stack:
        run(whole(stack), clock)


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "MOST_CONNECTIONS", 12)
    monkeypatch.setattr(live, "MOST_STREAMS", 6)
    monkeypatch.setattr(live, "MOST_TOPICS", 6)


@pytest.mark.parametrize(
    "words",
    ["", PLAIN.format("/healthz")[:-4], STREAM.format("/api/?filter=%d")],
    ids=["silent", "half", "streams"],
)
def test_connections_of_one_address_take_none_of_anothers(words):
    async def scenario(web: Web) -> None:
        kept = web.connect(ALICE, PLAIN.format("/healthz"))
        assert await web.answer(kept) == b"200"
        for number in range(30):
            web.connect(MALLORY, words.replace("%d", str(number)))
        await asyncio.sleep(0.5)
        kept.sendall(PLAIN.format("/healthz").encode())
        assert await web.answer(kept) == b"200"
        assert await web.answer(web.connect(ALICE, PLAIN.format("/api/hosts"))) == b"200"
        assert await web.answer(web.connect(ALICE, STREAM.format("/api/lines"))) == b"200"

    play(scenario)


def test_views_that_one_address_asks_for_take_none_of_anothers():
    async def scenario(web: Web) -> None:
        kept = web.connect(ALICE, STREAM.format("/api/hosts"))
        assert await web.answer(kept) == b"200"
        asked = [web.connect(MALLORY, PLAIN.format(f"/api/?filter={number}")) for number in range(10)]
        answers = [await web.answer(one) for one in asked[:1]] + [await web.answer(one) for one in asked[8:]]
        assert answers == [b"200", b"503", b"503"]
        assert await web.answer(web.connect(ALICE, PLAIN.format("/api/lines"))) == b"200"
        await asyncio.sleep(2 * live.INTERVAL)
        kept.recv(65_536)
        await asyncio.sleep(2 * live.INTERVAL)
        assert kept.recv(65_536), "it is sent frames as before"

    play(scenario)
