"""Memory or descriptors end at one call of a client with TLS, in virtual time: nothing is sent in plain text."""

import _socket
import socket
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest

from poolhouse.configuration.service import Certificate, Node, Service
from poolhouse.report import tls
from poolhouse.report.sockets import SystemNetwork
from poolhouse.report.tcp import TcpSender
from poolhouse.testing.clock import VirtualClock
from support.exhausted import OF_FILES, OF_MEMORY, Calls, Exhausted, each

CERTIFICATES = Path(__file__).parents[1] / "support" / "certificates"
#: Every call up to the handshake that can fail.
STEPS: Calls = [
    (_socket, "socket", OF_FILES | OF_MEMORY),
    (tls, "client_context", OF_MEMORY),
    (tls, "TlsSocket", OF_MEMORY),
    (tls, "TlsPipe", OF_MEMORY),
    (tls.TlsPipe, "outgoing", OF_MEMORY),
]


@pytest.mark.parametrize(("owner", "name", "error"), each(STEPS))
def test_whatever_ends_no_word_of_a_client_with_tls_is_sent_in_plain_text(owner: Any, name: str, error: Exception):
    with ExitStack() as stack:
        node = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        node.setblocking(False)
        clock = VirtualClock()
        host, port = node.getsockname()
        certificate = Certificate(str(CERTIFICATES / "node.pem"), str(CERTIFICATES / "node.key"))
        service = Service("default", (Node("node1", host, port),), None, certificate)
        sender = TcpSender(service, "shop", 1.0, SystemNetwork(), clock, lambda: 0.5)
        stack.callback(sender.close)
        sender.route.begin_lookup(clock.monotonic())
        sender.route.found(SystemNetwork.look_up(host, port), clock.monotonic())
        accepted: list[socket.socket] = []

        def live(steps: int) -> list[bytes]:
            """What each connection has said first, after so many steps of a second."""
            for _ in range(steps):
                with suppress(MemoryError):
                    sender.step(clock.monotonic())
                clock.advance(1.0)
                with suppress(BlockingIOError):
                    accepted.append(stack.enter_context(node.accept()[0]))
            firsts = []
            for one in accepted:
                one.setblocking(False)
                with suppress(BlockingIOError, ConnectionError):
                    firsts.append(one.recv(1, socket.MSG_PEEK))
            return [first for first in firsts if first]

        with Exhausted(owner, name, error) as exhausted:
            assert set(live(20)) <= {b"\x16"}, "TLS begins with a record of a handshake (RFC 8446, 5.1)"
        assert exhausted.calls
        assert str(sender.error) in str(error) or "no memory left" in str(sender.error)
        assert str(sender.error), "the log says why"
        assert set(live(40)) == {b"\x16"}
