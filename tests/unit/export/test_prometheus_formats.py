"""Which format a reader of metrics gets."""

import pytest

from poolhouse.export.prometheus_formats import OPEN_METRICS, PROTOBUF, TEXT, Format, accepted

#: Prometheus 2.42, without and with native histograms, and Prometheus 3.
PROMETHEUS = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)
PROMETHEUS_NATIVE = (
    "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited,"
    "application/openmetrics-text;version=1.0.0;q=0.8,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)
PROMETHEUS_3 = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,"
    "text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)
BARE = "application/vnd.google.protobuf"


@pytest.mark.parametrize(
    ("header", "form"),
    [
        (PROMETHEUS, OPEN_METRICS),
        (PROMETHEUS_NATIVE, PROTOBUF),
        (PROMETHEUS_3, OPEN_METRICS),
        ("*/*", TEXT),  # curl
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", TEXT),  # A browser.
        ("", TEXT),
        ("application/openmetrics-text; version=2.0.0", TEXT),
        ("application/openmetrics-text", OPEN_METRICS),
        ("application/openmetrics-text;q=0.2, text/plain", TEXT),
        ("application/openmetrics-text;q=x, ;;=,\0", TEXT),
        ("application/openmetrics-text;q=0", TEXT),
        ("application/openmetrics-text;q=nan", TEXT),
        ("application/openmetrics-text;q=-1", TEXT),
        ("APPLICATION/OpenMetrics-Text\t;\tVERSION=1.0.0", OPEN_METRICS),
        # Of two that are liked alike, the first.
        (f"text/plain, {OPEN_METRICS.content_type}", TEXT),
        (f"{OPEN_METRICS.content_type}, text/plain", OPEN_METRICS),
        ("*/*, application/openmetrics-text;q=0.1", OPEN_METRICS),
        (f'{BARE}; proto="io.prometheus.client.MetricFamily"; encoding=delimited', PROTOBUF),
        # Messages or encodings that are not written here.
        (BARE, TEXT),
        (f"{BARE};proto=io.prometheus.client.MetricFamily;encoding=compact-text", TEXT),
        (f"{BARE};proto=another.Message;encoding=delimited", TEXT),
        (f"{PROTOBUF.content_type};q=0.4,{OPEN_METRICS.content_type};q=0.5", OPEN_METRICS),
    ],
)
def test_the_reader_chooses_the_format(header: str, form: Format) -> None:
    assert accepted(header) is form
