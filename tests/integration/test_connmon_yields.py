"""A connmon that was started first leaves connmond its port, whoever starts first."""

import socket
import subprocess
from contextlib import closing

from poolhouse.feed.client import udp_feed
from poolhouse.feed.link import Link
from poolhouse.feed.protocol.datagrams import YIELD
from support.connmon import CONNMON
from support.connmond import COMMAND, Connmond, Watcher
from support.reports import Reporting
from support.terminal import Terminal
from support.waiting import wait_until


def free_port() -> int:
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_a_console_that_took_the_port_gives_it_to_the_daemon_and_shows_what_it_knows() -> None:
    port = free_port()
    with Terminal([*CONNMON, "--port", str(port)]) as terminal:
        terminal.wait_for("listening on localhost:", "… listening")
        assert "● live" not in terminal.text
        with Connmond(consoles=port) as daemon, Reporting("shop", daemon.reports, used=3):
            terminal.wait_for("shop", "● live")
            terminal.type("q")
            assert terminal.end() == 0


def test_a_console_that_only_listens_keeps_the_port_and_the_daemon_says_so() -> None:
    port = free_port()
    links: list[Link] = []
    client = udp_feed("localhost", port, "listen", on_snapshot=lambda _: None, on_link=links.append)
    client.start()
    try:
        wait_until(lambda: links and links[-1].phase == "listening", what="listening")
        command = [*COMMAND, "--reports", "127.0.0.1:0", "--consoles", f"127.0.0.1:{port}", "--bind", "off"]
        command += ["--http", "off"]
        result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert result.returncode == 1
        assert "Address already in use" in result.stderr
        assert links[-1].phase == "listening"
    finally:
        client.close()


def test_another_daemon_is_not_moved_by_the_question() -> None:
    with Connmond() as daemon, Watcher(daemon.consoles) as watcher:
        with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as sock:
            sock.sendto(YIELD, ("127.0.0.1", daemon.consoles))
        before = watcher.wait_for(lambda snapshot: snapshot.health.uptime >= 0).wall_time
        watcher.wait_for(lambda snapshot: snapshot.wall_time > before)
        assert daemon.process.poll() is None


def test_the_question_of_another_daemon_is_not_a_refused_report() -> None:
    with Connmond() as daemon, Watcher(daemon.consoles) as watcher:
        with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as sock:
            sock.sendto(YIELD, ("127.0.0.1", daemon.reports))
        with Reporting("shop", daemon.reports, used=3):
            health = watcher.wait_for(lambda snapshot: snapshot.programs and snapshot).health
        assert health.received > 0
        assert health.refused == 0
