"""What the collector tells a registry of the pools that were read."""

import logging

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_open_metrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_open_metrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from poolhouse.export.convention import METRICS, prometheus_name
from poolhouse.meter.histogram import Histogram
from poolhouse.meter.reading import Counters, Gauges, Limits, PoolReading
from poolhouse.prometheus import collector
from poolhouse.prometheus.pools import PoolCollector
from poolhouse.prometheus.sums import Sums
from support.unread import Source

NAME = "db_client_connection_pool_name"


def waits(*nanoseconds: int, scale: int = 3) -> Histogram:
    histogram = Histogram()
    histogram.record_all(nanoseconds)
    histogram.downscale(scale)
    return histogram


SHOP = PoolReading(
    1,
    "db1:5432/shop",
    "QueuePool",
    limits=Limits(10, 5, 2),
    gauges=Gauges(idle=1, used=4, detached=0, waiting=3),
    counters=Counters(timeouts=8),
    wait=waits(1_000_000, 1_000_000, 3_000_000_000),
)


@pytest.fixture
def sums(monkeypatch: pytest.MonkeyPatch) -> Sums:
    """Sums without a pool; every collector tells them."""
    made = Sums()
    monkeypatch.setattr("poolhouse.prometheus.pools.SUMS", made)
    return made


def told(sums: Sums, *readings: PoolReading) -> CollectorRegistry:
    """A registry with a collector, after a report of these pools."""
    sums.tell([(Source(), reading) for reading in readings])
    registry = CollectorRegistry()
    registry.register(PoolCollector())
    return registry


def test_the_nine_metrics_are_told_for_each_name(sums: Sums) -> None:
    registry = told(sums, SHOP, PoolReading(2, "", "QueuePool", gauges=Gauges(used=7)))
    shop, other = {NAME: "db1:5432/shop"}, {NAME: "QueuePool"}
    state = "db_client_connection_state"
    for parse, write in ((parse_text, generate_latest), (parse_open_metrics, generate_open_metrics)):
        families = {family.name: family for family in parse(write(registry).decode())}
        assert families.keys() == {prometheus_name(metric.name, metric.unit) for metric in METRICS}
        for metric in METRICS:
            assert families[prometheus_name(metric.name, metric.unit)].documentation == metric.description
    value = registry.get_sample_value
    assert value("db_client_connection_count", {**shop, state: "used"}) == 4
    assert value("db_client_connection_count", {**shop, state: "idle"}) == 1
    assert value("db_client_connection_count", {**other, state: "used"}) == 7
    assert value("db_client_connection_max", shop) == 10
    assert value("db_client_connection_max", other) is None
    assert value("db_client_connection_idle_max", shop) == 5
    assert value("db_client_connection_idle_min", shop) == 2
    assert value("db_client_connection_pending_requests", shop) == 3
    assert value("db_client_connection_timeouts_total", shop) == 8
    waited = "db_client_connection_wait_time_seconds"
    assert value(f"{waited}_count", shop) == 3
    assert value(f"{waited}_sum", shop) == 3.002
    assert value(f"{waited}_bucket", {**shop, "le": "0.0009765625"}) == 0
    assert value(f"{waited}_bucket", {**shop, "le": "0.001953125"}) == 2
    assert value(f"{waited}_bucket", {**shop, "le": "4.0"}) == 3
    assert value("db_client_connection_use_time_seconds_count", shop) is None


def test_pools_of_the_same_name_are_added_up(sums: Sums) -> None:
    value = told(sums, SHOP, SHOP, SHOP).get_sample_value
    assert value("db_client_connection_timeouts_total", {NAME: SHOP.name}) == 24
    assert value("db_client_connection_max", {NAME: SHOP.name}) == 30
    assert value("db_client_connection_wait_time_seconds_count", {NAME: SHOP.name}) == 9


def test_of_pools_that_have_ended_only_counts_are_told_and_those_go_on(sums: Sums) -> None:
    first = Source()
    registry = told(sums)
    value = registry.get_sample_value
    sums.tell([(first, SHOP)])
    assert value("db_client_connection_max", {NAME: SHOP.name}) == 10
    # It has ended, and its last reading has not come yet.
    first.gone = True
    assert value("db_client_connection_max", {NAME: SHOP.name}) is None
    sums.tell([(first, SHOP._replace(pools=0, gauges=Gauges(), counters=Counters(timeouts=9)))])
    assert value("db_client_connection_timeouts_total", {NAME: SHOP.name}) == 9
    sums.tell([(Source(), SHOP)])
    assert value("db_client_connection_timeouts_total", {NAME: SHOP.name}) == 17
    assert value("db_client_connection_wait_time_seconds_count", {NAME: SHOP.name}) == 6


def test_what_is_measured_and_has_not_happened_is_0(sums: Sums) -> None:
    value = told(sums, SHOP._replace(wait=Histogram(), create=None)).get_sample_value
    assert value("db_client_connection_wait_time_seconds_count", {NAME: SHOP.name}) == 0
    assert value("db_client_connection_create_time_seconds_count", {NAME: SHOP.name}) is None


def test_a_coarse_histogram_has_half_of_the_bounds(sums: Sums) -> None:
    registry = told(sums, SHOP._replace(wait=waits(3_000_000_000, scale=-1)))
    bounds = [
        sample.labels["le"]
        for family in registry.collect()
        for sample in family.samples
        if sample.name == "db_client_connection_wait_time_seconds_bucket"
    ]
    assert bounds == [str(2.0**power) for power in range(-12, 7, 2)] + ["+Inf"]


def test_names_are_cleaned(sums: Sums) -> None:
    registry = told(sums, SHOP._replace(name='a\x1b"\n\\'), SHOP._replace(name='a\x1c"\n\\'))
    assert registry.get_sample_value("db_client_connection_max", {NAME: 'a·"·\\'}) == 20


def test_while_another_thread_collects_the_figures_before_are_told(sums: Sums) -> None:
    value = told(sums, SHOP).get_sample_value
    assert value("db_client_connection_timeouts_total", {NAME: SHOP.name}) == 8
    sums.tell([(Source(), SHOP)])
    assert sums._turn.acquire(timeout=0)
    assert value("db_client_connection_timeouts_total", {NAME: SHOP.name}) == 8
    sums._turn.release()
    assert value("db_client_connection_timeouts_total", {NAME: SHOP.name}) == 16


def test_every_call_makes_a_collector(monkeypatch: pytest.MonkeyPatch) -> None:
    prepared: list[None] = []
    monkeypatch.setattr("poolhouse.prometheus.pools.prepare", lambda: prepared.append(None))
    one, other = collector(), collector()
    assert isinstance(one, PoolCollector)
    assert one is not other
    assert len(prepared) == 2


def test_an_error_costs_the_samples_and_one_line_of_the_log(
    sums: Sums, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(failed: object) -> None:
        raise RuntimeError("no pools today")

    registry = told(sums, SHOP)
    monkeypatch.setattr(sums, "figures", fail)
    with caplog.at_level(logging.ERROR):
        for _ in range(2):
            assert all(not family.samples for family in registry.collect())
    assert [record.message for record in caplog.records] == ["poolhouse cannot export all metrics to Prometheus"]


def test_a_registry_refuses_a_second_collector(sums: Sums) -> None:
    registry = told(sums, SHOP)
    with pytest.raises(ValueError, match="db_client_connection_count"):
        registry.register(PoolCollector())
