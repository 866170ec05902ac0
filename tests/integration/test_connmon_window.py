"""connmon's window in a terminal, against a real connmond."""

import re
import shlex
import signal
import socket
from contextlib import closing
from math import nan
from pathlib import Path
from struct import pack

import pytest

from support.connmon import CONNMON
from support.connmond import Connmond
from support.reports import Reporting, send
from support.terminal import Terminal

HOWTO = Path(__file__).parents[2] / "docs" / "howto" / "console.md"
#: Every command line of connmon that the documentation shows.
DOCUMENTED = re.findall(r"^connmon\b.*$", HOWTO.read_text(encoding="utf-8"), flags=re.MULTILINE)

LEAVES_ALTERNATE_SCREEN = "\x1b[?1049l"
# Parts of collectd's protocol: type and length, or all of it.
ZERO_LENGTH = b"\x00\x00\x00\x00"
HOST, PLUGIN, PLUGIN_INSTANCE = b"\x00\x00\x00\x09", b"\x00\x02\x00\x0f", b"\x00\x03\x00\x09"
TYPE, TYPE_INSTANCE = b"\x00\x04\x00\x0a", b"\x00\x05\x00\x0f"
TIME, INTERVAL = b"\x00\x01\x00\x0c", b"\x00\x07\x00\x0c"
ONE_GAUGE = b"\x00\x06\x00\x0f\x00\x01\x01"


def free_port() -> int:
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def free_tcp_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


@pytest.mark.parametrize("size", [(80, 24), (200, 60)], ids="{0[0]}x{0[1]}".format)
def test_a_program_that_reports_is_seen_with_its_process_and_pool(size) -> None:
    with (
        Connmond() as daemon,
        Reporting("shop", daemon.reports, used=3, idle=2, waiting=1),
        Terminal([*CONNMON, "connect", "--port", str(daemon.consoles)], *size) as terminal,
    ):
        terminal.wait_for("shop", "3/–", "● live")
        terminal.type("\r")
        terminal.wait_for("1:abcdef", "db1:5432/shop")
        terminal.type("\r")
        terminal.wait_for("peaks")
        terminal.type("?")
        terminal.wait_for("signs and colours")
        terminal.type("q")
        assert terminal.end() == 0
        assert LEAVES_ALTERNATE_SCREEN in terminal.raw


def test_a_daemon_that_goes_is_said_and_one_that_comes_back_is_shown_again() -> None:
    """Trap 47."""
    with Connmond() as daemon, Reporting("shop", daemon.reports, used=3):
        reports, consoles = daemon.reports, daemon.consoles
        with Terminal([*CONNMON, "connect", "--host", "127.0.0.1", "--port", str(consoles)]) as terminal:
            terminal.wait_for("shop", "● live")
            daemon.end()
            terminal.wait_for("the table below is from")
            terminal.forget()
            with Connmond(reports=reports, consoles=consoles):
                terminal.wait_for("● live")
            assert "Traceback" not in terminal.text
            terminal.type("q")
            assert terminal.end() == 0


def test_an_unreachable_server_is_said_in_the_window() -> None:
    """Trap 47."""
    with Terminal([*CONNMON, "connect", "--host", "127.0.0.1", "--port", str(free_port())]) as terminal:
        terminal.wait_for("refuses the connection.", "Is connmond or the connmon plugin running there?")
        terminal.type("q")
        assert terminal.end() == 0
        assert "Traceback" not in terminal.text


@pytest.mark.parametrize(("key", "number"), [("\x03", None), (None, signal.SIGTERM), (None, signal.SIGHUP)])
def test_however_it_is_ended_the_terminal_is_left_as_it_was(key, number) -> None:
    with Terminal([*CONNMON, "connect", "--host", "127.0.0.1", "--port", str(free_port())]) as terminal:
        terminal.wait_for("refuses the connection.")
        terminal.type(key) if key else terminal.process.send_signal(number)
        assert terminal.end() == 0
        assert LEAVES_ALTERNATE_SCREEN in terminal.raw
        assert "Traceback" not in terminal.text


def test_what_ended_the_earlier_console_does_not_end_this_one() -> None:
    """Trap 44."""
    port = free_port()
    named = HOST + b"web1\0" + PLUGIN + b"sqlalchemy\0" + PLUGIN_INSTANCE + b"nova\0"
    typed = TYPE + b"count\0" + TYPE_INSTANCE + b"checkedout\0"
    dated = TIME + (1_700_000_000).to_bytes(8, "big") + INTERVAL + (10).to_bytes(8, "big")
    complete = named + typed + dated + ONE_GAUGE
    with Terminal([*CONNMON, "listen", "--port", str(port)]) as terminal:
        terminal.wait_for("listening on localhost:")
        send([ZERO_LENGTH, named + ZERO_LENGTH, complete + pack("<d", nan), b"\xff" * 900, b""], port)
        send([complete + pack("<d", 5.0)], port)
        terminal.wait_for("nova", "5/–")
        terminal.type("q")
        assert terminal.end() == 0
        assert "Traceback" not in terminal.text


@pytest.mark.parametrize("line", DOCUMENTED)
def test_every_documented_command_line_runs(line, tmp_path) -> None:
    """Trap 48."""
    service = free_tcp_port()
    line = line.partition("#")[0]
    config = tmp_path / "connmon.cfg"
    config.write_text(f"[connmon_service_default]\nname: default\nnodes: node1 hostname=127.0.0.1:{service}\n")
    with (
        Connmond("--config", str(config), has_tcp=True) as daemon,
        Reporting("shop", daemon.reports, used=3),
    ):
        if is_udp := any(word in line for word in (" listen", " connect", " --port")):
            line = re.sub(r"web1(:\d+)?", "127.0.0.1", re.sub(r" --port \d+", "", line))
            more = ["--port", str(free_port() if " listen" in line else daemon.consoles)]
        else:
            line = re.sub(r"web1(:\d+)?", f"127.0.0.1:{service}", line)
            more = ["--config", str(config)]
        _, *arguments = shlex.split(line)
        with Terminal([*CONNMON, *arguments, *more]) as terminal:
            if "--once" in line or "--json" in line:
                terminal.wait_for("shop")
                assert terminal.end() in (0, 3)
            elif "--dump-only" in line:
                terminal.wait_for('"name":"shop"')
                terminal.process.send_signal(signal.SIGINT)
                assert terminal.end() == 130
            else:
                terminal.wait_for("listening on" if " listen" in line else "shop")
                assert ("default:node1" in terminal.text) is not is_udp
                terminal.type("q")
                assert terminal.end() == 0


def test_the_documentation_shows_each_way_to_run_it() -> None:
    """Trap 48."""
    ways = {
        "connmon",
        "connmon --host web1",
        "connmon --service default --node node1",
        "connmon --port 25828",
        "connmon listen",
        "connmon connect --host web1",
        "connmon --dump-only",
    }
    assert ways <= {line.partition("#")[0].strip() for line in DOCUMENTED}
