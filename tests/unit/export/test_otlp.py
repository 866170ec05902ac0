"""What connmond pushes, read back by OpenTelemetry's own messages."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    AGGREGATION_TEMPORALITY_CUMULATIVE,
    ExponentialHistogramDataPoint,
    ResourceMetrics,
)

from poolhouse.export import protobuf
from poolhouse.export.convention import METRICS, SCHEMA_URL, prometheus_name
from poolhouse.export.families import CONVENTION, FAMILIES, OWN, ROW_FAMILIES, Figures, sample_name
from poolhouse.export.otlp import Otlp, attributes_of, open_name
from poolhouse.fleet.distribution import distribution_of
from poolhouse.fleet.holders import Line
from poolhouse.fleet.rows import Counted
from poolhouse.fleet.snapshot import Health, NodeState, Totals
from poolhouse.meter.histogram import BOUNDS, Histogram
from poolhouse.verdicts.verdict import Verdict, parse_line
from support.collector import NO_VALUE, attributes, metrics, points
from support.exported import ROW, counted, durations

POOL, STATE = "db.client.connection.pool.name", "db.client.connection.state"
START, NOW = 1_700_000_000_000_000_001, 1_800_000_000_000_000_003
HEALTH = Health(received=9, over_limit=(("hosts", 2),), nodes=(NodeState("node2", False, 3.5),))
REFUSALS = {"http": {"slow": 3}}
FIGURES = Figures('0.1 "beta"', HEALTH, None, REFUSALS, 1.5, 1.7e9, 12345, 7, 4)


def otlp() -> Otlp:
    return Otlp("0.1", {"service.name": "connmond", "service.instance.id": "a"}, {"deployment": "test"})


def push(told: Otlp, *rows: tuple[str, Counted], time: int = NOW) -> dict[str, ResourceMetrics]:
    """One push, by the Resource's name."""
    told.begin(time)
    pieces = [told.add(program, row, START) for program, row in rows]
    pieces += told.end(FIGURES, START)
    request = ExportMetricsServiceRequest.FromString(b"".join(pieces))
    return {attributes(one.resource)["service.name"]: one for one in request.resource_metrics}


def numbers(resource: ResourceMetrics) -> dict[tuple[str, frozenset[tuple[str, str]]], Any]:
    """Values by name and attributes; ``None`` for a mark."""
    return {
        (name, frozenset(attributes(point).items())): (
            None if point.flags & NO_VALUE else getattr(point, point.WhichOneof("value"))
        )
        for name, metric in metrics(resource).items()
        if metric.WhichOneof("data") != "exponential_histogram"
        for point in points(metric)
    }


def key(name: str, **more: str) -> tuple[str, frozenset[tuple[str, str]]]:
    given = {POOL: "db1:5432/shop"} if more.pop("pool", "yes") == "yes" else {}
    return name, frozenset({**given, **({STATE: more["state"]} if "state" in more else {})}.items())


def marked(resource: ResourceMetrics) -> set[tuple[str, frozenset[tuple[str, str]]]]:
    """The series that have ended."""
    return {
        (name, frozenset(attributes(point).items()))
        for name, metric in metrics(resource).items()
        for point in points(metric)
        if point.flags & NO_VALUE
    }


def test_every_number_of_a_program_is_told_under_its_name() -> None:
    row = ROW._replace(totals=ROW.totals._replace(checkouts=2**40))
    resource = push(otlp(), ("shop", counted(row)))["shop"]
    assert attributes(resource.resource) == {"service.name": "shop", "deployment": "test"}
    (scope,) = resource.scope_metrics
    assert (scope.scope.name, scope.scope.version, scope.schema_url) == ("poolhouse", "0.1", SCHEMA_URL)
    assert numbers(resource) == {
        key("db.client.connection.count", state="idle"): 1,
        key("db.client.connection.count", state="used"): 4,
        key("db.client.connection.count", state="detached"): 0,
        key("db.client.connection.idle.max"): 5,
        key("db.client.connection.idle.min"): 2,
        key("db.client.connection.max"): 10,
        key("db.client.connection.pending_requests"): 5,
        key("db.client.connection.timeouts"): 8,
        key("poolhouse.checkouts"): 2**40,
        key("poolhouse.connects"): 2,
        key("poolhouse.disconnects"): 3,
        key("poolhouse.invalidated"): 4,
        key("poolhouse.commits"): 5,
        key("poolhouse.rollbacks"): 6,
        key("poolhouse.transactions"): 7,
        key("poolhouse.acquire_errors"): 9,
        key("poolhouse.connect_errors"): 10,
        key("poolhouse.processes", pool="no"): 2,
        key("poolhouse.pools", pool="no"): 3,
        key("poolhouse.full_pools", pool="no"): 1,
        key("poolhouse.saturated_pools", pool="no"): 1,
        key("poolhouse.report_age", pool="no"): 1.25,
    }


def test_instruments_units_and_descriptions_are_those_of_the_convention() -> None:
    told = metrics(push(otlp(), ("shop", counted(wait=durations(5))))["shop"])
    for metric in METRICS:
        if metric.name not in told:
            assert metric.name.endswith(("create_time", "use_time"))
            continue
        found = told[metric.name]
        assert (found.unit, found.description) == (metric.unit, metric.description)
        if metric.instrument == "histogram":
            assert found.exponential_histogram.aggregation_temporality == AGGREGATION_TEMPORALITY_CUMULATIVE
            continue
        assert found.sum.is_monotonic is (metric.instrument == "counter")
        assert found.sum.aggregation_temporality == AGGREGATION_TEMPORALITY_CUMULATIVE
    assert told["poolhouse.processes"].WhichOneof("data") == "gauge"
    assert told["poolhouse.checkouts"].sum.is_monotonic
    assert told["poolhouse.report_age"].unit == "s"
    for metric in told.values():
        for point in points(metric):
            assert (point.start_time_unix_nano, point.time_unix_nano) == (START, NOW)


def test_prometheus_makes_its_names_of_ours() -> None:
    for family in FAMILIES:
        name, unit = open_name(family)
        made = prometheus_name(name, unit) + ("_bytes" if unit == "By" else "")
        assert family.name.startswith("process_") or made == family.name, sample_name(family)
    assert [open_name(family)[0] for family in CONVENTION] == [metric.name for metric in METRICS]


def histogram_point(histogram: Histogram) -> ExponentialHistogramDataPoint:
    told = metrics(push(otlp(), ("shop", counted(wait=histogram)))["shop"])
    (point,) = points(told["db.client.connection.wait_time"])
    assert attributes(point) == {POOL: "db1:5432/shop"}
    return point


@given(
    st.lists(st.integers(0, 2 * 10**12) | st.sampled_from([int(bound * 1e9) for bound in BOUNDS]), max_size=30),
    st.integers(-1, 3),
)
def test_a_histogram_has_the_true_buckets(nanoseconds: list[int], scale: int) -> None:
    histogram = durations(*nanoseconds, scale=scale)
    point = histogram_point(histogram)
    assert (point.scale, point.zero_threshold) == (scale, 2.0**-20)
    assert (point.count, point.zero_count) == (histogram.count, histogram.zero)
    assert point.sum == pytest.approx(sum(nanoseconds) / 1e9)
    assert not point.HasField("max")
    base = 2.0 ** (2.0**-scale)
    expected: dict[int, int] = {}
    for place, count in enumerate(histogram.counts):
        if count:
            expected[int(-20 * 2.0**scale) + place] = count
    told = {point.positive.offset + at: n for at, n in enumerate(point.positive.bucket_counts) if n}
    assert told == expected
    for nanosecond in nanoseconds:
        seconds = nanosecond / 1e9
        if 2.0**-20 < seconds <= 2.0**10:  # One nanosecond on either side is the rounding of a bound.
            low, high = (seconds - 1e-9) / base, (seconds + 1e-9) * base
            assert any(low <= base**index <= high for index in told)


def test_one_wait_is_in_the_bucket_that_the_data_model_says() -> None:
    point = histogram_point(durations(1_000_000_000, 1_000_000_001))
    # (2**-1/8, 1] is bucket -1 at scale 3, and (1, 2**1/8] is bucket 0.
    assert (point.positive.offset, list(point.positive.bucket_counts)) == (-1, [1, 1])


@given(st.lists(st.integers(0, 2**48), max_size=50))
def test_numbers_are_packed_as_varints(counts: list[int]) -> None:
    buckets = ExponentialHistogramDataPoint.Buckets(offset=-7, bucket_counts=counts)
    packed = protobuf.packed(counts)
    written = protobuf.tag(1, protobuf.VARINT) + protobuf.zigzag(-7)
    assert buckets.SerializeToString() == written + (protobuf.message(2, packed) if counts else b"")


def test_what_nobody_knows_is_not_told() -> None:
    row = ROW._replace(max_open=None, waiting=None, totals=Totals(checkouts=3))
    told = metrics(push(otlp(), ("shop", counted(row)))["shop"])
    assert "db.client.connection.max" not in told
    assert "db.client.connection.pending_requests" not in told
    assert "db.client.connection.timeouts" not in told
    assert "db.client.connection.wait_time" not in told
    assert "poolhouse.checkouts" in told


def test_pools_of_several_names_are_called_all() -> None:
    resource = push(otlp(), ("shop", counted(pool=None)))["shop"]
    assert {attributes(point).get(POOL) for point in points(metrics(resource)["db.client.connection.max"])} == {
        "all"
    }


def test_names_from_the_network_are_text_whatever_they_hold() -> None:
    resource = push(otlp(), ('a"b\\c\n', counted(pool="x\udc80\x00y")))
    (name,) = (name for name in resource if name != "connmond")
    assert name == 'a"b\\c\n'
    assert "\x00" not in str(numbers(resource[name]).keys())


def test_a_program_that_is_gone_is_marked_once() -> None:
    told = otlp()
    first = push(told, ("shop", counted(wait=durations(5))), ("cart", counted()))
    told.delivered()
    second = push(told, ("cart", counted()))
    expected = set(numbers(first["shop"])) | {key("db.client.connection.wait_time")}
    assert marked(second["shop"]) == expected
    assert all(point.time_unix_nano == NOW for one in metrics(second["shop"]).values() for point in points(one))
    assert not marked(second["cart"])
    told.delivered()
    assert "shop" not in push(told, ("cart", counted()))


def test_a_mark_is_repeated_until_a_push_has_arrived() -> None:
    told = otlp()
    push(told, ("shop", counted()))
    told.delivered()
    for _ in range(2):
        assert marked(push(told)["shop"])
        told.failed()
    assert marked(push(told)["shop"])
    told.delivered()
    assert "shop" not in push(told)


def test_what_a_failed_push_may_have_begun_is_marked_too() -> None:
    told = otlp()
    push(told, ("shop", counted()))
    told.failed()
    assert marked(push(told)["shop"])


def test_a_series_that_ends_is_marked_while_its_program_goes_on() -> None:
    told = otlp()
    push(told, ("shop", counted(wait=durations(5))))
    told.delivered()
    second = push(told, ("shop", counted(ROW._replace(max_open=None))))["shop"]
    assert marked(second) == {key("db.client.connection.max"), key("db.client.connection.wait_time")}


def test_a_program_whose_pools_get_a_second_name_ends_the_series_of_the_first() -> None:
    told = otlp()
    first = push(told, ("shop", counted()))["shop"]
    told.delivered()
    request = push(told, ("shop", counted(pool=None)))["shop"]
    ended = set()
    for metric in request.scope_metrics[0].metrics:
        for point in points(metric):
            if point.flags & NO_VALUE:
                ended.add((metric.name, frozenset(attributes(point).items())))
    of_pools = {one for one in numbers(first) if (POOL, "db1:5432/shop") in one[1]}
    assert ended == of_pools


def test_the_daemon_has_a_resource_of_its_own() -> None:
    resource = push(otlp())["connmond"]
    assert attributes(resource.resource) == {
        "service.name": "connmond",
        "service.instance.id": "a",
        "deployment": "test",
    }
    told = metrics(resource)
    assert {open_name(family)[0] for family in OWN} >= set(told)
    assert points(told["poolhouse.datagrams_received"])[0].as_int == 9
    assert points(told["poolhouse.otlp_pushes_failed"])[0].as_int == 4
    assert attributes(points(told["poolhouse.build_info"])[0]) == {"version": '0.1 "beta"'}
    assert attributes(points(told["poolhouse.over_limit"])[0]) == {"limit": "hosts"}
    assert told["poolhouse.fleet_memory"].unit == "By"
    assert points(told["process.cpu.time"])[0].as_double == 1.5
    assert points(told["poolhouse.node_missing"])[0].as_double == 3.5


LEAK = Verdict("leak", 1.7e9, "shop", pool="db1:5432/shop", culprit=parse_line("app/views.py:88 in cart"))
NO_CPU = Verdict("no_cpu", 1.6e9, "shop")


def verdicts(resource: ResourceMetrics, name: str = "poolhouse.verdict") -> dict[str, float | None]:
    """Values by cause; ``None`` for a mark."""
    metric = metrics(resource).get(name)
    return {
        attributes(point)["cause"]: None if point.flags & NO_VALUE else getattr(point, point.WhichOneof("value"))
        for point in (points(metric) if metric else ())
    }


def judged(told: Otlp, *found: Verdict, time: int = NOW) -> ResourceMetrics:
    told.begin(time)
    pieces = [told.add("shop", counted(), START, (), found), *told.end(FIGURES, START)]
    (shop, _) = ExportMetricsServiceRequest.FromString(b"".join(pieces)).resource_metrics
    return shop


def test_verdicts_are_told_with_what_they_name() -> None:
    resource = judged(otlp(), LEAK, NO_CPU)
    assert verdicts(resource) == {"leak": 1, "no_cpu": 1}
    assert verdicts(resource, "poolhouse.verdict_start_time") == {"leak": 1.7e9, "no_cpu": 1.6e9}
    told = [attributes(point) for point in points(metrics(resource)["poolhouse.verdict"])]
    leak = {"cause": "leak", "severity": "alarm", POOL: "db1:5432/shop", "code_line": "app/views.py:88 in cart"}
    assert leak in told
    assert {"cause": "no_cpu", "severity": "notice"} in told


def test_a_verdict_that_ends_is_marked_once() -> None:
    told = otlp()
    judged(told, LEAK, NO_CPU)
    told.failed()
    assert verdicts(judged(told, NO_CPU)) == {"leak": None, "no_cpu": 1}
    told.delivered()
    assert verdicts(judged(told, NO_CPU)) == {"no_cpu": 1}
    told.delivered()
    assert verdicts(push(told)["shop"]) == {"no_cpu": None}, "of a program that is gone, too"
    told.delivered()
    assert verdicts(judged(told)) == {}


CART, MAIL = (
    Line("shop", "app/views.py:88 in cart", 3, 41.0, 99.5),
    Line("shop", "app/mail.py:7 in send", 0, 0.0, 2.5),
)
LINE_NAMES = ("open_connections", "oldest", "connection")


def lines(told: Otlp, *found: Line) -> dict[str, list[float | None]]:
    """The three values of each line in a push; ``None`` for a mark."""
    told.begin(NOW)
    pieces = [told.add("shop", counted(), START, found), *told.end(FIGURES, START)]
    (shop, _) = ExportMetricsServiceRequest.FromString(b"".join(pieces)).resource_metrics
    values: dict[str, list[float | None]] = {}
    for (name, labels), value in numbers(shop).items():
        if name.startswith("poolhouse.line_"):
            values.setdefault(dict(labels)["code_line"], []).append(value)
    return values


def test_lines_that_hold_connections_are_told_and_their_ends_are_marked_once() -> None:
    told = otlp()
    assert lines(told, CART, MAIL) == {CART.site: [3, 41.0, 99.5], MAIL.site: [0, 0.0, 2.5]}
    told.failed()
    assert lines(told, MAIL) == {CART.site: [None] * 3, MAIL.site: [0, 0.0, 2.5]}
    told.delivered()
    assert lines(told, MAIL) == {MAIL.site: [0, 0.0, 2.5]}
    told.delivered()
    again = lines(told, CART, MAIL)
    assert again[CART.site] == [3, 41.0, 99.5], "it goes on where it was"
    told.delivered()
    ends = {name for name, labels in marked(push(told)["shop"]) if "code_line" in dict(labels)}
    assert ends == {f"poolhouse.line_{name}" for name in LINE_NAMES}


def test_what_a_line_has_held_counts_from_the_rows_begin() -> None:
    told = otlp()
    told.begin(NOW)
    request = ExportMetricsServiceRequest.FromString(told.add("shop", counted(), START, (CART,)))
    metric = metrics(request.resource_metrics[0])["poolhouse.line_connection"]
    assert metric.sum.is_monotonic
    assert metric.sum.aggregation_temporality == AGGREGATION_TEMPORALITY_CUMULATIVE
    assert metric.unit == "s"
    (point,) = points(metric)
    assert (point.start_time_unix_nano, point.time_unix_nano) == (START, NOW)


def test_no_point_begins_after_its_time() -> None:
    resource = push(otlp(), ("shop", counted()), time=START - 1)["shop"]
    for metric in metrics(resource).values():
        for point in points(metric):
            assert point.start_time_unix_nano <= point.time_unix_nano


@given(st.dictionaries(st.sampled_from("abc"), st.text(max_size=9), max_size=3))
def test_labels_are_read_as_they_were_written(labels: dict[str, str]) -> None:
    from poolhouse.export.families import escaped

    text = ",".join(f'{name}="{escaped(value)}"' for name, value in labels.items())
    assert dict(attributes_of(text)) == labels


def test_all_families_of_programs_are_pushed() -> None:
    whole = Counted(ROW, "x", *[distribution_of(durations(5))] * 3)
    told = metrics(push(otlp(), ("shop", whole))["shop"])
    assert list(told) == [open_name(family)[0] for family in ROW_FAMILIES]
