"""connmond's log: text, JSON, or as the configuration says; on a reader that has gone, is slow, or a full disk."""

import json
import os
import re
import signal
import stat
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from poolhouse.daemon.log import MOST_WAITING
from support.connmond import COMMAND, Connmond, Watcher, program, sentences
from support.pages import ROOT, under
from support.reports import report, send
from support.waiting import wait_until

SERVICE = "[connmon_service_default]\nname: default\nnodes:\n    node1 hostname=127.0.0.1:5800\n"
SECTIONS = """
[loggers]
keys = root, connmon
[handlers]
keys = file
[formatters]
keys = plain
[logger_root]
handlers = file
[logger_connmon]
level = {level}
handlers =
qualname = connmon
[handler_file]
class = FileHandler
args = ('{path}',)
formatter = plain
[formatter_plain]
format = 100%% %(levelname)s <%(message)s>
"""


def configured(folder: Path, *more: str) -> Path:
    path = folder / "connmon.cfg"
    path.write_text(SERVICE + "".join(more))
    return path


def read_again(daemon: Connmond, config: Path, what: str, log: Path) -> None:
    """Have the configuration read again, and wait until the log says something."""
    daemon.process.send_signal(signal.SIGHUP)
    wait_until(lambda: log.exists() and what in log.read_text(), what=what)


def started(config: Path, *more: str, stderr: int = subprocess.PIPE) -> "subprocess.Popen[str]":
    options: Sequence[str] = (
        "--reports",
        "127.0.0.1:0",
        "--consoles",
        "127.0.0.1:0",
        "--bind",
        "off",
        "--http",
        "off",
    )
    command = [*COMMAND, *options, "--config", str(config), *more]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, text=True)


def test_each_line_of_text_has_time_level_and_message(tmp_path):
    config = configured(tmp_path, "csv_keep: 3\n")
    with Connmond("--config", str(config), is_executed=True) as daemon:
        _, _, errors = daemon.end()
    assert sentences(errors) == [f"WARNING {config}, line 5: csv_keep has no effect without csv_rotate_bytes"]


@pytest.mark.parametrize(("key", "options"), [("log_format: json\n", ()), ("", ("--log-format", "json"))])
def test_with_json_all_that_it_says_is_an_object_a_line(key, options, tmp_path):
    with started(configured(tmp_path, "csv_keep: 3\n", key), *options) as daemon:
        assert daemon.stdout is not None
        first = json.loads(daemon.stdout.readline())
        daemon.terminate()
        output, errors = daemon.communicate(timeout=30)
    (last,) = map(json.loads, output.splitlines())
    (warning,) = map(json.loads, errors.splitlines())
    assert first["message"].startswith("connmond ")
    assert "\n  reports   UDP 127.0.0.1:" in first["message"]
    assert re.match(r"connmond ends after \d+ s: ", last["message"])
    assert warning["message"].endswith("line 5: csv_keep has no effect without csv_rotate_bytes")
    assert [one["level"] for one in (first, last, warning)] == ["info", "info", "warning"]
    assert set(first) == set(last) == set(warning) == {"time", "level", "logger", "message"}


def test_with_json_a_mistake_at_the_start_is_an_object_too(tmp_path):
    command = [*COMMAND, "--log-format", "json", "-c", str(tmp_path / "none.cfg")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert json.loads(done.stderr)["message"] == f"--config: there is no file '{tmp_path}/none.cfg'"


def test_an_unknown_format_is_refused():
    done = subprocess.run(
        [*COMMAND, "--log-format", "xml"], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (2, "connmond: --log-format: expected text or json, not 'xml'\n")


def test_the_sections_of_the_configuration_are_used_and_read_again(tmp_path):
    log, other = tmp_path / "connmon.log", tmp_path / "other.log"
    config = configured(tmp_path, SECTIONS.format(level="INFO", path=log))
    with Connmond("--config", str(config)) as daemon:
        log.rename(tmp_path / "connmon.log.1")  # As logrotate does.
        read_again(daemon, config, "was read again>", log)
        configured(tmp_path, SECTIONS.format(level="INFO", path=other))
        read_again(daemon, config, "was read again>", other)
        configured(tmp_path, SECTIONS.format(level="INFO", path=tmp_path / "nowhere" / "connmon.log"))
        read_again(daemon, config, "No such file or directory; connmond logs as it did>", other)
        configured(tmp_path, SECTIONS.format(level="loud", path=other))
        read_again(daemon, config, "not 'loud'; connmond keeps running as it did>", other)
        status, output, errors = daemon.end()
    assert (status, errors) == (0, "")
    # Log lines name hosts and programs.
    assert [path.stat().st_mode & stat.S_IRWXO for path in (tmp_path / "connmon.log.1", log, other)] == [0, 0, 0]
    first, *_ = (tmp_path / "connmon.log.1").read_text().splitlines()
    assert first.startswith("100% INFO <connmond ")
    assert log.read_text() == f"100% INFO <{config} was read again>\n"
    assert other.read_text().endswith(f"100% INFO <{output.strip()}>\n")


def test_a_level_of_the_configuration_silences_what_is_below(tmp_path):
    log = tmp_path / "connmon.log"
    config = configured(tmp_path, "csv_keep: 3\n", SECTIONS.format(level="WARNING", path=log))
    with Connmond("--config", str(config)) as daemon:
        assert daemon.end()[0] == 0
    assert log.read_text() == f"100% WARNING <{config}, line 5: csv_keep has no effect without csv_rotate_bytes>\n"


def test_the_option_wins_over_the_sections(tmp_path):
    log = tmp_path / "connmon.log"
    config = configured(tmp_path, "csv_keep: 3\n", SECTIONS.format(level="INFO", path=log))
    with Connmond("--config", str(config), "--log-format", "text") as daemon:
        assert len(sentences(daemon.end()[2])) == 1
    assert not log.exists()


def test_a_handler_that_cannot_be_made_is_one_sentence_and_nothing_is_served(tmp_path):
    config = configured(tmp_path, SECTIONS.format(level="INFO", path="/nowhere/connmon.log"))
    with started(config) as daemon:
        output, errors = daemon.communicate(timeout=60)
    sentence = "[handler_file] cannot be used: '/nowhere/connmon.log': No such file or directory"
    line = 1 + config.read_text().splitlines().index("args = ('/nowhere/connmon.log',)")
    assert (daemon.returncode, output, errors) == (1, "", f"connmond: {config}, line {line}: {sentence}\n")


def test_a_log_file_on_a_full_disk_ends_nothing_and_says_nothing_elsewhere(tmp_path):
    config = configured(tmp_path, SECTIONS.format(level="INFO", path="/dev/full"))
    with Connmond("--config", str(config)) as daemon, Watcher(daemon.consoles) as watcher:
        daemon.process.send_signal(signal.SIGHUP)
        send(report("shop", used=3), daemon.reports)
        watcher.wait_for(lambda snapshot: program(snapshot, "shop"))
        status, _, errors = daemon.end()
    assert (status, errors) == (0, "")


def test_a_reader_of_the_log_that_has_stopped_holds_up_neither_reports_nor_the_end(tmp_path):
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    try:
        while True:
            os.write(writing, bytes(1 << 12))
    except BlockingIOError:
        pass  # From here on who writes, waits.
    os.set_blocking(writing, True)
    config = configured(tmp_path, "csv_keep: 3\n")  # Something to say at the start.
    with started(config, stderr=writing) as daemon:
        assert daemon.stdout is not None
        announced = "".join(daemon.stdout.readline() for _ in range(5))
        reports, consoles = map(int, re.findall(r"UDP \S+:(\d+)", announced))
        with Watcher(consoles) as watcher:
            for _ in range(3):
                daemon.send_signal(signal.SIGHUP)
                watcher.wait_for(lambda snapshot: snapshot.health.uptime > 0)
            send(report("shop", used=3), reports)
            watcher.wait_for(lambda snapshot: program(snapshot, "shop"))
            daemon.terminate()
            assert daemon.wait(30) == 0
    os.close(reading)
    os.close(writing)


#: Says more than may wait while nobody reads it, and another line when it is told to.
FLOOD = f"""
import asyncio, sys
from poolhouse.daemon.log import Log
from poolhouse.daemon.settings import Settings

async def main():
    log = Log()
    log.begin(Settings())
    for _ in range({3 * MOST_WAITING}):
        log(30, "x" * 900)
    print("said", flush=True)
    sys.stdin.readline()
    log(30, "later")
    log.end("the end")

asyncio.run(main())
"""


def test_lines_beyond_those_that_may_wait_are_dropped_and_counted():
    with subprocess.Popen(
        [sys.executable, "-c", FLOOD],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as flood:
        assert flood.stdout is not None
        assert flood.stderr is not None
        assert flood.stdin is not None
        assert flood.stdout.readline() == "said\n"
        lines = [flood.stderr.readline() for _ in range(MOST_WAITING // 2)]  # Now there is room for another.
        flood.stdin.write("\n")
        flood.stdin.close()
        lines += flood.stderr.readlines()
        assert flood.stdout.read() == "the end\n"
    said = sentences("".join(lines))
    # One, or more where lines were dropped while the pipe still had room.
    told = [line for line in said if "dropped" in line]
    counts = [int(re.sub(r"\D", "", line)) for line in told]
    assert told == [f"WARNING {n:,} lines of the log were dropped: its reader is too slow" for n in counts]
    written = 3 * MOST_WAITING - sum(counts)
    assert said.count("WARNING " + "x" * 900) == written
    assert said[-1] == "WARNING later"
    assert len(said) == written + len(told) + 1


def test_the_sections_of_the_how_to_page_write_json(tmp_path):
    (sections,) = under(ROOT / "docs" / "howto" / "connmond.md", "The log", "text", "ini")[1:]
    log = tmp_path / "connmond.log"
    config = configured(tmp_path, "csv_keep: 3\n", sections.replace("/var/log", str(tmp_path)))
    with Connmond("--config", str(config)) as daemon:
        assert daemon.end()[::2] == (0, "")
    warning, begin, end = (json.loads(line) for line in log.read_text().splitlines())
    assert "csv_keep has no effect" in warning["message"]
    assert begin["message"].startswith("connmond ")
    assert end["message"].startswith("connmond ends after ")
