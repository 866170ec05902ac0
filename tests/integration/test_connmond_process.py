"""connmond as a process: what it says, receives, serves and survives."""

import random
import re
import signal
import socket
import subprocess
import sys
import sysconfig
import threading
from importlib.metadata import version
from itertools import count
from pathlib import Path

import pytest

from poolhouse.feed.protocol.datagrams import DATAGRAM_BYTES, HELO
from poolhouse.feed.protocol.frame import Frame, Server, encode_frame
from poolhouse.feed.sockets import Endpoint, lookup
from poolhouse.fleet.names import asking_for_host
from poolhouse.meter.histogram import Histogram
from poolhouse.wire.decode import decode_packet
from poolhouse.wire.values import ValueList
from support.connmond import COMMAND, Connmond, Watcher, program
from support.reports import Reporting, report, send


def run(*options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *options], capture_output=True, text=True, timeout=60, check=False)


def test_it_says_where_it_listens_and_what_reaches_it() -> None:
    with Connmond(is_executed=True) as daemon:
        version, reports, consoles, for_programs, for_people = daemon.announcement.splitlines()
    assert version.startswith("connmond ")
    assert reports == f"  reports   UDP 127.0.0.1:{daemon.reports}"
    assert consoles == f"  consoles  UDP 127.0.0.1:{daemon.consoles}  (serves this machine)"
    assert f"?plugin=collectd&collectd_port={daemon.reports}" in for_programs
    assert for_people == f"Watch with  connmon --port {daemon.consoles}"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_cleanly_and_it_says_what_it_counted(number: int) -> None:
    with Connmond(is_executed=True) as daemon, Watcher(daemon.consoles) as watcher:
        send([*report("shop"), b"not a report"], daemon.reports)
        watcher.wait_for(lambda snapshot: snapshot.health.received == 3)
        status, output, errors = daemon.end(number)
    assert (status, errors) == (0, "")
    assert "3 datagrams received, 1 refused, 0 of 2 datagrams lost" in output


def test_a_report_is_shown_with_its_processes_and_pools() -> None:
    with Connmond() as daemon, Watcher(daemon.consoles, program="shop") as watcher:
        send(report("shop", used=3, idle=2, waiting=1, checkouts=40), daemon.reports)
        snapshot = watcher.wait_for(lambda snapshot: snapshot.processes)
        row = program(snapshot, "shop")
        assert row is not None
        assert (row.processes, row.used, row.idle, row.waiting, row.totals.checkouts) == (1, 3, 2, 1, 40)
        (process,) = snapshot.processes
        assert (process.host, process.token) == ("web1", "1:abcdef")
        assert process.pools[0].reading.name == "db1:5432/shop"
        assert [row.name for row in snapshot.hosts] == ["web1"]
        assert watcher.client.link.server == daemon.announcement.splitlines()[0]
        assert watcher.client.link.reports == f"127.0.0.1:{daemon.reports}"


def test_another_program_is_shown_when_it_is_asked_for() -> None:
    with Connmond() as daemon, Watcher(daemon.consoles, program="shop") as watcher:
        send(report("shop"), daemon.reports)
        send(report("nightly", token="2:abcdef"), daemon.reports)
        watcher.wait_for(lambda snapshot: [one.token for one in snapshot.processes] == ["1:abcdef"])
        watcher.client.ask("nightly")
        watcher.wait_for(lambda snapshot: [one.token for one in snapshot.processes] == ["2:abcdef"])
        watcher.client.ask(None)
        watcher.wait_for(lambda snapshot: snapshot.program is None)


def test_a_program_of_many_processes_arrives_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """A snapshot of more datagrams than the console's socket can hold, sent so slowly that it need not."""
    usual = 212_992  # net.core.rmem_default
    monkeypatch.setattr("poolhouse.feed.sockets.RECEIVE_BUFFER_BYTES", usual // 2)  # Linux doubles it.
    processes = 1200
    luck = random.Random(1)
    with Connmond() as daemon, Watcher(daemon.consoles, program="shop") as watcher:
        for number in range(processes):
            wait, use = Histogram(), Histogram()
            for histogram in (wait, use):
                histogram.record_all(int(luck.lognormvariate(16, 2)) for _ in range(100))
            datagrams = report("shop", token=f"{number}:abcdef", wait=wait, use=use, interval=60.0)
            send(datagrams, daemon.reports)
        snapshot = watcher.wait_for(lambda snapshot: len(snapshot.processes) == processes)
        uses = [process.pools[0].reading.use for process in snapshot.processes]
        assert [use.count for use in uses if use is not None] == [100] * processes
        frame = Frame(Server("connmond"), snapshot)
        assert len(encode_frame(frame)) * DATAGRAM_BYTES > usual


def test_a_console_of_the_earlier_system_gets_value_lists_it_can_read() -> None:
    """One value list a datagram, types count and derive, one value each, all eight parts, ASCII."""
    with Connmond() as daemon, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as console:
        send(report("shop", used=3, idle=2, checkouts=40), daemon.reports)
        send(report("host", used=1, token="2:abcdef"), daemon.reports)
        console.connect(("127.0.0.1", daemon.consoles))
        console.settimeout(30)
        console.send(HELO)
        told: dict[str, float] = {}
        while not {"web1/sqlalchemy-shop/derive-transactions", "web1/sqlalchemy-host_/derive-commits"} <= set(
            told
        ):
            (values,) = decode_packet(console.recv(2048))
            assert isinstance(values, ValueList)
            assert values.interval == 1.0
            assert values.identifier.type in ("count", "derive")
            (told[str(values.identifier)],) = values.values
    shop = {name.rpartition("/")[2]: value for name, value in told.items() if "/sqlalchemy-shop/" in name}
    expected = {"count-checkedout": 3.0, "count-checkedin": 2.0, "count-connections": 5.0, "count-numprocs": 1.0}
    assert expected.items() <= shop.items()
    assert shop["derive-checkouts"] == 40
    assert told["web1/sqlalchemy-host/count-checkedout"] == 4.0


def test_both_families_are_served_by_default_names() -> None:
    with Connmond(host="::1") as daemon:
        assert f"UDP [::1]:{daemon.reports}" in daemon.announcement
        with Watcher(daemon.consoles, host="::1") as watcher:
            send(report("shop", used=3), daemon.reports, "::1")
            watcher.wait_for(lambda snapshot: (row := program(snapshot, "shop")) and row.used == 3)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_console_asks_every_address_of_a_name_and_keeps_the_one_that_answers(
    host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def both(name: str, port: int) -> list[Endpoint]:
        assert name == "web1"
        return [*lookup("::1", port), *lookup("127.0.0.1", port)]

    monkeypatch.setattr("poolhouse.feed.caller.lookup", both)
    with Connmond(host=host) as daemon, Watcher(daemon.consoles, host="web1") as watcher:
        watcher.wait_for(lambda snapshot: snapshot.health.received == 0)
        assert watcher.client.link.phase == "connected"


def test_several_addresses_may_be_named() -> None:
    with Connmond("--reports", "[::1]:0", "--reports", "127.0.0.2:0", "--allow", "192.0.2.0/24") as daemon:
        pass
    first, second = daemon.announcement.splitlines()[1:3]
    assert first.count(", ") == 2
    assert "[::1]:" in first
    assert "127.0.0.2:" in first
    assert second.endswith("(serves this machine, 192.0.2.0/24)")


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_it_answers_from_the_address_it_was_asked_at(host: str) -> None:
    """A connected socket takes nothing from another address: the route back would prefer 127.0.0.1."""
    asked = "127.0.0.2" if host == "0.0.0.0" else "::1"
    with Connmond(host=host) as daemon, Watcher(daemon.consoles, host=asked) as watcher:
        send(report("shop", used=3), daemon.reports, asked)
        watcher.wait_for(lambda snapshot: program(snapshot, "shop"))


@pytest.mark.parametrize("option", ["--reports", "--consoles"])
def test_a_taken_port_is_one_sentence_and_status_1(option: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        result = run("--reports", "127.0.0.1:0", "--consoles", "127.0.0.1:0", option, f"127.0.0.1:{port}")
    assert result.returncode == 1
    assert result.stdout == ""
    assert result.stderr == (
        f"connmond: {option}: cannot listen on UDP 127.0.0.1:{port}: Address already in use, "
        "perhaps by another connmond, collectd's plugin, or a connmon that listens\n"
    )


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--reports", "127.0.0.1:x"], "--reports: '127.0.0.1:x': 'x' is not a port"),
        (["--allow", "10.0.0.0/99"], "--allow: '10.0.0.0/99' is not a network"),
    ],
)
def test_a_wrong_option_is_one_sentence_and_status_2(options: list[str], words: str) -> None:
    result = run(*options)
    assert result.returncode == 2
    assert words in result.stderr


def test_a_name_that_is_not_known_is_one_sentence_and_status_1() -> None:
    result = run("--reports", "no-such-host.invalid:9", "--consoles", "127.0.0.1:0")
    assert result.returncode == 1
    assert result.stderr.startswith("connmond: --reports: cannot listen on UDP no-such-host.invalid:9: ")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (["connmond", "--version"], rf"connmond {version('poolhouse')}\n"),
        (["connmond", "--help"], r"(?s)Usage: connmond .*--reports .*--consoles .*--allow "),
        (["poolhouse", "--version"], rf"poolhouse {version('poolhouse')}\n"),
        (["poolhouse", "doctor", "--help"], r"(?s)usage: poolhouse doctor .*status  0 "),
        (["connmon", "--help"], r"(?s)Usage: connmon .*--once"),
    ],
)
def test_every_installed_command_runs(command: list[str], words: str) -> None:
    """Trap 48: the earlier console's documented command line does not run."""
    script = Path(sysconfig.get_path("scripts"), command[0])
    result = subprocess.run([script, *command[1:]], capture_output=True, text=True, timeout=60, check=False)
    assert (result.returncode, result.stderr) == (0, "")
    assert re.match(words, result.stdout.lstrip())


def test_garbage_and_a_flood_are_counted_and_survived() -> None:
    """Traps 22, 23, 37 and 44, from outside."""
    luck = random.Random(1)
    first, second = report("shop", used=3)
    garbage = [
        bytes(4),
        b"",
        b"\x7a\x01\x00\x00" * 300,
        HELO,
        *(first[:length] for length in range(len(first))),
        *(luck.randbytes(luck.randrange(1500)) for _ in range(2000)),
    ]
    with Connmond() as daemon, Watcher(daemon.consoles) as watcher:
        for port in (daemon.reports, daemon.consoles):
            for at in range(0, len(garbage), 50):
                send(garbage[at : at + 50], port)
        send([first, second], daemon.reports)
        snapshot = watcher.wait_for(lambda snapshot: (row := program(snapshot, "shop")) and row.used == 3)
        assert [row.name for row in snapshot.programs] == ["shop"]
        assert snapshot.health.refused > 0
        status, output, errors = daemon.end()
    assert (status, errors) == (0, "")
    assert "refused from consoles" in output


def test_a_daemon_that_was_killed_and_started_again_is_found_again() -> None:
    with Connmond() as first, Watcher(first.consoles) as watcher, Reporting("shop", first.reports, used=3):
        before = watcher.wait_for(lambda snapshot: program(snapshot, "shop")).wall_time
        first.end(signal.SIGKILL)
        link = watcher.wait_for_phase("refused")
        assert (link.error, link.server) == ("Connection refused", first.announcement.splitlines()[0])
        with Connmond(reports=first.reports, consoles=first.consoles):
            watcher.client.retry()
            after = watcher.wait_for(lambda one: one.wall_time > before and program(one, "shop"))
            assert after.health.uptime < after.wall_time - before
            assert watcher.client.link.phase == "connected"


def test_nobody_is_called_silent_because_the_daemon_itself_was_stopped() -> None:
    with Connmond() as daemon, Watcher(daemon.consoles) as watcher:
        over = threading.Event()

        def report_in_vain() -> None:
            for number in count(1):
                for process in range(100):
                    send(report("shop", token=f"{process}:abcdef", number=number, used=1), daemon.reports)
                if over.wait(0.5):
                    return

        reporting = threading.Thread(target=report_in_vain)
        reporting.start()
        try:
            watcher.wait_for(lambda snapshot: (row := program(snapshot, "shop")) and row.processes == 100)
            daemon.process.send_signal(signal.SIGSTOP)
            over.wait(6)  # Five intervals, and one more.
            daemon.process.send_signal(signal.SIGCONT)
            stopped_at = watcher.snapshots[-1].wall_time
            snapshot = watcher.wait_for(lambda snapshot: snapshot.wall_time > stopped_at + 5)
        finally:
            over.set()
            reporting.join()
        assert {event.kind for event in snapshot.events} == {"appeared"}
        row = program(snapshot, "shop")
        assert row is not None
        assert (row.processes, row.used) == (100, 100)


def test_without_its_extra_it_says_what_to_install() -> None:
    blocked = "import sys; sys.modules['click'] = None; from poolhouse.cli import {0}; {0}()"
    for command, extra in (("connmond", "daemon"), ("connmon", "console")):
        result = subprocess.run(
            [sys.executable, "-c", blocked.format(command)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (result.returncode, result.stdout) == (1, "")
        assert result.stderr == f"{command} needs click: pip install '.[{extra}]' in a checkout of poolhouse\n"


def test_the_programs_of_a_host_are_shown_when_they_are_asked_for() -> None:
    with Connmond() as daemon, Watcher(daemon.consoles, program=asking_for_host("web1")) as watcher:
        send(report("shop", used=3), daemon.reports)
        send(report("nightly", token="2:abcdef", used=1), daemon.reports)
        send(report("shop", host="web2", token="3:abcdef", used=5), daemon.reports)
        snapshot = watcher.wait_for(lambda snapshot: len(snapshot.processes) == 2 and len(snapshot.hosts) == 2)
    assert [(one.host, one.program, one.sums.used) for one in snapshot.processes] == [
        ("web1", "nightly", 1),
        ("web1", "shop", 3),
    ]
