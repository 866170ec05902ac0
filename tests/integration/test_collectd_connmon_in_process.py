"""The connmon plugin with real sockets and threads, and a module ``collectd`` that only keeps what it is told."""

import contextlib

import pytest

from interop.helo_peer import HeloPeer, shown
from poolhouse.clock import SystemClock
from poolhouse.collectd_plugin.config import Address
from poolhouse.collectd_plugin.connmon import ConnmonPlugin
from poolhouse.collectd_plugin.log import Log
from poolhouse.collectd_plugin.monitors import LOOKUP_PERIOD, Monitors
from poolhouse.collectd_plugin.server import ServerPlugin
from poolhouse.feed.protocol.datagrams import HELO
from poolhouse.meter.reading import Gauges
from poolhouse.testing.clock import VirtualClock
from support.collectd import Namespace, free_port, send, udp_socket
from support.crafted import CraftedProcess
from support.fake_collectd import FakeCollectd, FakeValues, block
from support.feed_console import feed_console
from support.waiting import wait_until


class Running:
    """A connmon plugin between its init and its shutdown, beside a server plugin if one is given."""

    def __init__(self, *lines, server=None):
        self.collectd = FakeCollectd()
        self.plugin = ConnmonPlugin(self.collectd, lambda: server, SystemClock())
        self.plugin.register()
        self.plugin.configure(block(*lines))

    def __enter__(self):
        self.plugin.start()
        return self

    def __exit__(self, *_):
        self.plugin.stop()

    def write(self, name="nova", kind="count", instance="checkedout", value=5.0, host="web1", **more):
        """What collectd does with a value that any plugin dispatched."""
        self.plugin.write(
            FakeValues(self.collectd, host, "sqlalchemy", name, kind, instance, 1.7e9, 1.0, [value], **more)
        )


@contextlib.contextmanager
def reporting_server(*processes):
    """A server plugin that has heard of these processes."""
    plugin, port = ServerPlugin(FakeCollectd(), SystemClock()), free_port()
    plugin.configure(block(("listen", "127.0.0.1", port)))
    plugin.start()
    try:
        for process in processes:
            send(process.report(), port)
        wait_until(lambda: plugin.snapshot().fleet.processes == len(processes))
        yield plugin
    finally:
        plugin.stop()


def test_each_lookup_of_a_monitors_name_gives_it_a_fresh_socket():
    """Behind a service address the flow of an old socket leads to a console that is gone."""
    clock = VirtualClock()
    with udp_socket() as console:
        address = Address("127.0.0.1", console.getsockname()[1])
        monitors = Monitors([address], Log(FakeCollectd(), "connmon", clock), clock)
        ports = []
        for _ in range(4):
            monitors.send(b"a value")
            ports.append(console.recvfrom(100)[1][1])
            clock.advance(LOOKUP_PERIOD / 2)
            monitors.look_up()
        monitors.close()
    assert (ports[0] == ports[1], ports[1] == ports[2], ports[2] == ports[3]) == (True, False, True)


def test_monitor_pushes_every_value_in_the_form_of_the_earlier_console():
    with udp_socket() as monitor, Running(("monitor", "127.0.0.1", monitor.getsockname()[1])) as running:
        running.write()
        assert shown(monitor.recv(2000)) == ("web1/sqlalchemy-nova/count-checkedout", 1_700_000_000, 1, 5.0)
        running.write(kind="derive", instance="checkouts", value=77)
        assert shown(monitor.recv(2000)) == ("web1/sqlalchemy-nova/derive-checkouts", 1_700_000_000, 1, 77)


def test_names_that_are_no_text_reach_consoles_escaped():
    """Trap 43: collectd hands over names that are not UTF-8 as bytes."""
    port = free_port()
    with (
        udp_socket() as monitor,
        Running(("monitor", "127.0.0.1", monitor.getsockname()[1]), ("listen", "127.0.0.1", port)) as running,
        feed_console(port) as (snapshots, _),
    ):
        running.write(b"n\xffva", host=b"w\xffb1")
        assert shown(monitor.recv(2000)).name == "w\\xffb1/sqlalchemy-n\\xffva/count-checkedout"
        snapshot = wait_until(lambda: [one for one in snapshots if one.programs])[-1]
    assert snapshot.programs[0].name == "n\\xffva"


def test_monitor_pushes_neither_other_types_nor_other_plugins():
    with udp_socket() as monitor, Running(("monitor", "127.0.0.1", monitor.getsockname()[1])) as running:
        running.write(kind="duration", instance="wait-p99", value=0.1)
        running.plugin.write(FakeValues(running.collectd, "web1", "cpu", "0", "count", "user", 1.7e9, 1.0, [5.0]))
        running.write(instance="numprocs", value=2.0)
        assert shown(monitor.recv(2000)).name == "web1/sqlalchemy-nova/count-numprocs"


def test_monitor_reaches_ipv6_and_names_and_several_targets():
    """Trap 38."""
    with udp_socket("::1") as six, udp_socket() as four:
        ports = six.getsockname()[1], four.getsockname()[1]
        with Running(("monitor", "::1", ports[0]), ("monitor", "localhost", ports[1])) as running:
            running.write()
            assert shown(six.recv(2000)) == shown(four.recv(2000))


def test_a_monitor_whose_name_cannot_be_found_is_one_line():
    with Running(("monitor", "no-such-host.invalid")) as running:
        for _ in range(3):
            running.plugin.read()
            running.write()
        (line,) = running.collectd.logged("error")
        assert "monitor: no-such-host.invalid:25828 cannot be found" in line


def test_a_console_that_says_helo_is_sent_what_is_written():
    port = free_port()
    with Running(("listen", "127.0.0.1", port)) as running, HeloPeer("127.0.0.1", port) as peer:

        def told():
            running.write(value=6.0)
            return peer.receive(timeout=0.05)

        assert wait_until(told).value == 6.0


@pytest.mark.parametrize(("listened", "asked"), [("0.0.0.0", "127.0.0.77"), ("::", "127.0.0.77"), ("::", "::1")])
def test_the_answer_leaves_from_the_address_that_was_asked(listened, asked):
    port = free_port()
    with Running(("listen", listened, port)) as running, HeloPeer(asked, port) as peer:

        def told():
            running.write(value=6.0)
            return peer.receive(timeout=0.05)

        assert wait_until(told).value == 6.0


def test_helo_from_elsewhere_is_answered_only_if_allow_names_its_network():
    """Trap 39: a spoofed sender must not turn the server against a victim."""
    elsewhere = "192.0.2.7"
    with Namespace(addresses=(elsewhere,)) as namespace, namespace.entered():
        with Running(("listen", "0.0.0.0", 25828)) as running, HeloPeer(elsewhere, 25828) as peer:
            wait_until(lambda: running.collectd.logged("warning"))
            running.write()
            assert peer.receive(timeout=0.2) is None
            (line,) = running.collectd.logged("warning")
            assert elsewhere in line
            assert "allow" in line
        allow = ("allow", "192.0.2.0/24")
        with Running(("listen", "0.0.0.0", 25828), allow) as running, HeloPeer(elsewhere, 25828) as peer:

            def told():
                running.write(value=6.0)
                return peer.receive(timeout=0.05)

            assert wait_until(told).value == 6.0


def test_our_console_is_sent_the_whole_snapshot_of_the_server_beside():
    process = CraftedProcess("nova", gauges=Gauges(used=3))
    process.waits.record_all([250_000_000])
    port = free_port()
    with reporting_server(process) as server, Running(("listen", "127.0.0.1", port), server=server):
        with feed_console(port, program="nova") as (snapshots, links):
            snapshot = wait_until(lambda: [one for one in snapshots if one.processes])[-1]
            link = wait_until(lambda: [one for one in links if one.server])[-1]
        assert snapshot.programs[0].used == 3
        assert snapshot.programs[0].since_start.wait.quantile(0.5) == pytest.approx(0.25, rel=0.044)
        assert snapshot.processes[0].pools[0].reading.name == "db:5432/shop"
        assert link.server.startswith("collectd connmon plugin")
        assert link.reports == server.reports[0]


def test_our_console_is_sent_forwarded_values_where_there_is_no_server():
    port = free_port()
    with Running(("listen", "::1", port)) as running:
        running.write(value=5.0)
        running.write("host", value=5.0)
        with feed_console(port, "::1") as (snapshots, _):
            snapshot = wait_until(lambda: [one for one in snapshots if one.fleet.used])[-1]
    assert [(row.name, row.used, row.idle) for row in snapshot.programs] == [("nova", 5, None)]
    assert [(row.name, row.used) for row in snapshot.hosts] == [("web1", 5)]


def test_forwarded_values_and_the_servers_own_are_one_picture_and_nothing_is_counted_twice():
    port = free_port()
    with (
        reporting_server(CraftedProcess("nova", gauges=Gauges(used=3))) as server,
        Running(("listen", "127.0.0.1", port), server=server) as running,
    ):
        # What the server plugin dispatched comes by here again, with its mark.
        running.write(value=3.0, meta={"poolhouse:own": True})
        running.write(value=4.0, host="far1")
        running.write("host", value=4.0, host="far1")
        with feed_console(port) as (snapshots, _):
            # Forwarded values count once their sender has paused.
            snapshot = wait_until(lambda: [one for one in snapshots if one.fleet.used == 7])[-1]
    assert [(row.name, row.used) for row in snapshot.programs] == [("nova", 7)]
    assert [(row.name, row.used) for row in snapshot.hosts] == [("far1", 4), ("web1", 3)]


def test_garbage_from_consoles_is_one_line_a_minute():
    port = free_port()
    with Running(("listen", "127.0.0.1", port)) as running:
        send([b"HELO there", b"", bytes(100), b"\xff" * 1400, *[b"PHCF" + bytes([n]) for n in range(50)]], port)
        with HeloPeer("127.0.0.1", port) as peer:

            def told():
                running.write()
                return peer.receive(timeout=0.05)

            wait_until(told)
        (line,) = running.collectd.logged("warning")
        assert "datagrams from consoles refused so far, the last one from 127.0.0.1: they are malformed" in line


def test_debug_shows_what_is_received_and_pushed():
    port = free_port()
    with Running(("listen", "127.0.0.1", port), ("loglevel", "debug")) as running:
        send([HELO], port)
        wait_until(lambda: any("b'HELO'" in line for line in running.collectd.logged("info")))
        running.write()
        assert any(
            "pushed 'web1/sqlalchemy-nova/count-checkedout'" in line for line in running.collectd.logged("info")
        )


def test_a_taken_port_is_one_line_and_tried_again_with_each_read():
    """Trap 34."""
    port = free_port()
    with udp_socket(port=port) as taken, Running(("listen", "127.0.0.1", port)) as running:
        running.plugin.read()
        running.plugin.read()
        assert len(running.collectd.logged("error")) == 1
        taken.close()
        running.plugin.read()
        with HeloPeer("127.0.0.1", port) as peer:

            def told():
                running.write()
                return peer.receive(timeout=0.05)

            wait_until(told)


def test_without_monitor_and_listen_it_pushes_to_the_consoles_port_of_this_machine():
    with Running() as running:
        assert running.collectd.logged("info") == ["poolhouse connmon: pushing values to UDP localhost:25828"]


def test_callbacks_before_init_and_after_shutdown_do_nothing():
    """Trap 33."""
    running = Running(("listen", "127.0.0.1", free_port()))
    running.plugin.read()
    running.write()
    with running:
        pass
    running.plugin.read()
    running.write()
    assert running.collectd.logged("error") == running.collectd.logged("warning") == []
