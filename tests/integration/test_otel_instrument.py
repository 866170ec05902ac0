"""`poolhouse.otel.instrument` in real programs, with OpenTelemetry's SDK and a real collector behind it."""

import json
import re
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from poolhouse.export.convention import METRICS
from support.collector import Rotel, rotel
from support.pages import ROOT, under
from support.postgres import Postgres
from support.waiting import wait_until

#: What each program begins with. `told` prints every number by metric and attributes, and a histogram's count.
BEGIN = """
import json, os, sqlite3, sys, threading, time
import poolhouse, poolhouse.otel

def provider():
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader
    global reader
    reader = InMemoryMetricReader()
    return MeterProvider([reader])

def told(**more):
    data = reader.get_metrics_data()
    found = {}
    for resource in data.resource_metrics if data else ():
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                for point in metric.data.data_points:
                    pool = point.attributes["db.client.connection.pool.name"]
                    name = metric.name.removeprefix("db.client.connection.")
                    state = point.attributes.get("db.client.connection.state")
                    value = point.value if hasattr(point, "value") else point.count
                    found.setdefault(os.path.basename(pool), {})[f"{name}.{state}" if state else name] = value
    print(json.dumps(found | more), flush=True)
"""


def run(folder: Path, program: str, **environ: str) -> list[dict[str, Any]]:
    """What a program prints, line by line."""
    found = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=folder,
        env={"PATH": "/usr/bin:/bin", **environ},
    )
    assert found.returncode == 0, found.stderr
    assert found.stderr == ""
    return [json.loads(line) for line in found.stdout.splitlines()]


def test_every_engine_is_told_whenever_it_was_made(tmp_path: Path) -> None:
    program = """
from sqlalchemy import create_engine
before = create_engine("sqlite:///before.db")
poolhouse.otel.instrument(provider())
after = create_engine("sqlite:///after.db", pool_size=3, max_overflow=1)
for engine in (before, after):
    for _ in range(4):
        with engine.connect(): pass
out = after.connect(), after.connect()
told(threads=threading.active_count(), tasks=len(os.listdir("/proc/self/task")))
"""
    (found,) = run(tmp_path, BEGIN + program)
    assert found["after.db"] == {
        "count.idle": 0,
        "count.used": 2,
        "count.detached": 0,
        "max": 4,
        "idle.max": 3,
        "idle.min": 0,
        "pending_requests": 0,
        "timeouts": 0,
        "wait_time": 6,
        "use_time": 4,
        "create_time": 2,
    }
    assert (found["before.db"]["wait_time"], found["before.db"]["use_time"]) == (4, 4)
    assert (found["threads"], found["tasks"]) == (1, 1), "nothing is sent, so there is no thread of ours"


def test_sqlalchemy_may_be_imported_later_and_engines_may_come_and_go(tmp_path: Path) -> None:
    program = """
poolhouse.otel.instrument(provider())
assert "sqlalchemy" not in sys.modules
from sqlalchemy import create_engine, exc
for _ in range(3):
    engine = create_engine("sqlite:///shop.db", pool_size=1, max_overflow=0, pool_timeout=0.001)
    with engine.connect():
        try:
            engine.connect()
        except exc.TimeoutError:
            pass
    engine.dispose()
    del engine
told()
told()
"""
    for found in run(tmp_path, BEGIN + program):
        # Three waits that were served, and three that timed out.
        assert (found["shop.db"]["timeouts"], found["shop.db"]["wait_time"]) == (3, 6)


def test_our_pools_are_told(tmp_path: Path) -> None:
    program = """
def pool():
    return poolhouse.ConnectionPool("shop.db", driver=sqlite3, kwargs={"check_same_thread": False}, min_size=2,
        max_size=3, open=True)
first = pool()
poolhouse.otel.instrument(provider())
second = pool()
first.wait(); second.wait()
with first.connection(), second.connection():
    told()
first.close(); second.close()
told()
"""
    during, after = run(tmp_path, BEGIN + program)
    assert during["shop.db"]["count.used"] == 2
    assert during["shop.db"]["max"] == 6
    assert during["shop.db"]["idle.min"] == 4
    assert after["shop.db"]["use_time"] == 2
    assert "count.used" not in after["shop.db"]


def test_where_attaching_is_forbidden_only_pools_that_say_so_themselves_are_told(tmp_path: Path) -> None:
    program = """
from sqlalchemy import create_engine
poolhouse.otel.instrument(provider())
create_engine("sqlite:///shop.db").connect().close()
with poolhouse.ConnectionPool("ours.db", driver=sqlite3, kwargs={"check_same_thread": False}):
    told()
"""
    (found,) = run(tmp_path, BEGIN + program, POOLHOUSE_DISABLE="1")
    assert list(found) == ["ours.db"]


def test_a_wrong_environment_is_logged_and_costs_our_pools_only(tmp_path: Path) -> None:
    program = """
import logging
logged = []
class Kept(logging.Handler):
    def emit(self, record):
        logged.append((record.name, record.getMessage()))
logging.getLogger("poolhouse").addHandler(Kept())
pool = poolhouse.ConnectionPool("shop.db", driver=sqlite3, kwargs={"check_same_thread": False}, open=True)
poolhouse.otel.instrument(provider())
told(logged=logged)
pool.close()
"""
    (found,) = run(tmp_path, BEGIN + program, POOLHOUSE_REPORT="nonsense://x")
    assert found.keys() == {"logged"}
    assert any(name == "poolhouse.otel" and "POOLHOUSE_REPORT" in text for name, text in found["logged"])


def test_watched_pools_of_psycopg_are_told(tmp_path: Path, postgres: Postgres) -> None:
    program = f"""
import psycopg_pool
url = "host={postgres.socket_folder} port={postgres.port} user=postgres dbname=postgres"
poolhouse.otel.instrument(provider())
with psycopg_pool.ConnectionPool(url, min_size=1, max_size=4, open=True) as pool:
    pool.wait()
    for _ in range(3):
        with pool.connection(): pass
    with pool.connection():
        told(tasks=0)
"""
    (found,) = run(tmp_path, BEGIN + program)
    (pool,) = (one for name, one in found.items() if name != "tasks")
    assert (pool["count.used"], pool["max"], pool["wait_time"], pool["use_time"]) == (1, 4, 4, 3)


def test_a_forked_child_tells_what_it_has_done_itself(tmp_path: Path) -> None:
    program = """
from sqlalchemy import create_engine
engine = create_engine("sqlite:///shop.db")
pool = poolhouse.ConnectionPool("own.db", driver=sqlite3, kwargs={"check_same_thread": False}, open=True)
poolhouse.otel.instrument(provider())
for _ in range(5):
    with engine.connect(), pool.connection(): pass
told()
child = os.fork()
if not child:
    poolhouse.otel.uninstrument()
    poolhouse.otel.instrument(provider())
    engine.dispose(close=False)
    with engine.connect(), pool.connection(): pass
    told()
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
with engine.connect(), pool.connection(): pass
told()
"""
    before, child, after = run(tmp_path, BEGIN + program)
    for name in ("shop.db", "own.db"):
        assert [one[name]["wait_time"] for one in (before, child, after)] == [5, 1, 6]


def test_the_global_provider_may_be_set_later_and_a_second_call_changes_nothing(tmp_path: Path) -> None:
    program = """
from opentelemetry import metrics
from sqlalchemy import create_engine
engine = create_engine("sqlite:///shop.db")
poolhouse.otel.instrument()
poolhouse.otel.instrument()
with engine.connect(): pass
metrics.set_meter_provider(provider())
told()
poolhouse.otel.instrument(metrics.get_meter_provider())
with engine.connect(): pass
told()
poolhouse.otel.uninstrument()
with engine.connect(): pass
told()
poolhouse.otel.instrument()
told()
"""
    first, second, off, again = run(tmp_path, BEGIN + program)
    assert (first["shop.db"]["wait_time"], second["shop.db"]["wait_time"]) == (1, 2)
    assert set(off["shop.db"]) == {"wait_time", "use_time", "create_time"}, "histograms stay with the SDK"
    assert off["shop.db"]["wait_time"] == 2
    assert again["shop.db"]["wait_time"] == 3


def test_pools_that_are_reported_too_are_told_as_their_reports_say(tmp_path: Path) -> None:
    program = """
from sqlalchemy import create_engine
poolhouse.otel.instrument(provider())
settings = "plugin=collectd&collectd_interval=0.1&collectd_port=" + os.environ["PORT"]
engine = create_engine("sqlite:///shop.db?" + settings)
other = create_engine("sqlite:///other.db")
with engine.connect(): pass
with other.connect(): pass
end = time.monotonic() + 60
while time.monotonic() < end:
    told()
    poolhouse.flush()
    data = reader.get_metrics_data()
    if any(metric.name.endswith("wait_time") and len(metric.data.data_points) == 2
            for one in data.resource_metrics for scope in one.scope_metrics for metric in scope.metrics):
        break
with engine.connect(): pass
poolhouse.flush()
told()
"""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(30)
        found = run(tmp_path, BEGIN + program, PORT=str(receiver.getsockname()[1]))
        sent = receiver.recv(65536)
    assert b"shop.db" in sent
    assert b"other.db" not in sent
    assert found[-1]["shop.db"]["wait_time"] == 2
    assert found[-1]["other.db"]["wait_time"] == 1


def test_a_pool_that_is_to_be_reported_later_is_reported(tmp_path: Path) -> None:
    program = """
from sqlalchemy import create_engine
poolhouse.otel.instrument(provider())
engine = create_engine("sqlite:///shop.db")
with engine.connect(): pass
told()
poolhouse.instrument(engine, port=int(os.environ["PORT"]))
with engine.connect(): pass
poolhouse.flush()
told()
"""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(30)
        first, second = run(tmp_path, BEGIN + program, PORT=str(receiver.getsockname()[1]))
        assert b"shop.db" in receiver.recv(65536)
    assert (first["shop.db"]["wait_time"], second["shop.db"]["wait_time"]) == (1, 2)


def test_the_api_is_imported_only_when_it_is_asked_for(tmp_path: Path) -> None:
    program = """
assert not any(name.startswith("opentelemetry") for name in sys.modules)
sys.modules["opentelemetry"] = None
try:
    poolhouse.otel.instrument()
except ModuleNotFoundError as error:
    print(json.dumps({"error": str(error), "name": error.name}))
"""
    (found,) = run(tmp_path, BEGIN + program)
    expected = "poolhouse.otel needs opentelemetry-api: pip install '.[otel]' in a checkout of poolhouse"
    assert found["error"] == expected


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with rotel(tmp_path_factory.mktemp("rotel")) as one:
        yield one


def test_a_real_collector_gets_them_from_the_sdks_exporter(tmp_path: Path, real: Rotel) -> None:
    program = """
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from sqlalchemy import create_engine
exporter = OTLPMetricExporter(os.environ["COLLECTOR"] + "/v1/metrics")
provider = MeterProvider([PeriodicExportingMetricReader(exporter, export_interval_millis=3_600_000)])
poolhouse.otel.instrument(provider)
engine = create_engine("sqlite:///shop.db")
with engine.connect():
    time.sleep(0.3)
provider.shutdown()
"""
    run(tmp_path, BEGIN + program, COLLECTOR=real.url, OTEL_SERVICE_NAME="application")
    text = wait_until(lambda: real.newest("application", "db.client.connection.use_time"), 60.0)
    assert "-> Unit: s\n" in text
    assert "Str(shop.db)" in text
    bounds = [float(bound) for bound in re.findall(r"ExplicitBounds #\d+: (\S+)", text)]
    counts = [int(count) for count in re.findall(r"Buckets #\d+, Count: (\d+)", text)]
    assert bounds == [2.0**exponent for exponent in range(-13, 7)], text
    place = counts.index(1)
    assert sum(counts) == 1
    assert bounds[place - 1] < float(re.findall(r"Sum: (\S+)", text)[0]) <= bounds[place]
    assert bounds[place] >= 0.3


def test_the_pages_program_tells_its_pool(tmp_path: Path) -> None:
    (program,) = under(ROOT / "docs" / "howto" / "opentelemetry.md", "In an application", "python")
    (tmp_path / "example.py").write_text(program)
    found = subprocess.run(
        [sys.executable, "-W", "error", "example.py"], capture_output=True, text=True, timeout=120, cwd=tmp_path
    )
    assert (found.returncode, found.stderr) == (0, "")
    told = json.loads(found.stdout)["resource_metrics"][0]["scope_metrics"][0]
    assert told["scope"]["name"] == "poolhouse"
    assert {metric["name"] for metric in told["metrics"]} == {metric.name for metric in METRICS}


def test_tasks_and_greenlets_are_told_exactly(tmp_path: Path) -> None:
    tasks = """
import asyncio
poolhouse.otel.instrument(provider())
from sqlalchemy.ext.asyncio import create_async_engine
engine = create_async_engine("sqlite+aiosqlite:///tasks.db")
async def use():
    async with engine.connect():
        await asyncio.sleep(0.01)
async def main():
    await asyncio.gather(*[use() for _ in range(8)])
    await engine.dispose()
asyncio.run(main())
told()
"""
    greenlets = """
import gevent
from sqlalchemy import create_engine
poolhouse.otel.instrument(provider())
reported = "?plugin=collectd&collectd_port=" + os.environ["PORT"]
engines = [create_engine(f"sqlite:///greenlets.db{more}", pool_size=2) for more in ("", reported)]
end = False
def collect():  # As the SDK's own thread, which is a greenlet here.
    while not end:
        reader.get_metrics_data()
        gevent.sleep(0.001)
collecting = gevent.spawn(collect)
def use(engine):
    for _ in range(50):
        with engine.connect():
            gevent.sleep(0.0001)
gevent.joinall([gevent.spawn(use, engine) for engine in engines for _ in range(4)])
poolhouse.flush()
end = True
collecting.join()
told()
"""
    (found,) = run(tmp_path, BEGIN + tasks)
    assert (found["tasks.db"]["wait_time"], found["tasks.db"]["use_time"]) == (8, 8)
    patched = "from gevent import monkey; monkey.patch_all()\n"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        (found,) = run(tmp_path, patched + BEGIN + greenlets, PORT=str(receiver.getsockname()[1]))
    assert (found["greenlets.db"]["wait_time"], found["greenlets.db"]["use_time"]) == (400, 400)
