"""Whom connmond serves, in a network of its own with an address that is not loopback."""

import socket
from collections.abc import Iterator

import pytest

from poolhouse.feed.protocol.datagrams import HELO
from support.collectd import Namespace
from support.connmond import Connmond, Watcher
from support.reports import Reporting

ADDRESS = "192.0.2.1"


@pytest.fixture(autouse=True)
def network() -> Iterator[None]:
    with Namespace((ADDRESS,)) as namespace, namespace.entered():
        yield


def test_a_console_elsewhere_is_refused_and_told_what_to_do() -> None:
    """Trap 39."""
    with Connmond(host="0.0.0.0") as daemon, Watcher(daemon.consoles, host=ADDRESS) as watcher:
        link = watcher.wait_for_phase("refused")
        assert link.error == "this machine's address must be allowed there (--allow, or allow in collectd.conf)"
        assert watcher.snapshots == []
        _, output, _ = daemon.end()
    assert output.endswith("; 2 refused from consoles\n")


def test_helo_from_elsewhere_is_sent_nothing() -> None:
    """Trap 39: proven by a console on loopback, which is served the same values meanwhile."""
    with (
        Connmond(host="0.0.0.0") as daemon,
        Reporting("shop", daemon.reports),
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as elsewhere,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as here,
    ):
        elsewhere.connect((ADDRESS, daemon.consoles))
        here.connect(("127.0.0.1", daemon.consoles))
        here.settimeout(30)
        elsewhere.send(HELO)
        here.send(HELO)
        for _ in range(50):
            here.recv(2048)
        elsewhere.setblocking(False)
        with pytest.raises(BlockingIOError):
            elsewhere.recv(2048)


def test_an_allowed_network_is_served() -> None:
    with (
        Connmond("--allow", "192.0.2.0/24", host="0.0.0.0") as daemon,
        Watcher(daemon.consoles, host=ADDRESS) as watcher,
    ):
        watcher.wait_for(lambda snapshot: snapshot.health.uptime >= 0)
        assert watcher.client.link.phase == "connected"
