"""connmond as a service: what it tells systemd, the unit, the container and the configuration of examples/."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from poolhouse.configuration.files import load_configuration
from support.connmond import COMMAND, Connmond
from support.pages import ROOT, Reader
from support.waiting import wait_until

EXAMPLES = ROOT / "examples"
CONNMOND = Path(sys.executable).parent / "connmond"
SERVICE = "[connmon_service_default]\nname: default\nnodes:\n    node1 hostname=127.0.0.1:5800\n"


@pytest.fixture(params=["file", "abstract"])
def manager(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[socket.socket]:
    """A service manager's end of sd_notify(3)."""
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as sock:
        name = str(tmp_path / "notify") if request.param == "file" else f"@poolhouse-{os.getpid()}-{tmp_path.name}"
        sock.bind(name.replace("@", "\0", 1))
        sock.settimeout(30)
        monkeypatch.setenv("NOTIFY_SOCKET", name)
        yield sock


def test_the_manager_is_told_of_the_start_of_a_reload_and_of_the_end(manager, tmp_path):
    config = tmp_path / "connmon.cfg"
    config.write_text(SERVICE)
    with Connmond("--config", str(config)) as daemon:
        ready = b"READY=1\nSTATUS=service default, node node1"
        assert manager.recv(4096) == ready
        for text in (SERVICE, "a mistake"):
            config.write_text(text)
            before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
            daemon.process.send_signal(signal.SIGHUP)
            reloading, since = re.fullmatch(rb"(RELOADING=1)\nMONOTONIC_USEC=(\d+)", manager.recv(4096)).groups()
            assert before <= int(since) <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
            assert reloading
            assert manager.recv(4096) == ready
        daemon.process.terminate()
        assert manager.recv(4096) == b"STOPPING=1"
        assert daemon.process.wait(30) == 0


@pytest.mark.parametrize("name", ["", "/nowhere/notify", "vsock:2:1", "@", "/" + "x" * 200])
def test_a_manager_that_cannot_be_told_ends_nothing(name, monkeypatch):
    monkeypatch.setenv("NOTIFY_SOCKET", name)
    with Connmond() as daemon:
        assert daemon.end()[::2] == (0, "")


def unit(folder: Path) -> Path:
    """The example, with the connmond of this environment."""
    path = folder / "connmond.service"
    text = (EXAMPLES / "connmond.service").read_text()
    assert text.count("/opt/poolhouse/bin/connmond") == 1
    path.write_text(text.replace("/opt/poolhouse/bin/connmond", str(CONNMOND)))
    return path


def analyzed(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["systemd-analyze", "--no-pager", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_the_unit_is_right_and_hardened(tmp_path):
    path = str(unit(tmp_path))
    done = analyzed("verify", path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    # Of 100, in tenths: the page states 1.2 of 10; what needs no network, no socket and no host is less.
    done = analyzed("security", "--offline=yes", "--threshold=12", path)
    assert done.returncode == 0, done.stdout
    assert "Overall exposure level for connmond.service: 1.2 OK" in done.stdout


def test_the_socket_is_right_and_has_a_name_and_a_size_that_connmond_knows(tmp_path):
    from poolhouse.daemon.given import KINDS
    from poolhouse.feed.sockets import RECEIVE_BUFFER_BYTES

    unit(tmp_path)
    path = tmp_path / "connmond.socket"
    path.write_text((EXAMPLES / "connmond.socket").read_text())
    done = analyzed("verify", str(path))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    settings = dict(line.split("=", 1) for line in path.read_text().splitlines() if "=" in line and line[0] != "#")
    assert settings["FileDescriptorName"] in KINDS
    assert settings["ReceiveBuffer"] == f"{RECEIVE_BUFFER_BYTES >> 20}M"


def test_systemd_analyze_would_find_a_mistake_in_the_unit(tmp_path):
    path = unit(tmp_path)
    path.write_text(path.read_text().replace("ProtectHome=yes", "ProtectHouse=yes"))
    assert "'ProtectHouse'" in analyzed("verify", str(path)).stderr


def test_the_options_of_the_unit_are_right():
    (line,) = re.findall(
        r"^ExecStart=/opt/poolhouse/bin/connmond (.*)$", (EXAMPLES / "connmond.service").read_text(), re.M
    )
    done = subprocess.run(
        [*COMMAND, *line.split(), "--check"], capture_output=True, text=True, timeout=60, check=True
    )
    assert "reports UDP 0.0.0.0:25827" in done.stdout


def test_the_room_that_is_set_is_the_room_that_is_asked_for():
    from poolhouse.feed.sockets import RECEIVE_BUFFER_BYTES

    lines = (EXAMPLES / "poolhouse.sysctl.conf").read_text().splitlines()
    assert [line for line in lines if line[0] != "#"] == [f"net.core.rmem_max = {RECEIVE_BUFFER_BYTES}"]


@pytest.mark.parametrize("node", ["node1", "node2", "node3"])
def test_the_example_of_a_configuration_is_right(node):
    path = EXAMPLES / "connmon.cfg"
    command = [*COMMAND, "--check", "-c", str(path), "-n", node]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert f"service default, node {node}; other nodes: " in " ".join(done.stdout.split())
    assert "CSV file       /var/lib/connmond/connmon.csv, renamed at 50,000,000 bytes, 4 kept\n" in done.stdout
    # Addresses of the example's network are not this machine's, and its ports may be taken.
    warnings = [line for line in done.stdout.splitlines() if line.startswith("warning")]
    assert [line for line in warnings if " cannot be listened at: " not in line] == []
    assert "change-me" not in done.stdout
    assert load_configuration(str(path)).warnings == ()


def instructions() -> list[tuple[str, str]]:
    """The Containerfile's, each a word and what follows."""
    text = (EXAMPLES / "Containerfile").read_text().replace("\\\n", " ")
    return [
        (word, rest)
        for line in text.splitlines()
        if line and line[0] != "#"
        for word, rest in [line.split(" ", 1)]
    ]


def test_the_container_installs_what_the_daemon_needs_and_runs_as_nobody():
    found = instructions()
    assert {word for word, _ in found} == {
        "FROM", "WORKDIR", "COPY", "RUN", "ENV", "USER", "EXPOSE", "STOPSIGNAL", "ENTRYPOINT", "CMD",
    }  # fmt: skip
    bases = [rest for word, rest in found if word == "FROM"]
    assert all(re.match(r"python:3\.\d+-slim\b", base) for base in bases)
    last = found[max(index for index, (word, _) in enumerate(found) if word == "FROM") :]
    (user,) = (rest for word, rest in last if word == "USER")
    assert "0" not in user.split(":")
    copied = {
        name for word, rest in found if word == "COPY" and "--from" not in rest for name in rest.split()[:-1]
    }
    assert all((ROOT / name).exists() for name in copied)
    assert {"pyproject.toml", "src"} <= copied


def test_connmond_as_process_1_of_a_container_ends_well(tmp_path):
    """As the Containerfile starts it: a kernel delivers to process 1 only what that handles."""
    found = dict(instructions())
    command = [*json.loads(found["ENTRYPOINT"]), *json.loads(found["CMD"])]
    with Reader(tmp_path) as somebody:
        container = somebody.start(f"unshare --pid --fork --mount-proc {' '.join(command)}")
        assert container.stdout is not None
        assert "connmond" in json.loads(container.stdout.readline())["message"]
        (child,) = wait_until(
            lambda: Path(f"/proc/{container.pid}/task/{container.pid}/children").read_text().split()
        )
        assert Path(f"/proc/{child}/status").read_text().split("NSpid:")[1].split()[1] == "1"
        os.kill(int(child), getattr(signal, found["STOPSIGNAL"]))
        assert container.wait(30) == 0
        assert "connmond ends after" in json.loads(container.stdout.read())["message"]
