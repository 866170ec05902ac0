"""connmon over TCP, against real connmonds: login, TLS, IPv6, nodes that die, stop and come back."""

import json
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from support.connmon import CONNMON, connmon
from support.connmond import Connmond
from support.reports import Reporting
from support.terminal import Terminal

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
