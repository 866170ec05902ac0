"""A datagram that an aggregator received: a report of ours, an earlier client's sums, or plain collectd values.

Our own datagrams are decoded fast: each part's header is read once, `struct` is called twice, and histograms
stay bytes until `RawPool.reading` or `decode_histogram` decodes them.
"""

from math import inf
from typing import Any, NamedTuple

from poolhouse.errors import PacketError
from poolhouse.meter.histogram import Histogram
from poolhouse.meter.reading import MARKS, Counters, Gauges, Limits, Mark, PoolReading
from poolhouse.wire.decode import decode_packet
from poolhouse.wire.histogram import decode_histogram
from poolhouse.wire.layout import (
    COUNTERS,
    EACH_MARK,
    GAUGES,
    KEY,
    LIMITS,
    MARK_COUNT,
    PEAK,
    POOL,
    POOLS,
    SIZES,
    in_order_of_counters,
)
from poolhouse.wire.parts import (
    DERIVE,
    GAUGE,
    HEADER,
    HOST,
    NAME_BYTES,
    PLUGIN,
    PLUGIN_INSTANCE,
    PRIVATE,
    SIGNS,
    TYPE_INSTANCE,
)
from poolhouse.wire.report import (
    GOODBYE,
    HAS_POOL,
    HEAD,
    IS_BOUND,
    POOL_TYPE,
    SEED_DERIVES,
    SEED_GAUGES,
    TOTALS_TYPE,
    UNKNOWN_COUNT,
    UNKNOWN_LIMIT,
    VERSION,
)
from poolhouse.wire.tuples import made
from poolhouse.wire.values import Notification, ValueList

#: Doubles hold every whole number up to this one.
_LARGEST_GAUGE = 2**53
_PRIVATE_BYTES = PRIVATE.to_bytes(2)
_VERSION_BYTE = bytes([VERSION])
_PLUGIN = b"sqlalchemy\0"
_LEGACY_TYPES = (POOL_TYPE.decode(), TOTALS_TYPE.decode())


class RawPool(NamedTuple):
    """The fields of a `PoolReading`, with each histogram still as bytes (empty if there is none)."""

    key: int
    name: str
    kind: str
    pools: int
    limits: Limits
    gauges: Gauges
    counters: Counters
    marks: tuple[Mark, ...]
    peak: Mark
    is_bound: bool
    wait: bytes
    use: bytes
    create: bytes

    def reading(self) -> PoolReading:
        """The reading with its histograms decoded.

        Raises:
            PacketError: If a histogram is malformed.
        """
        wait, use, create = map(_histogram, (self.wait, self.use, self.create))
        return PoolReading(
            self.key,
            self.name,
            self.kind,
            self.pools,
            self.limits,
            self.gauges,
            self.counters,
            self.marks,
            self.peak,
            wait,
            use,
            create,
            self.is_bound,
        )


class ReportDatagram(NamedTuple):
    """One datagram of a process's report; the other fields are those of `poolhouse.wire.report.Report`."""

    host: str
    program: str
    token: str
    #: The number of the report, and the number of this datagram among all of the process's datagrams.
    number: int
    sequence: int
    #: Which of the report's datagrams this is, from 0, and how many there are.
    place: int
    datagrams: int
    uptime: float
    wall_time: float
    interval: float
    goodbye: bool
    #: The datagram's pool; ``None`` if there are fewer pools than datagrams.
    pool: RawPool | None
    #: The payload of its signs, for `poolhouse.wire.signs_decode`; empty if it has none.
    signs: bytes = b""


class PoolSums(NamedTuple):
    """The gauges of an earlier list: the sums of all pools of a process."""

    pools: int
    used: int
    idle: int
    detached: int
    connections: int
    #: From here on, ``None`` if not sent or not known.
    waiting: int | None = None
    max_open: int | None = None
    max_idle: int | None = None
    min_idle: int | None = None


class LegacyDatagram(NamedTuple):
    """One earlier list: from the earlier client, ours at ``detail=plain``, or a later version of ours."""

    host: str
    program: str
    token: str
    #: Seconds since the epoch, whole.
    wall_time: float
    #: Seconds between two of them.
    interval: float
    #: Each of the `Counters` is ``None`` if not sent.
    sums: PoolSums | Counters


def decode_message(datagram: bytes) -> ReportDatagram | LegacyDatagram | list[ValueList | Notification]:
    """Decode a datagram; the result is a list if the datagram is neither a report's nor an earlier client's.

    Raises:
        PacketError: If it is malformed, or if it is an earlier list with values that cannot be summed.
    """
    if _PRIVATE_BYTES in datagram:
        parts = _places(datagram)
        private = parts.get(PRIVATE)
        if private is not None and datagram[private[0] + 4 : private[0] + 5] == _VERSION_BYTE:
            plugin_at, plugin_end = parts.get(PLUGIN, (0, 0))
            if datagram[plugin_at + 4 : plugin_end] == _PLUGIN:
                return _report(datagram, parts, *private)
    found = decode_packet(datagram)
    if len(found) == 1 and isinstance(only := found[0], ValueList):
        return legacy_datagram(only) or found
    return found


def legacy_datagram(told: ValueList) -> LegacyDatagram | None:
    """The sums of one earlier list; ``None`` if it is not an earlier list. Values without a name are not read.

    Raises:
        PacketError: If it is an earlier list with values that cannot be summed.
    """
    host, plugin, program, kind, token = told.identifier
    if plugin != "sqlalchemy" or kind not in _LEGACY_TYPES:
        return None
    if not program or not token:
        raise PacketError(f"{kind} without a program or a token")
    if told.interval is None or told.interval <= 0:
        raise PacketError(f"{kind} without an interval")
    sums: PoolSums | Counters
    if kind == _LEGACY_TYPES[0]:
        sums = PoolSums(*_gauges(told))
    else:
        sums = Counters._make(in_order_of_counters(_derives(told)))
    return LegacyDatagram(host, program, token, told.time, told.interval, sums)


def _places(datagram: bytes) -> dict[int, tuple[int, int]]:
    """Where the last part of each kind begins and ends; empty if the parts do not fill the datagram."""
    header = HEADER.unpack_from
    parts: dict[int, tuple[int, int]] = {}
    at, end = 0, len(datagram)
    while at + HEADER.size <= end:
        kind, length = header(datagram, at)
        if length < HEADER.size:
            break
        parts[kind] = at, at + length
        at += length
    return parts if at == end else {}


def _report(datagram: bytes, parts: dict[int, tuple[int, int]], at: int, end: int) -> ReportDatagram:
    """The report's datagram whose private part stands at `at`; of its earlier list only the names are read."""
    cursor = at + HEADER.size + HEAD.size
    if cursor > end:
        raise PacketError("private part cut short", at)
    head = HEAD.unpack_from(datagram, at + HEADER.size)
    _, flags, place, datagrams, sequence, number, uptime, wall_time, interval, host_bytes, program_bytes = head
    if place >= datagrams:
        raise PacketError(f"datagram {place} of {datagrams}", at)
    if not (0 <= uptime < inf and 0 <= wall_time < inf and 0 < interval < inf):
        raise PacketError(f"uptime {uptime}, time {wall_time}, interval {interval}", at)
    numbers: tuple[Any, ...] | None = None
    variable = host_bytes + program_bytes
    if flags & HAS_POOL:
        if cursor + POOL.size > end:
            raise PacketError("pool cut short", at)
        numbers = POOL.unpack_from(datagram, cursor)
        cursor += POOL.size
        variable += sum(numbers[SIZES])
    if cursor + variable != end:
        raise PacketError(f"private part with {end - cursor} bytes where it names {variable}", at)
    try:
        if host_bytes:
            host = datagram[cursor : cursor + host_bytes].decode()
            cursor += host_bytes
        else:
            host = _name(datagram, parts, HOST)
        if program_bytes:
            program = datagram[cursor : cursor + program_bytes].decode()
            cursor += program_bytes
        else:
            program = _name(datagram, parts, PLUGIN_INSTANCE)
        token = _name(datagram, parts, TYPE_INSTANCE)
        pool = None if numbers is None else _pool(datagram, numbers, cursor, flags & IS_BOUND != 0)
    except UnicodeDecodeError as error:
        raise PacketError(f"name that is not text: {error}", at) from None
    goodbye = flags & GOODBYE != 0
    signs = b""
    if pool is None and SIGNS in parts:
        signs_at, signs_end = parts[SIGNS]
        signs = datagram[signs_at + HEADER.size : signs_end]
    return made(ReportDatagram, (
        host, program, token, number, sequence, place, datagrams,
        uptime, wall_time, interval, goodbye, pool, signs,
    ))  # fmt: skip


def _name(datagram: bytes, parts: dict[int, tuple[int, int]], kind: int) -> str:
    """The name in the string part of this kind, which must be there."""
    at, end = parts.get(kind, (0, 0))
    if not 0 < end - at - 5 <= NAME_BYTES or datagram[end - 1]:
        raise PacketError(f"no name in part 0x{kind:04x}, or one that is too long or has no closing NUL", at)
    return datagram[at + 4 : end - 1].decode()


def _pool(datagram: bytes, numbers: tuple[Any, ...], at: int, is_bound: bool) -> RawPool:
    """The pool of these numbers, whose strings and histograms begin at `at`."""
    marks = numbers[MARK_COUNT]
    if marks > MARKS:
        raise PacketError(f"{marks} marks where {MARKS} have room", at)
    limits = made(Limits, numbers[LIMITS])
    if UNKNOWN_LIMIT in limits:
        limits = Limits(*(None if limit == UNKNOWN_LIMIT else limit for limit in limits))
    counters = made(Counters, numbers[COUNTERS])
    if UNKNOWN_COUNT in counters:
        counters = Counters._make([None if count == UNKNOWN_COUNT else count for count in counters])
    kind_bytes, name_bytes, wait_bytes, use_bytes, create_bytes = numbers[SIZES]
    name_at = at + kind_bytes
    wait_at = name_at + name_bytes
    use_at = wait_at + wait_bytes
    create_at = use_at + use_bytes
    return made(
        RawPool,
        (
            numbers[KEY],
            datagram[name_at:wait_at].decode(),
            datagram[at:name_at].decode(),
            numbers[POOLS],
            limits,
            made(Gauges, numbers[GAUGES]),
            counters,
            tuple([made(Mark, numbers[place]) for place in EACH_MARK[:marks]]),
            made(Mark, numbers[PEAK]),
            is_bound,
            datagram[wait_at:use_at],
            datagram[use_at:create_at],
            datagram[create_at : create_at + create_bytes],
        ),
    )


def _histogram(data: bytes) -> Histogram | None:
    return decode_histogram(data) if data else None


def _gauges(told: ValueList) -> list[Any]:
    """The gauges as whole numbers; ``None`` for a NaN after the five that the earlier client always sends."""
    gauges: list[int | None] = []
    for value in _known(told, GAUGE, SEED_GAUGES, len(PoolSums._fields)):
        if value != value and len(gauges) >= SEED_GAUGES:
            gauges.append(None)
        elif 0 <= value <= _LARGEST_GAUGE:
            gauges.append(round(value))
        else:
            raise PacketError(f"gauge {value} in {told.identifier.type}")
    return gauges


def _derives(told: ValueList) -> list[int | None]:
    """The counts; ``None`` if not sent, or if -1 after the four that the earlier client always sends."""
    derives: list[int | None] = []
    for value in _known(told, DERIVE, SEED_DERIVES, len(Counters._fields)):
        if value >= 0:
            derives.append(int(value))
        elif value == -1 and len(derives) >= SEED_DERIVES:
            derives.append(None)
        else:
            raise PacketError(f"count {value} in {told.identifier.type}")
    return derives + [None] * (len(Counters._fields) - len(derives))


def _known(told: ValueList, kind: int, least: int, most: int) -> tuple[float, ...]:
    """The values that have a meaning here, after a check of their number and kinds."""
    known = told.values[:most]
    if len(known) < least:
        raise PacketError(f"{len(known)} values in {told.identifier.type}, not {least}")
    if told.kinds.count(kind, 0, most) != len(known):
        raise PacketError(f"values of another kind in {told.identifier.type}")
    return known
