"""The fleet in OpenTelemetry's protocol: one Resource for each program, and one for the daemon.

Sources: opentelemetry-proto 1.x (``metrics.proto``, ``metrics_service.proto``) and the metrics data model. All
sums are cumulative since the row began to count. Histograms are exponential, with the same buckets as in the
processes, so every count is exact.

The end of a series is marked once, by a point without a value (``FLAG_NO_RECORDED_VALUE``). The mark is repeated
until a push is delivered, because a failed push may have arrived in part.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Final, Literal, NamedTuple, TypeVar

from poolhouse.export import protobuf
from poolhouse.export.convention import (
    POOL_NAME,
    PROCESS_CPU_TIME,
    PROCESS_FILE_DESCRIPTORS,
    PROCESS_MEMORY_USAGE,
    SCHEMA_URL,
    STATE,
    Metric,
)
from poolhouse.export.families import (
    LINES,
    OWN,
    POOL_LABEL,
    ROW_FAMILIES,
    SERVICE_LABEL,
    STATE_LABEL,
    VERDICTS,
    Family,
    Figures,
    RowTimes,
    pools_name,
)
from poolhouse.export.labelled import Labelled, Labels, labels_of
from poolhouse.export.protobuf import FIXED64, LENGTH, VARINT, message, tag, varint
from poolhouse.fleet.distribution import Distribution
from poolhouse.fleet.holders import Line
from poolhouse.fleet.rows import Counted
from poolhouse.meter.histogram import ZERO_EXPONENT
from poolhouse.verdicts.verdict import Verdict

T = TypeVar("T")
Instrument = Literal["gauge", "updowncounter", "counter", "histogram"]

#: The content type of a push over HTTP.
CONTENT_TYPE = "application/x-protobuf"
#: The instrumentation scope of all metrics.
SCOPE = "poolhouse"

# -- Names of fields in metrics.proto --------------------------------------------------------------------------

_NAME, _DESCRIPTION, _UNIT = 1, 2, 3
#: The field of a metric's points, by the kind of metric.
_GAUGE, _SUM, _EXPONENTIAL = 5, 7, 10
_CUMULATIVE = tag(2, VARINT) + varint(2)
_MONOTONIC = tag(3, VARINT) + varint(1)
#: In points: attributes, times, values. A number's flags and a histogram's have different numbers.
_POINT = 1
_ATTRIBUTES, _EXPONENTIAL_ATTRIBUTES = 7, 1
_START, _TIME = tag(2, FIXED64), tag(3, FIXED64)
_AS_DOUBLE, _AS_INT = tag(4, FIXED64), tag(6, FIXED64)
_NO_VALUE, _EXPONENTIAL_NO_VALUE = tag(8, VARINT) + varint(1), tag(10, VARINT) + varint(1)
_COUNT, _TOTAL = tag(4, FIXED64), tag(5, FIXED64)
_SCALE, _ZERO_COUNT = tag(6, VARINT), tag(7, FIXED64)
_BUCKETS, _OFFSET, _BUCKET_COUNTS = tag(8, LENGTH), tag(1, VARINT), tag(2, LENGTH)
_ZERO_THRESHOLD = tag(14, FIXED64) + protobuf.double(2.0**ZERO_EXPONENT)

_UNITS = {"seconds": "s", "bytes": "By", "": ""}
#: The daemon's figures that have other names in the conventions.
_PROCESS = {
    "process_cpu_seconds": PROCESS_CPU_TIME,
    "process_resident_memory_bytes": PROCESS_MEMORY_USAGE,
    "process_open_fds": PROCESS_FILE_DESCRIPTORS,
}
#: Not pushed, because the start time of every point has the same information.
LEFT_OUT = ("process_start_time_seconds",)


def open_name(family: Family) -> tuple[str, str]:
    """The family's name and unit in OpenTelemetry's style; Prometheus turns them back into the family's name.

    >>> [open_name(family) for family in ROW_FAMILIES if family.name.endswith(("idle_max", "age_seconds"))]
    [('db.client.connection.idle.max', '{connection}'), ('poolhouse.report_age', 's')]
    """
    if (metric := _convention(family)) is not None:
        return metric.name, metric.unit
    name = family.name.removesuffix(f"_{family.unit}") if family.unit else family.name
    return name.replace("_", ".", 1), _UNITS.get(family.unit, family.unit)


@lru_cache(256)
def attributes_of(labels: str) -> Labels:
    r"""Labels from the table of families as OpenTelemetry's attributes.

    >>> attributes_of('limit="a\\"b",db_client_connection_state="idle"')
    (('limit', 'a"b'), ('db.client.connection.state', 'idle'))
    """
    return tuple((_ATTRIBUTE_NAMES.get(name, name), value) for name, value in labels_of(labels))


_ATTRIBUTE_NAMES = {STATE_LABEL: STATE, POOL_LABEL: POOL_NAME}


def _attribute(field: int, name: str, value: str) -> bytes:
    """A KeyValue whose value is text."""
    return message(field, protobuf.text(1, name) + message(2, protobuf.text(1, value)))


def _resource(attributes: Mapping[str, str]) -> bytes:
    return message(1, b"".join(_attribute(1, name, value) for name, value in attributes.items()))


def _head(family: Family) -> bytes:
    """The fields of a metric that describe it: name, description and unit."""
    name, unit = open_name(family)
    described: Family | Metric = _convention(family) or family
    head = protobuf.text(_NAME, name) + protobuf.text(_DESCRIPTION, described.description)
    return head + protobuf.text(_UNIT, unit) if unit else head


class _Shape(NamedTuple):
    """How a family's points are packed."""

    head: bytes
    #: The field of the message that holds the points, and the bytes after the points.
    kind: int
    tail: bytes


def instrument_of(family: Family) -> Instrument:
    """The kind of metric in OpenTelemetry: the convention's gauges are UpDownCounters."""
    metric = _convention(family)
    return family.kind if metric is None else metric.instrument


def _convention(family: Family) -> Metric | None:
    """The convention's metric behind a family; ``None`` for a family of our own."""
    return getattr(family, "of", None) or _PROCESS.get(family.name)


def _shape(family: Family) -> _Shape:
    kind, tail = _KINDS[instrument_of(family)]
    return _Shape(_head(family), kind, tail)


_KINDS: Final[Mapping[Instrument, tuple[int, bytes]]] = {
    "histogram": (_EXPONENTIAL, _CUMULATIVE),
    "counter": (_SUM, _CUMULATIVE + _MONOTONIC),
    "updowncounter": (_SUM, _CUMULATIVE),
    "gauge": (_GAUGE, b""),
}


def _metric(shape: _Shape, points: bytes) -> bytes:
    return message(2, shape.head + message(shape.kind, points + shape.tail))


#: The bytes before a point: for a message shorter than 128 bytes, and in general.
_POINT_TAG = tag(_POINT, LENGTH)


def _point(content: bytes) -> bytes:
    return _POINT_TAG + varint(len(content)) + content


def _value(value: float) -> bytes:
    if isinstance(value, int):
        return _AS_INT + protobuf.sfixed64(value)
    return _AS_DOUBLE + protobuf.double(value)


def _times(times: Distribution) -> bytes:
    """A histogram's point without its attributes and times."""
    zero, first, counts = times.used_buckets()
    content = protobuf.packed(counts)
    buckets = b"".join((_OFFSET, protobuf.zigzag(first), _BUCKET_COUNTS, varint(len(content)), content))
    return b"".join(
        (
            _COUNT,
            protobuf.fixed64(zero + sum(counts)),
            _TOTAL,
            protobuf.double(times.sum_ns / 1e9),
            _SCALE,
            protobuf.zigzag(times.scale),
            _ZERO_COUNT,
            protobuf.fixed64(zero),
            _BUCKETS,
            varint(len(buckets)),
            buckets,
            _ZERO_THRESHOLD,
        )
    )


class _Series(NamedTuple):
    """A series that each program has, with its place in the table."""

    shape: _Shape
    is_of_pools: bool
    more: str


def _all_series() -> tuple[_Series, ...]:
    found: list[_Series] = []
    for family in ROW_FAMILIES:
        shape = _shape(family)
        labels = [""] if isinstance(family, RowTimes) else [more for more, _ in family.sources]
        found += [_Series(shape, family.of_pools, more) for more in labels]
    return tuple(found)


_SERIES: Final = _all_series()
#: The bits of the series that have the pools' name.
_OF_POOLS: Final = sum(1 << place for place, series in enumerate(_SERIES) if series.is_of_pools)


class _Labels(NamedTuple):
    """The packed attributes of a program's lines and verdicts."""

    lines: frozenset[bytes] = frozenset()
    verdicts: frozenset[bytes] = frozenset()


_NO_LABELS: Final = _Labels()

#: The series of a program that may be alive at the receiver, by the pools' name: a bit for each of `_SERIES`.
_Alive = dict[str, dict[str, int]]


class Otlp:
    """Packs one push after another: `begin`, `add` for each row, `end`, and then `delivered` or `failed`."""

    def __init__(self, version: str, daemon: Mapping[str, str], common: Mapping[str, str]) -> None:
        """Begin without any series at the receiver.

        Args:
            version: The version of poolhouse.
            daemon: Attributes of the daemon's own Resource.
            common: Attributes of every Resource.
        """
        self._scope = message(1, protobuf.text(1, SCOPE) + (protobuf.text(2, version) if version else b""))
        self._schema = protobuf.text(3, SCHEMA_URL)
        self._daemon = {**common, **daemon}
        self._common = dict(common)
        self._alive: _Alive = {}
        self._told: _Alive = {}
        #: The same for lines and verdicts.
        self._alive_labels: dict[str, _Labels] = {}
        self._told_labels: dict[str, _Labels] = {}
        self._time = b""
        self._time_ns = 0

    def begin(self, time_ns: int) -> None:
        """Begin a push at this time, in nanoseconds since the epoch."""
        self._told, self._told_labels = {}, {}
        self._time_ns = time_ns
        self._time = _TIME + protobuf.fixed64(time_ns)

    def add(
        self,
        program: str,
        counted: Counted,
        start_ns: int,
        lines: Iterable[Line] = (),
        verdicts: Iterable[Verdict] = (),
    ) -> bytes:
        """A program's metrics. Takes about 50 µs, and 5 µs for each line.

        Args:
            program: The program's name.
            counted: The program's row.
            start_ns: When the row began to count, in nanoseconds since the epoch.
            lines: The lines that hold the program's connections.
            verdicts: The program's verdicts, the main one first.
        """
        pool = pools_name(counted)
        times = _START + protobuf.fixed64(min(start_ns, self._time_ns)) + self._time
        before = self._alive.get(program)
        metrics, known = _row_metrics(counted, pool, times)
        if before is not None and before != {pool: known}:
            ended = {
                name: bits & ~known if name == pool else bits & (_OF_POOLS | ~known)
                for name, bits in before.items()
            }
            metrics += _marks(ended, self._time)
        self._told[program] = {pool: known}
        if lines or verdicts or program in self._alive_labels:
            metrics += self._labelled(program, times, lines, verdicts)
        return self._resource_metrics({"service.name": program}, metrics)

    def end(self, own: Figures, start_ns: int) -> Iterable[bytes]:
        """The end marks of programs that are gone, and the daemon's own metrics.

        Args:
            own: The daemon's figures.
            start_ns: When the daemon began to count, in nanoseconds since the epoch.
        """
        for program, series in self._alive.items():
            if program not in self._told:
                marks = _marks(series, self._time) + self._labelled(program, self._time, (), ())
                yield self._resource_metrics({"service.name": program}, marks)
        times = _START + protobuf.fixed64(min(start_ns, self._time_ns)) + self._time
        yield self._resource_metrics({}, _own_metrics(own, times), self._daemon)

    def delivered(self) -> None:
        """Note that this push has arrived."""
        self._alive, self._alive_labels = self._told, self._told_labels

    def failed(self) -> None:
        """Note that this push failed, and may have arrived in part."""
        for program, series in self._told.items():
            known = self._alive.setdefault(program, {})
            for pool, bits in series.items():
                known[pool] = known.get(pool, 0) | bits
        for program, labels in self._told_labels.items():
            before = self._alive_labels.get(program, _NO_LABELS)
            self._alive_labels[program] = _Labels(before.lines | labels.lines, before.verdicts | labels.verdicts)

    def _labelled(self, program: str, times: bytes, lines: Iterable[Line], verdicts: Iterable[Verdict]) -> bytes:
        """The metrics of lines and verdicts, and end marks for those that are gone."""
        told = Labelled(_packed_labels)
        told.add_lines(lines)
        told.add_verdicts(verdicts)
        now = _Labels(frozenset(told.lines), frozenset(told.verdicts))
        if now != _NO_LABELS:
            self._told_labels[program] = now
        before = self._alive_labels.get(program, _NO_LABELS)
        return _labelled_metrics(
            _LINES, told.lines, before.lines - now.lines, times, self._time
        ) + _labelled_metrics(_VERDICTS, told.verdicts, before.verdicts - now.verdicts, times, self._time)

    def _resource_metrics(
        self, attributes: Mapping[str, str], metrics: bytes, base: Mapping[str, str] | None = None
    ) -> bytes:
        resource = _resource({**(self._common if base is None else base), **attributes})
        return message(1, resource + message(2, self._scope + metrics + self._schema))


@lru_cache(8192)
def _packed_labels(labels: Labels) -> bytes:
    """The packed attributes that identify one line or verdict of a program."""
    return b"".join(
        _attribute(_ATTRIBUTES, _ATTRIBUTE_NAMES.get(name, name), value)
        for name, value in labels
        if name != SERVICE_LABEL
    )


def _labelled_metrics(
    families: Iterable[tuple[Callable[[T], float], _Shape]],
    told: Mapping[bytes, T],
    ended: frozenset[bytes],
    times: bytes,
    time: bytes,
) -> bytes:
    """The metrics of lines or verdicts by their packed attributes, and end marks for those that are gone."""
    if not told and not ended:
        return b""
    begun = [(labels + times, one) for labels, one in told.items()]
    marks = b"".join([_point(labels + time + _NO_VALUE) for labels in ended])
    return b"".join(
        [
            _metric(shape, b"".join([_point(begin + _value(source(one))) for begin, one in begun]) + marks)
            for source, shape in families
        ]
    )


_LINES: Final = tuple((family.source, _shape(family)) for family in LINES)
_VERDICTS: Final = tuple((family.source, _shape(family)) for family in VERDICTS)


def _row_metrics(counted: Counted, pool: str, times: bytes) -> tuple[bytes, int]:
    """A row's metrics, and the bits of the series in them."""
    row = counted.row
    numbers, durations = _pool_attributes(pool)
    of_pools = numbers + times
    parts: list[bytes] = []
    known, bit = 0, 1
    for place, family in enumerate(ROW_FAMILIES):
        if isinstance(family, RowTimes):
            if (distribution := family.source(counted)) is not None:
                content = durations + times + _times(distribution)
                parts += (_before(place, len(content)), content, _CUMULATIVE)
                known |= bit
            bit <<= 1
            continue
        base = of_pools if family.of_pools else times
        points: list[bytes] = []
        for more, source in family.sources:
            if (value := source(row)) is not None:
                points.append((_STATES[more] + base if more else base) + _value(value))
                known |= bit
            bit <<= 1
        if len(points) == 1:
            parts += (_before(place, len(points[0])), points[0], _SHAPES[place].tail)
        elif points:
            parts.append(_metric(_SHAPES[place], b"".join(map(_point, points))))
    return b"".join(parts), known


@lru_cache(1024)
def _pool_attributes(pool: str) -> tuple[bytes, bytes]:
    """The pools' name as a packed attribute: of a number's point, and of a histogram's."""
    return _attribute(_ATTRIBUTES, POOL_NAME, pool), _attribute(_EXPONENTIAL_ATTRIBUTES, POOL_NAME, pool)


@lru_cache(4096)
def _before(place: int, size: int) -> bytes:
    """All bytes of a metric before its only point, which has `size` bytes."""
    shape = _SHAPES[place]
    point = _POINT_TAG + varint(size)
    points = tag(shape.kind, LENGTH) + varint(len(point) + size + len(shape.tail)) + point
    metric = shape.head + points
    return tag(2, LENGTH) + varint(len(metric) + size + len(shape.tail)) + metric


_SHAPES: Final = tuple(_shape(family) for family in ROW_FAMILIES)
#: Packed attributes besides the pools' name, by the table's labels.
_STATES: Final = {
    series.more: b"".join(_attribute(_ATTRIBUTES, *one) for one in attributes_of(series.more))
    for series in _SERIES
}


def _marks(ended: Mapping[str, int], time: bytes) -> bytes:
    """End marks (points without a value) for these series, given as bits by the pools' name."""
    points: dict[_Shape, dict[bytes, None]] = {}
    for pool, bits in ended.items():
        for place, series in enumerate(_SERIES):
            if not bits >> place & 1:
                continue
            numbers, durations = _pool_attributes(pool)
            if series.shape.kind == _EXPONENTIAL:
                content = durations + time + _EXPONENTIAL_NO_VALUE
            else:
                content = _STATES[series.more] + (numbers if series.is_of_pools else b"") + time + _NO_VALUE
            points.setdefault(series.shape, {})[_point(content)] = None
    return b"".join(_metric(shape, b"".join(several)) for shape, several in points.items())


def _own_metrics(own: Figures, times: bytes) -> bytes:
    metrics: list[bytes] = []
    for family in OWN:
        if family.name in LEFT_OUT:
            continue
        points = [
            _point(
                b"".join(_attribute(_ATTRIBUTES, *one) for one in attributes_of(labels)) + times + _value(value)
            )
            for labels, value in family.source(own)
            if value is not None
        ]
        if points:
            metrics.append(_metric(_shape(family), b"".join(points)))
    return b"".join(metrics)
