"""The console's end of the feed against every kind of other end: ours, the earlier one, none, and pushes."""

import socket
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager

import pytest

from poolhouse.errors import SettingError
from poolhouse.feed.client import udp_feed
from poolhouse.feed.protocol.datagrams import (
    HELO,
    MAGIC,
    Ask,
    DenialReason,
    Denied,
    decode_datagram,
    encode_datagram,
)
from poolhouse.feed.sockets import claim_loopback
from poolhouse.feed.udp import Mode
from support.connmond import Connmond, Watcher, program
from support.feed_bytes import value_datagram
from support.waiting import wait_until


@pytest.fixture
def free_port() -> int:
    """A port that is free on both loopback addresses."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


class Peer(AbstractContextManager["Peer"]):
    """A server at a free port that answers every datagram with what `answers` makes of it."""

    def __init__(self) -> None:
        self._sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._sock.bind(("127.0.0.1", 0))
        self._sock.settimeout(0.1)
        self.port: int = self._sock.getsockname()[1]
        self.heard: list[bytes] = []
        self._is_over = False
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def answers(self, datagram: bytes) -> Iterator[bytes]:
        """Nothing."""
        return iter(())

    def _run(self) -> None:
        while not self._is_over:
            try:
                datagram, console = self._sock.recvfrom(2048)
            except TimeoutError:
                continue
            self.heard.append(datagram)
            for answer in self.answers(datagram):
                self._sock.sendto(answer, console)

    def __exit__(self, *_: object) -> None:
        self._is_over = True
        self._thread.join()
        self._sock.close()


class LegacyServer(Peer):
    """Answers ``HELO`` with value lists at once; does not know any other word."""

    def answers(self, datagram: bytes) -> Iterator[bytes]:
        if datagram == HELO:
            yield value_datagram("web1", "shop", "count", "checkedout", 7.0)
            yield value_datagram("web1", "shop", "derive", "checkouts", 100)


def test_an_earlier_server_is_understood_and_what_it_does_not_send_is_not_known() -> None:
    with LegacyServer() as server, Watcher(server.port) as watcher:
        snapshot = watcher.wait_for(lambda one: (row := program(one, "shop")) and row.used == 7)
        row = program(snapshot, "shop")
        assert row is not None
        assert (row.totals.checkouts, row.waiting, row.recent.wait) == (100, None, None)
        link = watcher.client.link
        assert (link.phase, link.server, link.reports) == ("connected", None, None)


class MalformedServer(Peer):
    """Answers with parts of length 0, a NaN gauge and garbage, and then with something right."""

    def answers(self, datagram: bytes) -> Iterator[bytes]:
        yield bytes(4)
        yield b"\x00\x06\x00\x00"
        yield b"\x7a\x01\x00\x00"
        yield MAGIC
        yield b"\xff" * 1400
        yield value_datagram("web1", "shop", "count", "checkedout", float("nan"))
        yield value_datagram("web1", "shop", "count", "checkedin", 2.0)


def test_malformed_datagrams_and_nan_neither_hang_nor_end_it() -> None:
    """Trap 44."""
    with MalformedServer() as server, Watcher(server.port) as watcher:
        snapshot = watcher.wait_for(lambda one: (row := program(one, "shop")) and row.idle == 2)
        row = program(snapshot, "shop")
        assert row is not None
        assert row.used is None


class DenyingServer(Peer):
    """Says that this console is not served."""

    def answers(self, datagram: bytes) -> Iterator[bytes]:
        if datagram.startswith(MAGIC):
            ask = decode_datagram(datagram)
            assert isinstance(ask, Ask)
            yield encode_datagram(Denied(ask.nonce, DenialReason.ADDRESS))


def test_a_denial_is_told_in_a_sentence() -> None:
    with DenyingServer() as server, Watcher(server.port) as watcher:
        link = watcher.wait_for_phase("refused")
        assert link.error == "this machine's address must be allowed there (--allow, or allow in collectd.conf)"


def test_where_nobody_listens_it_is_refused_and_tried_again(free_port: int) -> None:
    with Watcher(free_port) as watcher:
        link = watcher.wait_for_phase("refused")
        assert link.error == "Connection refused"
        assert link.next_try is not None
        assert link.address == f"127.0.0.1:{free_port}"
        with Connmond(consoles=free_port):
            watcher.client.retry()
            watcher.wait_for_phase("connected")


def test_a_server_that_says_nothing_is_being_connected_to() -> None:
    with Peer() as server, Watcher(server.port) as watcher:
        wait_until(lambda: len(server.heard) >= 2)
        assert server.heard[0] == HELO
        assert isinstance(decode_datagram(server.heard[1]), Ask)
        assert watcher.client.link.phase == "connecting"


def test_a_name_that_is_not_known_is_told() -> None:
    with Watcher(25828, host="no-such-host.invalid") as watcher:
        link = watcher.wait_for_phase("unresolved")
        assert link.error
        assert link.tries == 1


@pytest.mark.parametrize("mode", ["auto", "connect"])
def test_a_name_that_no_host_can_have_is_told(mode: Mode) -> None:
    with Watcher(25828, host="web..example", mode=mode) as watcher:
        assert watcher.wait_for_phase("unresolved").error == "no host can have that name"


def test_listening_on_a_name_that_no_host_can_have_is_told_at_once() -> None:
    client = udp_feed("web..example", 25828, "listen", on_snapshot=lambda _: None, on_link=lambda _: None)
    with pytest.raises(SettingError, match="no host can have that name"):
        client.start()
    client.close()


@pytest.mark.parametrize("target", ["127.0.0.1", "::1"])
def test_what_is_pushed_to_the_free_port_is_shown(target: str, free_port: int) -> None:
    """Trap 48: ``connmon --port N`` listens where ``monitor "localhost" N`` pushes."""
    with Watcher(free_port, host="localhost", mode="auto") as watcher:
        watcher.wait_for_phase("listening")
        family = socket.AF_INET6 if ":" in target else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as plugin:
            plugin.connect((target, free_port))
            plugin.send(b"\0\0\0\0")
            plugin.send(value_datagram("web1", "shop", "count", "checkedout", 7.0))
        watcher.wait_for(lambda one: (row := program(one, "shop")) and row.used == 7)
        assert watcher.client.link.phase == "listening"


def test_where_the_port_is_taken_it_connects() -> None:
    with Connmond() as daemon, Watcher(daemon.consoles, host="localhost", mode="auto") as watcher:
        watcher.wait_for_phase("connected")


@pytest.mark.parametrize("host", ["192.0.2.1", "no-such-host.invalid"])
def test_where_the_host_is_another_machine_it_does_not_listen(host: str, free_port: int) -> None:
    assert claim_loopback(host, free_port) is None


def test_listening_only_on_a_taken_port_is_told_at_once() -> None:
    with Connmond() as daemon:
        client = udp_feed(
            "localhost", daemon.consoles, "listen", on_snapshot=lambda _: None, on_link=lambda _: None
        )
        with pytest.raises(SettingError, match=r"cannot listen on UDP localhost:.*Address already in use"):
            client.start()
        client.close()


def test_connecting_only_does_not_listen(free_port: int) -> None:
    with Watcher(free_port, host="localhost", mode="connect") as watcher:
        watcher.wait_for_phase("refused")


def test_closing_ends_the_thread_and_frees_the_port(free_port: int) -> None:
    for _ in range(2):
        with Watcher(free_port, host="localhost", mode="listen") as watcher:
            watcher.wait_for_phase("listening")
    assert not [thread for thread in threading.enumerate() if thread.name == "poolhouse-feed"]
