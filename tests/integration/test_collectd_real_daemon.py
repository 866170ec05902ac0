"""Our plugins inside Debian's collectd: what it writes, and what it says, under good and bad circumstances."""

import json
import random
import re
import struct
import subprocess
import sys
import time
import venv
from pathlib import Path

import pytest

from interop.helo_peer import HeloPeer
from poolhouse.meter.reading import Gauges
from poolhouse.wire.parts import (
    GAUGE,
    HOST,
    PLUGIN,
    PLUGIN_INSTANCE,
    TIME,
    TYPE,
    TYPE_INSTANCE,
    number_part,
    string_part,
    values_part,
)
from support import zygote
from support.collectd import (
    SOURCES,
    Collectd,
    Namespace,
    connmon_block,
    free_port,
    send,
    server_block,
    udp_socket,
)
from support.crafted import CraftedProcess
from support.feed_console import feed_console
from support.installs import build_wheel, pip_install
from support.waiting import wait_until

PROJECT = SOURCES.parent

#: The three configurations of the earlier system's documentation, word for word.
SEED_CONFIGURATIONS = Path(__file__).parents[1] / "support" / "seed_conf"

SEED_NAMES = {
    *(f"count-{name}" for name in ("checkedin", "checkedout", "connections", "detached", "numpools", "numprocs")),
    *(f"derive-{name}" for name in ("checkouts", "connects", "disconnects", "invalidated")),
    *(f"derive-{name}" for name in ("commits", "rollbacks", "transactions")),
}


def names_of(daemon: Collectd, row: str) -> set[str]:
    return {name.removeprefix(f"{row}/") for name in daemon.newest() if name.startswith(f"{row}/")}


@pytest.mark.parametrize("name", ["server", "module_path", "connmon"])
def test_the_seeds_configurations_load_verbatim_and_write_the_seeds_names(tmp_path, name):
    seed = (SEED_CONFIGURATIONS / f"{name}.conf").read_text()
    more = f'LoadPlugin python\n<Plugin python>\nModulePath "{SOURCES}"\n</Plugin>\n{seed}'
    with (
        Namespace() as namespace,
        Collectd(tmp_path, "", more=more, prefix=namespace.prefix) as daemon,
        namespace.entered(),
    ):
        daemon.wait_for_log("listening on UDP 0.0.0.0:25827")
        send(CraftedProcess("neutron", "hostname").report(checkouts=3), 25827)
        send(CraftedProcess("nova", "hostname", "2:b").report(checkouts=4), 25827)
        daemon.wait_for_values({"hostname/sqlalchemy-host/derive-checkouts": 7})
        for instance in ("host", "neutron", "nova"):
            wait_until(lambda row=f"hostname/sqlalchemy-{instance}": names_of(daemon, row) >= SEED_NAMES)


def test_the_seeds_connmon_command_shows_what_its_configuration_pushes(tmp_path):
    seed = (SEED_CONFIGURATIONS / "connmon.conf").read_text()
    more = f'LoadPlugin python\n<Plugin python>\nModulePath "{SOURCES}"\n</Plugin>\n{seed}'
    connmon = [sys.executable, "-m", "poolhouse.console", "--port", "25828", "--once", "--json", "--timeout", "30"]
    with (
        Namespace() as namespace,
        Collectd(tmp_path, "", more=more, prefix=namespace.prefix),
        namespace.entered(),
    ):
        process = CraftedProcess("nova", "hostname", gauges=Gauges(used=3), interval=60.0)
        send(process.report(checkouts=3), 25827)
        done = zygote.run(connmon, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    shown = json.loads(done.stdout)
    assert [(row["name"], row["used_connections"]) for row in shown["programs"]] == [("nova", 3)]


def test_values_are_what_the_reports_say_and_follow_them(tmp_path):
    port = free_port()
    process = CraftedProcess("nova", gauges=Gauges(idle=2, used=3, detached=1, waiting=4))
    with Collectd(tmp_path, server_block(f'listen "127.0.0.1" {port}')) as daemon:
        send(process.report(checkouts=10, connects=6, invalidated=1, commits=5, rollbacks=2, transactions=8), port)
        expected = {
            "count-checkedin": 2, "count-checkedout": 3, "count-detached": 1, "count-connections": 6,
            "count-waiting": 4, "count-numpools": 1, "count-numprocs": 1, "count-max": 15, "count-maxidle": 5,
            "count-minidle": 0, "derive-checkouts": 10, "derive-connects": 6, "derive-disconnects": 0,
            "derive-invalidated": 1, "derive-commits": 5, "derive-rollbacks": 2, "derive-transactions": 8,
            "derive-timeouts": 0, "derive-acquireerrors": 0, "derive-connecterrors": 0,
        }  # fmt: skip
        for instance in ("nova", "host"):
            values = {f"web1/sqlalchemy-{instance}/{name}": value for name, value in expected.items()}
            daemon.wait_for_values(values)
        process.waits.record_all([2_000_000_000])
        process.gauges = Gauges(used=1)
        send(process.report(checkouts=11, timeouts=1), port)
        daemon.wait_for_values({
            "web1/sqlalchemy-nova/count-checkedout": 1,
            "web1/sqlalchemy-nova/count-connections": 1,
            "web1/sqlalchemy-nova/derive-checkouts": 11,
            "web1/sqlalchemy-nova/derive-timeouts": 1,
            "web1/sqlalchemy-nova/total_time_in_ms-wait": 2000,
        })  # fmt: skip
        assert daemon.newest()["web1/sqlalchemy-nova/duration-wait-p99"] == pytest.approx(2.0, rel=0.044)


def test_connmon_alone_shows_what_other_plugins_dispatch(tmp_path):
    """The seed: it "works independently of the server plugin"."""
    reports, consoles = free_port(), free_port()
    other = tmp_path / "other"
    other.mkdir()
    (other / "putter.py").write_text(
        "import collectd\n"
        "def read():\n"
        "    collectd.Values(host='far1', plugin='sqlalchemy', plugin_instance='nova', type='count',\n"
        "                    type_instance='checkedout', values=[8]).dispatch()\n"
        "collectd.register_read(read)\n"
    )
    python = f'ModulePath "{other}"\nImport "putter"\n' + connmon_block(f'listen "127.0.0.1" {consoles}')
    with Collectd(tmp_path, python) as daemon, HeloPeer("127.0.0.1", consoles) as peer:
        peer.receive_until({"far1/sqlalchemy-nova/count-checkedout": 8})
        send(CraftedProcess("nova").report(), reports)
        assert not any(name.startswith("web1") for name in daemon.newest())


def test_both_plugins_together_show_a_console_what_the_server_sums(tmp_path):
    reports, consoles = free_port(), free_port()
    python = server_block(f'listen "127.0.0.1" {reports}') + connmon_block(f'listen "127.0.0.1" {consoles}')
    with Collectd(tmp_path, python), HeloPeer("127.0.0.1", consoles) as peer:
        send(CraftedProcess("nova", gauges=Gauges(used=3)).report(checkouts=9), reports)
        peer.receive_until({
            "web1/sqlalchemy-nova/count-checkedout": 3,
            "web1/sqlalchemy-host/count-checkedout": 3,
            "web1/sqlalchemy-host/derive-checkouts": 9,
        })  # fmt: skip


def test_our_console_sees_wait_times_and_processes_through_collectd(tmp_path):
    reports, consoles = free_port(), free_port()
    python = server_block(f'listen "127.0.0.1" {reports}') + connmon_block(f'listen "127.0.0.1" {consoles}')
    process = CraftedProcess("nova", gauges=Gauges(used=3))
    process.waits.record_all([250_000_000])
    with Collectd(tmp_path, python), feed_console(consoles, program="nova") as (snapshots, links):
        send(process.report(checkouts=9), reports)
        # The report may come between the rows of programs and those of processes.
        snapshot = wait_until(lambda: [one for one in snapshots if one.programs and one.processes])[-1]
        assert snapshot.programs[0].since_start.wait.quantile(0.5) == pytest.approx(0.25, rel=0.044)
        assert snapshot.processes[0].token == process.token
        assert links[-1].reports == f"127.0.0.1:{reports}"


def test_a_monitor_of_ours_fills_our_console(tmp_path):
    reports, consoles = free_port(), free_port()
    python = server_block(f'listen "127.0.0.1" {reports}') + connmon_block(f'monitor "localhost" {consoles}')
    with Collectd(tmp_path, python), feed_console(consoles, mode="listen") as (snapshots, _):
        send(CraftedProcess("nova", gauges=Gauges(used=3, waiting=2)).report(checkouts=9), reports)
        rows = wait_until(lambda: [row for one in snapshots for row in one.programs if row.used == 3])
        assert (rows[-1].name, rows[-1].waiting, rows[-1].max_open) == ("nova", 2, 15)


def test_the_order_of_the_two_plugins_in_the_file_does_not_matter(tmp_path):
    reports, consoles = free_port(), free_port()
    python = connmon_block(f'listen "127.0.0.1" {consoles}') + server_block(f'listen "127.0.0.1" {reports}')
    with Collectd(tmp_path, python) as daemon, HeloPeer("127.0.0.1", consoles) as peer:
        send(CraftedProcess("nova").report(checkouts=9), reports)
        peer.receive_until({"web1/sqlalchemy-host/derive-checkouts": 9})
        daemon.wait_for_values({"web1/sqlalchemy-nova/derive-checkouts": 9})


def test_values_that_one_collectd_forwards_are_shown_by_another(tmp_path):
    """The seed's connmon chapter: from elsewhere, "typically via the "network" plugin"."""
    reports, network, consoles = free_port(), free_port(), free_port()
    sender = Collectd(
        tmp_path / "a",
        server_block(f'listen "127.0.0.1" {reports}'),
        more=f'LoadPlugin network\n<Plugin network>\nServer "127.0.0.1" "{network}"\n</Plugin>',
        hostname="a",
    )
    receiver = Collectd(
        tmp_path / "b",
        connmon_block(f'listen "127.0.0.1" {consoles}'),
        more=f'LoadPlugin network\n<Plugin network>\nListen "127.0.0.1" "{network}"\n</Plugin>',
        hostname="b",
    )
    with receiver, sender, HeloPeer("127.0.0.1", consoles) as peer:
        send(CraftedProcess("nova", gauges=Gauges(idle=1, used=3)).report(checkouts=9), reports)
        peer.receive_until({
            "web1/sqlalchemy-nova/count-checkedout": 3,
            "web1/sqlalchemy-nova/count-checkedin": 1,
            "web1/sqlalchemy-nova/derive-checkouts": 9,
            "web1/sqlalchemy-host/count-checkedout": 3,
        })  # fmt: skip
        receiver.wait_for_values({"web1/sqlalchemy-nova/derive-checkouts": 9})


def test_forwarded_names_that_are_no_text_do_not_stop_the_connmon_plugin(tmp_path):
    """Trap 43: collectd takes any bytes for a name, and hands them to Python as bytes."""
    network, consoles = free_port(), free_port()
    packet = (
        string_part(HOST, b"w\xffb1")
        + number_part(TIME, int(time.time()))
        + string_part(PLUGIN, b"sqlalchemy")
        + string_part(PLUGIN_INSTANCE, b"nova")
        + string_part(TYPE, b"count")
        + string_part(TYPE_INSTANCE, b"checkedout")
        + values_part(bytes([GAUGE]), struct.pack("<d", 8.0))
    )
    more = f'LoadPlugin network\n<Plugin network>\nListen "127.0.0.1" "{network}"\n</Plugin>'
    with (
        Collectd(tmp_path, connmon_block(f'listen "127.0.0.1" {consoles}'), more=more),
        HeloPeer("127.0.0.1", consoles) as peer,
    ):

        def told():
            send([packet], network)
            return peer.receive(timeout=0.1)

        one = wait_until(told)
        assert (one.name, one.value) == ("w\\xffb1/sqlalchemy-nova/count-checkedout", 8)


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (['listne "127.0.0.1" 1'], ['"listne" is not a directive']),
        (['loglevel "loud"'], ["loglevel:"]),
        (["listen true", 'values "some"'], ["listen:", "values:"]),
        (['listen "127.0.0.1" 99999'], ["listen:"]),
    ],
)
def test_a_mistake_in_the_file_is_one_line_and_the_rest_applies(tmp_path, lines, words):
    """Trap 35."""
    port = free_port()
    with Collectd(tmp_path, server_block(*lines, f'listen "127.0.0.1" {port}', 'loglevel "info"')) as daemon:
        send(CraftedProcess("nova").report(checkouts=5), port)
        daemon.wait_for_values({"web1/sqlalchemy-nova/derive-checkouts": 5})
        errors = [line for line in daemon.log().splitlines() if "[error]" in line]
        assert len(errors) == len(words)
        assert all(word in line for word, line in zip(words, errors, strict=True))


def test_a_types_db_without_the_further_types_costs_neither_the_plugin_nor_the_seeds_values(tmp_path):
    """Trap 28: a TypesDB line of the user's own replaces collectd's file."""
    types_db = tmp_path / "types.db"
    types_db.write_text("count value:GAUGE:0:U\nderive value:DERIVE:0:U\n")
    port = free_port()
    with Collectd(tmp_path, server_block(f'listen "127.0.0.1" {port}'), types_db=types_db) as daemon:
        process = CraftedProcess("nova", interval=60.0)
        process.waits.record_all([5_000_000])
        for checkouts in (1, 2):
            send(process.report(checkouts=checkouts), port)
            daemon.wait_for_values({"web1/sqlalchemy-host/derive-checkouts": checkouts})
        for kind in ("duration", "total_time_in_ms"):
            assert daemon.log().count(f"collectd refused web1/sqlalchemy-nova/{kind}-") == 1


def test_a_taken_port_is_one_line_and_the_plugin_listens_once_it_is_free(tmp_path):
    """Trap 34."""
    with udp_socket() as taken:
        port = taken.getsockname()[1]
        with Collectd(tmp_path, server_block(f'listen "127.0.0.1" {port}')) as daemon:
            daemon.wait_for_log(f"listen: cannot receive on UDP 127.0.0.1:{port}: Address already in use")
            taken.close()
            daemon.wait_for_log(f"listening on UDP 127.0.0.1:{port}")
            send(CraftedProcess("nova").report(checkouts=5), port)
            daemon.wait_for_values({"web1/sqlalchemy-nova/derive-checkouts": 5})
            assert daemon.log().count("cannot receive") == 1


def test_a_program_that_has_gone_is_written_with_zeros_for_five_of_collectds_intervals(tmp_path):
    """Even where a process's own five intervals are shorter than one of collectd's."""
    port = free_port()
    process = CraftedProcess("nova", gauges=Gauges(used=3), interval=0.3)
    with Collectd(tmp_path, server_block(f'listen "127.0.0.1" {port}')) as daemon:
        send(process.report(), port)
        daemon.wait_for_values({"web1/sqlalchemy-nova/count-checkedout": 3})
        send(process.report(goodbye=True), port)
        daemon.wait_for_values({"web1/sqlalchemy-nova/count-checkedout": 0})
        # Another program shows that collectd goes on reading when the zeros have ended.
        other = CraftedProcess("glance", token="2:b", interval=60.0)
        send(other.report(), port)
        wait_until(lambda: len(daemon.written().get("web1/sqlalchemy-glance/count-numprocs", ())) > 8)
        values = daemon.written()["web1/sqlalchemy-nova/count-checkedout"]
        # Five, or some more or less where the machine is busy; the process's own five intervals hold two reads.
        assert 3 <= values.count(0) <= 7


def test_nothing_reported_yet_is_no_reason_to_be_suspended(tmp_path):
    """Traps 33, 42: the daemon's own complaints are checked when it ends."""
    port = free_port()
    with Collectd(tmp_path, server_block(f'listen "127.0.0.1" {port}'), interval=0.1) as daemon:
        wait_until(lambda: len(threads_of(daemon)) > 0)
        send(CraftedProcess("nova").report(checkouts=5), port)
        daemon.wait_for_values({"web1/sqlalchemy-nova/derive-checkouts": 5})


def threads_of(daemon: Collectd) -> list[str]:
    return [path.name for path in Path(f"/proc/{daemon.process.pid}/task").iterdir()]


def test_debug_writes_each_message_into_collectds_log(tmp_path):
    port = free_port()
    with Collectd(tmp_path, server_block(f'listen "127.0.0.1" {port}', 'loglevel "debug"')) as daemon:
        send(CraftedProcess("nova").report(checkouts=5), port)
        daemon.wait_for_log("report 1 of 'web1' 'nova' '100:abcdef', datagram 1 of 2")


def test_a_flood_of_garbage_neither_stops_the_server_nor_fills_its_log_nor_its_memory(tmp_path):
    """Traps 22, 23, 28, 29, 30, 37, 43."""
    port, noise = free_port(), random.Random(1)
    whole = CraftedProcess("nova", token="2:b", gauges=Gauges(used=3)).report(checkouts=5)
    flipped = [
        bytes([*d[:n], d[n] ^ (1 << noise.randrange(8)), *d[n + 1 :]]) for d in whole for n in range(len(d))
    ]
    garbage = [
        bytes(4),
        b"\x7a\x01\x00\x00",
        *(noise.randbytes(noise.randrange(1, 1500)) for _ in range(2000)),
        *(datagram[:cut] for datagram in whole for cut in range(len(datagram))),
        # One bit may make another host, program or process of it: those are reports like any other.
        *(one for one in flipped if b"nova\0" in one and b"web1\0" in one and b"\x002:b\0" in one),
    ]
    with Collectd(tmp_path, server_block(f'listen "127.0.0.1" {port}')) as daemon:
        process = CraftedProcess("nova")
        send(process.report(checkouts=7), port)
        daemon.wait_for_values({"web1/sqlalchemy-nova/derive-checkouts": 7})
        memory = resident_bytes(daemon)
        for _ in range(5):
            send(garbage, port)

        def newest_of_a_process_that_goes_on() -> dict[str, float] | None:
            # The flood fills the socket's buffer, so that a report may be lost: the process sends its next.
            send(process.report(checkouts=8), port)
            values = daemon.newest()
            return values if values["web1/sqlalchemy-nova/derive-checkouts"] >= 8 else None

        values = wait_until(newest_of_a_process_that_goes_on, what="reports are still read")
        assert all(value >= 0 for value in values.values())
        assert {name.split("/")[1].split("-")[0] for name in values} == {"sqlalchemy"}
        assert len(daemon.log().splitlines()) < 30
        assert resident_bytes(daemon) < memory + (50 << 20)


def resident_bytes(daemon: Collectd) -> int:
    status = Path(f"/proc/{daemon.process.pid}/status").read_text()
    return int(re.findall(r"VmRSS:\s+(\d+) kB", status)[0]) * 1024


def test_hosts_and_programs_beyond_the_bounds_are_refused_and_counted(tmp_path):
    """Trap 37."""
    port = free_port()
    with Collectd(tmp_path, server_block(f'listen "127.0.0.1" {port}'), interval=0.5) as daemon:
        for number in range(1100):
            send(CraftedProcess(f"p{number}", token=f"{number}:a").report(), port)
        log = daemon.wait_for_log("over the limit of programs:")
        assert log.count("over the limit") == 1


def test_thousands_of_processes_are_summed_without_a_loss(tmp_path):
    """Trap 40: the earlier server loses data and sums wrongly from 2,000 processes on."""
    port = free_port()
    processes = [
        CraftedProcess("nova", token=f"{number}:a", interval=60.0, gauges=Gauges(used=1)) for number in range(2500)
    ]
    with Collectd(tmp_path, server_block(f'listen "127.0.0.1" {port}')) as daemon:
        for checkouts in (1, 4):
            send([one for process in processes for one in process.report(checkouts=checkouts)], port)
            daemon.wait_for_values({
                "web1/sqlalchemy-nova/count-numprocs": 2500,
                "web1/sqlalchemy-host/count-checkedout": 2500,
                "web1/sqlalchemy-host/derive-checkouts": 2500 * checkouts,
            })  # fmt: skip


def test_names_that_are_not_ascii_or_not_safe_for_files_are_written_under_safe_names(tmp_path):
    """Traps 30, 43."""
    port = free_port()
    with Collectd(tmp_path, server_block(f'listen "127.0.0.1" {port}')) as daemon:
        for number, (host, program) in enumerate([("wéb1", "bücher"), ("..", "../../etc"), ("web1", "a\nb")]):
            send(CraftedProcess(program, host, token=f"{number}:a").report(checkouts=5), port)
        wait_until(lambda: len({name.split("/")[0] for name in daemon.newest()}) == 3)
        rows = {"/".join(name.split("/")[:2]) for name in daemon.newest()}
        assert "wéb1/sqlalchemy-bücher" in rows
        assert all(not row.startswith("..") and "\n" not in row for row in rows)
        assert not (tmp_path / "sqlalchemy-host").exists()


@pytest.mark.parametrize("detail", ["full", "plain"])
def test_a_datagram_dated_a_day_ahead_or_behind_silences_nobody(tmp_path, detail):
    """Traps 24, 25: freshness is told by the server's own clock (crafted reports are dated years ago)."""
    port = free_port()
    with Collectd(tmp_path, server_block(f'listen "127.0.0.1" {port}'), interval=0.5) as daemon:
        ahead, other = CraftedProcess("nova"), CraftedProcess("glance", "web2")
        ahead.number = 2_000_000_000  # Decades: its date is a second later with each report.
        send(ahead.report(detail), port)
        send(other.report(detail), port)
        daemon.wait_for_values({
            "web1/sqlalchemy-nova/count-numprocs": 1,
            "web2/sqlalchemy-glance/count-numprocs": 1,
        })  # fmt: skip
        other.gauges = Gauges(used=1)
        send(other.report(detail), port)
        daemon.wait_for_values({"web2/sqlalchemy-glance/count-checkedout": 1})


def run_with(daemon: Collectd, port: int) -> None:
    with daemon:
        send(CraftedProcess("nova").report(checkouts=5), port)
        daemon.wait_for_values({"web1/sqlalchemy-nova/derive-checkouts": 5})


def test_it_is_found_in_an_unpacked_source_tree_through_module_path(tmp_path):
    """The seed's "arbitrary location"."""
    unpacked = tmp_path / "unpacked"
    archive = subprocess.run(
        ["tar", "-C", str(PROJECT), "--exclude=__pycache__", "-c", "src"], check=True, capture_output=True
    ).stdout
    unpacked.mkdir()
    subprocess.run(["tar", "-C", str(unpacked), "-x"], input=archive, check=True)
    port = free_port()
    run_with(Collectd(tmp_path / "d", server_block(f'listen "127.0.0.1" {port}'), sources=unpacked / "src"), port)


def test_it_is_found_where_pip_install_target_puts_it_on_collectds_own_path(tmp_path):
    """The real folder of Debian's Python, for this daemon only: in a mount namespace of its own."""
    installed = tmp_path / "installed"
    pip_install(installed, "--no-deps", str(build_wheel(tmp_path)))
    over = f'mount --bind {installed} /usr/local/lib/python3.11/dist-packages && exec "$@"'
    port = free_port()
    daemon = Collectd(
        tmp_path / "d",
        server_block(f'listen "127.0.0.1" {port}'),
        sources=tmp_path / "empty",
        prefix=("unshare", "--mount", "sh", "-c", over, "collectd"),
    )
    run_with(daemon, port)
    (metadata,) = installed.glob("poolhouse-*.dist-info/METADATA")
    assert_needs_nothing_and_shadows_nothing(installed, metadata.read_text())


def assert_needs_nothing_and_shadows_nothing(installed: Path, metadata: str) -> None:
    """Trap 41: no dependency, no module ``collectd`` in the way of collectd's own, a real version."""
    required = [line for line in metadata.splitlines() if line.startswith("Requires-Dist:")]
    assert all("extra ==" in line for line in required)
    assert {path.name for path in installed.iterdir() if path.is_dir() and "dist-info" not in path.name} <= {
        "poolhouse", "sqlalchemy_collectd", "bin"
    }  # fmt: skip
    assert "\nVersion: 0.0.0\n" not in metadata


def test_it_is_found_in_a_virtual_environment_through_module_path(tmp_path):
    environment = tmp_path / "venv"
    venv.create(environment, with_pip=False)
    packages = environment / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
    pip_install(packages, "--no-deps", str(build_wheel(tmp_path)))
    port = free_port()
    run_with(Collectd(tmp_path / "d", server_block(f'listen "127.0.0.1" {port}'), sources=packages), port)
