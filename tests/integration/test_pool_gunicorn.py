"""gunicorn with ``--preload``: its workers are forked off a master that has opened the pool and used it."""

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from support.paths import PYTHONPATH
from support.postgres import Postgres
from support.waiting import wait_until

#: The master keeps one connection checked out: it must go on when all workers have used the pool and have ended.
APPLICATION = """
import os, sqlite3
from poolhouse.pool import ConnectionPool

{pool}
pool.wait()
held = pool.getconn()
ours = {mark}

def app(environ, start_response):
    with pool.connection() as conn:
        number, mine = conn.execute("select 40 + 2").fetchone()[0], {id_of_conn}
    answer = f"{{os.getpid()}} {{number}} {{mine in ours}}".encode()
    start_response("200 OK", [("Content-Length", str(len(answer)))])
    return [answer]

def on_exit(server):
    idle = pool.getconn(timeout=5)
    both = [conn.execute("select 1").fetchone() == (1,) for conn in (held, idle)]
    print("master's connections work:", both, {masters}, flush=True)
"""

POSTGRES = {
    "pool": "pool = ConnectionPool(os.environ['CONNINFO'], min_size=2, max_size=2, open=True)",
    "mark": "{slot.conn.info.backend_pid for slot in pool._core.slots.values()}",
    "id_of_conn": "conn.info.backend_pid",
    "masters": "{held.info.backend_pid, idle.info.backend_pid} == ours",
}
SQLITE = {
    "pool": (
        "pool = ConnectionPool(os.environ['CONNINFO'], driver=sqlite3, min_size=2, max_size=2, open=True,"
        " kwargs={'check_same_thread': False})"
    ),
    "mark": "{id(slot.conn) for slot in pool._core.slots.values()}",
    "id_of_conn": "id(conn)",
    "masters": "{id(held), id(idle)} == ours",
}


@contextlib.contextmanager
def _served(folder: Path, parts: dict[str, str], conninfo: str) -> Iterator[tuple[int, Path]]:
    """The port of a gunicorn with two workers, and where it says what it does."""
    (folder / "application.py").write_text(APPLICATION.format(**parts))
    (folder / "conf.py").write_text("from application import on_exit\n")
    log = folder / "log"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with log.open("w") as output:
        master = subprocess.Popen(
            [
                *(sys.executable, "-m", "gunicorn", "--preload", "--workers", "2", "--config", "conf.py"),
                *("--bind", f"127.0.0.1:{port}", "--no-control-socket", "application:app"),
            ],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": PYTHONPATH, "CONNINFO": conninfo},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        wait_until(lambda: _is_up(port) or master.poll() is not None, what="gunicorn to listen")
        assert master.poll() is None, log.read_text()
        yield port, log
        master.send_signal(signal.SIGTERM)
        assert master.wait(timeout=30) == 0, log.read_text()
    finally:
        master.kill()


def _is_up(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def _ask(port: int) -> list[str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("GET", "/")
    response = connection.getresponse()
    assert response.status == 200
    return response.read().decode().split()


def _is_served_by_two_workers(folder: Path, parts: dict[str, str], conninfo: str) -> str:
    with _served(folder, parts, conninfo) as (port, log):
        answers = []

        def both_have_answered() -> bool:
            answers.append(_ask(port))
            return len({answer[0] for answer in answers}) == 2

        wait_until(both_have_answered, what="an answer of each worker")
        # One worker ends, as `max_requests` would have it, and another takes its place.
        os.kill(int(answers[0][0]), signal.SIGTERM)
        wait_until(lambda: _ask(port)[0] not in {answer[0] for answer in answers}, what="a new worker")
        assert {answer[1] for answer in answers} == {"42"}
        assert {answer[2] for answer in answers} == {"False"}, "a worker used a connection of the master's"
    return log.read_text()


def test_workers_of_a_preloaded_application_have_sessions_of_their_own(postgres: Postgres, tmp_path: Path) -> None:
    """Trap 56. psycopg/psycopg#395; dannyvfilms/Floppy#341."""
    told = _is_served_by_two_workers(tmp_path, POSTGRES, postgres.conninfo)
    assert "master's connections work: [True, True] True" in told
    assert "Error" not in told


def test_workers_of_a_preloaded_application_have_files_of_their_own(tmp_path: Path) -> None:
    """Trap 56. The same with a driver that has no server."""
    told = _is_served_by_two_workers(tmp_path, SQLITE, str(tmp_path / "app.db"))
    assert "master's connections work: [True, True] True" in told
    assert "Error" not in told
