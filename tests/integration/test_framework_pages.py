"""The how-to pages for frameworks: their programs do what the pages say."""

import json
import re
import shutil
import signal
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from support.connmond import Watcher, program
from support.pages import ROOT, Reader
from support.postgres import Postgres, postgres_server
from support.waiting import wait_until

EXAMPLES = ROOT / "examples"
PAGES = {
    name: ROOT / "docs" / "howto" / f"{name}.md" for name in ("fastapi", "flask", "django", "celery", "containers")
}


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    """Somebody with the examples in their folder, and a daemon."""
    shutil.copytree(EXAMPLES, tmp_path, dirs_exist_ok=True)
    with Reader(tmp_path) as somebody:
        daemon = somebody.start("connmond")
        assert daemon.stdout is not None
        assert "connmond" in daemon.stdout.readline()
        yield somebody


def command(example: str, word: str) -> str:
    """The command that an example's docstring says it is run by."""
    return re.findall(rf"^    ((?:\w+='[^']*' )?{word} .*)$", (EXAMPLES / example).read_text(), re.MULTILINE)[0]


def ask(path: str) -> tuple[int, Any]:
    """The status and the answer of the server on port 8000; status 0 if there is none yet."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:8000{path}", timeout=30) as answer:
            body = answer.read().decode()
            return answer.status, json.loads(body) if body[:1] in "[{" else body
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError:
        return 0, ""


def ask_at_once(path: str, number: int) -> list[int]:
    """The statuses of so many requests at the same time."""
    with ThreadPoolExecutor(number) as clients:
        return sorted(status for status, _ in clients.map(ask, [path] * number))


def held_by(path: str, function: str) -> None:
    """Ask for `path`, and see meanwhile that this function has the connection."""
    with ThreadPoolExecutor(1) as clients:
        asked = clients.submit(ask, path)
        wait_until(lambda: any(site.endswith(f" in {function}") for site in ask("/holders")[1]))
        assert asked.result(timeout=30)[0] == 200


def test_in_fastapi_a_session_that_is_not_committed_holds_its_connection_while_another_service_answers(
    reader: Reader,
) -> None:
    server = reader.start(f"python -W error -m {command('fastapi_app.py', 'uvicorn')}")
    with reader.network.entered():
        wait_until(lambda: ask("/holders")[0] == 200)
        held_by("/held", "held")
        assert ask_at_once("/held", 2) == [200, 500]
        assert ask_at_once("/released", 4) == [200] * 4
        server.send_signal(signal.SIGTERM)
        _, errors = server.communicate(timeout=30)
    assert re.search(r"a connection has been held for \d+\.\d s by .*fastapi_app.py:\d+ in held", errors)
    assert "FairQueueTimeout: FairQueuePool limit of size 1 overflow 0 reached" in errors
    assert "in released" not in errors


def test_in_flask_a_session_that_is_not_committed_holds_its_connection_while_another_service_answers(
    reader: Reader,
) -> None:
    server = reader.start(f"python -W error -m {command('flask_app.py', 'flask')}")
    with reader.network.entered():
        wait_until(lambda: ask("/holders")[0] == 200)
        held_by("/held", "held")
        assert ask_at_once("/held", 2) == [200, 500]
        assert ask_at_once("/released", 4) == [200] * 4
        with ThreadPoolExecutor(1) as clients:
            export = clients.submit(ask, "/export")
            assert ask_at_once("/released", 2) == [200, 200]
            assert export.result(timeout=30) == (200, "order 1\norder 2\n")
        server.send_signal(signal.SIGTERM)
        _, errors = server.communicate(timeout=30)
    assert re.search(r"a connection has been held for \d+\.\d s by .*flask_app.py:\d+ in held", errors)


@pytest.fixture
def postgres_here(reader: Reader) -> Iterator[Postgres]:
    """A server in the reader's network."""
    with reader.network.entered(), postgres_server() as server:
        yield server


@pytest.mark.parametrize("preload", ["--preload ", ""])
def test_in_django_each_workers_pool_is_shown_whether_or_not_the_application_is_preloaded(
    preload: str, reader: Reader, postgres_here: Postgres
) -> None:
    shown = command("django_site.py", "gunicorn")
    assert "--preload " in shown
    (report,) = re.findall("POOLHOUSE_REPORT='.*'", (EXAMPLES / "django_site.py").read_text())
    variables = f"DATABASE='{postgres_here.conninfo}' {report}"
    server = reader.start(f"env {variables} {shown.replace('--preload ', preload)} --no-control-socket")
    with reader.network.entered(), Watcher(25828) as watcher:
        pids: set[int] = set()

        def both_answer() -> bool:
            status, answer = ask("/order")
            if status == 200:
                pids.add(answer["pid"])
            return len(pids) == 2

        wait_until(both_answer, timeout=60)
        # What was shown as zeros: both workers, each with a pool that has a connection and serves.
        # With --preload, the master has the pool too, and does not use it.
        processes = 3 if preload else 2
        watcher.wait_for(
            lambda seen: (
                (row := program(seen, "shop"))
                and row.processes == processes
                and (row.idle or 0) + (row.used or 0) >= 2
                and (row.totals.checkouts or 0) >= 2
            )
        )
        server.send_signal(signal.SIGTERM)
        server.communicate(timeout=30)


def test_workers_of_celery_are_processes_with_a_pool_each_and_their_goodbye_is_heard(reader: Reader) -> None:
    worker = reader.start(command("celery_app.py", "celery"))
    send = command("celery_app.py", "python")
    with reader.network.entered(), Watcher(25828) as watcher:
        assert reader.read(send) == "parcel of order 7\n"
        watcher.wait_for(lambda seen: (row := program(seen, "shop-tasks")) and row.processes >= 1)
        worker.send_signal(signal.SIGTERM)
        worker.communicate(timeout=60)
        seen = watcher.wait_for(lambda seen: (row := program(seen, "shop-tasks")) and row.processes == 0)
        assert {event.kind for event in seen.events} >= {"goodbye"}


def test_the_first_process_of_a_container_says_goodbye_when_it_is_stopped(reader: Reader) -> None:
    """A PID namespace and a host name of its own, as every container has."""
    inner = "hostname shop-7d9f && exec python -W error container_worker.py"
    container = reader.start(f"unshare --pid --fork --kill-child --mount-proc --uts bash -c '{inner}'")
    with reader.network.entered(), Watcher(25828) as watcher:
        watcher.wait_for(lambda seen: (row := program(seen, "orders")) and row.processes == 1)
        (first,) = children(container.pid)
        subprocess.run(["kill", "-TERM", str(first)], check=True)
        seen = watcher.wait_for(lambda seen: (row := program(seen, "orders")) and row.processes == 0)
        assert [host.name for host in seen.hosts] == ["orders"]
        assert {event.kind for event in seen.events} >= {"goodbye"}
        _, errors = container.communicate(timeout=30)
    assert errors == ""


def children(pid: int) -> list[int]:
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def code(page: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", page.read_text(), re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("name", PAGES)
def test_each_page_links_its_program_and_its_code_is_python(name: str) -> None:
    page = PAGES[name]
    assert re.search(r"\(\.\./\.\./examples/\w+\.py\)", page.read_text())
    for block in code(page):
        compile(block, str(page), "exec")
