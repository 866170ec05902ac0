"""What Prometheus is told, read by prometheus-client's two parsers."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_open_metrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from poolhouse.export.families import CONVENTION, FAMILIES, OWN, Figures, RowTimes, sample_name
from poolhouse.export.prometheus import SAMPLES_OF_TIMES, Exposition
from poolhouse.export.prometheus_formats import OPEN_METRICS, TEXT, Format
from poolhouse.fleet.holders import Line
from poolhouse.fleet.rows import Counted
from poolhouse.fleet.snapshot import Health, NodeState, Row, UserState
from poolhouse.verdicts.verdict import Verdict, parse_line
from support.exported import ROW, counted, durations

PARSERS = {TEXT: parse_text, OPEN_METRICS: parse_open_metrics}
HEALTH = Health(
    received=9,
    refused=2,
    lost=1,
    expected=10,
    over_limit=(("hosts", 2),),
    bytes=5000,
    bytes_limit=1 << 20,
    refusals=(("malformed", 1), ("replayed", 1)),
    users=(UserState("alice", 7, 4, 0.5, 1.0, "web1", "shop", "1:a"), UserState("bob", 2, 0, 0.5, None)),
    nodes=(NodeState("node1", True, None), NodeState("node2", False, 3.5), NodeState("node3", False, None)),
)
REFUSALS = {"http": {"slow": 3}, "consoles": {"full": 5}}
OWN_FIGURES = Figures('0.1 "beta"', HEALTH, 0.25, REFUSALS, 1.5, 1.7e9, 12345, 7, 4)
Found = dict[tuple[str, frozenset[tuple[str, str]]], float]


def text_of(form: Format, *rows: tuple[str | None, str, Counted]) -> str:
    exposition = Exposition(form)
    for row in rows:
        exposition.add(*row)
    return b"".join(exposition.chunks(OWN_FIGURES)).decode()


def samples(form: Format, *rows: tuple[str | None, str, Counted]) -> Found:
    return read(form, text_of(form, *rows))


def read(form: Format, text: str) -> Found:
    found: Found = {}
    for family in PARSERS[form](text):
        for sample in family.samples:
            key = sample.name, frozenset(sample.labels.items())
            assert key not in found
            found[key] = sample.value
    return found


def key(name: str, **labels: str) -> tuple[str, frozenset[tuple[str, str]]]:
    return name, frozenset(labels.items())


@pytest.fixture(params=[TEXT, OPEN_METRICS], ids=["text", "openmetrics"])
def form(request: pytest.FixtureRequest) -> Format:
    return request.param


def test_every_number_of_a_row_is_told_under_its_name(form: Format) -> None:
    found = samples(form, (None, "shop", counted()))
    pool = {"service_name": "shop", "db_client_connection_pool_name": "db1:5432/shop"}
    state = "db_client_connection_state"
    expected = {
        key("db_client_connection_count", **pool, **{state: "idle"}): 1,
        key("db_client_connection_count", **pool, **{state: "used"}): 4,
        key("db_client_connection_count", **pool, **{state: "detached"}): 0,
        key("db_client_connection_idle_max", **pool): 5,
        key("db_client_connection_idle_min", **pool): 2,
        key("db_client_connection_max", **pool): 10,
        key("db_client_connection_pending_requests", **pool): 5,
        key("db_client_connection_timeouts_total", **pool): 8,
        key("poolhouse_checkouts_total", **pool): 1_000_000_007,
        key("poolhouse_connects_total", **pool): 2,
        key("poolhouse_disconnects_total", **pool): 3,
        key("poolhouse_invalidated_total", **pool): 4,
        key("poolhouse_commits_total", **pool): 5,
        key("poolhouse_rollbacks_total", **pool): 6,
        key("poolhouse_transactions_total", **pool): 7,
        key("poolhouse_acquire_errors_total", **pool): 9,
        key("poolhouse_connect_errors_total", **pool): 10,
        key("poolhouse_processes", service_name="shop"): 2,
        key("poolhouse_pools", service_name="shop"): 3,
        key("poolhouse_full_pools", service_name="shop"): 1,
        key("poolhouse_saturated_pools", service_name="shop"): 1,
        key("poolhouse_report_age_seconds", service_name="shop"): 1.25,
    }
    assert {one: value for one, value in found.items() if dict(one[1]).get("service_name")} == expected


def test_lines_and_verdicts_are_told_with_their_labels(form: Format) -> None:
    exposition = Exposition(form)
    line = 'app/"views".py:88 in cart'
    exposition.add_lines([Line("shop", line, 3, 41.5, 100.25), Line("shop", "app/a.py:1 in f", 0, 0.0, 7.0)])
    exposition.add_verdicts(
        [
            Verdict("leak", 1.7e9, "shop", pool="db1:5432/shop", culprit=parse_line(line)),
            Verdict("database_down", 1.6e9, "shop", target="db2:5432/shop"),
            Verdict("no_cpu", 1.5e9, "shop"),
        ]
    )
    found = read(form, b"".join(exposition.chunks(OWN_FIGURES)).decode())
    at = {"service_name": "shop", "code_line": line}
    other = {"service_name": "shop", "code_line": "app/a.py:1 in f"}
    leak = at | {"cause": "leak", "severity": "alarm", "db_client_connection_pool_name": "db1:5432/shop"}
    down = {"cause": "database_down", "severity": "alarm", "db_client_connection_pool_name": "db2:5432/shop"}
    down["service_name"] = "shop"
    no_cpu = {"service_name": "shop", "cause": "no_cpu", "severity": "notice"}
    assert {one: value for one, value in found.items() if dict(one[1]).get("service_name")} == {
        key("poolhouse_line_open_connections", **at): 3,
        key("poolhouse_line_oldest_seconds", **at): 41.5,
        key("poolhouse_line_connection_seconds_total", **at): 100.25,
        key("poolhouse_line_open_connections", **other): 0,
        key("poolhouse_line_oldest_seconds", **other): 0,
        key("poolhouse_line_connection_seconds_total", **other): 7,
        key("poolhouse_verdict", **leak): 1,
        key("poolhouse_verdict_start_time_seconds", **leak): 1.7e9,
        key("poolhouse_verdict", **down): 1,
        key("poolhouse_verdict_start_time_seconds", **down): 1.6e9,
        key("poolhouse_verdict", **no_cpu): 1,
        key("poolhouse_verdict_start_time_seconds", **no_cpu): 1.5e9,
    }


def test_the_daemon_tells_how_it_is_itself(form: Format) -> None:
    assert samples(form) == {
        key("poolhouse_build_info", version='0.1 "beta"'): 1,
        key("poolhouse_datagrams_received_total"): 9,
        key("poolhouse_datagrams_refused_total"): 2,
        key("poolhouse_refusals_total", reason="malformed"): 1,
        key("poolhouse_refusals_total", reason="replayed"): 1,
        key("poolhouse_old_password_datagrams_total", user="alice"): 4,
        key("poolhouse_datagrams_expected_total"): 10,
        key("poolhouse_datagrams_lost_total"): 1,
        key("poolhouse_datagrams_dropped_total"): 0,
        key("poolhouse_over_limit_total", limit="hosts"): 2,
        key("poolhouse_csv_writes_failed_total"): 0,
        key("poolhouse_http_refused_total", reason="slow"): 3,
        key("poolhouse_consoles_refused_total", reason="full"): 5,
        key("poolhouse_otlp_pushes_failed_total"): 4,
        key("poolhouse_fleet_memory_bytes"): 5000,
        key("poolhouse_fleet_memory_limit_bytes"): 1 << 20,
        key("poolhouse_node_missing_seconds", node="node2"): 3.5,
        key("poolhouse_node_missing_seconds", node="node3"): 0,
        key("poolhouse_scrape_duration_seconds"): 0.25,
        key("process_cpu_seconds_total"): 1.5,
        key("process_resident_memory_bytes"): 12345,
        key("process_open_fds"): 7,
        key("process_start_time_seconds"): 1.7e9,
    }


def test_what_is_not_known_is_not_told(form: Format) -> None:
    found = samples(form, (None, "old", counted(Row("old", processes=1), None)))
    assert {one for one in found if dict(one[1]).get("service_name")} == {
        key("poolhouse_processes", service_name="old")
    }


def test_a_row_of_a_host_names_it_and_pools_of_several_names_are_all(form: Format) -> None:
    found = samples(form, ("web1", "shop", counted(pool=None)), ("web2", "shop", counted()))
    labels = {"service_name": "shop", "db_client_connection_pool_name": "all"}
    assert found[key("db_client_connection_max", host_name="web1", **labels)] == 10
    labels["db_client_connection_pool_name"] = "db1:5432/shop"
    assert found[key("db_client_connection_max", host_name="web2", **labels)] == 10


@given(
    st.lists(st.integers(0, 200 * 10**9) | st.integers(10, 37).map(lambda n: 2**n), max_size=60),
    st.integers(-1, 3),
    st.sampled_from([TEXT, OPEN_METRICS]),
)
def test_every_bucket_has_the_true_number(nanoseconds: list[int], scale: int, form: Format) -> None:
    found = samples(form, (None, "shop", counted(wait=durations(*nanoseconds, scale=scale))))
    name = "db_client_connection_wait_time_seconds"
    buckets = {
        float(dict(labels)["le"]): value for (one, labels), value in found.items() if one == f"{name}_bucket"
    }
    exponents = [exponent for exponent in range(-13, 7) if scale >= 0 or exponent % 2 == 0]
    true = {2.0**exponent: sum(ns <= 2.0**exponent * 1e9 for ns in nanoseconds) for exponent in exponents}
    assert buckets == {**true, float("inf"): len(nanoseconds)}
    of_pool = {"service_name": "shop", "db_client_connection_pool_name": "db1:5432/shop"}
    assert found[key(f"{name}_count", **of_pool)] == len(nanoseconds)
    assert found[key(f"{name}_sum", **of_pool)] == pytest.approx(sum(nanoseconds) / 1e9)


def test_bounds_are_written_as_prometheus_writes_them() -> None:
    labels = 'service_name="shop",db_client_connection_pool_name="all"'
    line = f"db_client_connection_wait_time_seconds_bucket{{{labels},le="
    rows = (None, "shop", counted(pool=None, wait=durations(1)))
    assert f'{line}"1"}} 1\n' in text_of(TEXT, rows)
    assert f'{line}"1.0"}} 1\n' in text_of(OPEN_METRICS, rows)
    for form in (TEXT, OPEN_METRICS):
        assert f'{line}"0.0001220703125"}} 1\n' in text_of(form, rows)


@settings(max_examples=40)
@given(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20),
    st.sampled_from([TEXT, OPEN_METRICS]),
)
def test_no_name_breaks_the_text(name: str, form: Format) -> None:
    if "\0" in name or "\r" in name:  # No program has one: the fleet cleans names.
        return
    found = samples(form, (None, name, counted(pool=name, wait=durations(5))))
    assert found[key("poolhouse_processes", service_name=name)] == 2


def test_every_family_is_described_and_typed_and_nothing_else_is_told(form: Format) -> None:
    rows = [(None, "shop", counted(wait=durations(5))), (None, "shop2", counted())]
    families = {family.name: family for family in PARSERS[form](text_of(form, *rows))}
    for family in FAMILIES:
        parsed = families.pop(family.name)
        assert (parsed.documentation, parsed.type) == (family.description, family.kind)
        assert form is TEXT or parsed.unit == family.unit
    assert families == {}
    assert text_of(form, *rows).endswith("# EOF\n") == (form is OPEN_METRICS)


def test_the_nine_metrics_of_the_convention_have_the_names_that_prometheus_makes_of_them() -> None:
    # OpenTelemetry semantic conventions 1.44.0, with instrument and unit.
    convention = {
        "db.client.connection.count": ("gauge", ""),
        "db.client.connection.idle.max": ("gauge", ""),
        "db.client.connection.idle.min": ("gauge", ""),
        "db.client.connection.max": ("gauge", ""),
        "db.client.connection.pending_requests": ("gauge", ""),
        "db.client.connection.timeouts": ("counter", ""),
        "db.client.connection.create_time": ("histogram", "s"),
        "db.client.connection.wait_time": ("histogram", "s"),
        "db.client.connection.use_time": ("histogram", "s"),
    }
    suffix = {("gauge", ""): "", ("counter", ""): "_total", ("histogram", "s"): "_seconds"}
    expected = {name.replace(".", "_") + suffix[form] for name, form in convention.items()}
    assert {sample_name(family) for family in CONVENTION} == expected


def test_samples_are_counted() -> None:
    exposition = Exposition(TEXT)
    exposition.add(None, "shop", counted(wait=durations(5)))
    exposition.add(None, "other", counted(ROW._replace(max_open=None)))
    of_row = 22
    assert exposition.samples == of_row + SAMPLES_OF_TIMES + of_row - 1
    lines = [line for line in b"".join(exposition.chunks(OWN_FIGURES)).decode().splitlines() if "service_" in line]
    assert len(lines) == exposition.samples
    assert sum(isinstance(family, RowTimes) for family in CONVENTION) == 3
    assert len(OWN) == 22
