"""The commands on terminals that are dumb or go away, and with standard files that are closed, full or unread.

The kinds: prompt-toolkit/python-prompt-toolkit#390 (TERM=dumb), aristocratos/bpytop#250,
pixelb/crudini#67 (`<&-`).
"""

import resource
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version

import pytest

from support.connmon import CONNMON, connmon
from support.connmond import COMMAND, Connmond
from support.programs import cpu_seconds
from support.reports import Reporting
from support.terminal import Terminal
from support.waiting import wait_until

CLOSED = "the output cannot be written: it is closed"
DOCTOR = (sys.executable, "-c", "from poolhouse.cli import poolhouse; poolhouse()", "doctor")


@pytest.fixture(scope="module")
def daemon() -> Iterator[Connmond]:
    with Connmond() as daemon, Reporting("shop", daemon.reports, used=3):
        yield daemon


@pytest.fixture
def window(daemon: Connmond) -> list[str]:
    return [*CONNMON, "connect", "--port", str(daemon.consoles)]


def in_shell(command: list[str], redirect: str) -> subprocess.CompletedProcess[str]:
    shell = ["bash", "-c", f'"$@" {redirect}', "bash", *command]
    return subprocess.run(shell, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("name", ["dumb", "unknown", ""])
def test_on_a_terminal_without_a_cursor_the_window_is_a_sentence(window: list[str], name: str) -> None:
    with Terminal(window, env={"TERM": name}) as terminal:
        assert terminal.end() == 1
        assert terminal.raw == (
            "connmon: the window needs a terminal that can move its cursor, and TERM is "
            f"{name or 'not set'}; --once and --json do without\r\n"
        )


@pytest.mark.parametrize(
    ("env", "has_colours"),
    [({}, True), ({"TERM": "dumb"}, False), ({"NO_COLOR": "1"}, False), ({"NO_COLOR": ""}, True)],
)
def test_once_has_colours_where_the_terminal_has_them_and_the_person_wants_them(
    window: list[str], env: dict[str, str], has_colours: bool
) -> None:
    with Terminal([*window, "--once"], env=env) as terminal:
        assert terminal.end() == 0
        assert "shop" in terminal.raw
        assert ("\x1b" in terminal.raw) is has_colours


@pytest.mark.parametrize("redirect", ["<&-", ">&-", "2>&-", "<&- >&-"])
def test_with_a_closed_standard_file_the_window_is_a_sentence(window: list[str], redirect: str) -> None:
    with Terminal(window, redirect=redirect) as terminal:
        assert terminal.end() == 1
        said = "connmon: the window needs a terminal; --once and --json do without\r\n"
        assert terminal.raw == ("" if "2>" in redirect else said)


@pytest.mark.parametrize("form", ["--once", "--json"])
def test_once_and_json_need_no_input_and_no_error_output(window: list[str], form: str) -> None:
    result = in_shell([*window, form], "<&- 2>&-")
    assert (result.returncode, result.stderr) == (0, "")
    assert "shop" in result.stdout


@pytest.mark.parametrize(
    ("redirect", "reason"),
    [
        (">&-", "connmon: the output cannot be written: it is closed\n"),
        (">/dev/full", "No space left on device\n"),
    ],
)
@pytest.mark.parametrize("arguments", [("--once",), ("--json",), ("--version",), ("--help",)])
def test_an_output_that_is_lost_is_a_sentence_and_status_1(
    window: list[str], arguments: tuple[str, ...], redirect: str, reason: str
) -> None:
    result = in_shell([*window, *arguments], redirect)
    assert (result.returncode, result.stderr.endswith(reason)) == (1, True), result
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("redirect", ["<&-", ">&-", ">/dev/full", "2>&-"])
def test_the_doctor_shows_no_traceback_whatever_is_closed_or_full(daemon: Connmond, redirect: str) -> None:
    where = [f"collectd://127.0.0.1:{daemon.reports}/", "--consoles", str(daemon.consoles), "--timeout", "5"]
    result = in_shell([*DOCTOR, *where], redirect)
    assert "Traceback" not in result.stderr
    assert "Exception" not in result.stderr
    assert result.returncode in ((1,) if redirect.startswith(">") else (0, 1, 3))


@pytest.mark.parametrize("command", [[*COMMAND, "--version"], [*COMMAND, "--help"], [*DOCTOR, "--help"]])
def test_every_command_says_in_a_line_that_its_help_and_version_are_lost(command: list[str]) -> None:
    result = in_shell(list(command), ">/dev/full")
    assert result.returncode == 1
    assert result.stderr.endswith(": the output cannot be written: No space left on device\n")
    assert result.stderr.count("\n") == 1


def test_connmon_has_a_version() -> None:
    assert connmon("--version").stdout == f"connmon {version('poolhouse')}\n"


def test_a_terminal_that_vanishes_without_a_signal_ends_the_window_and_takes_no_core(window: list[str]) -> None:
    """What reads on from a terminal that has gone is a busy loop."""
    with Terminal(window) as terminal:
        terminal.wait_for("shop", "● live")
        used, others = cpu_seconds(terminal.process.pid), children_cpu_seconds()
        terminal.vanish()
        assert terminal.process.wait(timeout=30) == 0
        # Its end itself took 0.1 s.
        assert children_cpu_seconds() - others - used < 2


def children_cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def test_ctrl_z_gives_the_terminal_back_and_fg_draws_the_window_again(window: list[str]) -> None:
    shell = ["bash", "--norc", "--noprofile", "-i"]
    with Terminal(shell, env={"PS1": "prompt> "}) as terminal:
        terminal.wait_for("prompt> ")
        terminal.type(" ".join(window) + "\r")
        terminal.wait_for("shop", "● live")
        terminal.forget()
        terminal.type("\x1a")
        terminal.wait_for("Stopped")
        assert "\x1b[?1049l" in terminal.raw
        terminal.forget()
        terminal.type("fg\r")
        terminal.wait_for("shop", "● live")
        terminal.type("q")
        wait_until(lambda: "\x1b[?1049l" in terminal.raw, what="the window ends")
        terminal.type("exit\r")
        terminal.end()
