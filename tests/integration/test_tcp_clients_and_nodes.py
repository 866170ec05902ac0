"""Clients' senders and nodes' ports over real sockets: reports arrive, whatever becomes of nodes."""

import asyncio
import os
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from poolhouse.clock import SystemClock
from poolhouse.configuration.service import Certificate, Login, Node, Service
from poolhouse.daemon.tcp import TcpPort
from poolhouse.errors import SettingError
from poolhouse.report.route import Address, State
from poolhouse.report.sockets import SystemNetwork
from poolhouse.report.tcp import TcpSender
from poolhouse.report.tls import server_context
from poolhouse.wire.session import Welcome
from support.waiting import wait_until

CERTIFICATES = Path(__file__).parents[1] / "support" / "certificates"
OURS = Certificate(str(CERTIFICATES / "node.pem"), str(CERTIFICATES / "node.key"))
ANOTHER = Certificate(str(CERTIFICATES / "other.pem"), str(CERTIFICATES / "other.key"))
LOGIN = Login("monitor", "s3cret")


class RunningNode:
    """A node's TCP port in an event loop of its own."""

    def __init__(self, login: Login | None = None, port: int = 0, certificate: Certificate | None = None) -> None:
        self._certificate = certificate
        self.received: list[bytes] = []
        self.said: list[str] = []
        self._ready = threading.Event()
        self._login = login
        self._port = port
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))
        self._thread.start()
        assert self._ready.wait(30)

    @property
    def address(self) -> tuple[str, int]:
        return "127.0.0.1", self._port

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join(30)

    async def _run(self) -> None:
        self._loop, self._end = asyncio.get_running_loop(), asyncio.Event()
        me = Welcome("connmond 0.1.0", "default", "node1")
        port = TcpPort(
            me,
            self._login,
            SystemClock(),
            lambda datagram, _: self.received.append(datagram),
            lambda _, text: self.said.append(text),
        )
        context = None if self._certificate is None else server_context(self._certificate)
        server = await self._loop.create_server(port.guest, "127.0.0.1", self._port, ssl=context)
        self._port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._end.wait()
        server.close()
        port.close()


@contextmanager
def node(
    login: Login | None = None, port: int = 0, certificate: Certificate | None = None
) -> Iterator[RunningNode]:
    one = RunningNode(login, port, certificate)
    try:
        yield one
    finally:
        one.stop()


def sender(
    *nodes: tuple[str, int], login: Login | None = None, seed: int = 1, certificate: Certificate | None = None
) -> TcpSender:
    named = tuple(Node(str(port), host, port) for host, port in nodes)
    service = Service("default", named, login, certificate)
    made = TcpSender(service, "test", 0.1, SystemNetwork(), SystemClock(), random.Random(seed).random)
    for route in made._routes:  # As the dispatcher does.
        route.begin_lookup(time.monotonic())
        route.found([Address(socket.AF_INET, (route.host, route.port))], time.monotonic())
    return made


def drive(ours: TcpSender, until: Callable[[], object]) -> None:
    """Do what the reporter's thread does, until something is so."""

    def moved() -> bool:
        ours.step(time.monotonic())
        return bool(until())

    wait_until(moved)


def test_reports_arrive_whole_and_in_their_order():
    with node() as one:
        ours = sender(one.address)
        for number in range(20):
            drive(ours, lambda: ours.is_ready)
            assert ours.send([b"%d first" % number, b"%d second" % number])
        wait_until(lambda: len(one.received) == 40)
        assert one.received[:2] == [b"0 first", b"0 second"]
        assert one.received[-1] == b"19 second"
        assert ours.state is State.REACHED
        ours.close()


def test_with_a_login_they_arrive_and_without_none_does():
    with node(LOGIN) as one:
        ours = sender(one.address, login=LOGIN)
        drive(ours, lambda: ours.is_ready)
        assert ours.send([b"report"])
        wait_until(lambda: one.received == [b"report"])
        ours.close()
        stranger = sender(one.address, login=Login("monitor", "guess"))
        drive(stranger, lambda: stranger.state is State.UNREACHED)
        assert "wrong user or password" in str(stranger.error)
        wait_until(lambda: any("wrong user or password" in text for text in one.said))
        assert "s3cret" not in repr((one.said, stranger.error))


def test_a_client_whose_node_dies_goes_to_another_within_an_instant():
    with node() as stays:
        gone = RunningNode()
        ours = sender(stays.address, gone.address, seed=next(s for s in range(99) if starts_with(s) == 1))
        drive(ours, lambda: ours.is_ready)
        assert ours.send([b"to the first"])
        wait_until(lambda: gone.received == [b"to the first"])
        gone.stop()
        drive(ours, lambda: ours.is_ready and ours.route.port == stays.address[1])
        assert ours.send([b"to the second"])
        wait_until(lambda: stays.received == [b"to the second"])
        ours.close()


def starts_with(seed: int) -> int:
    return sender(("127.0.0.1", 1), ("127.0.0.1", 2), seed=seed)._nodes.current


def test_a_client_without_a_node_keeps_nothing_and_comes_back_when_there_is_one():
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    ours = sender(("127.0.0.1", port))
    drive(ours, lambda: ours.state is State.UNREACHED)
    assert not ours.send([b"nobody"])
    with node(port=port) as one:
        drive(ours, lambda: ours.is_ready)
        assert ours.send([b"somebody"])
        wait_until(lambda: one.received == [b"somebody"])
        ours.close()


def test_a_node_that_accepts_and_says_nothing_is_left_for_another():
    with socket.create_server(("127.0.0.1", 0)) as silent, node() as speaks:
        ours = sender(silent.getsockname(), speaks.address, seed=next(s for s in range(99) if starts_with(s) == 0))
        began = time.monotonic()
        drive(ours, lambda: ours.is_ready)
        assert ours.route.port == speaks.address[1]
        # The bound is 5 s; the rest is for a busy machine.
        assert time.monotonic() - began < 20
        ours.close()


def test_garbage_closes_the_connection_and_is_named_once():
    with node() as one:
        for _ in range(3):
            with socket.create_connection(one.address) as old:
                old.sendall(b'Q0 login ["", ""]\0')
                data = b"x"
                while data:
                    data = old.recv(4096)
        wait_until(lambda: one.said)
        (said,) = one.said
        assert "a client of connmon 0.x, which needs Python 2" in said
        ours = sender(one.address)
        drive(ours, lambda: ours.is_ready)
        ours.close()


def test_a_socket_that_the_application_closed_is_replaced_and_its_number_left_alone():
    with node() as one:
        ours = sender(one.address)
        drive(ours, lambda: ours.is_ready)
        descriptor = ours._socket._socket.fileno()
        reader, writer = os.pipe()
        os.dup2(writer, descriptor)  # Closed, and its number is the application's now.
        drive(ours, lambda: ours.is_ready and ours._socket._socket.fileno() != descriptor)
        assert ours.send([b"report"])
        wait_until(lambda: one.received == [b"report"])
        os.set_blocking(reader, False)
        with pytest.raises(BlockingIOError):
            os.read(reader, 1)
        for one_of in (reader, writer, descriptor):
            os.close(one_of)
        ours.close()


def test_over_tls_reports_arrive_whole():
    with node(LOGIN, certificate=OURS) as one:
        ours = sender(one.address, login=LOGIN, certificate=OURS)
        for number in range(20):
            drive(ours, lambda: ours.is_ready)
            assert ours.send([b"%d" % number, bytes(1300), bytes(1300)])
        wait_until(lambda: len(one.received) == 60)
        assert one.received[-3] == b"19"
        ours.close()


def test_a_node_with_another_certificate_is_sent_nothing():
    with node(certificate=ANOTHER) as one:
        ours = sender(one.address, certificate=OURS)
        drive(ours, lambda: ours.state is State.UNREACHED)
        assert "certificate verify failed" in str(ours.error)
        assert not one.received


def test_a_certificate_for_another_name_is_not_taken():
    with node(certificate=ANOTHER) as one:
        ours = sender(one.address, certificate=ANOTHER)
        drive(ours, lambda: ours.state is State.UNREACHED)
        assert "certificate is not valid for '127.0.0.1'" in str(ours.error)


def test_a_client_without_tls_does_not_hang_at_a_node_with_it():
    with node(certificate=OURS) as one:
        ours = sender(one.address)
        drive(ours, lambda: ours.state is State.UNREACHED)
        assert not one.received


def test_a_certificate_that_cannot_be_read_is_said_and_asks_nobody_for_a_password(tmp_path):
    (tmp_path / "broken.pem").write_text("no certificate")
    with pytest.raises(SettingError, match=r"ssl_certfile: .*broken\.pem cannot be used"):
        server_context(Certificate(str(tmp_path / "broken.pem")))
