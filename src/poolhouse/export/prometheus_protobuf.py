"""The fleet for Prometheus in protobuf, the only format in which it reads native histograms.

Source: ``io/prometheus/client/metrics.proto`` of prometheus/client_model. Each metric is a message
``MetricFamily``, preceded by its length.

A native histogram has all the buckets of the original, eight for each power of two, so a quantile is within
4.4 % of the true one. Its bucket ``i`` ends where OpenTelemetry's bucket ``i - 1`` ends.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from operator import sub
from struct import Struct
from typing import Final, NamedTuple, TypeVar

from poolhouse.export.families import (
    HOST_LABEL,
    LINES,
    OWN,
    POOL_LABEL,
    ROW_FAMILIES,
    SERVICE_LABEL,
    VERDICTS,
    Family,
    Figures,
    RowNumber,
    RowTimes,
    pools_name,
    sample_name,
)
from poolhouse.export.labelled import Labelled, Labels, labels_of
from poolhouse.export.protobuf import FIXED64, LENGTH, VARINT, double, message, tag, text, varint, zigzag
from poolhouse.fleet.distribution import Distribution
from poolhouse.fleet.rows import Counted
from poolhouse.meter.histogram import ZERO_EXPONENT

#: How many rows of one number, and of one histogram, are written at once.
_ROWS_AT_ONCE, _TIMES_AT_ONCE = 250, 25

# -- Fields in metrics.proto -------------------------------------------------------------------------------------

_NAME, _HELP, _TYPE, _METRIC = 1, 2, 3, 4
_TYPES = {"counter": 0, "gauge": 1, "histogram": 4}
_LABEL, _LABEL_NAME, _LABEL_VALUE = 1, 1, 2
#: The bytes before a metric's eight bytes of value: the message `Gauge` or `Counter`, and its only field.
_VALUES = {kind: message(field, tag(1, FIXED64) + bytes(8))[:-8] for kind, field in (("gauge", 2), ("counter", 3))}
#: The bytes of a metric's value.
_VALUE_BYTES = len(_VALUES["gauge"]) + 8
_HISTOGRAM = tag(7, LENGTH)
_COUNT, _SUM, _SCHEMA = tag(1, VARINT), tag(2, FIXED64), tag(5, VARINT)
_ZERO_THRESHOLD = tag(6, FIXED64) + double(2.0**ZERO_EXPONENT)
_ZERO_COUNT, _SPAN, _DELTAS = tag(7, VARINT), tag(12, LENGTH), tag(13, LENGTH)
_OFFSET, _LENGTH = tag(1, VARINT), tag(2, VARINT)

_METRIC_TAG = tag(_METRIC, LENGTH)
#: Packs a value with the bytes before it.
_VALUE: Final = Struct("<3sd").pack

T = TypeVar("T")


class ProtobufExposition(Labelled):
    """One answer: add rows, lines and verdicts, then read it once as bytes."""

    def __init__(self) -> None:
        """Begin without rows."""
        super().__init__(_labels)
        self._rows: list[_Row] = []

    def add(self, host: str | None, service: str, counted: Counted) -> None:
        """Add a row.

        Args:
            host: The row's host; ``None`` if the row sums over all hosts.
            service: The row's program.
            counted: The row.
        """
        labels = _labels(((SERVICE_LABEL, service),))
        if host is not None:
            labels = _labels(((HOST_LABEL, host),)) + labels
        of_pools = labels + _labels(((POOL_LABEL, pools_name(counted)),))
        self._rows.append(_Row(_metric_head(labels), _metric_head(of_pools), of_pools, counted))

    def chunks(self, own: Figures) -> Iterator[bytes]:
        """The whole answer, in pieces that take less than a millisecond each; many of them are empty.

        Args:
            own: The daemon's figures.
        """
        for family in ROW_FAMILIES:
            if isinstance(family, RowTimes):
                yield from _family(family, _histogram_metrics(family, self._rows))
            else:
                yield from _family(family, _number_metrics(family, self._rows))
        for line in LINES:
            yield from _family(line, _labelled(line, self.lines, line.source))
        for verdict in VERDICTS:
            yield from _family(verdict, _labelled(verdict, self.verdicts, verdict.source))
        for figure in OWN:
            told = [
                _metric_head(_labels(labels_of(labels))) + _VALUE(_VALUES[figure.kind], value)
                for labels, value in figure.source(own)
                if value is not None
            ]
            yield from _family(figure, iter([b"".join(told)]))


class _Row(NamedTuple):
    """A row: the bytes before its numbers, without and with the pools' name, and the labels with that name."""

    head: bytes
    head_of_pools: bytes
    of_pools: bytes
    counted: Counted


def _labels(labels: Labels) -> bytes:
    return b"".join(
        [message(_LABEL, text(_LABEL_NAME, name) + text(_LABEL_VALUE, value)) for name, value in labels]
    )


def _head(family: Family) -> bytes:
    """The fields of a family that describe it."""
    kind = tag(_TYPE, VARINT) + varint(_TYPES[family.kind])
    return text(_NAME, sample_name(family)) + text(_HELP, family.description) + kind


def _metric_head(labels: bytes) -> bytes:
    """The bytes before the value of a metric with a single number."""
    return _METRIC_TAG + varint(len(labels) + _VALUE_BYTES) + labels


def _family(family: Family, parts: Iterator[bytes]) -> Iterator[bytes]:
    """The family's message in pieces; nothing if the family has no metric.

    The message is preceded by its length, so it is sent only when complete: until then the pieces are empty.
    """
    made: list[bytes] = []
    for part in parts:
        made.append(part)
        yield b""
    if any(made):
        head = _HEADS[family.name]
        yield varint(len(head) + sum(map(len, made))) + head
        yield from made


def _labelled(family: Family, told: dict[bytes, T], source: Callable[[T], float]) -> Iterator[bytes]:
    before, everything = _VALUES[family.kind], iter(told.items())
    while some := list(islice(everything, _ROWS_AT_ONCE)):
        yield b"".join([_metric_head(labels) + _VALUE(before, source(one)) for labels, one in some])


def _number_metrics(family: RowNumber, rows: Sequence[_Row]) -> Iterator[bytes]:
    before = _VALUES[family.kind]
    for more, source in family.sources:
        labels = _labels(labels_of(more))
        for at in range(0, len(rows), _ROWS_AT_ONCE):
            some = [
                (row, value)
                for row in rows[at : at + _ROWS_AT_ONCE]
                if (value := source(row.counted.row)) is not None
            ]
            if labels:
                yield b"".join(
                    [_metric_head(row.of_pools + labels) + _VALUE(before, value) for row, value in some]
                )
            elif family.of_pools:
                yield b"".join([row.head_of_pools + _VALUE(before, value) for row, value in some])
            else:
                yield b"".join([row.head + _VALUE(before, value) for row, value in some])


def _histogram_metrics(family: RowTimes, rows: Sequence[_Row]) -> Iterator[bytes]:
    for at in range(0, len(rows), _TIMES_AT_ONCE):
        parts: list[bytes] = []
        for row in rows[at : at + _TIMES_AT_ONCE]:
            if (times := family.source(row.counted)) is not None:
                histogram = _histogram(times)
                before = row.of_pools + _HISTOGRAM + varint(len(histogram))
                parts += (_METRIC_TAG, varint(len(before) + len(histogram)), before, histogram)
        yield b"".join(parts)


def _histogram(times: Distribution) -> bytes:
    """A native histogram. Takes about 10 µs."""
    zero, first, counts = times.used_buckets()
    # One span from the first bucket in use to the last: an empty bucket in between costs only one byte.
    span = _OFFSET + zigzag(first + 1 if counts else 0) + _LENGTH + varint(len(counts))
    deltas = _deltas(counts)
    return b"".join(
        (
            _COUNT,
            varint(zero + sum(counts)),
            _SUM,
            double(times.sum_ns / 1e9),
            _SCHEMA,
            zigzag(times.scale),
            _ZERO_THRESHOLD,
            _ZERO_COUNT,
            varint(zero),
            _SPAN,
            varint(len(span)),
            span,
            _DELTAS,
            varint(len(deltas)),
            deltas,
        )
    )


def _deltas(counts: Sequence[int]) -> bytes:
    """The difference of each count from the one before; the first count's from 0."""
    try:
        return b"".join(map(_ZIGZAGS.__getitem__, map(sub, counts, (0, *counts))))
    except KeyError:
        return b"".join(map(zigzag, map(sub, counts, (0, *counts))))


#: The most common differences, already packed.
_ZIGZAGS = {number: zigzag(number) for number in range(-4096, 4096)}

_HEADS: Final = {family.name: _head(family) for family in (*ROW_FAMILIES, *LINES, *VERDICTS, *OWN)}
