"""Sealed reports of ours and a real collectd: our plugins in it, and its network plugin that passes them on."""

import os
import socket
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from poolhouse.admission.door import Demand, Door
from poolhouse.fleet.fleet import Fleet
from poolhouse.fleet.limits import FleetLimits
from poolhouse.meter.reading import Gauges
from poolhouse.report.protection import Protection
from poolhouse.wire.seal import Level
from support.collectd import Collectd, connmon_block, free_port, send, server_block, udp_socket
from support.connmond import News, Watcher, program
from support.crafted import CraftedProcess
from support.sealed_sender import SealedSender
from support.waiting import wait_until

ALICE: dict[str, Protection] = {
    "sign": Protection("sign", "alice", "s3cret"),
    "encrypt": Protection("encrypt", "alice", "s3cret"),
}
#: The types of the earlier client's lists, as a network plugin has to know them that passes them on.
TYPES = {"sqlalchemy_pool": ("GAUGE", 9), "sqlalchemy_totals": ("DERIVE", 10)}


@pytest.fixture
def auth_file(tmp_path: Path) -> str:
    path = tmp_path / "auth"
    path.write_text("alice: s3cret\nrelay: other\n#poolhouse-hosts relay: web*\n")
    path.chmod(0o600)
    return str(path)


def test_our_plugins_in_a_real_collectd_at_each_level(tmp_path: Path, auth_file: str):
    """Two collectds, one for each level, side by side."""
    with ExitStack() as stack:
        running: dict[str, tuple[Collectd, int, int]] = {}
        for level in ("sign", "encrypt"):
            reports, consoles = free_port(), free_port()
            seal = (f'authfile "{auth_file}"', f'securitylevel "{level}"')
            python = server_block(f'listen "127.0.0.1" {reports}', *seal)
            python += connmon_block(f'listen "127.0.0.1" {consoles}', *seal)
            daemon = Collectd(tmp_path / level, python)
            running[level] = stack.enter_context(daemon), reports, consoles
        for level, (daemon, reports, consoles) in running.items():
            watcher = stack.enter_context(Watcher(consoles, protection=ALICE[level]))
            refused = stack.enter_context(Watcher(consoles))
            process = CraftedProcess("nova", "web1", "1:a", interval=2.0)
            sender = stack.enter_context(SealedSender(reports, ALICE[level]))
            name = "web1/sqlalchemy-nova/derive-checkouts"

            def arrives(
                watcher: Watcher = watcher,
                news: News = News(),  # noqa: B008 - One for each level.
                daemon: Collectd = daemon,
                process: CraftedProcess = process,
                sender: SealedSender = sender,
                reports: int = reports,
                name: str = name,
            ) -> bool:
                if news.has_come(watcher):
                    sender.send(process.report(checkouts=3))
                    send(CraftedProcess("nova", "plain", "1:b").report(checkouts=3), reports)
                return daemon.newest().get(name) == 3

            wait_until(arrives, what=f"{name} at {level}: {daemon.log()}")
            assert sender.questions
            watcher.wait_for(lambda shot: program(shot, "nova"), "the program in a sealed console")
            assert "answers only what is" in str(refused.wait_for_phase("refused").error)
            assert not any(key.startswith("plain") for key in daemon.newest())
            words = {"sign": "they are not signed", "encrypt": "they are not encrypted"}[level]
            daemon.wait_for_log("poolhouse connmon: of consoles, ")
            assert words in daemon.log()
            assert "s3cret" not in daemon.log()


def receive_all(receiver: socket.socket) -> list[bytes]:
    """What has come within a moment."""
    found = [receiver.recv(2000)]
    receiver.settimeout(0.2)
    try:
        while True:
            found.append(receiver.recv(2000))
    except TimeoutError:
        receiver.settimeout(20)
        return found


@pytest.mark.parametrize(("level", "strict"), [("sign", True), ("encrypt", False)])
def test_our_sealed_reports_arrive_through_a_collectd_that_passes_them_on(
    level: Level, strict: bool, tmp_path: Path, auth_file: str
):
    types = Path("/usr/share/collectd/types.db").read_text()
    for name, (kind, count) in TYPES.items():
        types += f"{name} {', '.join(f'v{number}:{kind}:U:U' for number in range(count))}\n"
    (tmp_path / "types.db").write_text(types)
    door, fleet = Door(Demand(auth_file, level, strict)), Fleet(FleetLimits(), 0.0)
    # Started long before, as far as it knows; sums without a number cannot be asked whether they are new.
    door.join(fleet, os.urandom(32), 0.0, time.time() - 1000)
    incoming = free_port()
    with udp_socket() as receiver:
        network = f"""
<LoadPlugin network>
    FlushInterval 1
</LoadPlugin>
<Plugin network>
    <Listen "127.0.0.1" "{incoming}">
        SecurityLevel "{level.capitalize()}"
        AuthFile "{auth_file}"
    </Listen>
    <Server "127.0.0.1" "{receiver.getsockname()[1]}">
        SecurityLevel "{level.capitalize()}"
        Username "relay"
        Password "other"
    </Server>
    Forward true
</Plugin>"""
        with Collectd(tmp_path / "relay", "", more=network, types_db=tmp_path / "types.db"):
            process = CraftedProcess("nova", "web1", "1:a", interval=10.0, epoch=time.time())
            other = CraftedProcess("nova", "db1", "2:b", interval=10.0, epoch=time.time())
            seal = ALICE[level].sealer()
            captured: list[bytes] = []

            def is_shown() -> bool:
                process.gauges = Gauges(idle=2, used=3)
                told = [*process.report(checkouts=7), *other.report(checkouts=7)]
                send([seal(datagram) for datagram in told], incoming)
                for packet in receive_all(receiver):
                    captured.append(packet)
                    door.receive(fleet, packet, "127.0.0.1", time.monotonic(), time.time())
                row = fleet.snapshot(time.monotonic(), time.time()).fleet
                return (row.used, row.totals.checkouts) == (3, 7)

            wait_until(is_shown, what="what was passed on")
    now = time.monotonic()
    health = fleet.health(now)
    assert {user.name for user in health.users} == {"relay"}
    # The network plugin speaks for its own user's hosts only, whoever signed what it received.
    assert dict(health.refusals).keys() == {"host"}
    assert [row.name for row in fleet.snapshot(now, time.time()).hosts] == ["web1"]
    for packet in captured:
        door.receive(fleet, packet, "127.0.0.1", now, time.time())
    refusals = dict(fleet.health(now).refusals)
    assert refusals["stale"] + refusals["host"] >= len(captured)
