"""What Prometheus is told in protobuf, read by Google's library."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from poolhouse.export.families import FAMILIES, Figures, sample_name
from poolhouse.export.prometheus import Exposition
from poolhouse.export.prometheus_formats import TEXT
from poolhouse.export.prometheus_protobuf import ProtobufExposition
from poolhouse.fleet.holders import Line
from poolhouse.fleet.snapshot import Health, NodeState, Row
from poolhouse.meter.histogram import Histogram
from poolhouse.verdicts.verdict import Verdict, parse_line
from support.exported import counted, durations
from support.metrics_proto import TYPES, buckets, families, labels

OWN_FIGURES = Figures(
    '0.1 "beta"\\n',
    Health(received=9, over_limit=(("hosts", 2),), nodes=(NodeState("node2", False, 3.5),)),
    0.25,
    {"http": {"slow": 3}},
    1.5,
    1.7e9,
    12345,
    7,
)
LINE = "app/views.py:88 in cart"


def filled(exposition: Any) -> bytes:
    """Two rows, one of a host without much knowledge, a line and a verdict."""
    exposition.add(None, "shop", counted(wait=durations(1_000_000, 5_000_000)))
    exposition.add("web1", 'old "ü"', counted(Row("old", processes=1), None))
    exposition.add_lines([Line("shop", LINE, 3, 2.5, 100.25)])
    exposition.add_verdicts([Verdict("leak", 1.7e9, "shop", pool="p", culprit=parse_line(LINE))])
    return b"".join(exposition.chunks(OWN_FIGURES))


def test_protobuf_tells_what_the_text_tells() -> None:
    found: dict[tuple[str, frozenset[tuple[str, str]]], float] = {}
    for family in families(filled(ProtobufExposition())):
        for metric in family.metric:
            key = frozenset(labels(metric).items())
            if TYPES[family.type] == "histogram":
                found[f"{family.name}_count", key] = metric.histogram.sample_count
                found[f"{family.name}_sum", key] = metric.histogram.sample_sum
            else:
                found[family.name, key] = getattr(metric, TYPES[family.type]).value
    expected = {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(filled(Exposition(TEXT)).decode())
        for sample in family.samples
        if not sample.name.endswith("_bucket")
    }
    assert found == expected


def test_every_family_that_has_a_sample_is_described_and_typed() -> None:
    told = {family.name: family for family in families(filled(ProtobufExposition()))}
    text = text_string_to_metric_families(filled(Exposition(TEXT)).decode())
    with_samples = {family.name for family in text if family.samples}
    for family in FAMILIES:
        if family.name in with_samples:
            one = told.pop(sample_name(family))
            assert (one.help, TYPES[one.type]) == (family.description, family.kind)
    assert told == {}
    assert len(with_samples) > 40


def histogram_of(wait: Histogram) -> Any:
    exposition = ProtobufExposition()
    exposition.add(None, "shop", counted(wait=wait))
    data = b"".join(exposition.chunks(OWN_FIGURES))
    (family,) = [one for one in families(data) if one.name == "db_client_connection_wait_time_seconds"]
    (metric,) = family.metric
    return metric.histogram


@given(
    st.lists(st.integers(0, 200 * 10**9) | st.integers(10, 39).map(lambda n: 2**n), max_size=60),
    st.integers(-1, 3),
)
def test_a_native_histogram_has_every_bucket(nanoseconds: list[int], scale: int) -> None:
    histogram = histogram_of(durations(*nanoseconds, scale=scale))
    told = buckets(histogram)
    assert (histogram.sample_count, histogram.schema) == (len(nanoseconds), scale)
    assert histogram.sample_sum == sum(nanoseconds) / 1e9
    assert sum(told.values()) == len(nanoseconds)
    assert histogram.zero_threshold == 2.0**-20
    total = 0
    for bound, count in sorted(told.items()):
        total += count
        assert total == sum(n <= bound * 1e9 for n in nanoseconds), bound


def test_a_histogram_without_durations_is_still_a_native_one() -> None:
    histogram = histogram_of(Histogram())
    assert histogram.zero_threshold > 0
    assert [(span.offset, span.length) for span in histogram.positive_span] == [(0, 0)]
    assert buckets(histogram) == {2.0**-20: 0}


def test_large_differences_between_buckets_are_told() -> None:
    wait = durations(1_000_000, 5_000_000)
    wait.counts = [count * 300_000 for count in wait.counts]
    wait.counts[0], wait.counts[-1] = 4095, 4097
    told = buckets(histogram_of(wait))
    assert [count for _, count in sorted(told.items()) if count] == [4095, 300_000, 300_000, 4097]


def test_the_answer_comes_in_small_pieces() -> None:
    exposition = ProtobufExposition()
    for number in range(1000):
        exposition.add(None, f"program{number}", counted(wait=durations(1_000_000)))
    pieces = list(exposition.chunks(OWN_FIGURES))
    assert max(map(len, pieces)) < 100_000
    by_name = {family.name: len(family.metric) for family in families(b"".join(pieces))}
    assert by_name["db_client_connection_wait_time_seconds"] == 1000
    assert by_name["db_client_connection_count"] == 3000
