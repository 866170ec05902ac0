"""The instruments, collected by OpenTelemetry's own SDK."""

from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import AggregationTemporality, InMemoryMetricReader, MetricReader
from opentelemetry.sdk.metrics.view import DropAggregation, View

from poolhouse.export.convention import METRICS, POOL_NAME, STATE
from poolhouse.meter.histogram import Histogram
from poolhouse.meter.reading import Counters, Gauges, Limits, PoolReading
from poolhouse.otel import instruments
from poolhouse.otel.instruments import BOUNDS, Instruments
from poolhouse.report.unsent import UNSENT


class Source:
    """A pool that counts what a test says."""

    def __init__(self, name: str = "db:5432/shop") -> None:
        self.name = name
        self.waits, self.uses, self.creates = Histogram(), Histogram(), Histogram()
        self.timeouts = 0
        self.gauges = Gauges(idle=1, used=2, detached=3, waiting=4)
        self.limits = Limits(15, 5, 0)
        self.is_closed = False
        self.error: Exception | None = None

    def is_gone(self) -> bool:
        return self.is_closed

    def read(self, number: int) -> PoolReading:
        if self.error is not None:
            raise self.error
        return PoolReading(
            0,
            self.name,
            "QueuePool",
            limits=self.limits,
            gauges=self.gauges,
            counters=Counters(timeouts=self.timeouts),
            wait=self.waits.copy(),
            use=self.uses.copy(),
            create=self.creates.copy(),
        )

    def after_fork(self) -> None: ...


@pytest.fixture
def source() -> Iterator[Source]:
    UNSENT.after_fork()
    made = Source()
    UNSENT.add(made)
    yield made
    UNSENT.after_fork()


def collecting(**views: Any) -> tuple[InMemoryMetricReader, Instruments]:
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], shutdown_on_exit=False, **views)
    return reader, Instruments(provider.get_meter("poolhouse"))


def collected(reader: InMemoryMetricReader) -> dict[str, Any]:
    data = reader.get_metrics_data()
    if data is None:
        return {}
    return {
        metric.name: metric
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    }


def values(metric: Any) -> dict[tuple[str, ...], float]:
    return {
        (*(point.attributes[name] for name in (POOL_NAME, STATE) if name in point.attributes),): point.value
        for point in metric.data.data_points
    }


def test_all_nine_metrics_have_the_conventions_names_units_and_kinds(source: Source) -> None:
    for histogram in (source.waits, source.uses, source.creates):
        histogram.record_all([10**9])
    reader, _ = collecting()
    found = collected(reader)
    assert set(found) == {metric.name for metric in METRICS}
    for metric in METRICS:
        told = found[metric.name]
        assert (told.unit, told.description) == (metric.unit, metric.description)
        if metric.instrument != "histogram":
            assert told.data.is_monotonic is (metric.instrument == "counter")


def test_gauges_and_counters_are_those_of_the_moment(source: Source) -> None:
    reader, _ = collecting()
    source.timeouts = 6
    found = collected(reader)
    name = source.name
    assert values(found["db.client.connection.count"]) == {
        (name, "idle"): 1,
        (name, "used"): 2,
        (name, "detached"): 3,
    }
    expected = {"idle.max": 5, "idle.min": 0, "max": 15, "pending_requests": 4, "timeouts": 6}
    for metric, value in expected.items():
        assert values(found[f"db.client.connection.{metric}"]) == {(name,): value}
    source.gauges, source.timeouts = Gauges(idle=9), 8
    found = collected(reader)
    assert values(found["db.client.connection.count"])[name, "idle"] == 9
    assert values(found["db.client.connection.timeouts"]) == {(name,): 8}


def test_what_has_no_limit_has_none_told(source: Source) -> None:
    source.limits = Limits()
    found = collected(collecting()[0])
    assert "db.client.connection.max" not in found


def waits_of(found: dict[str, Any]) -> Any:
    (point,) = found["db.client.connection.wait_time"].data.data_points
    return point


def test_durations_count_in_the_collection_that_records_them_once(source: Source) -> None:
    reader, _ = collecting()
    source.waits.record_all([1_000_000] * 3 + [3_000_000_000])
    point = waits_of(collected(reader))
    assert (point.count, tuple(point.explicit_bounds)) == (4, BOUNDS)
    # Exact at each bound: a millisecond is in (2**-10, 2**-9], three seconds in (2, 4].
    counts = dict(zip(BOUNDS, point.bucket_counts, strict=False))
    assert {bound: n for bound, n in counts.items() if n} == {2.0**-9: 3, 4.0: 1}
    assert point.sum == pytest.approx(3.003)
    assert waits_of(collected(reader)).count == 4
    source.waits.record_all([500])
    assert waits_of(collected(reader)).count == 5


def test_an_exponential_view_has_the_true_buckets(source: Source) -> None:
    from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation

    view = View(
        instrument_name="db.client.connection.*", aggregation=ExponentialBucketHistogramAggregation(max_scale=3)
    )
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], views=[view], shutdown_on_exit=False)
    with pytest.MonkeyPatch.context() as patch:
        # The view is for histograms: the SDK says that it does not fit the others.
        patch.setattr("opentelemetry.sdk.metrics._internal.view._logger.warning", lambda *_: None, raising=False)
        Instruments(provider.get_meter("poolhouse"))
        nanoseconds = [1_000_000] * 3 + [3_000_000_000] + [70_000]
        source.waits.record_all(nanoseconds)
        point = waits_of(collected(reader))
    assert point.scale == 3
    told = {point.positive.offset + at: n for at, n in enumerate(point.positive.bucket_counts) if n}
    first = -20 * 8
    assert told == {first + at: n for at, n in enumerate(source.waits.counts) if n}


def test_every_reader_of_a_provider_gets_everything(source: Source) -> None:
    readers: list[MetricReader] = [
        InMemoryMetricReader(),
        InMemoryMetricReader(),
    ]
    provider = MeterProvider(readers, shutdown_on_exit=False)
    Instruments(provider.get_meter("poolhouse"))
    source.waits.record_all([10**9] * 7)
    for reader in readers:
        assert isinstance(reader, InMemoryMetricReader)
        found = collected(reader)
        assert waits_of(found).count == 7
        assert values(found["db.client.connection.max"]) == {(source.name,): 15}


def test_delta_sums_are_differences(source: Source) -> None:
    from opentelemetry.sdk.metrics import Histogram as SdkHistogram
    from opentelemetry.sdk.metrics import ObservableCounter

    delta = AggregationTemporality.DELTA
    reader = InMemoryMetricReader(preferred_temporality={SdkHistogram: delta, ObservableCounter: delta})
    provider = MeterProvider([reader], shutdown_on_exit=False)
    Instruments(provider.get_meter("poolhouse"))
    source.waits.record_all([10**9] * 7)
    source.timeouts = 3
    collected(reader)
    source.waits.record_all([10**9] * 2)
    source.timeouts = 4
    found = collected(reader)
    assert waits_of(found).count == 2
    assert values(found["db.client.connection.timeouts"]) == {(source.name,): 1}


def test_a_pool_that_is_closed_has_its_last_durations_recorded(source: Source) -> None:
    reader, _ = collecting()
    source.waits.record_all([10**9])
    source.timeouts = 2
    source.is_closed = True
    found = collected(reader)
    assert waits_of(found).count == 1
    assert values(found["db.client.connection.timeouts"]) == {(source.name,): 2}
    assert "db.client.connection.count" not in found
    assert source not in UNSENT.sources


def test_a_pool_that_cannot_be_read_harms_no_other(source: Source, caplog: pytest.LogCaptureFixture) -> None:
    broken = Source("broken")
    broken.error = RuntimeError("no figures")
    UNSENT.add(broken)
    reader, _ = collecting()
    for _ in range(3):
        assert values(collected(reader)["db.client.connection.max"]) == {(source.name,): 15}
    (record,) = (one for one in caplog.records if one.name == "poolhouse.otel")
    assert record.exc_info is not None
    assert record.exc_info[1] is broken.error


def test_an_sdk_that_raises_while_recording_keeps_the_other_metrics(
    source: Source, caplog: pytest.LogCaptureFixture
) -> None:
    reader, made = collecting()

    class Broken:
        def record(self, *_: object) -> None:
            raise ValueError("a processor of the application")

    made._histograms["wait"] = Broken()  # type: ignore[assignment]
    source.waits.record_all([10**9])
    for _ in range(3):
        source.waits.record_all([10**9])
        assert values(collected(reader)["db.client.connection.max"]) == {(source.name,): 15}
    assert len([one for one in caplog.records if one.name == "poolhouse.otel"]) == 1


def test_what_is_not_recorded_in_time_waits_for_the_next_collection(
    source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(instruments, "LEAST_S", 0.0)
    monkeypatch.setattr(instruments, "MOST_S", 0.0)
    reader, _ = collecting()
    source.waits.record_all([1_000_000] * 450 + [3_000_000_000] * 50)
    counts = [waits_of(collected(reader)).count]
    while counts[-1] < 500:
        source.waits.record_all([2_000_000])
        counts.append(waits_of(collected(reader)).count)
        assert len(counts) < 20
    assert counts[0] == 250, "the 50 long ones, and 200 of the others before the first look at the time"
    monkeypatch.setattr(instruments, "LEAST_S", 10.0)
    monkeypatch.setattr(instruments, "MOST_S", 10.0)
    for _ in range(2):  # What had grown meanwhile follows what waited.
        point = waits_of(collected(reader))
    assert point.count == source.waits.count
    assert point.sum == pytest.approx(source.waits.sum_ns / 1e9)


def test_while_a_collection_is_under_way_the_figures_before_it_are_told(source: Source) -> None:
    reader, made = collecting()
    collected(reader)
    source.gauges = Gauges(idle=9)
    with made._turn:
        found = collected(reader)
    assert values(found["db.client.connection.count"])[source.name, "idle"] == 1
    assert values(collected(reader)["db.client.connection.count"])[source.name, "idle"] == 9


def test_what_the_reporter_reads_is_told_without_another_reading(source: Source) -> None:
    UNSENT.after_fork()
    reader, made = collecting()
    reported = Source("reported")
    reported.waits.record_all([10**9])
    made.tell([(reported, reported.read(1))])
    collected(reader)  # Nothing is kept before somebody collects.
    reported.waits.record_all([10**9])
    made.tell([(reported, reported.read(2))])
    reported.error = AssertionError("only the reporter reads it")
    found = collected(reader)
    assert waits_of(found).count == 2
    made.tell([(reported, PoolReading(0, "reported", "QueuePool", 0, wait=reported.waits))])
    assert "db.client.connection.count" not in collected(reader)


def test_a_view_may_drop_the_first_instrument(source: Source) -> None:
    drop = View(instrument_name="db.client.connection.count", aggregation=DropAggregation())
    reader, _ = collecting(views=[drop])
    source.timeouts = 1
    for _ in range(2):
        source.timeouts += 1
        found = collected(reader)
        assert values(found["db.client.connection.timeouts"]) == {(source.name,): source.timeouts}


def test_instruments_that_are_off_tell_nothing(source: Source) -> None:
    reader, made = collecting()
    source.waits.record_all([10**9])
    made.is_on = False
    assert collected(reader) == {}
    made.is_on = True
    assert waits_of(collected(reader)).count == 1


def test_a_forked_child_begins_with_nothing(source: Source) -> None:
    reader, made = collecting()
    source.timeouts = 5
    collected(reader)
    made._turn.acquire()  # As a thread of the parent had it.
    made.forget()
    UNSENT.after_fork()
    assert values(collected(reader).get("db.client.connection.timeouts") or _Nothing) == {}


class _Nothing:
    class data:
        data_points: tuple[()] = ()
