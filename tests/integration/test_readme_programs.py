"""The programs of examples/ do what they say."""

import re
import shutil
import signal
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.connmond import Watcher, program
from support.pages import ROOT, Reader
from support.waiting import wait_until

EXAMPLES = ROOT / "examples"
HOLD_ALL = (
    'import sqlalchemy; e = sqlalchemy.create_engine("sqlite:///s.db?plugin=collectd&collectd_program_name=shop"'
)
HOLD_ALL += ", pool_size=1, max_overflow=0); held = e.connect()"


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    """Somebody with the examples in their folder, and a daemon."""
    shutil.copytree(EXAMPLES, tmp_path, dirs_exist_ok=True)
    with Reader(tmp_path) as somebody:
        daemon = somebody.start("connmond")
        assert daemon.stdout is not None
        assert "connmond" in daemon.stdout.readline()
        yield somebody


def test_every_program_is_in_the_index() -> None:
    index = (EXAMPLES / "README.md").read_text()
    files = {path.name for path in EXAMPLES.iterdir() if path.is_file()} - {"README.md"} | {
        "monitoring/compose.yaml"
    }
    assert set(re.findall(r"^\| \[[^]]+\]\(([^)]+)\)", index, re.MULTILINE)) == files


def test_workers_of_uvicorn_are_processes_and_their_goodbye_is_heard(reader: Reader) -> None:
    command = re.findall(r"^    (uvicorn .*)$", (EXAMPLES / "uvicorn_app.py").read_text(), re.MULTILINE)
    server = reader.start(command[0])

    def answered() -> bool:
        try:
            with urllib.request.urlopen("http://127.0.0.1:8000/", timeout=10) as answer:
                return answer.read() == b"ordered"
        except OSError:
            return False

    with reader.network.entered(), Watcher(25828) as watcher:
        wait_until(lambda: answered() and watcher.snapshots)
        wait_until(
            lambda: answered() and (row := program(watcher.snapshots[-1], "shop")) and row.processes == 2,
            timeout=60,
            what="two processes of shop",
        )
        server.send_signal(signal.SIGTERM)
        seen = watcher.wait_for(lambda seen: (row := program(seen, "shop")) and row.processes == 0)
        kinds = {event.kind for event in seen.events}
        assert "goodbye" in kinds
        assert "silent" not in kinds


def test_the_probe_ends_when_no_pool_is_saturated_or_its_tries_are_over(reader: Reader) -> None:
    shop = reader.start(f"python -c '{HOLD_ALL}; e.connect()'")
    with reader.network.entered(), Watcher(25828) as watcher:
        watcher.wait_for(lambda seen: seen.fleet.waiting == 1)
        assert reader.run("./wait_for_pools.sh localhost 2").returncode == 3
        shop.kill()
        assert reader.run("./wait_for_pools.sh localhost:25828 60").returncode == 0
    assert reader.run("./wait_for_pools.sh 127.0.0.1:9 1").returncode == 1
