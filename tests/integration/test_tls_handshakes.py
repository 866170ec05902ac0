"""Connections that never finish their TLS handshake: those of one address take no place of another's."""

import asyncio
import socket
import ssl
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from poolhouse.configuration.service import Certificate
from poolhouse.daemon import acceptor
from poolhouse.daemon.acceptor import Acceptor
from poolhouse.report.tls import server_context
from poolhouse.testing.clock import VirtualClock
from poolhouse.testing.loop import run
from poolhouse.wire.introduction import GREETING_PATIENCE_S

CERTIFICATES = Path(__file__).parents[1] / "support" / "certificates"
#: One address of the loopback network floods, the other one is honest.
MALLORY, ALICE = "127.0.0.66", "127.0.0.1"


class Greeting(asyncio.Protocol):
    """Says that the handshake is over."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.write(b"welcome")


def is_closed(sock: socket.socket) -> bool:
    with suppress(BlockingIOError):
        try:
            return sock.recv(65_536) == b""
        except ConnectionError:
            return True
    return False


async def welcomed(sock: socket.socket) -> bytes:
    """What the server says after the client's handshake."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(incoming, outgoing)
    for step in (client.do_handshake, client.read):
        while True:
            with suppress(ssl.SSLWantReadError):
                said = step()
                break
            sock.sendall(outgoing.read())
            await asyncio.sleep(0.01)
            with suppress(BlockingIOError):
                incoming.write(sock.recv(65_536))
        sock.sendall(outgoing.read())
    assert isinstance(said, bytes)
    return said


def test_handshakes_of_one_address_that_never_end_take_no_place_of_anothers(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(acceptor, "MOST_HANDSHAKES", 8)
    files = (str(CERTIFICATES / "node.pem"), str(CERTIFICATES / "node.key"))
    clock = VirtualClock()

    async def scenario(stack: ExitStack) -> None:
        listening = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        accepting = Acceptor([listening], Greeting, server_context(Certificate(*files)))
        accepting.begin()

        def connect(address: str) -> socket.socket:
            sock = socket.create_connection(listening.getsockname(), 30, source_address=(address, 0))
            stack.enter_context(sock)
            sock.setblocking(False)
            return sock

        slow = connect(ALICE)
        await asyncio.sleep(0.01)
        flood = [connect(MALLORY) for _ in range(30)]
        await asyncio.sleep(0.01)
        assert [is_closed(sock) for sock in flood] == [True] * 23 + [False] * 7
        assert await welcomed(slow) == b"welcome"
        assert await welcomed(connect(ALICE)) == b"welcome"
        await asyncio.sleep(GREETING_PATIENCE_S)
        assert all(map(is_closed, flood))
        assert accepting.refused == {"handshakes": 23, "tls": 7}
        accepting.close()
        stack.close()
        await asyncio.sleep(0.01)  # In which the server sees that its clients have gone.

    with ExitStack() as stack:
        run(scenario(stack), clock)
