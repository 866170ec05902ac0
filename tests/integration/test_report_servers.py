"""Web servers that fork or spawn their workers."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from support.paths import PYTHONPATH
from support.receiver import Receiver
from support.waiting import wait_until

#: A pool that counts, and SQLAlchemy's: each with a function that uses it n times.
COUNTED = """
from support.counted_pool import CountedPool
use = CountedPool(os.environ["POOLHOUSE_REPORT"]).use
"""
SQLALCHEMY = """
import poolhouse, sqlalchemy
engine = sqlalchemy.create_engine("sqlite:///db.sqlite")
poolhouse.instrument(engine)
def use(times):
    for _ in range(times):
        with engine.begin() as connection:
            connection.exec_driver_sql("SELECT 1")
"""

WSGI = """
import os
{pool}
{at_import}

def app(environ, start_response):
    use(1)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(os.getpid()).encode()]
"""

ASGI = """
import os, poolhouse
from support.counted_pool import CountedPool

pool = CountedPool(os.environ["POOLHOUSE_REPORT"])

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        poolhouse.flush(goodbye=True)  # uvicorn's workers end by the signal, where Python says no goodbye.
        await send({"type": "lifespan.shutdown.complete"})
        return
    pool.use()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": str(os.getpid()).encode()})
"""


@contextmanager
def server(folder: Path, url: str, *command: str) -> Iterator[Callable[[], str]]:
    """A web server on a socket in `folder`, ended by SIGTERM; gives a function that asks it once."""
    path = folder / "http.sock"
    with open(folder / "log", "w+") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", *command],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": PYTHONPATH, "POOLHOUSE_REPORT": url},
            stdout=log,
            stderr=log,
        )

        def ask() -> str:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(30)
                connection.connect(str(path))
                connection.sendall(b"GET / HTTP/1.0\r\nHost: test\r\n\r\n")
                answer = b"".join(iter(lambda: connection.recv(4096), b""))
            return answer.rpartition(b"\r\n")[2].decode()

        def answers() -> bool:
            try:
                return bool(ask())
            except OSError:
                return False

        try:
            wait_until(answers)
            yield ask
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=60)
        finally:
            process.kill()
            process.wait()
        log.seek(0)
        assert "Traceback" not in log.read()


@pytest.mark.parametrize("preload", [(), ("--preload",)], ids=["", "preload"])
@pytest.mark.parametrize(
    ("pool", "at_import"),
    [(COUNTED, ""), (COUNTED, "use(100)"), (SQLALCHEMY, ""), (SQLALCHEMY, "use(100)")],
    ids=["counted", "counted-at-import", "sqlalchemy", "sqlalchemy-at-import"],
)
def test_every_worker_of_gunicorn_is_a_process(
    preload: tuple[str, ...], pool: str, at_import: str, tmp_path: Path
) -> None:
    (tmp_path / "site_app.py").write_text(WSGI.format(pool=pool, at_import=at_import))
    with Receiver() as receiver:
        command = ("gunicorn", "site_app:app", "--workers=2", f"--bind=unix:{tmp_path}/http.sock", *preload)
        with server(tmp_path, receiver.url(interval=3600), *command) as ask:
            pids = {ask()}
            requests = 2  # The one that found the server up, and this one.
            while len(pids) < 2:
                pids.add(ask())
                requests += 1
        told = {token.partition(":")[0]: receiver.checkouts(token) for token in receiver.tokens()}
        assert pids <= set(told)
        if at_import and preload:  # The import is the master's work.
            (master,) = set(told) - pids
            assert told[master] == 100
            requests += 100
        elif at_import:
            requests += 200
        assert sum(told.values()) == requests
        assert receiver.goodbyes() == set(receiver.tokens())


def test_every_worker_of_uvicorn_is_a_process(tmp_path: Path) -> None:
    (tmp_path / "site_app.py").write_text(ASGI)
    with Receiver() as receiver:
        command = ("uvicorn", "site_app:app", "--workers=2", f"--uds={tmp_path}/http.sock")
        with server(tmp_path, receiver.url(interval=3600), *command) as ask:
            pids = {ask()}
            requests = 2
            while len(pids) < 2:
                pids.add(ask())
                requests += 1
        told = {token.partition(":")[0]: receiver.checkouts(token) for token in receiver.tokens()}
        assert pids == set(told)
        assert sum(told.values()) == requests
        assert receiver.goodbyes() == set(receiver.tokens())
