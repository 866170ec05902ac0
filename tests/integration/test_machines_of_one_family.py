"""Every command on a machine that has IPv4 only, and on one that has IPv6 only."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.collectd import Namespace
from support.connmon import connmon
from support.connmond import COMMAND, Watcher
from support.programs import finish, start

DOCTOR = (sys.executable, "-W", "error", "-c", "from poolhouse.cli import poolhouse; poolhouse()", "doctor")
#: An application that has one connection out until its input ends.
APPLICATION = """
    import sys
    from sqlalchemy import create_engine

    engine = create_engine("sqlite://?plugin=collectd&collectd_interval=0.5&collectd_host=" + sys.argv[1])
    with engine.connect():
        sys.stdin.read()
    engine.dispose()
"""


@pytest.fixture(params=["127.0.0.1", "::1"])
def machine(request: pytest.FixtureRequest) -> Iterator[str]:
    """A network of its own whose loopback interface has this address only."""
    with Namespace() as network, network.entered():
        if request.param == "127.0.0.1":
            Path("/proc/sys/net/ipv6/conf/all/disable_ipv6").write_text("1")
        else:
            subprocess.run(["ip", "address", "delete", "127.0.0.1/8", "dev", "lo"], check=True)
        yield request.param


@pytest.fixture
def daemon(machine: str) -> Iterator[str]:
    """A connmond without an option; its address."""
    process = subprocess.Popen(COMMAND, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        assert any(line.startswith("Watch with") for line in process.stdout)
        yield machine
    finally:
        process.kill()
        process.communicate()


def test_a_report_comes_from_an_application_to_a_console(daemon: str) -> None:
    application = start(APPLICATION, daemon)
    try:
        seen = connmon("--once", "--host", daemon)
    finally:
        finish(application)
    # The built-in configuration binds TCP to every IPv4 address, as connmon's did.
    fallback = f"connmon: nothing answers on TCP [{daemon}]:5800, so this is UDP [{daemon}]:25828\n"
    assert (seen.returncode, seen.stderr) == (0, fallback if ":" in daemon else "")
    assert "1 program " in seen.stdout


def test_doctor_sees_its_report(daemon: str) -> None:
    where = f"[{daemon}]" if ":" in daemon else daemon
    doctor = subprocess.run(
        [*DOCTOR, f"collectd://{where}/"], capture_output=True, text=True, timeout=60, check=False
    )
    assert (doctor.returncode, doctor.stderr) == (0, "")


@pytest.mark.parametrize("host", ["localhost", "the machine's own"])
def test_a_console_listens_where_the_port_is_free(machine: str, host: str) -> None:
    with Watcher(25828, host=machine if host != "localhost" else host, mode="auto") as watcher:
        watcher.wait_for_phase("listening")
