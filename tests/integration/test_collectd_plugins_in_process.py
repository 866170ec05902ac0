"""Both plugins with real sockets and threads, and a module ``collectd`` that only keeps what it is told."""

import math
import socket
import subprocess
import sys
import threading

import pytest

from poolhouse.clock import SystemClock
from poolhouse.collectd_plugin import listeners
from poolhouse.collectd_plugin.server import ServerPlugin
from poolhouse.feed.sockets import lookup
from poolhouse.meter.reading import Gauges
from poolhouse.meter.signs import Finding, PoolSigns, ProcessSigns, SiteReading
from poolhouse.report.protection import Protection
from poolhouse.wire.decode import decode_packet
from poolhouse.wire.encode import encode_packets
from poolhouse.wire.values import DERIVE, GAUGE, Identifier, ValueList
from support.collectd import Namespace, free_port, send, udp_socket
from support.crafted import CraftedProcess
from support.fake_collectd import FakeCollectd, block
from support.reports import report
from support.sealed_sender import SealedSender
from support.waiting import wait_until


class Running:
    """A server plugin between its init and its shutdown."""

    def __init__(self, *lines):
        self.collectd = FakeCollectd()
        self.port = free_port()
        self.plugin = ServerPlugin(self.collectd, SystemClock())
        self.plugin.register()
        self.collectd.callbacks["config"](block(("listen", "127.0.0.1", self.port), *lines))

    def __enter__(self):
        self.collectd.callbacks["init"]()
        return self

    def __exit__(self, *_):
        self.collectd.callbacks["shutdown"]()

    def read(self):
        """What is dispatched now."""
        self.collectd.callbacks["read"]()
        return self.collectd.values()

    def receive(self, *datagrams):
        """Send these and wait until the fleet has them."""
        before = self.plugin.snapshot().health.received
        send(list(datagrams), self.port)
        wait_until(lambda: self.plugin.snapshot().health.received == before + len(datagrams))


def threads_of_ours():
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("poolhouse")]


def test_nothing_starts_before_init():
    """Trap 42."""
    running = Running()
    assert threads_of_ours() == []
    with udp_socket(port=running.port):  # The port is free.
        pass


def test_importing_the_plugins_registers_callbacks_and_starts_nothing():
    """Trap 42, in an interpreter of its own: ``collectd`` calls nothing back here."""
    script = (
        "import sys, threading; from support.fake_collectd import FakeCollectd; fake = FakeCollectd();"
        "sys.modules['collectd'] = fake;"
        "import sqlalchemy_collectd.server.plugin, sqlalchemy_collectd.connmon.plugin;"
        "print(sorted(fake.callbacks), threading.active_count(), 'asyncio' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd="tests", env={"PYTHONPATH": "../src:."}
    )
    assert done.stdout == "['config', 'init', 'read', 'shutdown', 'write'] 1 False\n", done.stderr


def test_a_read_before_the_receiver_exists_dispatches_nothing_and_does_not_fail():
    """Trap 33."""
    assert Running().read() == {}


def test_callbacks_are_registered_under_the_name_of_the_module_block():
    names = Running().collectd.names
    assert set(names.values()) == {"sqlalchemy_collectd.server.plugin"}


def test_shutdown_ends_the_thread_and_frees_the_port():
    with Running() as running:
        assert threads_of_ours()
    assert threads_of_ours() == []
    with udp_socket(port=running.port):
        pass
    running.collectd.callbacks["read"]()  # A read that comes late finds a closed plugin, and opens nothing.
    with udp_socket(port=running.port):
        pass


def test_reports_become_sums_of_programs_and_of_their_host():
    with Running() as running:
        running.receive(*CraftedProcess("nova", gauges=Gauges(idle=2, used=3)).report(checkouts=10))
        running.receive(*CraftedProcess("nova", token="2:b", gauges=Gauges(idle=1)).report(checkouts=5))
        running.receive(*CraftedProcess("glance", token="3:c", gauges=Gauges(used=4)).report(checkouts=7))
        values = running.read()
    assert {name: values[f"web1/sqlalchemy-{name}"] for name in (
        "nova/count-checkedin", "nova/count-checkedout", "nova/count-numprocs", "nova/derive-checkouts",
        "glance/count-checkedout", "glance/derive-checkouts",
        "host/count-checkedout", "host/count-numprocs", "host/derive-checkouts",
    )} == {
        "nova/count-checkedin": 3, "nova/count-checkedout": 3, "nova/count-numprocs": 2,
        "nova/derive-checkouts": 15,
        "glance/count-checkedout": 4, "glance/derive-checkouts": 7,
        "host/count-checkedout": 7, "host/count-numprocs": 3, "host/derive-checkouts": 22,
    }  # fmt: skip


def test_a_program_called_host_does_not_collide_with_the_hosts_sum():
    """Trap 31."""
    with Running() as running:
        running.receive(*CraftedProcess("host").report(checkouts=1))
        running.receive(*CraftedProcess("host_", token="2:b").report(checkouts=2))
        values = running.read()
    checkouts = {name: value for name, value in values.items() if name.endswith("derive-checkouts")}
    assert checkouts == {
        "web1/sqlalchemy-host_/derive-checkouts": 1,
        "web1/sqlalchemy-host__/derive-checkouts": 2,
        "web1/sqlalchemy-host/derive-checkouts": 3,
    }


def test_when_a_process_goes_its_counters_stay_in_the_sum():
    """Trap 26."""
    with Running() as running:
        staying, leaving = CraftedProcess("nova"), CraftedProcess("nova", token="2:b")
        running.receive(*staying.report(checkouts=10), *leaving.report(checkouts=5))
        running.receive(*leaving.report(checkouts=6, goodbye=True))
        values = running.read()
    assert values["web1/sqlalchemy-nova/derive-checkouts"] == 16
    assert values["web1/sqlalchemy-nova/count-numprocs"] == 1


def test_a_program_without_processes_is_told_with_zeros():
    with Running() as running:
        process = CraftedProcess("nova", gauges=Gauges(used=3))
        running.receive(*process.report(checkouts=5))
        running.receive(*process.report(goodbye=True))
        values = running.read()
    assert values["web1/sqlalchemy-nova/count-checkedout"] == 0
    assert values["web1/sqlalchemy-nova/count-numprocs"] == 0
    assert values["web1/sqlalchemy-nova/derive-checkouts"] == 5


@pytest.mark.parametrize(("word", "has_further_values"), [("all", True), ("earlier", False)])
def test_values_earlier_dispatches_the_seeds_values_only(word, has_further_values):
    with Running(("values", word)) as running:
        process = CraftedProcess("nova")
        process.waits.record_all([5_000_000])
        running.receive(*process.report(checkouts=5))
        types = {name.split("/")[2].split("-")[0] for name in running.read()}
    assert (types == {"count", "derive", "duration", "total_time_in_ms"}) is has_further_values
    assert types >= {"count", "derive"}


def test_a_type_that_collectd_does_not_know_costs_neither_the_other_values_nor_a_line_each():
    """Trap 28: a TypesDB of the user's own without ``duration`` and ``total_time_in_ms``."""
    with Running() as running:
        running.collectd.unknown_types = {"total_time_in_ms"}
        running.receive(*CraftedProcess("nova").report(checkouts=5))
        for _ in range(3):
            values = running.read()
            assert values["web1/sqlalchemy-host/derive-checkouts"] == 5
        assert len(running.collectd.logged("warning")) == 1
        assert "total_time_in_ms" in running.collectd.logged("warning")[0]


def test_malformed_datagrams_are_one_line_a_minute_and_cost_nothing_else():
    """Traps 22, 23: a part of length zero, truncated and bit-flipped datagrams."""
    with Running() as running:
        whole = CraftedProcess("nova").report(checkouts=5)
        broken = [bytes(4), b"\xff" * 1400, b"", *(whole[0][:cut] for cut in range(1, len(whole[0]) - 1, 7))]
        running.receive(*broken, *whole)
        for _ in range(3):
            values = running.read()
        assert values["web1/sqlalchemy-nova/derive-checkouts"] == 5
        (line,) = running.collectd.logged("warning")
        assert f"{len(broken)} of {len(broken) + len(whole)} datagrams refused so far" in line
        assert f"(malformed {len(broken)})" in line
        assert running.collectd.logged("error") == []


def packed(datagrams):
    """The value lists of an earlier client's datagrams in one packet, as collectd's network plugin sends them."""
    lists = [told for datagram in datagrams for told in decode_packet(datagram)]
    (packet,) = encode_packets(lists)
    return packet


def test_a_standard_packet_of_several_lists_with_precise_time_counts_whole():
    """Trap 36."""
    process = CraftedProcess("nova")
    with Running() as running:
        # What an earlier client says first is the baseline, right after the server's start.
        running.receive(packed(process.report("plain", checkouts=5)))
        process.gauges = Gauges(used=2)
        running.receive(packed(process.report("plain", checkouts=8)))
        values = running.read()
    assert values["web1/sqlalchemy-nova/count-checkedout"] == 2
    assert values["web1/sqlalchemy-nova/derive-checkouts"] == 3


def earlier_list(kind, kinds, *values, plugin="sqlalchemy"):
    """One list as an earlier client, or whoever pretends to be one, sends it."""
    identifier = Identifier("web1", plugin, "nova", kind, "9:bad")
    return encode_packets([ValueList(identifier, 1.7e9, 1.0, bytes(kinds), values)])[0]


@pytest.mark.parametrize(
    "datagram",
    [
        earlier_list("sqlalchemy_pool", [GAUGE] * 5, 1.0, math.nan, 0.0, 0.0, 0.0),
        earlier_list("sqlalchemy_pool", [GAUGE] * 5, 1.0, math.inf, 0.0, 0.0, 0.0),
        earlier_list("sqlalchemy_pool", [GAUGE] * 5, 1.0, -5.0, 0.0, 0.0, 0.0),
        earlier_list("sqlalchemy_pool", [GAUGE] * 2, 1.0, 5.0),
        earlier_list("sqlalchemy_pool", [DERIVE] * 5, 1, 5, 0, 0, 0),
        earlier_list("sqlalchemy_totals", [DERIVE] * 4, -5, 0, 0, 0),
        earlier_list("sqlalchemy_totals", [DERIVE] * 1, 5),
        earlier_list("sqlalchemy_totals", [GAUGE] * 4, 5.0, 0.0, 0.0, 0.0),
        earlier_list("sqlalchemy_pool", [GAUGE] * 5, 1.0, 5.0, 0.0, 0.0, 0.0, plugin="cpu"),
        earlier_list("count", [GAUGE], 5.0, plugin="cpu"),
    ],
)
def test_values_that_make_no_sense_and_foreign_plugins_are_refused_whole(datagram):
    """Traps 28, 29, 30."""
    with Running() as running:
        running.receive(*CraftedProcess("nova", gauges=Gauges(used=3)).report(checkouts=5))
        expected = running.read()
        running.receive(datagram)
        assert running.read() == expected
        assert running.plugin.snapshot().health.refused == 1


def test_reading_while_receiving_loses_nothing():
    """Trap 32: programs and processes come while collectd's thread reads them."""
    with Running() as running:
        sender = threading.Thread(
            target=lambda: [
                send(
                    CraftedProcess(f"p{number % 50}", token=f"{number}:a", interval=60.0).report(checkouts=1),
                    running.port,
                )
                for number in range(1000)
            ]
        )
        sender.start()
        while running.read().get("web1/sqlalchemy-host/derive-checkouts", 0) < 1000:
            assert running.collectd.logged("warning") == []
        sender.join()
        assert running.read()["web1/sqlalchemy-host/count-numprocs"] == 1000


def test_a_report_waits_for_one_step_of_many_and_not_for_all(monkeypatch):
    """A plain lock usually goes to the thread that has just released it: the reader's, for its next step."""
    with Running() as running:
        plugin = running.plugin
        fleet, received = plugin._fleet, []

        def advance(_: float) -> bool:
            if not received:
                send(CraftedProcess("nova").report(), running.port)
                wait_until(plugin._lock._turn.locked)
            received.append(fleet.received)
            return len(received) < 100

        monkeypatch.setattr(fleet, "advance", advance)
        while plugin.advance():
            pass
    assert received == [0] + 99 * [2]  # Its sums and its pool.


def test_debug_shows_each_message_received():
    with Running(("loglevel", "debug")) as running:
        running.receive(*CraftedProcess("nova", gauges=Gauges(used=3)).report(), b"\0\0\0\0")
        running.receive(*CraftedProcess("plain", token="2:b").report(detail="plain"))
        wait_until(lambda: len([line for line in running.collectd.logged("info") if "received" in line]) == 5)
        text = "\n".join(running.collectd.logged("info"))
    assert "report 1 of 'web1' 'nova' '100:abcdef', datagram 1 of 2: pool 'db:5432/shop' idle=0 used=3" in text
    assert "sums of 'web1' 'plain' '2:b': pools=1" in text
    assert "refused: " in text


def test_info_shows_no_messages():
    with Running(("loglevel", "info")) as running:
        running.receive(*CraftedProcess("nova").report())
        assert not any("received" in line for line in running.collectd.logged("info"))


def test_a_taken_port_is_one_line_and_tried_again_with_each_read():
    """Trap 34."""
    running = Running()
    with udp_socket(port=running.port) as taken, running:
        for _ in range(3):
            running.read()
        (line,) = running.collectd.logged("error")
        assert f"listen: cannot receive on UDP 127.0.0.1:{running.port}: Address already in use" in line
        taken.close()
        running.read()
        running.receive(*CraftedProcess("nova").report(checkouts=5))
        assert running.read()["web1/sqlalchemy-nova/derive-checkouts"] == 5


def test_what_is_bound_is_not_looked_up_again(monkeypatch):
    """Trap 19, on this side: a name server is not asked once an interval."""
    asked = []

    def counted(host, port):
        asked.append(host)
        return lookup(host, port)

    monkeypatch.setattr(listeners, "lookup", counted)
    with Running(("listen", "no-such-host.invalid")) as running:
        for _ in range(3):
            running.read()
    assert asked.count("127.0.0.1") == 1
    assert asked.count("no-such-host.invalid") == 4


def test_a_name_that_cannot_be_found_is_one_line_and_the_other_sockets_work():
    """Trap 35."""
    with Running(("listen", "no-such-host.invalid", 4000), ("listen", "x" * 70, 4000)) as running:
        running.read()
        lines = running.collectd.logged("error")
        assert len(lines) == 2
        assert "no-such-host.invalid:4000" in lines[0]
        assert "xxx:4000" in lines[1]
        running.receive(*CraftedProcess("nova").report(checkouts=5))


def test_several_sockets_and_ipv6_receive_into_one_sum():
    """Traps 35, 38."""
    second = free_port("::1")
    with Running(("listen", "::1", second)) as running:
        running.receive(*CraftedProcess("nova").report(checkouts=5))
        send(CraftedProcess("nova", token="2:b").report(checkouts=6), second, "::1")
        wait_until(lambda: running.read().get("web1/sqlalchemy-nova/derive-checkouts") == 11)


def test_a_host_name_is_listened_on_at_all_its_addresses():
    """Trap 38."""
    collectd, port = FakeCollectd(), free_port()
    plugin = ServerPlugin(collectd, SystemClock())
    plugin.configure(block(("listen", "localhost", port)))
    plugin.start()
    try:
        addresses = {info[4][0] for info in socket.getaddrinfo("localhost", port, type=socket.SOCK_DGRAM)}
        assert len(plugin.reports) == len(addresses)
        for number, address in enumerate(addresses):
            send(CraftedProcess("nova", token=f"{number}:a").report(), port, address)
        wait_until(lambda: plugin.snapshot().fleet.processes == len(addresses))
    finally:
        plugin.stop()


def test_without_a_block_it_listens_where_clients_report_by_default():
    with Namespace() as namespace, namespace.entered():
        plugin = ServerPlugin(FakeCollectd(), SystemClock())
        plugin.start()
        try:
            send(CraftedProcess("nova").report(), 25827)
            wait_until(lambda: plugin.snapshot().fleet.processes == 1)
        finally:
            plugin.stop()


def test_every_address_of_both_families_may_share_a_port():
    collectd, port = FakeCollectd(), free_port()
    plugin = ServerPlugin(collectd, SystemClock())
    plugin.configure(block(("listen", "::", port), ("listen", "0.0.0.0", port)))
    plugin.start()
    plugin.stop()
    assert collectd.logged("error") == []


def test_the_ipv6_wildcard_alone_takes_ipv4_too():
    collectd, port = FakeCollectd(), free_port()
    plugin = ServerPlugin(collectd, SystemClock())
    plugin.configure(block(("listen", "::", port)))
    plugin.start()
    try:
        send(CraftedProcess("nova").report(), port)
        wait_until(lambda: plugin.snapshot().fleet.processes == 1)
    finally:
        plugin.stop()


def test_the_receiving_thread_survives_a_bug_and_tells_of_it():
    with Running() as running:
        fleet, running.plugin._fleet = running.plugin._fleet, None
        send([b"x"], running.port)
        wait_until(lambda: running.collectd.logged("warning"))
        running.plugin._fleet = fleet
        running.receive(*CraftedProcess("nova").report())
    assert "bug: a datagram was lost to AttributeError" in running.collectd.logged("warning")[0]


@pytest.fixture
def auth_file(tmp_path):
    path = tmp_path / "auth"
    path.write_text("alice: s3cret\n")
    path.chmod(0o600)
    return str(path)


def test_reports_below_the_level_are_refused_and_counted_by_reason(auth_file):
    with Running(("AuthFile", auth_file), ("SecurityLevel", "Sign")) as running:
        process = CraftedProcess("nova", "web1", "1:a")
        for checkouts, security in ((3, "sign"), (6, "encrypt")):
            with SealedSender(running.port, Protection(security, "alice", "s3cret")) as sender:

                def is_asked(sender=sender):
                    sender.hear()
                    return sender.questions

                before = running.plugin.snapshot().health.received
                sender.send(process.report(checkouts=checkouts))
                if security == "sign":  # The process is known later on.
                    wait_until(is_asked, what="a question")
                    sender.send(process.report(checkouts=checkouts))
                sent = before + len(sender.sent)
                wait_until(lambda sent=sent: running.plugin.snapshot().health.received == sent, what=security)
                assert running.plugin.snapshot().fleet.totals.checkouts == checkouts
        running.receive(*CraftedProcess("nova", "evil", "1:b").report(checkouts=5))
        values = running.read()
        assert values["web1/sqlalchemy-nova/derive-checkouts"] == 6
        assert not any(name.startswith("evil") for name in values)
        (line,) = [line for _, line in running.collectd.lines if "they are not signed" in line]
        assert line.endswith("datagrams were refused so far: they are not signed; the last from 127.0.0.1")
        assert "s3cret" not in str(running.collectd.lines)


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        ([("SecurityLevel", "Sign")], "SecurityLevel: sign needs AuthFile too; reports are not received"),
        ([("AuthFile", "/nowhere/auth")], "AuthFile: there is no file '/nowhere/auth'; reports are not received"),
        (
            [("SecurityLevel", "Sing")],
            "reports are not received: a security setting is wrong",
        ),
    ],
)
def test_a_mistake_in_what_is_demanded_receives_nothing_instead_of_everything(lines, sentence):
    with Running(*lines) as running:
        assert running.plugin.reports == ()
        assert running.read() == {}
        assert f"poolhouse server: {sentence}" in [line for _, line in running.collectd.lines]


def leaking(number, *causes):
    """A report of a process that holds connections and has found a leak, or other causes."""
    site = SiteReading("shop/export.py:88 in rows", 3, 9.0, 5, 0, 60.0)
    numbers = (3.0, 15.0, 9.0, 4.0, 0.0, 1.0)
    findings = tuple(Finding(cause, 1, site.site, "", 9.0, numbers) for cause in causes or ("leak",) if cause)
    signs = PoolSigns("db1:5432/shop", sites=(site,))
    return report("shop", number=number, signs=ProcessSigns(9), findings=findings, pool_signs=signs)


class ClockAhead(SystemClock):
    """A clock that a test puts forward."""

    ahead_s = 0.0

    def monotonic(self):
        return super().monotonic() + self.ahead_s


def test_lines_that_hold_connections_are_values_and_a_verdict_is_a_notification():
    with Running() as running:
        running.receive(*leaking(1))
        running.receive(*leaking(2))
        values = running.read()
        assert values["/sqlalchemy-shop/count-open-shop_export.py:88 in rows"] == 3
        assert values["/sqlalchemy-shop/total_time_in_ms-held-shop_export.py:88 in rows"] == 60_000
        wait_until(lambda: running.read() and running.collectd.notifications)  # It is examined once a second.
        (told,) = running.collectd.notifications
    assert (told.host, told.plugin, told.plugin_instance, told.severity) == ("web1", "sqlalchemy", "shop", 2)
    assert told.message.startswith("leak: shop/export.py:88 in rows keeps 3 of 15 connections")


def test_a_verdict_is_a_notification_when_it_begins_when_it_changes_and_when_it_ends():
    running = Running()
    running.plugin._clock = clock = ClockAhead()
    with running:

        def told(number, cause, later_s):
            """What is dispatched after a report that comes so much later."""
            del running.collectd.notifications[:]
            clock.ahead_s += later_s - 1.0
            running.receive(*leaking(number, cause))
            clock.ahead_s += 1.0  # The fleet is examined once a second.
            running.plugin.snapshot()
            running.read()
            return [(one.severity, one.message.partition(":")[0]) for one in running.collectd.notifications]

        warning, okay = 2, 4
        assert told(1, "leak", 2.0) == [(warning, "leak")]
        assert told(2, "leak", 2.0) == []
        assert told(3, "held_idle", 2.0) == [(warning, "leak is now held_idle")]
        assert told(4, "", 2.0) == [], "it may come back"
        assert told(5, "", 4.0) == [(okay, "held_idle on shop on web1 has ended")]


def test_the_earlier_values_are_told_without_lines_and_notifications():
    with Running(("values", "earlier")) as running:
        running.receive(*leaking(1))
        assert not any("open-" in name for name in running.read())
        assert running.collectd.notifications == []
