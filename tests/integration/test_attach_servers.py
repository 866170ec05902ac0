"""Servers and workers that ``poolhouse run`` has started, and pools that are no engine's: seen as they are."""

import json
import os
import signal
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from support.attached import COMMANDS, PYTHON, Case, checkouts, run_all, write
from support.mariadb import MariaDB
from support.postgres import Postgres
from support.receiver import Receiver
from support.waiting import wait_until

APPLICATION = """
    import os
    from sqlalchemy import create_engine, text

    engine = create_engine("sqlite:///shop.db")

    def order():
        with engine.connect() as connection:
            connection.execute(text("select 1"))
        return str(os.getpid()).encode()

    def wsgi(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [order()]

    async def asgi(scope, receive, send):
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": order()})
"""

TASKS = """
    import pathlib, sys
    sys.path.append("")
    import shop
    from celery import Celery

    for name in ("queue", "control"):
        pathlib.Path(name).mkdir(exist_ok=True)
    app = Celery(
        "tasks",
        broker="filesystem://",
        broker_transport_options={
            "data_folder_in": "queue", "data_folder_out": "queue", "control_folder": "control"
        },
    )

    @app.task
    def order():
        shop.order()
"""

#: gevent's patches come first, whatever poolhouse does.
GEVENT = """
    from gevent import monkey
    monkey.patch_all()
    import gevent
    import warnings
    from sqlalchemy import create_engine, text
    engine = create_engine("sqlite:///shop.db")

    def order():
        with engine.connect() as connection:
            connection.execute(text("select 1"))

    gevent.joinall([gevent.spawn(order) for _ in range(2)])
    print("sold")
"""

PSYCOPG_POOL = """
    import asyncio, os, sys
    from psycopg_pool import AsyncConnectionPool, ConnectionPool, NullConnectionPool
    conninfo = os.environ["CONNINFO"]
    for kind in (ConnectionPool, NullConnectionPool):
        with kind(conninfo, min_size=0, max_size=2) as pool:
            for _ in range(2):
                with pool.connection() as connection:
                    connection.execute("select 1")

    async def main():
        async with AsyncConnectionPool(conninfo, min_size=1, open=False) as pool:
            async with pool.connection() as connection:
                await connection.execute("select 1")

    asyncio.run(main())
    print("sold")
"""

DRIVERS = """
    import asyncio, json, os
    import aiomysql, asyncpg
    from psycopg2.pool import ThreadedConnectionPool
    conninfo = os.environ["CONNINFO"]
    pool = ThreadedConnectionPool(1, 2, conninfo)
    pool.putconn(pool.getconn())

    async def main():
        async with asyncpg.create_pool(os.environ["URL"], min_size=1, max_size=2) as pool:
            await pool.fetchval("select 1")
        async with aiomysql.create_pool(minsize=1, maxsize=2, **json.loads(os.environ["MARIADB"])) as pool:
            async with pool.acquire():
                pass

    asyncio.run(main())
    pool.closeall()
    print("sold")
"""

#: Django makes a pool of psycopg_pool of what its settings say.
DJANGO = """
    import os
    import django
    from django.conf import settings
    from psycopg.conninfo import conninfo_to_dict

    there = conninfo_to_dict(os.environ["CONNINFO"])
    settings.configure(
        DATABASES={
            "default": {
                "ENGINE": "django.db.backends.postgresql",
                "NAME": there["dbname"],
                "HOST": there["host"],
                "PORT": there["port"],
                "USER": there["user"],
                "OPTIONS": {"pool": {"min_size": 1, "max_size": 2}},
            }
        }
    )
    django.setup()
    from django.db import connection

    for _ in range(2):
        with connection.cursor() as cursor:
            cursor.execute("select 1")
        connection.close()
    connection.close_pool()
    print("sold")
"""


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


@contextmanager
def running(name: str, command: list[str], folder: Path, receiver: Receiver) -> Iterator["subprocess.Popen[str]"]:
    """A server under ``poolhouse run``; its children end with it."""
    log = (folder / f"{name}.log").open("w")
    with (
        log,
        subprocess.Popen(
            [
                *(
                    str(COMMANDS / "poolhouse"),
                    "run",
                    "--report",
                    receiver.url(interval="0.2"),
                    "--program",
                    name,
                    "--",
                ),
                *command,
            ],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            text=True,
            start_new_session=True,
        ) as process,
    ):
        try:
            yield process
        finally:
            process.send_signal(signal.SIGINT if name == "uwsgi" else signal.SIGTERM)
            try:
                process.wait(timeout=30)
            finally:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)


def ask(port: int) -> str:
    """The process that has answered; empty if none does."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10) as answer:
            return answer.read().decode()
    except OSError:
        return ""


def test_workers_of_servers_are_seen_each_with_its_own_pool(tmp_path: Path) -> None:
    write(tmp_path, shop=APPLICATION, tasks=TASKS)
    ports = {name: free_port() for name in ("gunicorn", "preloaded", "uvicorn", "uwsgi")}
    gunicorn = ["gunicorn", "--workers", "2", "--no-control-socket", "shop:wsgi", "--bind"]
    commands = {
        "gunicorn": [*gunicorn, f"127.0.0.1:{ports['gunicorn']}"],
        "preloaded": [*gunicorn, f"127.0.0.1:{ports['preloaded']}", "--preload"],
        "uvicorn": ["uvicorn", "--workers", "2", "--port", str(ports["uvicorn"]), "shop:asgi"],
        "uwsgi": [
            *("uwsgi", "--http-socket", f"127.0.0.1:{ports['uwsgi']}", "--master", "--processes", "2"),
            *("--enable-threads", "--wsgi-file", "shop.py", "--callable", "wsgi"),
        ],
        "celery": [
            *(
                "celery",
                "--app",
                "tasks",
                "worker",
                "--pool",
                "prefork",
                "--concurrency",
                "2",
                "--loglevel",
                "ERROR",
            ),
            *("--without-gossip", "--without-mingle"),
        ],
    }
    with Receiver() as receiver, ExitStack() as servers:
        for name, command in commands.items():
            servers.enter_context(running(name, [str(COMMANDS / command[0]), *command[1:]], tmp_path, receiver))
        order = "import tasks; [tasks.order.delay() for _ in range(8)]"
        subprocess.run([PYTHON, "-c", order], cwd=tmp_path, check=True, timeout=60)

        found: dict[str, list[int]] = {}

        def are_right() -> bool:
            for port in ports.values():
                ask(port)
            found.update(checkouts(receiver, commands))
            return all(len(found[name]) == 2 and all(found[name]) for name in commands)

        with suppress(AssertionError):
            wait_until(are_right, timeout=90)
        assert {name: len(workers) for name, workers in found.items()} == dict.fromkeys(commands, 2), found
    assert "uWSGI needs --lazy-apps or --py-call-uwsgi-fork-hooks" in (tmp_path / "uwsgi.log").read_text()


def test_pools_of_other_packages_are_seen_and_gevent_patches_first(
    postgres: Postgres, mariadb: MariaDB, tmp_path: Path
) -> None:
    write(tmp_path, patched=GEVENT, site_of_django=DJANGO, other_pools=PSYCOPG_POOL, drivers=DRIVERS)
    there = {"host": "127.0.0.1", "port": mariadb.port, "user": mariadb.user, "db": mariadb.database}
    variables = {"CONNINFO": postgres.conninfo, "URL": postgres.url, "MARIADB": json.dumps(there)}
    cases = {
        "gevent": Case([PYTHON, "-W", "error", "patched.py"]),
        "psycopg-pool": Case([PYTHON, "-W", "error", "other_pools.py"], [2, 2, 1], variables=variables),
        "django": Case([PYTHON, "site_of_django.py"], variables=variables),
        "drivers": Case([PYTHON, "-W", "error", "drivers.py"], [1, 1, 1], variables=variables),
    }
    # What a pool did that was closed before the first report is told with the sums of all that are gone.
    assert {name: sum(pools) for name, pools in run_all(cases, tmp_path).items()} == {
        name: sum(case.pools) for name, case in cases.items()
    }
