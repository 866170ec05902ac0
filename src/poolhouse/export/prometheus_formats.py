"""The formats for Prometheus, and which of them a scraper prefers.

Sources: Prometheus' exposition formats (text 0.0.4, and protobuf, in which native histograms travel), OpenMetrics
1.0, and RFC 9110 for the header ``Accept``.
"""

from typing import Final, NamedTuple


class Format(NamedTuple):
    """How an answer is written.

    Attributes:
        content_type: What the answer's header says.
        is_open: Whether it is OpenMetrics.
        is_protobuf: Whether it is protobuf.
    """

    content_type: str
    is_open: bool = False
    is_protobuf: bool = False


TEXT: Final = Format("text/plain; version=0.0.4; charset=utf-8")
OPEN_METRICS: Final = Format("application/openmetrics-text; version=1.0.0; charset=utf-8", is_open=True)
PROTOBUF: Final = Format(
    "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited",
    is_protobuf=True,
)


def accepted(header: str) -> Format:
    """The format that a reader prefers, by the header ``Accept`` of its request; text if it does not matter.

    >>> accepted("application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1").is_open
    True
    >>> accepted(f"{PROTOBUF.content_type};q=0.9, text/plain;q=0.5") is PROTOBUF
    True
    >>> accepted("text/html,application/xhtml+xml,*/*;q=0.8") is TEXT, accepted("") is TEXT
    (True, True)
    """
    best, best_weight = TEXT, 0.0
    for item in header.split(","):
        kind, *parameters = (part.strip() for part in item.lower().split(";"))
        settings = {name: value.strip('"') for name, _, value in (one.partition("=") for one in parameters)}
        try:
            weight = float(settings.get("q", "1"))
        except ValueError:
            continue
        form = _FORMS.get(kind)
        if form is not None and weight > best_weight and _is_known(form, settings):
            best, best_weight = form, weight
    return best


_FORMS = {
    "application/openmetrics-text": OPEN_METRICS,
    "application/vnd.google.protobuf": PROTOBUF,
    "text/plain": TEXT,
}


def _is_known(form: Format, settings: dict[str, str]) -> bool:
    """Whether the reader means the message and the version that are written here."""
    if form is OPEN_METRICS:
        return settings.get("version", "1.0.0") == "1.0.0"
    if form is PROTOBUF:
        message = settings.get("proto") == "io.prometheus.client.metricfamily"
        return message and settings.get("encoding") == "delimited"
    return True
