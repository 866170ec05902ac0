"""The demo as a process: it shows a real fleet, nobody in it fails, and nothing of it is left however it ends."""

import contextlib
import inspect
import json
import os
import re
import signal
import subprocess
import sys
import termios
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from poolhouse.demo import worker
from poolhouse.demo.programs import PROGRAMS
from support.waiting import wait_until

COMMAND = (sys.executable, "-m", "poolhouse.demo")


def processes_of(session: int) -> list[str]:
    """The command lines of the living processes of a session, each of which the demo or its descendants began."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state, _, _, its_session = (folder / "stat").read_text().rpartition(")")[2].split()[:4]
            command = (folder / "cmdline").read_text().replace("\0", " ")
        except OSError:
            continue  # It has ended meanwhile.
        if int(its_session) == session and state != "Z":
            found.append(command)
    return found


@contextmanager
def demo(folder: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    """The demo without a terminal, in a session and with a folder for temporary files of its own."""
    process = subprocess.Popen(
        [*COMMAND, *options],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "TMPDIR": str(folder)},
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def lines_of(process: subprocess.Popen[str]) -> Iterator[list[str]]:
    """The words of every line of its tables."""
    assert process.stdout is not None
    for line in process.stdout:
        yield line.split()


def processes_in(line: str, program: str) -> int:
    """How many processes this row of the table says the program has; 0 for any other line."""
    row = re.match(rf" ?\S {program} +(?:[^\d\s]\S* +)?(\d+) ", line)
    return int(row[1]) if row is not None else 0


def wait_for_everybody(process: subprocess.Popen[str]) -> None:
    """Until the tables have shown every program with every one of its processes."""
    assert process.stdout is not None
    missing = {name: len(program.hosts) for name, program in PROGRAMS.items()}
    while missing:
        line = process.stdout.readline()
        assert line, f"it ended without {missing}"
        for name, processes in list(missing.items()):
            if processes_in(line, name) >= processes:
                del missing[name]


def test_it_ends_by_itself_with_status_0(tmp_path: Path) -> None:
    with demo(tmp_path, "--seconds", "3") as process:
        output, errors = process.communicate(timeout=90)
        assert (process.returncode, errors) == (0, "")
        assert processes_of(process.pid) == []
    start, page, programs, *_ = output.split("\n\n")
    assert start.startswith(f"Starting connmond and {len(PROGRAMS)} programs in ")
    assert page.startswith("The same in a browser: http://127.0.0.1:")
    assert programs.startswith(f"{len(PROGRAMS)} programs report to 127.0.0.1:")
    assert list(tmp_path.iterdir()) == []


def test_one_of_its_programs_has_waiting_callers_and_one_forks(tmp_path: Path) -> None:
    with demo(tmp_path) as process:
        missing = {"a full pool of checkout", "a child of mailer", "the page of checkout"}
        for words in lines_of(process):
            if words[:-1] == ["The", "same", "in", "a", "browser:"]:
                page = words[-1]
            if words[:2] == ["!", "checkout"]:
                missing.discard("a full pool of checkout")
                with urllib.request.urlopen(f"{page}/api/program/checkout", timeout=30) as answer:
                    assert json.load(answer)
                missing.discard("the page of checkout")
            if processes_in(" ".join(words), "mailer") > len(PROGRAMS["mailer"].hosts):
                missing.discard("a child of mailer")
            if not missing:
                break
        assert not missing


def line_in(function: Callable[..., Any], text: str) -> str:
    """The line of a function of the demo's programs that has this text, as tables name it."""
    lines, first = inspect.getsourcelines(function)
    (offset,) = [offset for offset, line in enumerate(lines) if text in line]
    return f"demo/worker.py:{first + offset} in {function.__name__}"


def test_its_screen_names_each_trouble_with_its_line(tmp_path: Path) -> None:
    """A leak, a slow statement, and connections that are held over a call to another service."""
    lines = {
        "billing": ("leak", line_in(worker.export, "engine.connect()")),
        "reports": ("slow_statement", line_in(worker.report, "engine.connect()")),
        "checkout": ("held_idle", line_in(worker.pay, "engine.connect()")),
    }
    missing = {(program, what) for program, both in lines.items() for what in both}
    verdicts: set[str] = set()
    with demo(tmp_path) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if found := re.match(r"✗ (\w+) +(\w+) on .*: (demo/worker\.py:\d+ in \w+)", line):
                cause, program, place = found.groups()
                assert (cause, place) == lines[program]
                verdicts.add(cause)
            missing -= {(program, what) for program, what in missing if re.search(rf" {program} .*{what}", line)}
            if "leak" in verdicts and not missing:
                break
        assert not missing
        assert "leak" in verdicts


@pytest.mark.parametrize(
    ("number", "encoding"), [(signal.SIGINT, "utf-8"), (signal.SIGTERM, "ascii"), (signal.SIGHUP, "utf-8")]
)
def test_a_signal_ends_it_and_leaves_nothing(
    number: int, encoding: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until then it runs on, even where its output cannot encode all that it shows."""
    monkeypatch.setenv("PYTHONIOENCODING", encoding)
    with demo(tmp_path) as process:
        wait_for_everybody(process)
        if number == signal.SIGINT:
            os.killpg(process.pid, number)  # As a terminal's Ctrl-C, which reaches the whole group.
        else:
            process.send_signal(number)
        _, errors = process.communicate(timeout=60)
        assert (process.returncode, errors) == (0, "")
        assert processes_of(process.pid) == []
    assert list(tmp_path.iterdir()) == []


def test_its_reader_may_leave_and_see_no_traceback(tmp_path: Path) -> None:
    with demo(tmp_path) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.close()
        process.stdout = None  # `Popen.communicate` would read it.
        _, errors = process.communicate(timeout=60)
        assert (process.returncode, errors) == (0, "")
        assert processes_of(process.pid) == []
    assert list(tmp_path.iterdir()) == []


def test_no_process_survives_when_it_is_killed(tmp_path: Path) -> None:
    with demo(tmp_path) as process:
        wait_for_everybody(process)
        assert len(processes_of(process.pid)) > len(PROGRAMS)
        process.kill()
        process.wait()
        wait_until(lambda: not processes_of(process.pid), what="no process of the demo's session")


def test_in_a_terminal_it_shows_the_console_and_puts_the_screen_back(tmp_path: Path) -> None:
    terminal, inside = os.openpty()
    termios.tcsetwinsize(inside, (30, 100))
    process = subprocess.Popen(
        COMMAND,
        stdin=inside,
        stdout=inside,
        stderr=inside,
        start_new_session=True,
        env={**os.environ, "TMPDIR": str(tmp_path), "TERM": "xterm-256color"},
    )
    os.close(inside)
    shown = b""
    with contextlib.suppress(OSError):  # EIO: nobody has the terminal open any more.
        while not all(name.encode() in shown for name in PROGRAMS):
            shown += os.read(terminal, 65536)
        os.write(terminal, b"q")
        while piece := os.read(terminal, 65536):
            shown += piece
    os.close(terminal)
    assert process.wait(60) == 0
    assert processes_of(process.pid) == []
    enter, leave = b"\x1b[?1049h", b"\x1b[?1049l"
    assert b"Starting connmond" in shown[: shown.index(enter)]
    assert leave in shown[shown.rindex(enter) :]
