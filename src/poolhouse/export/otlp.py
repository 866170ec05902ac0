"""The fleet in OpenTelemetry's protocol: one Resource for each program, and one for the daemon.

Sources: opentelemetry-proto 1.x (``metrics.proto``, ``metrics_service.proto``) and the metrics data model. All
sums are cumulative since the row began to count. Histograms are exponential, in the buckets that the processes
count in, so every count is the true one.

A series that ends is marked once, by a point without a value (``FLAG_NO_RECORDED_VALUE``). The mark is repeated
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

#: The type in which a collector takes metrics over HTTP.
CONTENT_TYPE = "application/x-protobuf"
#: The scope of everything.
SCOPE = "poolhouse"

# -- Names of fields in metrics.proto --------------------------------------------------------------------------

_NAME, _DESCRIPTION, _UNIT = 1, 2, 3
#: Where a metric's points are, by the kind of metric.
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
#: The daemon's figures that the conventions know under other names.
_PROCESS = {
    "process_cpu_seconds": PROCESS_CPU_TIME,
    "process_resident_memory_bytes": PROCESS_MEMORY_USAGE,
    "process_open_fds": PROCESS_FILE_DESCRIPTORS,
}
#: Not pushed: the times of all points say it.
LEFT_OUT = ("process_start_time_seconds",)


def open_name(family: Family) -> tuple[str, str]:
    """Name and unit in OpenTelemetry's words, of which Prometheus makes the family's name again.

    >>> [open_name(family) for family in ROW_FAMILIES if family.name.endswith(("idle_max", "age_seconds"))]
    [('db.client.connection.idle.max', '{connection}'), ('poolhouse.report_age', 's')]
    """
    if (metric := _convention(family)) is not None:
        return metric.name, metric.unit
    name = family.name.removesuffix(f"_{family.unit}") if family.unit else family.name
    return name.replace("_", ".", 1), _UNITS.get(family.unit, family.unit)


@lru_cache(256)
def attributes_of(labels: str) -> Labels:
    r"""Labels as the table of families writes them, as OpenTelemetry's attributes.

    >>> attributes_of('limit="a\\"b",db_client_connection_state="idle"')
    (('limit', 'a"b'), ('db.client.connection.state', 'idle'))
    """
    return tuple((_ATTRIBUTE_NAMES.get(name, name), value) for name, value in labels_of(labels))


_ATTRIBUTE_NAMES = {STATE_LABEL: STATE, POOL_LABEL: POOL_NAME}


def _attribute(field: int, name: str, value: str) -> bytes:
    """A KeyValue with text."""
    return message(field, protobuf.text(1, name) + message(2, protobuf.text(1, value)))


def _resource(attributes: Mapping[str, str]) -> bytes:
    return message(1, b"".join(_attribute(1, name, value) for name, value in attributes.items()))


def _head(family: Family) -> bytes:
    """What a metric says of itself."""
    name, unit = open_name(family)
    described: Family | Metric = _convention(family) or family
    head = protobuf.text(_NAME, name) + protobuf.text(_DESCRIPTION, described.description)
    return head + protobuf.text(_UNIT, unit) if unit else head


class _Shape(NamedTuple):
    """How a family's points are packed."""

    head: bytes
    #: The field of the points' message, and what follows the points in it.
    kind: int
    tail: bytes


def instrument_of(family: Family) -> Instrument:
    """What kind of metric it is in OpenTelemetry: the convention's gauges are UpDownCounters."""
    metric = _convention(family)
    return family.kind if metric is None else metric.instrument


def _convention(family: Family) -> Metric | None:
    """The metric of the conventions that a family is; ``None`` for one of ours."""
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


#: What stands before a point whose message is shorter than 128 bytes, and in general.
_POINT_TAG = tag(_POINT, LENGTH)


def _point(content: bytes) -> bytes:
    return _POINT_TAG + varint(len(content)) + content


def _value(value: float) -> bytes:
    if isinstance(value, int):
        return _AS_INT + protobuf.sfixed64(value)
    return _AS_DOUBLE + protobuf.double(value)


def _times(times: Distribution) -> bytes:
    """Everything of a histogram's point but attributes and times."""
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
    """One series of each program, by its place in the table."""

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
#: The bits of those that have the pools' name.
_OF_POOLS: Final = sum(1 << place for place, series in enumerate(_SERIES) if series.is_of_pools)


class _Labels(NamedTuple):
    """Attributes of a program's lines and verdicts, as they are packed."""

    lines: frozenset[bytes] = frozenset()
    verdicts: frozenset[bytes] = frozenset()


_NO_LABELS: Final = _Labels()

#: Series that may be alive at the receiver: of a program by the pools' name, a bit for each of `_SERIES`.
_Alive = dict[str, dict[str, int]]


class Otlp:
    """What is pushed, push by push: `begin`, `add` for each row, `end`, and `delivered` if it was."""

    def __init__(self, version: str, daemon: Mapping[str, str], common: Mapping[str, str]) -> None:
        """Begin with nothing.

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
        #: The same of lines and verdicts.
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
        """A program's metrics; some 50 µs, and 5 µs for each line.

        Args:
            program: Its name.
            counted: Its row.
            start_ns: When the row began to count, in nanoseconds since the epoch.
            lines: The lines that hold its connections.
            verdicts: What is wrong with it, the main one first.
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
        """The marks of programs that are gone, and the daemon's own metrics.

        Args:
            own: The daemon's figures.
            start_ns: When it began to count.
        """
        for program, series in self._alive.items():
            if program not in self._told:
                marks = _marks(series, self._time) + self._labelled(program, self._time, (), ())
                yield self._resource_metrics({"service.name": program}, marks)
        times = _START + protobuf.fixed64(min(start_ns, self._time_ns)) + self._time
        yield self._resource_metrics({}, _own_metrics(own, times), self._daemon)

    def delivered(self) -> None:
        """Everything of this push has arrived."""
        self._alive, self._alive_labels = self._told, self._told_labels

    def failed(self) -> None:
        """Some of this push may have arrived."""
        for program, series in self._told.items():
            known = self._alive.setdefault(program, {})
            for pool, bits in series.items():
                known[pool] = known.get(pool, 0) | bits
        for program, labels in self._told_labels.items():
            before = self._alive_labels.get(program, _NO_LABELS)
            self._alive_labels[program] = _Labels(before.lines | labels.lines, before.verdicts | labels.verdicts)

    def _labelled(self, program: str, times: bytes, lines: Iterable[Line], verdicts: Iterable[Verdict]) -> bytes:
        """The metrics of lines and verdicts, and the marks of those that have ended."""
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
    """What tells a line or a verdict from the program's others, as attributes of a number."""
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
    """The metrics of what has labels, and the marks of what has ended, by attributes as they are packed."""
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
    """A row's metrics, and the bits of the series that they have."""
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
    """The pools' name as an attribute of numbers, and of durations."""
    return _attribute(_ATTRIBUTES, POOL_NAME, pool), _attribute(_EXPONENTIAL_ATTRIBUTES, POOL_NAME, pool)


@lru_cache(4096)
def _before(place: int, size: int) -> bytes:
    """Everything of a metric that stands before its only point, which has this many bytes."""
    shape = _SHAPES[place]
    point = _POINT_TAG + varint(size)
    points = tag(shape.kind, LENGTH) + varint(len(point) + size + len(shape.tail)) + point
    metric = shape.head + points
    return tag(2, LENGTH) + varint(len(metric) + size + len(shape.tail)) + metric


_SHAPES: Final = tuple(_shape(family) for family in ROW_FAMILIES)
#: Attributes beside the pools' name, as they are packed, by the table's labels.
_STATES: Final = {
    series.more: b"".join(_attribute(_ATTRIBUTES, *one) for one in attributes_of(series.more))
    for series in _SERIES
}


def _marks(ended: Mapping[str, int], time: bytes) -> bytes:
    """Points without a value for series that have ended, by the pools' name."""
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
