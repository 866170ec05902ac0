"""The collector in real processes: which pools it tells, across forks and ends, and without prometheus-client."""

import subprocess
import sys
from pathlib import Path

import pytest

#: Before each program: what a registry is told, as a dictionary of samples.
START = """
import os, sqlite3, sys, time
from prometheus_client import CollectorRegistry
from sqlalchemy import create_engine
import poolhouse, poolhouse.prometheus

registry = CollectorRegistry()
registry.register(poolhouse.prometheus.collector())

def told(name, **labels):
    return registry.get_sample_value("db_client_connection_" + name, {
        "db_client_connection_" + label: value for label, value in labels.items()
    })

def wait_for(value, name, **labels):
    deadline = time.monotonic() + 30
    while told(name, **labels) != value:
        assert time.monotonic() < deadline, (name, labels, told(name, **labels))
        time.sleep(0.01)

engine = create_engine("sqlite:///shop.db", pool_size=3, max_overflow=0)
"""


def run(program: str, folder: Path, **environment: str) -> str:
    """What a program prints."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        cwd=folder,
        env={"PATH": "/usr/bin:/bin", **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_engines_and_our_pools_are_told_and_what_has_ended_stays(tmp_path: Path) -> None:
    run(
        START
        + """
connection = engine.connect()
wait_for(1, "count", pool_name="shop.db", state="used")
wait_for(3, "max", pool_name="shop.db")
connection.close()
wait_for(0, "count", pool_name="shop.db", state="used")
wait_for(1, "use_time_seconds_count", pool_name="shop.db")

options = {"driver": sqlite3, "kwargs": {"check_same_thread": False}, "min_size": 1, "max_size": 2}
with poolhouse.ConnectionPool("own.db", name="own", **options) as pool:
    with pool.connection():
        wait_for(1, "count", pool_name="own", state="used")
    for _ in range(4):
        with pool.connection():
            pass
    wait_for(5, "wait_time_seconds_count", pool_name="own")
wait_for(None, "max", pool_name="own")
wait_for(5, "wait_time_seconds_count", pool_name="own")
# A later pool of the same name goes on from there, also when the first one is no longer reported.
with poolhouse.ConnectionPool("own.db", name="own", **options) as pool:
    time.sleep(1)
    with pool.connection():
        pass
    wait_for(6, "wait_time_seconds_count", pool_name="own")
""",
        tmp_path,
    )


def test_a_forked_child_tells_its_own_pools_only(tmp_path: Path) -> None:
    run(
        START
        + """
for _ in range(5):
    engine.connect().close()
wait_for(5, "wait_time_seconds_count", pool_name="shop.db")
child = os.fork()
if not child:
    engine.dispose(close=False)
    assert told("wait_time_seconds_count", pool_name="shop.db") is None
    engine.connect().close()
    wait_for(1, "wait_time_seconds_count", pool_name="shop.db")
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
wait_for(5, "wait_time_seconds_count", pool_name="shop.db")
""",
        tmp_path,
    )


@pytest.mark.parametrize(
    "url",
    [
        "sqlite:///shop.db?plugin=collectd&collectd_host=127.0.0.1&collectd_port=1&collectd_interval=0.1",
        "sqlite:///shop.db?plugin=collectd&collectd_host=nowhere.invalid&collectd_interval=0.1",
    ],
)
def test_pools_that_are_reported_are_told_as_of_the_newest_report(url: str, tmp_path: Path) -> None:
    run(
        START
        + f"""
engine = create_engine({url!r})
for number in range(3):
    engine.connect().close()
wait_for(3, "wait_time_seconds_count", pool_name="shop.db")
engine.connect().close()
wait_for(4, "wait_time_seconds_count", pool_name="shop.db")
assert told("count", pool_name="shop.db", state="idle") == 1
""",
        tmp_path,
    )


def test_beside_opentelemetry_each_counts_everything_once(tmp_path: Path) -> None:
    run(
        """
import poolhouse.otel
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
reader = InMemoryMetricReader()
poolhouse.otel.instrument(MeterProvider([reader]))
"""
        + START
        + """
def collected():
    data = reader.get_metrics_data()
    found = [
        point.count
        for resource in (data.resource_metrics if data else ())
        for scope in resource.scope_metrics
        for metric in scope.metrics if metric.name == "db.client.connection.wait_time"
        for point in metric.data.data_points
        if point.attributes["db.client.connection.pool.name"] == "own"
    ]
    return sum(found)

collected()
options = {"driver": sqlite3, "kwargs": {"check_same_thread": False}, "min_size": 1, "open": True}
pool = poolhouse.ConnectionPool("own.db", name="own", **options)
for number in range(1, 6):
    with pool.connection():
        pass
    assert told("wait_time_seconds_count", pool_name="own") == number
    assert collected() == number
for _ in range(2):
    with pool.connection():
        pass
pool.close()
# The last reading comes once: one reads it, and the other is told.
wait_for(None, "max", pool_name="own")
assert told("wait_time_seconds_count", pool_name="own") == 7
assert collected() == 7
""",
        tmp_path,
    )


def test_with_several_processes_it_warns_and_the_shared_files_have_none_of_it(tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    printed = run(
        START
        + """
from prometheus_client import Counter, generate_latest, multiprocess
engine.connect().close()
wait_for(1, "wait_time_seconds_count", pool_name="shop.db")
Counter("orders", "Orders.").inc()
shared = CollectorRegistry()
multiprocess.MultiProcessCollector(shared)
assert b"orders_total 1.0" in generate_latest(shared)
assert b"db_client_connection" not in generate_latest(shared)
# Registered beside, it tells the process that answers.
shared.register(poolhouse.prometheus.collector())
assert b"db_client_connection_wait_time_seconds_count" in generate_latest(shared)
""",
        tmp_path,
        PROMETHEUS_MULTIPROC_DIR=str(tmp_path / "shared"),
    )
    assert "PROMETHEUS_MULTIPROC_DIR is set" in printed


def test_nothing_is_imported_before_and_a_sentence_says_what_is_missing(tmp_path: Path) -> None:
    printed = run(
        """
import sys
import poolhouse, poolhouse.prometheus
assert "prometheus_client" not in sys.modules
assert "poolhouse.report.reporter" not in sys.modules
sys.modules["prometheus_client"] = None
try:
    poolhouse.prometheus.collector()
except ModuleNotFoundError as error:
    print(error)
""",
        tmp_path,
    )
    assert printed.startswith("poolhouse.prometheus needs prometheus-client: pip install '.[prometheus]'")


@pytest.mark.parametrize("value", ["collectd://", "nonsense://x"])
def test_a_wrong_environment_is_logged_and_costs_no_scrape(value: str, tmp_path: Path) -> None:
    run(
        START + "engine.connect().close()\nassert told('max', pool_name='x') is None",
        tmp_path,
        POOLHOUSE_REPORT=value,
    )


def test_where_attaching_is_forbidden_only_pools_that_say_so_themselves_are_told(tmp_path: Path) -> None:
    run(
        START
        + """
engine.connect().close()
asked = create_engine("sqlite:///asked.db?plugin=poolhouse&poolhouse_port=9")
held = asked.connect()
pool = poolhouse.ConnectionPool("ours.db", driver=sqlite3, kwargs={"check_same_thread": False}, open=True)
wait_for(1, "count", pool_name="asked.db", state="used")
assert told("max", pool_name="ours.db") is not None
assert told("max", pool_name="shop.db") is None
held.close()
pool.close()
""",
        tmp_path,
        POOLHOUSE_DISABLE="1",
    )
