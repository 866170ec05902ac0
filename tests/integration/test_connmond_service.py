"""connmond as the node of a service: programs report over TCP, by its configuration, and survive its end."""

import csv
import re
import resource
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from poolhouse.configuration.service import CSV_COLUMNS
from poolhouse.wire.framing import MAGIC
from support import zygote
from support.connmond import COMMAND, Connmond, Watcher, program
from support.waiting import wait_until

CERTIFICATES = Path(__file__).parents[1] / "support" / "certificates"

#: A program that checks out and in when it is told to, by a line each.
PROGRAM = """
import sys
from sqlalchemy import create_engine
engine = create_engine(sys.argv[1])
for line in sys.stdin:
    engine.connect().close()
    print("done", flush=True)
"""


@contextmanager
def running(url: str) -> Iterator["subprocess.Popen[str]"]:
    """A program with an engine at this URL."""
    process = zygote.Popen[str](
        [sys.executable, "-W", "error", "-c", PROGRAM, url],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.stdin.close()
        assert process.wait(30) == 0, process.stderr.read()
        process.stdout.close()
        process.stderr.close()


def check_out(process: "subprocess.Popen[str]") -> None:
    process.stdin.write("\n")
    process.stdin.flush()
    assert process.stdout.readline() == "done\n"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def configured(folder: Path, port: int, *more: str) -> str:
    path = folder / "connmon.cfg"
    lines = ["[connmon_service_default]", "name: default", "nodes:", f"    node1 hostname=127.0.0.1:{port}", *more]
    path.write_text("\n".join([*lines, ""]))
    return str(path)


@contextmanager
def node(config: str, port: int) -> Iterator[Connmond]:
    with Connmond("--config", config, "--bind", f"127.0.0.1:{port}") as daemon:
        yield daemon


def test_a_program_with_connmons_url_is_shown_and_says_goodbye(tmp_path):
    port = free_port()
    config = configured(tmp_path, port)
    url = f"sqlite+connmon://?connmon_config={config}&connmon_program_name=shop&connmon_interval=0.2"
    with node(config, port) as daemon, Watcher(daemon.consoles) as watcher:
        assert f"TCP 127.0.0.1:{port}  (service default, node node1)" in daemon.announcement
        with running(url) as shop:
            check_out(shop)
            watcher.wait_for(lambda seen: (row := program(seen, "shop")) and row.totals.checkouts == 1)
        # The goodbye leaves with the process: its gauges go at once, long before five intervals are over.
        watcher.wait_for(lambda seen: any(event.kind == "goodbye" for event in seen.events))
        status, output, errors = daemon.end()
    assert (status, errors) == (0, "")
    assert re.search(r" 0 refused, 0 of \d+ datagrams lost", output)


def test_a_daemon_that_is_killed_and_comes_back_is_told_everything(tmp_path):
    port = free_port()
    config = configured(tmp_path, port)
    url = f"sqlite+connmon://?connmon_config={config}&connmon_program_name=shop&connmon_interval=0.2"
    with running(url) as shop:
        with node(config, port) as first, Watcher(first.consoles) as watcher:
            check_out(shop)
            watcher.wait_for(lambda seen: (row := program(seen, "shop")) and row.totals.checkouts == 1)
            first.process.kill()
            first.process.wait()
        check_out(shop)  # Nobody is there, and the application does not notice.
        with node(config, port) as second, Watcher(second.consoles) as watcher:
            watcher.wait_for(lambda seen: program(seen, "shop"))
            check_out(shop)
            # Work that was done before the daemon began is where its counting begins.
            watcher.wait_for(lambda seen: (row := program(seen, "shop")) and row.totals.checkouts == 1)


def test_with_a_login_only_those_who_know_it_report(tmp_path):
    port = free_port()
    config = configured(tmp_path, port, "use_auth: 1", "auth_key: monitor", "auth_secret: s3cret")
    by_file = f"sqlite+connmon://?connmon_config={config}&connmon_program_name=shop&connmon_interval=0.2"
    by_address = f"sqlite+connmon://?connmon_addr=127.0.0.1:{port}&connmon_program_name=guest"
    with node(config, port) as daemon, Watcher(daemon.consoles) as watcher:
        with running(by_address) as guest, running(by_file) as shop:
            check_out(guest)
            check_out(shop)
            seen = watcher.wait_for(lambda seen: program(seen, "shop"))
            assert program(seen, "guest") is None
        _, _, errors = daemon.end()
    assert "s3cret" not in errors


def test_the_configuration_is_read_again_on_sighup_and_all_state_kept(tmp_path):
    port = free_port()
    config = configured(tmp_path, port)
    url = f"sqlite+connmon://?connmon_config={config}&connmon_program_name=shop&connmon_interval=0.2"
    with running(url) as shop, node(config, port) as daemon, Watcher(daemon.consoles) as watcher:
        check_out(shop)
        watcher.wait_for(lambda seen: program(seen, "shop"))
        table = tmp_path / "connmon.csv"
        configured(tmp_path, port, f"csv_dump: {table}")
        daemon.process.send_signal(signal.SIGHUP)
        wait_until(table.exists)
        (tmp_path / "connmon.cfg").write_text("[connmon_service_default]\nname: default\n")
        daemon.process.send_signal(signal.SIGHUP)
        check_out(shop)
        watcher.wait_for(lambda seen: (row := program(seen, "shop")) and row.totals.checkouts == 2)
        status, _, errors = daemon.end()
    assert status == 0
    assert f"connmond: {config} was read again\n" in errors
    assert f"connmond: {config}, line 1: [connmon_service_default] has no nodes; expected " in errors


def test_another_list_of_nodes_holds_from_the_next_start_on(tmp_path):
    port = free_port()
    second = f"    node2 hostname=127.0.0.1:{free_port()}"
    config = configured(tmp_path, port, second)
    with Connmond("--config", config, "--node", "node1", "--bind", f"127.0.0.1:{port}") as daemon:
        configured(tmp_path, port, second, "    node3 hostname=127.0.0.1:5800")
        daemon.process.send_signal(signal.SIGHUP)
        with Watcher(daemon.consoles) as watcher:
            seen = watcher.wait_for(lambda seen: len(seen.health.nodes) == 2)
        assert [node.name for node in seen.health.nodes] == ["node1", "node2"]
        assert daemon.process.stderr is not None
        errors = ""
        while "at the next start only" not in errors:
            errors += daemon.process.stderr.readline()
        # As it is running again, it needs no other start.
        configured(tmp_path, port, second)
        daemon.process.send_signal(signal.SIGHUP)
        while errors.count("was read again") < 2:
            errors += daemon.process.stderr.readline()
        daemon.process.terminate()
        errors += daemon.process.stderr.read()
    assert errors.count("the nodes of the service change at the next start only") == 1
    assert f"node node2 is missing: {second.partition('=')[2]}: " in errors


def test_nodes_with_a_renewed_certificate_link_again_after_sighup(tmp_path):
    ports = free_port(), free_port()
    certificate, key = tmp_path / "node.pem", tmp_path / "node.key"
    install("node", certificate, key)
    second = f"    node2 hostname=127.0.0.1:{ports[1]}"
    config = configured(tmp_path, ports[0], second, f"ssl_certfile: {certificate}", f"ssl_keyfile: {key}")

    def started(number: int) -> Connmond:
        return Connmond("--config", config, "--node", f"node{number}", "--bind", f"127.0.0.1:{ports[number - 1]}")

    def both_there(seen):
        return all(one.missing_for is None for one in seen.health.nodes)

    with started(1) as first, started(2) as other, Watcher(first.consoles) as watcher:
        watcher.wait_for(both_there)
        install("renewed", certificate, key)
        for daemon in (first, other):
            daemon.process.send_signal(signal.SIGHUP)
        wait_until(lambda: shown_certificate(ports[0]) == shown_certificate(ports[1]) == certificate.read_text())
        # Their link outlives it; the next one is made with the new certificate.
        other.process.kill()
        watcher.wait_for(lambda seen: not both_there(seen))
        with started(2):
            watcher.wait_for(both_there)


def install(name: str, certificate: Path, key: Path) -> None:
    """Put one of the tests' certificates where the configuration says."""
    certificate.write_text((CERTIFICATES / f"{name}.pem").read_text())
    key.write_text((CERTIFICATES / f"{name}.key").read_text())


def shown_certificate(port: int) -> str:
    return ssl.get_server_certificate(("127.0.0.1", port))


def test_a_certificate_that_is_not_there_is_told_on_sighup_and_changes_nothing(tmp_path):
    port = free_port()
    config = configured(tmp_path, port)
    with node(config, port) as daemon:
        configured(tmp_path, port, "ssl_certfile: /nonexistent/node.pem", "auth_key: k")
        daemon.process.send_signal(signal.SIGHUP)
        configured_again = wait_until(lambda: daemon.process.stderr.readline())
        daemon.end()
    assert "/nonexistent/node.pem cannot be used: " in configured_again
    assert configured_again.endswith("; connmond keeps running as it did\n")


def test_the_csv_file_has_a_row_a_second_for_each_program_and_goes_on_over_restarts(tmp_path):
    port, table = free_port(), tmp_path / "connmon.csv"
    config = configured(tmp_path, port, f"csv_dump: {table}", "csv_token: rack4")
    url = f"sqlite+connmon://?connmon_config={config}&connmon_program_name=shop&connmon_report_host=web1"
    for _ in range(2):
        before = table.read_text().count("\n") if table.exists() else 0
        with running(f"{url}&connmon_interval=0.2") as shop, node(config, port) as daemon:
            check_out(shop)
            wait_until(lambda before=before: table.exists() and table.read_text().count("\n") >= before + 2)
            assert daemon.end()[0] == 0
    header, *rows = csv.reader(table.read_text().splitlines())
    assert tuple(header) == CSV_COLUMNS
    for row in rows:
        named = dict(zip(header, row, strict=True))
        assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", named["timestamp"])
        assert (named["token"], named["hostname"], named["progname"]) == ("rack4", "web1", "shop")
        assert re.fullmatch(r"\d+\.\d{4}", named["checkouts_per_second"])


def test_a_full_disk_stops_the_csv_file_only_and_is_counted(tmp_path):
    port, table = free_port(), tmp_path / "connmon.csv"
    config = configured(tmp_path, port, f"csv_dump: {table}")
    url = f"sqlite+connmon://?connmon_config={config}&connmon_program_name=shop&connmon_interval=0.2"
    with running(url) as shop, node(config, port) as daemon, Watcher(daemon.consoles) as watcher:
        check_out(shop)
        wait_until(lambda: table.exists() and table.stat().st_size)
        # The kernel then writes as much as fits, as it does on a full disk.
        full = table.stat().st_size + 10
        resource.prlimit(daemon.process.pid, resource.RLIMIT_FSIZE, (full, full))
        watcher.wait_for(lambda seen: seen.health.unwritten >= 2)
        check_out(shop)
        watcher.wait_for(lambda seen: (row := program(seen, "shop")) and row.totals.checkouts == 2)
        status, output, errors = daemon.end()
    assert status == 0
    assert re.search(r"; [\d,]+ writes of the CSV file failed\n$", output)
    assert errors.count("rows are not written: ") == errors.count("\n") == 1
    assert table.read_text().endswith("\n")


def test_the_csv_file_is_rotated_by_size(tmp_path):
    port, table = free_port(), tmp_path / "connmon.csv"
    config = configured(tmp_path, port, f"csv_dump: {table}", "csv_rotate_bytes: 4096", "csv_keep: 2")
    table.write_text("x" * 4096)
    url = f"sqlite+connmon://?connmon_config={config}&connmon_program_name=shop&connmon_interval=0.2"
    with running(url) as shop, node(config, port) as daemon:
        check_out(shop)
        wait_until(lambda: (tmp_path / "connmon.csv.1").exists() and table.exists() and table.stat().st_size)
        assert daemon.end()[::2] == (0, "")
    assert table.read_text().startswith(",".join(CSV_COLUMNS) + "\n")
    assert (tmp_path / "connmon.csv.1").read_text() == "x" * 4096


def test_a_client_of_the_old_release_is_named_in_the_log(tmp_path):
    port = free_port()
    with node(configured(tmp_path, port), port) as daemon:
        with socket.create_connection(("127.0.0.1", port)) as old:
            # As connmon 0.3.6 begins: a question, its number, the call and its arguments.
            old.sendall(b"Q0 login [null, null]\0")
            wait_until(lambda: old.recv(4096) == b"")
        _, _, errors = daemon.end()
    assert "a connection from 127.0.0.1 is closed: a client of connmon 0.x, which needs Python 2" in errors


def test_a_node_that_is_reached_by_a_name_listens_on_ipv4_and_ipv6(tmp_path):
    config, port = tmp_path / "connmon.cfg", free_port()
    config.write_text(f"[connmon_service_default]\nname: default\nnodes: one hostname=one.example:{port}\n")
    with Connmond("--config", str(config), host="*", has_tcp=True) as daemon:
        assert f"TCP 0.0.0.0:{port}, [::]:{port} " in daemon.announcement
        assert len(re.findall(r"UDP 0\.0\.0\.0:\d+, \[::\]:\d+", daemon.announcement)) == 2
        for address in ("127.0.0.1", "::1"):
            with socket.create_connection((address, port)) as client:
                assert client.recv(4096).startswith(MAGIC)


def test_who_listens_beyond_this_machine_without_a_login_is_warned_once(tmp_path):
    config = configured(tmp_path, 5800)
    with Connmond("--config", config, "--bind", "0.0.0.0:0") as daemon:
        assert daemon.process.stderr is not None
        warning = daemon.process.stderr.readline()
        for _ in range(2):
            daemon.process.send_signal(signal.SIGHUP)
            assert daemon.process.stderr.readline().endswith(f"connmond: {config} was read again\n")
        assert daemon.end()[::2] == (0, "")
    assert re.search(
        r"WARNING connmond: everybody who reaches TCP 0\.0\.0\.0:\d+ may report and watch: set use_auth", warning
    )


def test_a_login_that_is_taken_away_is_warned_of(tmp_path):
    config = configured(tmp_path, 5800, "use_auth: 1", "auth_key: monitor", "auth_secret: s3cret")
    with Connmond("--config", config, "--bind", "0.0.0.0:0") as daemon:
        assert daemon.process.stderr is not None
        configured(tmp_path, 5800)
        daemon.process.send_signal(signal.SIGHUP)
        assert daemon.process.stderr.readline().endswith(f"connmond: {config} was read again\n")
        assert "everybody who reaches TCP 0.0.0.0:" in daemon.process.stderr.readline()


@pytest.mark.parametrize("host", ["127.0.0.2", "[::1]", "localhost"])
def test_who_listens_on_this_machine_only_is_not_warned(host, tmp_path):
    with Connmond("--config", configured(tmp_path, 5800), "--bind", f"{host}:0") as daemon:
        assert daemon.end()[::2] == (0, "")


@pytest.mark.parametrize(
    ("text", "status", "words"),
    [
        ("[connmon_service_default]\nname: default\nnodes: a hostname=web1\n", 0, "clients reach  web1:5084"),
        (
            "[connmon_service_default]\nname: default\nnodes: a host=web1\n",
            2,
            "line 3: expected a name, then hostname=",
        ),
        (
            "[connmon_service_default]\nname: d\nnodes: a hostname=w\n",
            2,
            "--service: there is no service 'default'",
        ),
    ],
)
def test_check_says_what_would_happen_or_what_is_wrong(text, status, words, tmp_path):
    (tmp_path / "connmon.cfg").write_text(text)
    command = [*COMMAND, "--check", "-c", str(tmp_path / "connmon.cfg")]
    done = zygote.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == status
    assert words in (done.stderr if status else done.stdout)


def test_check_warns_of_what_a_start_would_warn_of(tmp_path):
    config = configured(tmp_path, 5800, "csv_keep: 3", "log_format: json")
    command = [*COMMAND, "--check", "-c", config]
    done = zygote.run(command, capture_output=True, text=True, timeout=60, check=True)
    lines = [line for line in done.stdout.splitlines() if "cannot be listened at" not in line]
    *_, log, keep, buffer, login = lines  # Without what else happens on this machine.
    assert log == "log            json"
    assert keep == f"warning        {config}, line 5: csv_keep has no effect without csv_rotate_bytes"
    assert re.match(r"buffer         the kernel keeps [\d,]+ full datagrams while connmond is busy", buffer)
    assert login.startswith(
        "warning        everybody who reaches TCP 0.0.0.0:5800 may report and watch: set use_auth "
    )


def test_check_says_which_ports_are_taken_and_leaves_the_others_free(tmp_path):
    with (
        socket.create_server(("127.0.0.1", 0)) as tcp,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp,
        socket.create_server(("127.0.0.1", 0)) as http,
    ):
        udp.bind(("127.0.0.1", 0))
        clients, reports, pages = (f"127.0.0.1:{sock.getsockname()[1]}" for sock in (tcp, udp, http))
        more = "--consoles", "192.0.2.1:5", "--http", pages  # The first belongs to no machine: RFC 5737.
        command = [*COMMAND, "--check", "--bind", clients, "--bind", "127.0.0.1:0", "--reports", reports, *more]
        done = zygote.run(command, capture_output=True, text=True, timeout=60, check=True)
    taken = "Address already in use, perhaps by a connmond that runs already"
    assert [line for line in done.stdout.splitlines() if line.startswith("warning ")] == [
        f"warning        UDP {reports} cannot be listened at: {taken}",
        "warning        UDP 192.0.2.1:5 cannot be listened at: Cannot assign requested address",
        f"warning        TCP {clients} cannot be listened at: {taken}",
        f"warning        TCP {pages} cannot be listened at: {taken}",
    ]


def test_a_port_that_is_taken_is_one_sentence_and_nothing_is_served(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        command = [*COMMAND, "--reports", "127.0.0.1:0", "--consoles", "127.0.0.1:0", "--bind", address]
        done = zygote.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"connmond: --bind: cannot listen on TCP {address}: Address already in use")
