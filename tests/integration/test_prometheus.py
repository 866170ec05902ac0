"""A real Prometheus scrapes connmond as the README says and answers queries with the truth; promtool checks."""

import json
import re
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml

import poolhouse.export
from poolhouse.export.families import FAMILIES, RowTimes, sample_name
from poolhouse.meter.histogram import Histogram
from poolhouse.meter.reading import Limits
from poolhouse.meter.signs import Finding, PoolSigns, SiteReading
from support.connmond import Connmond, Watcher, program
from support.pages import ROOT, Reader, under
from support.reports import Reporting, report, send
from support.waiting import wait_until

README = ROOT / "README.md"
RULES = Path(poolhouse.export.__file__).with_name("prometheus_rules.yml")
DASHBOARD = RULES.with_name("grafana_dashboard.json")
#: Prometheus' own port, and that of one with native histograms; each reader has a network of their own.
PORT, NATIVE_PORT = 9090, 9091


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    """connmond, a program that reports, and a Prometheus with the README's configuration."""
    (scrape,) = under(README, "Prometheus", "yaml")
    with Reader(tmp_path_factory.mktemp("prometheus")) as reader:
        daemon = reader.start("connmond")
        assert daemon.stdout is not None
        assert any(line.startswith("Watch with") for line in daemon.stdout)
        config = f'global: {{scrape_interval: 1s, evaluation_interval: 1s}}\nrule_files: ["{RULES}"]\n{scrape}'
        (reader.folder / "prometheus.yml").write_text(config)
        prometheus = "prometheus --config.file=prometheus.yml --log.level=error"
        reader.start(f"{prometheus} --storage.tsdb.path=data")
        native = f"--enable-feature=native-histograms --web.listen-address=127.0.0.1:{NATIVE_PORT}"
        reader.start(f"{prometheus} --storage.tsdb.path=native {native}")
        yield reader


def asked(reader: Reader, query: str, port: int = PORT) -> dict[str, float]:
    """What a query gives, by program; empty while Prometheus starts."""
    url = f"http://127.0.0.1:{port}/api/v1/query?{urllib.parse.urlencode({'query': query})}"
    with reader.network.entered():
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                result = json.load(answer)["data"]["result"]
        except OSError:
            return {}
    return {one["metric"].get("service_name", ""): float(one["value"][1]) for one in result}


def waits() -> Histogram:
    """1,000 waits: 980 of a millisecond, 20 of three seconds."""
    histogram = Histogram()
    histogram.record_all([1_000_000] * 980 + [3_000_000_000] * 20)
    return histogram


def test_queries_are_answered_with_the_truth(reader: Reader) -> None:
    truth = {
        "db_client_connection_max": {},
        'db_client_connection_count{db_client_connection_state="used"}': {"shop": 3},
        'db_client_connection_count{db_client_connection_state="idle"}': {"shop": 2},
        "db_client_connection_pending_requests": {"shop": 1},
        "db_client_connection_timeouts_total": {"shop": 4},
        "poolhouse_checkouts_total": {"shop": 1000},
        "db_client_connection_wait_time_seconds_count": {"shop": 1000},
        'db_client_connection_wait_time_seconds_bucket{le="0.0009765625"}': {"shop": 0},
        'db_client_connection_wait_time_seconds_bucket{le="0.001953125"}': {"shop": 980},
        'db_client_connection_wait_time_seconds_bucket{le=~"4(.0)?"}': {"shop": 1000},
        "db_client_connection_wait_time_seconds_sum": {"shop": 60.98},
        "poolhouse_processes": {"shop": 1},
        'count by (service_name) ({service_name="shop", __name__=~"db_.*|poolhouse_.*"})': {"shop": 42},
        'poolhouse_build_info{job="poolhouse"}': {"": 1},
        'up{job="poolhouse"}': {"": 1},
    }
    with reader.network.entered():
        reporting = Reporting("shop", 25827, used=3, idle=2, waiting=1, checkouts=1000, timeouts=4, wait=waits())
    with reporting:
        wait_until(lambda: asked(reader, "db_client_connection_wait_time_seconds_count"), what="a scrape")
        assert {query: asked(reader, query) for query in truth} == truth
        quantile = "histogram_quantile(0.99, db_client_connection_wait_time_seconds_bucket)"
        assert 2 < asked(reader, quantile)["shop"] <= 4  # The bucket that three seconds are in.
        alerts = 'ALERTS{alertname=~"Poolhouse.*", alertstate="firing", service_name="shop"}'
        assert asked(reader, alerts) == {}
    # What has gone is told no more, and Prometheus forgets it at the next scrape.
    wait_until(lambda: not asked(reader, "poolhouse_processes > 0"), what="the program has gone")


def test_quantiles_of_native_histograms_are_those_of_the_true_bucket(reader: Reader) -> None:
    name = "db_client_connection_wait_time_seconds"
    with reader.network.entered():
        reporting = Reporting("native", 25827, used=3, idle=2, waiting=1, checkouts=1000, timeouts=4, wait=waits())

    def native(query: str) -> dict[str, float]:
        found = asked(reader, query, NATIVE_PORT)
        return {program: value for program, value in found.items() if program in ("native", "")}

    with reporting:
        wait_until(lambda: native(f'histogram_count({name}{{service_name="native"}})'), what="a scrape")
        assert native(f"histogram_count({name})") == {"native": 1000}
        assert native(f"histogram_sum({name})") == {"native": 60.98}
        # The bucket that three seconds are in, and the one that a millisecond is in.
        assert 2 ** (12 / 8) < native(f"histogram_quantile(0.99, {name})")["native"] <= 2 ** (13 / 8)
        assert 2 ** (-80 / 8) < native(f"histogram_quantile(0.5, {name})")["native"] <= 2 ** (-79 / 8)
        assert native(f"histogram_fraction(0, 1, {name})")["native"] == pytest.approx(0.98)
        # No classic buckets beside them, and every other number as in the text.
        assert native(f"{name}_bucket") == {}
        told = '{service_name="native", __name__=~"db_.*|poolhouse_.*"}'
        assert native(f"count by (service_name) ({told})") == {"native": 20}
        assert native('db_client_connection_count{db_client_connection_state="used"}') == {"native": 3}
        assert native("poolhouse_checkouts_total") == {"native": 1000}
        assert native('up{job="poolhouse"}') == {"": 1}


@pytest.mark.parametrize("port", [PORT, NATIVE_PORT], ids=["classic", "native"])
def test_names_from_the_network_reach_prometheus_as_they_are_shown(reader: Reader, port: int) -> None:
    name, line = 'shop"\\{a="b"}\n# TYPE é数😀', 'app/vi"ews.py:88 in \\n é数😀'
    signs = PoolSigns(sites=(SiteReading(line, open=3, oldest_s=41.0, held_s=99.5),))
    with reader.network.entered():
        reporting = Reporting(name, 25827, used=3, pool_signs=signs)
    with reporting:
        shown = name.replace("\n", r"\x0a")
        held = "poolhouse_line_open_connections == 3"
        wait_until(lambda: shown in asked(reader, held, port), what="a scrape with the line")
        assert asked(reader, 'db_client_connection_count{db_client_connection_state="used"}', port)[shown] == 3
        written = line.replace("\\", r"\\").replace('"', r"\"")
        query = f'poolhouse_line_open_connections{{code_line="{written}"}}'
        assert asked(reader, query, port) == {shown: 3}
        assert asked(reader, 'up{job="poolhouse"}', port) == {"": 1}


def busy(number: int) -> Histogram:
    """So many times fifty durations of three milliseconds."""
    histogram = Histogram()
    histogram.record_all([3_000_000] * 50 * number)
    return histogram


@pytest.mark.parametrize("port", [PORT, NATIVE_PORT], ids=["classic", "native"])
def test_every_query_of_the_dashboard_has_an_answer(reader: Reader, port: int) -> None:
    line = "app/views.py:88 in cart"
    signs = PoolSigns(sites=(SiteReading(line, open=3, oldest_s=41.0, held_s=99.5),))
    leak = Finding("leak", 1, line, "", 12.0, (3.0, 15.0, 41.0, 4.0, 0.0, 1.0))
    counters = dict.fromkeys(("checkouts", "connects", "disconnects", "timeouts"), lambda number: 50 * number)
    durations: dict[str, Any] = dict.fromkeys(("wait", "use", "create"), busy)
    with reader.network.entered():
        gauges: dict[str, Any] = {"used": 3, "idle": 2, "waiting": 1, "limits": Limits(12, 5, 1)}
        reporting = Reporting(
            "drawn", 25827, pool_signs=signs, findings=(leak,), **gauges, **counters, **durations
        )
    values = {"$job": ".+", "$service_name": "drawn|", "$host_name": ".*", "$__rate_interval": "5s"}
    dashboard = json.loads(DASHBOARD.read_text())
    queries: dict[str, list[str]] = {}
    for panel in dashboard["panels"]:
        for target in panel.get("targets", ()):
            query = target["expr"]
            for name, value in values.items():
                query = query.replace(name, value)
            queries.setdefault(panel["title"], []).append(query)
    with reporting:
        p99 = queries["Acquire"][0]
        wait_until(lambda: asked(reader, p99, port).get("drawn", 0) > 0, what="rates of durations")
        for title, several in queries.items():
            for query in several:  # Rates need two scrapes, and verdicts and lines some reports.
                wait_until(lambda query=query: asked(reader, query, port).keys() & {"drawn", ""}, what=title)
        assert asked(reader, queries["Active of the maximum"][0], port)["drawn"] == 3 / 12
        assert [asked(reader, query, port)["drawn"] for query in queries["Limits"]] == [12, 5, 1]
        assert asked(reader, queries["Active"][0], port)["drawn"] == 3
        assert asked(reader, queries["Idle"][0], port)["drawn"] == 2
        assert asked(reader, queries["Active by line"][0], port)["drawn"] == 3
        assert asked(reader, queries["Saturated pools"][0], port)["drawn"] == 0
        assert 2**-9 < asked(reader, p99, port)["drawn"] <= 2**-8  # The bucket that three milliseconds are in.


def test_the_rules_are_right_and_alert_as_they_should(tmp_path: Path) -> None:
    text = (ROOT / "tests" / "support" / "prometheus_rules_test.yml").read_text()
    (page,) = under(ROOT / "docs" / "reference" / "prometheus.md", "Near the limit of a database", "yaml")
    own = tmp_path / "own.yml"
    own.write_text(page)
    (tmp_path / "test.yml").write_text(text.replace("RULES", str(RULES)).replace("PAGE", str(own)))
    for command in (["check", "rules", str(RULES), str(own)], ["test", "rules", str(tmp_path / "test.yml")]):
        done = subprocess.run(["promtool", *command], capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_the_rules_use_only_metrics_that_exist_and_every_alert_is_tested() -> None:
    told = {sample_name(family) for family in FAMILIES}
    told |= {f"{family.name}_bucket" for family in FAMILIES if isinstance(family, RowTimes)}
    rules = RULES.read_text()
    recorded = set(re.findall(r"record: (\S+)", rules))
    expressions = re.sub(r"annotations:\n(?: {10,}.*\n)+|#.*", "", rules)
    used = set(re.findall(r"(?<![\w:.])(?:db_client_\w+|poolhouse_\w+)", expressions))
    used -= {"db_client_connection_state", "db_client_connection_pool_name"}
    assert used <= told, used - told
    assert set(re.findall(r"serv(?:ice|er):[\w:]+", expressions)) == recorded
    tested = (ROOT / "tests" / "support" / "prometheus_rules_test.yml").read_text()
    alerts = set(re.findall(r"- alert: (\w+)", rules))
    assert alerts - set(re.findall(r"alertname: (\w+)", tested)) == {"PoolhouseMemoryFull"}


def test_the_configurations_of_the_page_are_right(tmp_path: Path) -> None:
    for text in under(ROOT / "docs" / "howto" / "prometheus.md", "Scrape connmond", "yaml", "yaml"):
        (tmp_path / "prometheus.yml").write_text(text)
        command = ["promtool", "check", "config", str(tmp_path / "prometheus.yml")]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_connmond_in_the_compose_file_answers_prometheus(tmp_path: Path) -> None:
    compose = yaml.safe_load((ROOT / "examples" / "monitoring" / "compose.yaml").read_text())
    with Reader(tmp_path) as reader:
        reader.start(" ".join(["connmond", *compose["services"]["connmond"]["command"]]))
        # Prometheus asks by the service's name.
        request = urllib.request.Request("http://127.0.0.1:25829/metrics", headers={"Host": "connmond:25829"})

        def answered() -> bytes:
            with suppress(OSError), urllib.request.urlopen(request, timeout=10) as answer:
                return bytes(answer.read())
            return b""

        with reader.network.entered():
            assert b"poolhouse_build_info" in wait_until(answered, what="an answer")


def test_promtool_finds_nothing_in_the_metrics_but_the_name_that_the_convention_has() -> None:
    with Connmond("--http", "127.0.0.1:0") as daemon, Watcher(daemon.consoles) as watcher:
        send(report("shop", interval=60.0, used=3, wait=waits(), use=waits(), create=waits()), daemon.reports)
        watcher.wait_for(lambda snapshot: program(snapshot, "shop"))
        url = f"http://127.0.0.1:{daemon.http}/metrics"
        with urllib.request.urlopen(url, timeout=30) as answer:
            text = answer.read()
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=text, capture_output=True, timeout=60, check=False
    )
    complaints = done.stderr.decode().splitlines()
    assert complaints == [
        'db_client_connection_count non-histogram and non-summary metrics should not have "_count" suffix'
    ]
