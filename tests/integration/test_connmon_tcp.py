"""connmon over TCP, against real connmonds: login, TLS, IPv6, nodes that die, stop and come back."""

import json
import os
import re
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from support import zygote
from support.connmon import CONNMON, connmon
from support.connmond import Connmond
from support.pages import Reader
from support.reports import Reporting
from support.servers import freeze
from support.terminal import Terminal
from support.waiting import wait_until

CERTIFICATES = Path(__file__).parents[1] / "support" / "certificates"
LOGIN = ("use_auth: yes", "auth_key: monitor", "auth_secret: s3cret")
TLS = (f"ssl_certfile: {CERTIFICATES / 'node.pem'}", f"ssl_keyfile: {CERTIFICATES / 'node.key'}")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def configured(folder: Path, *more: str, nodes: int = 1, host: str = "127.0.0.1") -> tuple[str, list[int]]:
    """A configuration of a service with so many nodes on this machine; its path, and their ports."""
    where = f"[{host}]" if ":" in host else host
    ports = [free_port() for _ in range(nodes)]
    lines = [
        f"    node{number} hostname={where}:{port} bind={where}:{port}" for number, port in enumerate(ports, 1)
    ]
    path = folder / "connmon.cfg"
    path.write_text("\n".join(["[connmon_service_default]", "name: default", "nodes:", *lines, *more, ""]))
    return str(path), ports


@contextmanager
def node(config: str, number: int = 1, reports: int = 0, allow: str | None = None) -> Iterator[Connmond]:
    options = ["--config", config, "--node", f"node{number}", *(["--allow", allow] if allow else [])]
    with Connmond(*options, reports=reports, has_tcp=True) as daemon:
        yield daemon


@contextmanager
def reporting(*daemons: Connmond) -> Iterator[None]:
    with ExitStack() as stack:
        for daemon in daemons:
            stack.enter_context(Reporting("shop", daemon.reports, used=3, idle=2))
        yield


def used(result: "subprocess.CompletedProcess[str]") -> int:
    assert result.returncode == 0, result.stderr
    return int(json.loads(result.stdout)["fleet"]["used_connections"])


def test_a_fleet_is_shown_in_each_form(tmp_path):
    config, _ = configured(tmp_path)
    with node(config) as daemon, reporting(daemon):
        assert used(connmon("-c", config, "--json")) == 3
        assert " shop " in connmon("-c", config, "--once").stdout
        address = f"127.0.0.1:{daemon.service}"
        assert used(connmon("-H", address, "--json")) == 3
        (process,) = json.loads(connmon("-H", address, "--json", "--program", "shop").stdout)["processes"]
        assert process["token"] == "1:abcdef"
        assert connmon("-H", address, "--once", "--fail-on", "saturated").returncode == 0


def test_the_window_shows_hosts_programs_and_processes_and_leads_back(tmp_path):
    config, _ = configured(tmp_path)
    with (
        node(config) as daemon,
        reporting(daemon),
        Terminal([*CONNMON, "--config", config], 80, 24) as terminal,
    ):
        terminal.wait_for("shop", "3/–", "● live", "default:node1")
        terminal.type("h")
        terminal.wait_for("HOST", "web1")
        terminal.forget()
        terminal.type("\r")
        terminal.wait_for("web1  1 proc", "PROGRAM", "● shop")
        terminal.type("\r")
        terminal.wait_for("1:abcdef", "db1:5432/shop")
        terminal.forget()
        terminal.type("\x1b")
        terminal.wait_for("PROGRAM")
        terminal.forget()
        terminal.type("\x1b")
        terminal.wait_for("HOST")
        terminal.type("q")
        assert terminal.end() == 0
        assert "Traceback" not in terminal.text


# -- Login and TLS ------------------------------------------------------------------------------------------------


def test_a_login_is_taken_from_the_configuration_from_a_file_or_from_the_command_line(tmp_path):
    config, (port,) = configured(tmp_path, *LOGIN)
    (tmp_path / "password").write_text("s3cret\n")
    address = ("-H", f"127.0.0.1:{port}", "--json")
    with node(config) as daemon, reporting(daemon):
        assert used(connmon("-c", config, "--json")) == 3
        assert used(connmon(*address, "-u", "monitor", "--password-file", str(tmp_path / "password"))) == 3
        assert used(connmon(*address, "-u", "monitor", "-p", "s3cret")) == 3
        assert used(connmon("-c", config, *address)) == 3  # A node of the configuration has its login.
        assert "s3cret" not in daemon.end()[2]


def test_a_wrong_or_missing_login_is_a_sentence_at_once(tmp_path):
    config, (port,) = configured(tmp_path, *LOGIN)
    address = f"127.0.0.1:{port}"
    with node(config) as daemon, reporting(daemon):
        wrong = connmon("-H", address, "--once", "-u", "monitor", "-p", "guess")
        assert (wrong.returncode, wrong.stdout) == (1, "")
        assert wrong.stderr == f"connmon: {address}: wrong user or password\n"
        missing = connmon_without_terminal("-H", address, "--once")
        assert (missing.returncode, missing.stdout) == (1, "")
        assert missing.stderr.startswith(f"connmon: {address}: it demands a login: ")
        dumped = connmon_without_terminal("-H", address, "--dump-only")
        assert (dumped.returncode, dumped.stderr) == (1, missing.stderr)
        user = connmon_without_terminal("-H", address, "--once", "-u", "monitor")
        assert user.stderr == "connmon: the password of monitor is needed: name a --password-file\n"


def connmon_without_terminal(*arguments: str) -> "subprocess.CompletedProcess[str]":
    """Nobody can be asked: there is no controlling terminal, and no standard input."""
    return zygote.run(
        [*CONNMON, *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
        start_new_session=True,
    )


def test_at_a_terminal_it_asks_for_the_login_that_a_node_demands_and_does_not_show_it(tmp_path):
    config, (port,) = configured(tmp_path, *LOGIN)
    with node(config) as daemon, reporting(daemon):
        with Terminal([*CONNMON, "-H", f"127.0.0.1:{port}"]) as terminal:
            terminal.wait_for("it demands a login", "user:")
            terminal.type("monitor\n")
            terminal.wait_for("password of monitor:")
            terminal.type("guess\n")
            terminal.wait_for("wrong user or password")
            wait_until(lambda: terminal.text.count("password of monitor:") == 2, what="the second question")
            terminal.type("s3cret\n")
            terminal.wait_for("shop", "● live")
            assert "s3cret" not in terminal.raw
            terminal.type("q")
            assert terminal.end() == 0
        with Terminal([*CONNMON, "-H", f"127.0.0.1:{port}", "-u", "monitor", "--once"]) as terminal:
            terminal.wait_for("password of monitor:")
            terminal.type("s3cret\n")
            terminal.wait_for(" shop ")
            assert terminal.end() == 0
        with Terminal([*CONNMON, "-H", f"127.0.0.1:{port}", "-u", "monitor", "--once"]) as terminal:
            terminal.wait_for("password of monitor:")
            terminal.type("\x04")
            assert terminal.end() == 1
            assert "Traceback" not in terminal.text


def test_over_tls_with_the_certificate_that_the_configuration_names(tmp_path):
    config, (port,) = configured(tmp_path, *LOGIN, *TLS)
    with node(config) as daemon, reporting(daemon):
        assert used(connmon("-c", config, "--json")) == 3
        with Terminal([*CONNMON, "-c", config]) as terminal:
            terminal.wait_for("shop", "● live")
            terminal.type("q")
            assert terminal.end() == 0
        plain = connmon("-H", f"127.0.0.1:{port}", "--once", "--timeout", "3")
        assert plain.returncode == 1
        assert f"TCP 127.0.0.1:{port}: it has closed the connection at once; if it speaks TLS" in plain.stderr
    other = tmp_path / "other"
    other.mkdir()
    certificate = (f"ssl_certfile: {CERTIFICATES / 'other.pem'}", f"ssl_keyfile: {CERTIFICATES / 'other.key'}")
    stranger, (port,) = configured(other, *certificate)
    with node(stranger):
        trusting = (other / "connmon.cfg").read_text().replace("other.pem", "node.pem")
        (other / "trusting.cfg").write_text(trusting)
        refused = connmon("-c", str(other / "trusting.cfg"), "--once", "--timeout", "3")
        assert refused.returncode == 1
        assert "certificate verify failed" in refused.stderr
        assert "_ssl.c" not in refused.stderr


def test_over_ipv6(tmp_path):
    config, (port,) = configured(tmp_path, host="::1")
    with node(config) as daemon, reporting(daemon):
        assert used(connmon("-c", config, "--json")) == 3
        assert used(connmon("-H", f"[::1]:{port}", "--json")) == 3


def test_networks_that_are_allowed_leave_out_nobody_of_this_machine(tmp_path):
    config, _ = configured(tmp_path)
    with node(config, allow="192.0.2.0/24") as daemon, reporting(daemon):
        assert used(connmon("-c", config, "--json")) == 3


# -- Nodes that go, and come back ---------------------------------------------------------------------------------


def shown_node(terminal: Terminal) -> int:
    """The node that is shown, once all are linked: beside one that is missing, the service's name has no room."""
    terminal.wait_for("● live")
    terminal.forget()
    terminal.wait_for("default:node")
    return int(re.findall(r"default:node(\d)", terminal.text)[-1])


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP, signal.SIGTERM], ids=lambda one: one.name)
def test_when_the_node_is_killed_stopped_or_ended_the_other_one_is_shown(tmp_path, how):
    config, _ = configured(tmp_path, nodes=2)
    with node(config, 1) as first, node(config, 2) as second, reporting(first, second):
        with Terminal([*CONNMON, "-c", config], 80, 24) as terminal:
            terminal.wait_for("shop")
            shown = shown_node(terminal)
            daemon = (first, second)[shown - 1]
            terminal.forget()
            if how is signal.SIGSTOP:
                freeze([daemon.process.pid])
            else:
                os.kill(daemon.process.pid, how)
            # A stopped process is silent for 7 s before it is left.
            terminal.wait_for(f"default:node{3 - shown}", "● live")
            terminal.type("q")
            assert terminal.end() == 0
            assert "Traceback" not in terminal.text
        if how is signal.SIGSTOP:
            os.kill(daemon.process.pid, signal.SIGCONT)


def test_a_node_that_is_named_is_the_only_one_and_is_shown_again_after_it_was_restarted(tmp_path):
    config, (port, _) = configured(tmp_path, nodes=2)
    with (
        node(config, 2) as other,
        reporting(other),
        node(config, 1) as daemon,
        reporting(daemon),
        Terminal([*CONNMON, "-c", config, "-n", "node1"], 80, 24) as terminal,
    ):
        terminal.wait_for("shop", "default:node1", "● live")
        terminal.forget()
        os.kill(daemon.process.pid, signal.SIGKILL)
        daemon.process.wait()
        terminal.wait_for(f"127.0.0.1:{port} refuses the connection", "! no connection")
        assert "node2" not in terminal.text
        terminal.forget()
        with node(config, 1, daemon.reports):
            terminal.wait_for("● live")
            terminal.type("q")
            assert terminal.end() == 0


def test_a_node_that_is_missing_is_named_with_the_time_since_when(tmp_path):
    config, _ = configured(tmp_path, nodes=2)
    with node(config, 1) as daemon, node(config, 2) as other, reporting(daemon):
        wait_until(lambda: nodes_of(config) == {"node1": True, "node2": True}, what="both nodes linked")
        with Terminal([*CONNMON, "-c", config, "-n", "node1"], 120, 24) as terminal:
            terminal.wait_for("shop", "default:node1  ● live")
            terminal.forget()
            os.kill(other.process.pid, signal.SIGKILL)
            terminal.wait_for("default:node1 ! missing node2 ")
            terminal.forget()
            with node(config, 2):
                terminal.wait_for("default:node1  ● live")
                terminal.type("q")
                assert terminal.end() == 0
        assert nodes_of(config) == {"node1": True, "node2": False}


def nodes_of(config: str) -> dict[str, bool]:
    """Which nodes the first one says are there."""
    seen = connmon("-c", config, "-n", "node1", "--json")
    assert seen.returncode == 0, seen.stderr
    nodes = json.loads(seen.stdout)["aggregator"]["nodes"]
    return {one["name"]: one["missing_seconds"] is None for one in nodes}


def test_a_node_that_accepts_and_says_nothing_is_left(tmp_path):
    config, (silent, _) = configured(tmp_path, nodes=2)
    with socket.create_server(("127.0.0.1", silent)), node(config, 2) as daemon, reporting(daemon):
        # Whichever is tried first: the silent one is left after 5 s.
        assert used(connmon("-c", config, "--json")) == 3


def test_when_no_node_answers_the_window_says_so_with_the_next_try(tmp_path):
    config, (port, _) = configured(tmp_path, nodes=2)
    with Terminal([*CONNMON, "-c", config], 80, 24) as terminal:
        terminal.wait_for("every node of service 'default' refuses the connection.")
        terminal.wait_for("next try in", "Is connmond running there?")
        terminal.type("q")
        assert terminal.end() == 0
    with socket.create_server(("127.0.0.1", port)):
        once = connmon("-c", config, "--once", "--timeout", "8")
    assert (once.returncode, once.stdout) == (1, "")
    assert once.stderr.startswith("connmon: nothing came from service 'default' within 8 s: ")
    assert "node1: it did not answer within 5 s" in once.stderr
    assert "node2: Connection refused" in once.stderr


# -- Strangers ----------------------------------------------------------------------------------------------------


def test_garbage_an_http_client_and_a_console_that_does_not_read_cost_the_others_nothing(tmp_path):
    config, (port,) = configured(tmp_path)
    with node(config) as daemon, reporting(daemon), ExitStack() as stack:
        for words in (b"GET / HTTP/1.1\r\n\r\n", b'Q0 login ["", ""]\0', bytes(range(256))):
            with socket.create_connection(("127.0.0.1", port)) as stranger:
                stranger.sendall(words)
                while stranger.recv(4096):
                    pass
        stopped = [
            stack.enter_context(
                zygote.Popen[str]([*CONNMON, "-c", config, "--dump-only"], stdout=subprocess.PIPE, text=True)
            )
            for _ in range(3)
        ]
        for process in stopped:
            assert process.stdout.readline()
        freeze([process.pid for process in stopped])
        assert used(connmon("-c", config, "--json")) == 3
        for process in stopped:
            process.kill()
        _, output, errors = daemon.end()
        assert "an HTTP client" in errors
        assert " 0 refused, 0 of " in output


def test_a_port_of_another_program_is_said(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        answer = threading.Thread(target=answer_in_http, args=(other,), daemon=True)
        answer.start()
        once = connmon("-H", f"127.0.0.1:{port}", "-u", "x", "-p", "y", "--once", "--timeout", "2")
    assert once.returncode == 1
    assert f"nothing came from 127.0.0.1:{port} within 2 s: " in once.stderr
    assert "something other than connmond answers there" in once.stderr


def answer_in_http(server: socket.socket) -> None:
    with suppress(OSError):
        while True:
            connection, _ = server.accept()
            with connection:
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")


# -- For programs that read along ---------------------------------------------------------------------------------


def test_each_snapshot_is_a_line_until_the_connection_is_lost(tmp_path):
    config, (port,) = configured(tmp_path)
    with node(config) as daemon, reporting(daemon):
        command = [*CONNMON, "-c", config, "--dump-only"]
        with zygote.Popen[str](command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as dumping:
            assert dumping.stdout is not None
            lines = [json.loads(dumping.stdout.readline()) for _ in range(3)]
            assert sorted(lines[0]) == sorted(json.loads(connmon("-c", config, "--json").stdout))
            assert [line["wall_time_seconds"] for line in lines] == sorted(
                {line["wall_time_seconds"] for line in lines}
            )
            os.kill(daemon.process.pid, signal.SIGKILL)
            _, errors = dumping.communicate(timeout=60)
            assert dumping.returncode == 1
            assert errors == f"connmon: the connection to 127.0.0.1:{port} is lost: it has closed the connection\n"


def test_a_daemon_that_ends_tells_its_consoles(tmp_path):
    config, (port,) = configured(tmp_path)
    with node(config) as daemon, reporting(daemon):
        command = [*CONNMON, "-c", config, "--dump-only"]
        with zygote.Popen[str](command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as dumping:
            assert dumping.stdout is not None
            dumping.stdout.readline()
            assert daemon.end()[0] == 0
            _, errors = dumping.communicate(timeout=60)
            assert (dumping.returncode, errors) == (
                1,
                f"connmon: the connection to 127.0.0.1:{port} is lost: it ends\n",
            )


def test_a_reader_that_has_seen_enough_ends_it_without_a_word(tmp_path):
    config, _ = configured(tmp_path)
    with node(config) as daemon, reporting(daemon):
        command = [*CONNMON, "-c", config, "--dump-only"]
        with zygote.Popen[str](command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as dumping:
            assert dumping.stdout is not None
            assert dumping.stderr is not None
            dumping.stdout.readline()
            dumping.stdout.close()
            assert dumping.wait(60) == 1
            assert dumping.stderr.read() == ""
        full = zygote.run(
            f"{' '.join(command)} > /dev/full", shell=True, capture_output=True, text=True, timeout=90, check=False
        )
        assert full.returncode == 1
        assert full.stderr == "connmon: the output cannot be written: No space left on device\n"


def test_nothing_to_read_is_a_sentence_after_the_time_that_it_may_take(tmp_path):
    config, (port,) = configured(tmp_path)
    result = connmon("-c", config, "--dump-only", "--timeout", "1")
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == f"connmon: nothing came from 127.0.0.1:{port} within 1 s: Connection refused\n"


# -- Without a configuration --------------------------------------------------------------------------------------


def test_without_a_file_it_is_this_machine_over_tcp_and_over_udp_if_nothing_answers(tmp_path):
    with Reader(tmp_path) as reader:
        daemon = reader.start("connmond")
        assert daemon.stdout is not None
        assert "connmond" in daemon.stdout.readline()
        with reader.network.entered(), Reporting("shop", 25827, used=3):
            over_tcp = reader.run("connmon --json")
            assert (used(over_tcp), over_tcp.stderr) == (3, "")
            assert used(reader.run("connmon -H localhost --json")) == 3
    with Reader(tmp_path) as reader:
        daemon = reader.start("connmond --bind off")
        assert daemon.stdout is not None
        assert "connmond" in daemon.stdout.readline()
        with reader.network.entered(), Reporting("shop", 25827, used=3):
            over_udp = reader.run("connmon --json")
            assert used(over_udp) == 3
            assert over_udp.stderr == (
                "connmon: nothing answers on TCP localhost:5800, so this is UDP localhost:25828\n"
            )
            assert used(reader.run("connmon -H localhost --json")) == 3


def test_a_console_that_was_first_shows_what_is_pushed_to_it_and_a_daemon_that_comes_later(tmp_path):
    with Reader(tmp_path) as reader, Terminal(reader.window("connmon"), 100, 30) as window:
        window.wait_for("Nothing answers on TCP localhost:5800, so this is UDP localhost:25828.")
        window.wait_for("listening on localhost:25828", "… listening")
        reader.start("connmond")
        window.wait_for("connected to localhost:")
        with reader.network.entered(), Reporting("shop", 25827, used=3):
            window.wait_for("shop", "● live")
        window.type("q")
        assert window.end() == 0
