"""What a server says cannot command the terminal of the console or of the doctor: a relay spoils every text.

The kind: kubernetes/kubernetes#101695 (CVE-2021-25743), aristocratos/btop#1846.
"""

import json
import subprocess
import sys
from collections.abc import Iterator

import pytest

from support.connmon import CONNMON, connmon
from support.connmond import Connmond
from support.hostile import HostileServer
from support.reports import Reporting
from support.terminal import Terminal


@pytest.fixture
def ports() -> Iterator[tuple[int, int]]:
    """Of the true daemon's reports, and of the hostile relay's consoles."""
    with Connmond() as daemon, Reporting("shop", daemon.reports), HostileServer(daemon.consoles) as server:
        yield daemon.reports, server.port


def test_once_and_json_print_no_escape_of_a_server(ports) -> None:
    printed = connmon("connect", "--once", "--port", str(ports[1])).stdout
    assert "owned" in printed
    assert all(line.isprintable() for line in printed.split("\n"))
    (program,) = json.loads(connmon("connect", "--json", "--port", str(ports[1])).stdout)["programs"]
    assert program["name"].isprintable()
    assert program["name"].endswith("shop")


def test_the_window_draws_no_escape_of_a_server(ports) -> None:
    with Terminal([*CONNMON, "connect", "--port", str(ports[1])], 120, 30) as terminal:
        terminal.wait_for("owned", "● live")
        terminal.type("\r")
        terminal.wait_for("db1:5432/shop")
        terminal.type("\r")
        terminal.wait_for("peaks")
        terminal.type("e")
        terminal.wait_for("WHAT")
        terminal.type("q")
        assert terminal.end() == 0
        assert not set("\x9b\u202e\u2066\u200b\u2028") & set(terminal.raw)
        assert "\x1b]0;owned" not in terminal.raw


def test_the_doctor_prints_no_escape_of_a_server(ports) -> None:
    reports, consoles = map(str, ports)
    doctor = [sys.executable, "-c", DOCTOR]
    where = f"collectd://127.0.0.1:{reports}/"
    result = subprocess.run(
        [*doctor, "doctor", where, "--consoles", consoles, "--timeout", "3"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "owned" in result.stdout
    assert all(line.isprintable() for line in result.stdout.split("\n"))


DOCTOR = "from poolhouse.cli import poolhouse; poolhouse()"
