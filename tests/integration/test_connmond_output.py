"""connmond serves and ends well whatever becomes of its standard files and of its terminal.

The kind: systemd/systemd#6620 (a service must be ready for EPIPE when journald goes), garrytan/gbrain#5079.
"""

import os
import pty
import signal
import socket
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from support.connmond import COMMAND, Connmond, Watcher, program, sentences
from support.reports import report, send
from support.waiting import wait_until

#: What closes standard files before the daemon begins, as the shell says it.
CLOSED = ("<&-", ">&-", "2>&-", "<&- >&- 2>&-")


def free_ports() -> tuple[int, int]:
    with (
        closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as one,
        closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as other,
    ):
        for probe in (one, other):
            probe.bind(("127.0.0.1", 0))
        return one.getsockname()[1], other.getsockname()[1]


def command(reports: int, consoles: int) -> list[str]:
    ports = ("--reports", f"127.0.0.1:{reports}", "--consoles", f"127.0.0.1:{consoles}", "--bind", "off")
    return [*COMMAND, *ports, "--http", "off"]


def wait_until_it_serves(reports: int, consoles: int) -> None:
    with Watcher(consoles) as watcher:
        watcher.wait_for(lambda snapshot: snapshot.health.uptime >= 0)
        send(report("shop", used=3), reports)
        watcher.wait_for(lambda snapshot: program(snapshot, "shop"))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_reader_of_its_output_that_has_gone_changes_no_status(number: int) -> None:
    ports = free_ports()
    with subprocess.Popen(command(*ports), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as daemon:
        assert daemon.stdout is not None
        assert daemon.stderr is not None
        daemon.stdout.readline()
        wait_until_it_serves(*ports)
        daemon.stdout.close()
        daemon.send_signal(number)
        assert (daemon.wait(30), daemon.stderr.read()) == (0, b"")


def test_a_full_disk_does_not_keep_it_from_serving() -> None:
    ports = free_ports()
    with (
        Path("/dev/full").open("w") as full,
        subprocess.Popen(command(*ports), stdout=full, stderr=subprocess.PIPE, text=True) as daemon,
    ):
        wait_until_it_serves(*ports)
        daemon.terminate()
        assert daemon.wait(30) == 0
        assert daemon.stderr is not None
        assert sentences(daemon.stderr.read()) == [
            "WARNING cannot write to the standard output (No space left on device); connmond keeps running"
        ]


@pytest.mark.parametrize("closed", CLOSED)
def test_closed_standard_files_do_not_keep_it_from_serving(closed: str) -> None:
    ports = free_ports()
    with subprocess.Popen(["bash", "-c", f'exec "$@" {closed}', "bash", *command(*ports)]) as daemon:
        wait_until_it_serves(*ports)
        daemon.terminate()
        assert daemon.wait(30) == 0


def test_sighup_is_answered_in_a_line_and_ends_nothing() -> None:
    with Connmond() as daemon:
        daemon.process.send_signal(signal.SIGHUP)
        wait_until_it_serves(daemon.reports, daemon.consoles)
        status, output, errors = daemon.end()
    assert status == 0
    assert output.startswith("connmond ends after ")
    assert sentences(errors) == [
        "INFO SIGHUP: there is no configuration file to read again; connmond keeps running"
    ]


def test_under_nohup_sighup_stays_ignored() -> None:
    ports = free_ports()
    with subprocess.Popen(["nohup", *command(*ports)], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as daemon:
        wait_until_it_serves(*ports)
        daemon.send_signal(signal.SIGHUP)
        wait_until_it_serves(*ports)
        daemon.terminate()
        _, errors = daemon.communicate(timeout=30)
    assert daemon.returncode == 0
    assert b"SIGHUP" not in errors


def test_the_end_of_its_terminal_ends_it_with_its_last_line(tmp_path: Path) -> None:
    ports, output = free_ports(), tmp_path / "output"
    pid, terminal = pty.fork()
    if pid == 0:
        with output.open("w") as file:
            os.dup2(file.fileno(), 1)
        os.execv(COMMAND[0], command(*ports))
    try:
        wait_until_it_serves(*ports)
    finally:
        os.close(terminal)
    _, status = wait_until(lambda: (ended := os.waitpid(pid, os.WNOHANG))[0] and ended, what="connmond ends")
    assert os.waitstatus_to_exitcode(status) == 0
    assert "connmond ends after " in output.read_text()
