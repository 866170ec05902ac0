"""``INSTALLED_APPS = ["poolhouse.django"]``: real sites, over a real PostgreSQL, over Django's pool and ours."""

import json
import os
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from support.connmond import Connmond, Watcher, program
from support.postgres import Postgres
from support.servers import free_tcp_port
from support.waiting import wait_until

ENGINES = ["django.db.backends.postgresql", "poolhouse.django.postgresql"]

SITE = """
import os, time
import django
from django.conf import settings
from django.core.handlers.wsgi import WSGIHandler
from django.http import JsonResponse
from django.urls import include, path

settings.configure(
    ALLOWED_HOSTS=["*"],
    DATABASES={
        "default": {
            "ENGINE": os.environ["ENGINE"], "HOST": "127.0.0.1", "PORT": os.environ["PORT"],
            "USER": "postgres", "NAME": "postgres", "ATOMIC_REQUESTS": "ATOMIC" in os.environ,
            "OPTIONS": {"pool": {"min_size": 1, "max_size": 2, "timeout": 0.5}},
        },
        "plain": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"},
    },
    INSTALLED_APPS=["poolhouse.django"],
    POOLHOUSE={"program": "shop", "report": f"collectd://127.0.0.1:{os.environ['REPORTS']}/?interval=0.2"},
    ROOT_URLCONF=__name__,
    USE_TZ=True,
)
django.setup(set_prefix=False)

from django.db import connection

def order(request):
    with connection.cursor() as cursor:
        cursor.execute("select 'order 1'")
        return JsonResponse({"order": cursor.fetchone()[0], "pid": os.getpid()})

def slow(request):
    with connection.cursor() as cursor:
        cursor.execute("select pg_sleep(%s)", [float(request.GET["s"])])
    return JsonResponse({"pid": os.getpid()})

urlpatterns = [path("order", order), path("slow", slow), path("", include("poolhouse.django.urls"))]
application = WSGIHandler()
"""


@pytest.fixture
def daemon() -> Iterator[Connmond]:
    with Connmond() as daemon:
        yield daemon


@pytest.fixture(params=ENGINES)
def environment(
    request: pytest.FixtureRequest, tmp_path: Path, postgres: Postgres, daemon: Connmond
) -> dict[str, str]:
    """The environment of a site, whose module is in its folder."""
    (tmp_path / "shop_site.py").write_text(SITE)
    return {
        **os.environ,
        "ENGINE": request.param,
        "PORT": str(postgres.port),
        "REPORTS": str(daemon.reports),
        "PYTHONPATH": str(tmp_path),
    }


@contextmanager
def gunicorn(environment: dict[str, str], *options: str) -> Iterator[int]:
    """The port of a gunicorn that serves the site, while the context lasts."""
    port = free_tcp_port()
    command = [sys.executable, "-m", "gunicorn", "--bind", f"127.0.0.1:{port}", "--no-control-socket", *options]
    server = subprocess.Popen(
        [*command, "shop_site"], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        wait_until(lambda: server.poll() is not None or ask(port, "/readyz")[0] == 200, timeout=60)
        yield port
    finally:
        server.send_signal(signal.SIGTERM)
        output, _ = server.communicate(timeout=60)
        assert "poolhouse failed" not in output, output


def ask(port: int, path: str) -> tuple[int, Any]:
    """The status and the answer; status 0 if there is none yet."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=60) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        body = error.read().decode()
        return error.code, json.loads(body) if body.startswith("{") else body
    except OSError:
        return 0, None


def test_full_workers_are_shown_full_by_the_line_that_holds_though_the_site_was_loaded_before_the_fork(
    environment: dict[str, str], daemon: Connmond
) -> None:
    with (
        gunicorn(environment, "--workers", "2", "--threads", "4", "--preload") as port,
        Watcher(daemon.consoles, program="shop") as watcher,
        ThreadPoolExecutor(12) as clients,
    ):
        assert ask(port, "/readyz")[1] == {"ready": True, "databases": {"default": "not used yet"}}
        is_over = threading.Event()
        statuses: set[int] = set()

        def press() -> None:
            while not is_over.is_set():
                statuses.add(ask(port, "/slow?s=0.6")[0])

        pressing = [clients.submit(press) for _ in range(12)]
        try:
            # Two workers, each with both of its connections in use, by the line of the application.
            watcher.wait_for(lambda seen: (row := program(seen, "shop")) and row.used == 4 and row.processes >= 2)
            watcher.wait_for(lambda seen: any(holder.site.site.endswith(" in slow") for holder in seen.holders))
        finally:
            is_over.set()
        for each in pressing:
            each.result(timeout=60)
        assert statuses == {200, 500}, "some had to wait for too long"
        watcher.wait_for(lambda seen: (row := program(seen, "shop")) and row.used == 0)


def test_the_probe_says_why_a_site_is_not_ready_and_takes_no_connection(
    environment: dict[str, str], daemon: Connmond
) -> None:
    with gunicorn(environment | {"PORT": str(free_tcp_port()), "ATOMIC": "1"}, "--threads", "2") as port:
        assert ask(port, "/order")[0] == 500
        status, told = ask(port, "/readyz")
        assert (status, told["ready"]) == (503, False)
        assert told["databases"]["default"].startswith("no connection could be made for ")
        assert "(refused)" in told["databases"]["default"]


def test_a_pool_that_replaces_another_is_watched_too(environment: dict[str, str], daemon: Connmond) -> None:
    program_text = dedent(
        """
        import shop_site, poolhouse
        from django.db import connection, connections
        from django.test import Client

        client = Client()
        assert client.get("/metrics").status_code == 200  # From now on the collector is told.
        print(client.get("/order").json()["order"])
        first = connection.pool
        print(poolhouse.ready(first))
        for each in connections.all():
            each.close()
        connection.close_pool()
        print(poolhouse.ready(first))
        print(client.get("/order").json()["order"], connection.pool is first)
        print(client.get("/readyz").json())
        poolhouse.flush(30)
        metrics = client.get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
        print(metrics.headers["Content-Type"].partition(";")[0])
        print([line.split()[-1] for line in metrics.text.splitlines() if "wait_time_seconds_count" in line])
        input()
        connection.close()
        connection.close_pool()
        """
    )
    command = [sys.executable, "-W", "error", "-c", program_text]
    process = subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    with Watcher(daemon.consoles, program="shop") as watcher:
        watcher.wait_for(lambda seen: (row := program(seen, "shop")) and row.totals.checkouts == 2)
        output, errors = process.communicate("\n", timeout=60)
    assert errors == ""
    assert output.splitlines() == [
        "order 1",
        "ready",
        "the pool is closed",
        "order 1 False",
        "{'ready': True, 'databases': {'default': 'ready'}}",
        "application/openmetrics-text",
        "['2.0']",
    ]


def test_a_wrong_setting_is_said_when_django_starts(environment: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "shop_site.py").write_text(SITE.replace('"program": "shop"', '"programme": "shop"'))
    done = subprocess.run(
        [sys.executable, "-c", "import shop_site"], env=environment, capture_output=True, text=True, timeout=60
    )
    assert "ImproperlyConfigured: POOLHOUSE: there is no setting 'programme'" in done.stderr
