"""The ledger in which the nodes of a service share their counts, byte by byte.

An `Entry` is the ledger of one process: for each pool the newest reading, and where counting begins. `RowSums` are
the counts of a row's forgotten processes. Nodes send ages, never times of day, so their clocks need not agree.
``docs/reference/tcp.md`` has the layout.
"""

from collections.abc import Iterator
from math import inf
from struct import Struct, error
from typing import NamedTuple

from poolhouse.errors import PacketError
from poolhouse.meter.histogram import Histogram
from poolhouse.meter.reading import Counters
from poolhouse.wire.histogram import decode_histogram, encode_histogram
from poolhouse.wire.report import UNKNOWN_COUNT
from poolhouse.wire.stored import NO_HISTOGRAMS
from poolhouse.wire.tuples import made

#: The version of every layout in this module; a node refuses a peer that sends another.
VERSION = 1
#: A chunk is closed after this many entries, or bytes.
CHUNK_ENTRIES, CHUNK_BYTES = 50, 64 * 1024
#: Bits of an entry's flags, and of a pool's.
_ENDED, _PROVEN, _HAS_AGE, _HAS_UPTIME, _HAS_OLDER, _HAS_EARLIER = 1, 2, 4, 8, 16, 32
_OVER, _HAS_BASE, _HAS_FALLEN = 1, 2, 4
_NO_NUMBER = 0xFFFFFFFF
_NOT_KNOWN = -2

_CHUNK = Struct(">BH")
_LENGTH = Struct(">I")
#: flags, number, silent for, age, interval, uptime, lost, complete since, knows, sent, pools; bytes of the names.
_HEAD = Struct(">BIddddQqHHHHHH")
#: key, number, flags.
_POOL = Struct(">IIB")
_COUNTS = Struct(f">{len(Counters._fields)}Q")
_SIZE = Struct(">H")
_FLOOR = Struct(">I")
_TIME = Struct(">d")
_NAMES = Struct(">HHHH")
_PULSE = Struct(">BdB")
_SUM_BYTES = 16

#: Sums before anything was counted.
NO_COUNTS = Counters._make([0] * len(Counters._fields))


class Sums(NamedTuple):
    """Counts and durations, summed over several pools or processes."""

    counts: tuple[int, ...]
    #: Of wait, use and create times.
    times: tuple[Histogram, Histogram, Histogram]


class PoolEntry(NamedTuple):
    """One pool of a process.

    Attributes:
        key: Its key in the process's reports.
        number: The report of the newest reading.
        is_over: Whether that reading is the last.
        counts: The newest reading's counters; ``None`` for counters that were never sent.
        durations: Its histograms (`poolhouse.wire.stored.joined_histograms`).
        base: The counters where counting begins.
        base_durations: The histograms where counting begins.
        fallen: What counters and histograms lost whenever they fell: it was counted before, and still counts.
    """

    key: int
    number: int
    is_over: bool
    counts: Counters
    durations: bytes
    base: Counters = NO_COUNTS
    base_durations: bytes = NO_HISTOGRAMS
    fallen: Sums | None = None


class Earlier(NamedTuple):
    """The sums of an earlier client.

    Attributes:
        wall_time: The time in its newest datagram with counters, by the client's own clock.
        risen: What was counted.
        counts: The counters of that datagram; ``None`` for counters that it does not send.
    """

    wall_time: float
    risen: tuple[int, ...]
    counts: Counters


class Entry(NamedTuple):
    """The ledger of one process.

    Attributes:
        host: Host, program and token as they stand in its datagrams.
        program: See `host`.
        token: See `host`.
        is_ended: Whether it said goodbye.
        is_proven: Whether it reported twice in time.
        silent_for: Seconds since its newest report arrived.
        age: Seconds since it began; ``None`` if it does not say.
        interval: Seconds between its reports.
        uptime: The age that it gave in its newest report, in seconds.
        number: The number of its newest report; ``None`` for an earlier client.
        complete_since: A pool that first appears after the report of this number is new; ``None`` until a report
            was complete.
        lost: How many of its datagrams were lost.
        knows: The values that it sends, a bit for each.
        sent: The counters that it sends, a bit for each.
        pools: Its pools.
        floor: All pools with a smaller key that are not in `pools` are summed in `older`.
        older: The sum of pools that ended long ago; ``None`` if there are none.
        earlier: Its sums as an earlier client; ``None`` if it reports its pools one by one.
    """

    host: str
    program: str
    token: str
    is_ended: bool
    is_proven: bool
    silent_for: float
    age: float | None
    interval: float
    uptime: float | None
    number: int | None
    complete_since: int | None
    lost: int
    knows: int
    sent: int
    pools: tuple[PoolEntry, ...]
    floor: int = 0
    older: Sums | None = None
    earlier: Earlier | None = None


class RowSums(NamedTuple):
    """The counts of a row's forgotten processes; host or program is empty if the row sums over all of them."""

    host: str
    program: str
    #: As in `Entry`.
    knows: int
    sent: int
    sums: Sums


class Pulse(NamedTuple):
    """A sign of life.

    Attributes:
        counting_for: Seconds since the service began to count, as far as the node knows.
        is_behind: Whether the node still lacks the sums of processes that were forgotten before it started.
    """

    counting_for: float
    is_behind: bool


def encode_pulse(pulse: Pulse) -> bytes:
    """The payload of a `Kind.PULSE` frame."""
    return _PULSE.pack(VERSION, pulse.counting_for, pulse.is_behind)


def decode_pulse(payload: bytes) -> Pulse:
    """A sign of life; PacketError if it is malformed."""
    _check_version(payload)
    if len(payload) < _PULSE.size:
        raise PacketError("a pulse that is too short")
    _, counting_for, is_behind = _PULSE.unpack_from(payload)
    return made(Pulse, (_duration(counting_for), bool(is_behind)))


def encode_told(forgotten_for: float | None) -> bytes:
    """The payload of a `Kind.TOLD` frame: seconds since the newest report of a process that was forgotten."""
    return bytes([VERSION]) + (b"" if forgotten_for is None else _TIME.pack(forgotten_for))


def decode_told(payload: bytes) -> float | None:
    """The seconds in it; ``None`` if nothing was forgotten. PacketError if it is malformed."""
    _check_version(payload)
    if len(payload) == 1:
        return None
    if len(payload) != 1 + _TIME.size:
        raise PacketError("an end of a ledger of another length")
    return _duration(_TIME.unpack_from(payload, 1)[0])


def encode_entry(entry: Entry) -> bytes:
    """One entry, its length in front."""
    flags = (
        _ENDED * entry.is_ended
        | _PROVEN * entry.is_proven
        | _HAS_AGE * (entry.age is not None)
        | _HAS_UPTIME * (entry.uptime is not None)
        | _HAS_OLDER * (entry.older is not None)
        | _HAS_EARLIER * (entry.earlier is not None)
    )
    host, program, token = [name.encode("utf-8", "surrogatepass") for name in entry[:3]]
    pieces = [
        _HEAD.pack(
            flags,
            _NO_NUMBER if entry.number is None else entry.number,
            entry.silent_for,
            entry.age or 0.0,
            entry.interval,
            entry.uptime or 0.0,
            entry.lost,
            _NOT_KNOWN if entry.complete_since is None else entry.complete_since,
            entry.knows,
            entry.sent,
            len(entry.pools),
            len(host),
            len(program),
            len(token),
        ),
        host,
        program,
        token,
    ]
    for pool in entry.pools:
        has_base = pool.base is not NO_COUNTS or pool.base_durations != NO_HISTOGRAMS
        told = _OVER * pool.is_over | _HAS_BASE * has_base | _HAS_FALLEN * (pool.fallen is not None)
        pieces += (_POOL.pack(pool.key, pool.number, told), _counts(pool.counts))
        pieces += (_SIZE.pack(len(pool.durations)), pool.durations)
        if has_base:
            pieces += (_counts(pool.base), _SIZE.pack(len(pool.base_durations)), pool.base_durations)
        if pool.fallen is not None:
            pieces += _sums(pool.fallen)
    if entry.older is not None:
        pieces += (_FLOOR.pack(entry.floor), *_sums(entry.older))
    if entry.earlier is not None:
        earlier = entry.earlier
        pieces += (_TIME.pack(earlier.wall_time), _COUNTS.pack(*earlier.risen), _counts(earlier.counts))
    body = b"".join(pieces)
    return _LENGTH.pack(len(body)) + body


def encode_row_sums(row: RowSums) -> bytes:
    """The sums of one row, their length in front."""
    names = [name.encode("utf-8", "surrogatepass") for name in row[:2]]
    body = b"".join((_NAMES.pack(*map(len, names), row.knows, row.sent), *names, *_sums(row.sums)))
    return _LENGTH.pack(len(body)) + body


def chunk(encoded: list[bytes]) -> bytes:
    """The payload of a `Kind.LEDGER` or `Kind.ROWS` frame."""
    return b"".join((_CHUNK.pack(VERSION, len(encoded)), *encoded))


def decode_ledger(payload: bytes) -> list[Entry]:
    """The entries of a chunk; PacketError if one of them is malformed."""
    return [_entry(body) for body in _bodies(payload)]


def decode_rows(payload: bytes) -> list[RowSums]:
    """The rows of a chunk; PacketError if one of them is malformed."""
    return [_row(body) for body in _bodies(payload)]


class _Cursor:
    """Reads a body from its beginning; PacketError if the body is too short."""

    __slots__ = ("_at", "_body")

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._at = 0

    def unpack(self, layout: Struct) -> tuple[float, ...]:
        values: tuple[float, ...] = layout.unpack_from(self._body, self._at)
        self._at += layout.size
        return values

    def take(self, size: int) -> bytes:
        taken = self._body[self._at : self._at + size]
        if len(taken) != size:
            raise PacketError("an entry of a ledger that is too short")
        self._at += size
        return taken

    def integer(self, layout: Struct) -> int:
        (value,) = self.unpack(layout)
        return int(value)

    def counters(self) -> Counters:
        values = _COUNTS.unpack_from(self._body, self._at)
        self._at += _COUNTS.size
        if UNKNOWN_COUNT in values:
            return Counters._make([None if value == UNKNOWN_COUNT else value for value in values])
        return Counters._make(values)

    def durations(self) -> bytes:
        joined = self.take(self.integer(_SIZE))
        if len(joined) < len(NO_HISTOGRAMS):
            raise PacketError("histograms that are too short")
        return NO_HISTOGRAMS if joined == NO_HISTOGRAMS else joined

    def sums(self) -> Sums:
        counts: tuple[int, ...] = _COUNTS.unpack_from(self._body, self._at)
        self._at += _COUNTS.size
        wait, use, create = (self._histogram() for _ in range(3))
        return Sums(counts, (wait, use, create))

    def finish(self) -> None:
        if self._at != len(self._body):
            raise PacketError("an entry of a ledger that is too long")

    def _histogram(self) -> Histogram:
        histogram = decode_histogram(self.take(self.integer(_SIZE)))
        histogram.sum_ns = int.from_bytes(self.take(_SUM_BYTES), "big")
        return histogram


def _bodies(payload: bytes) -> Iterator[bytes]:
    _check_version(payload)
    if len(payload) < _CHUNK.size:
        raise PacketError("a chunk that is too short")
    _, count = _CHUNK.unpack_from(payload)
    at = _CHUNK.size
    for _ in range(count):
        if len(payload) < at + _LENGTH.size:
            raise PacketError("a chunk that is too short", at)
        (length,) = _LENGTH.unpack_from(payload, at)
        at += _LENGTH.size + length
        if at > len(payload):
            raise PacketError("a chunk that is too short", at)
        yield payload[at - length : at]
    if at != len(payload):
        raise PacketError("a chunk that is too long", at)


def _entry(body: bytes) -> Entry:
    cursor = _Cursor(body)
    try:
        return _read_entry(cursor)
    except (error, UnicodeDecodeError) as reason:
        raise PacketError(f"an entry of a ledger that is malformed ({reason})") from None


def _read_entry(cursor: _Cursor) -> Entry:
    flags, number, silent_for, age, interval, uptime, lost, complete, knows, sent, pools, *lengths = cursor.unpack(
        _HEAD
    )
    told = int(flags)
    host, program, token = [cursor.take(int(length)).decode("utf-8", "surrogatepass") for length in lengths]
    read = tuple([_read_pool(cursor) for _ in range(int(pools))])
    floor, older, earlier = 0, None, None
    if told & _HAS_OLDER:
        floor, older = cursor.integer(_FLOOR), cursor.sums()
    if told & _HAS_EARLIER:
        (wall_time,) = cursor.unpack(_TIME)
        risen = cursor.counters()
        earlier = Earlier(_duration(wall_time), tuple([count or 0 for count in risen]), cursor.counters())
    cursor.finish()
    return made(
        Entry,
        (
            host,
            program,
            token,
            told & _ENDED != 0,
            told & _PROVEN != 0,
            _duration(silent_for),
            _duration(age) if told & _HAS_AGE else None,
            _duration(interval),
            _duration(uptime) if told & _HAS_UPTIME else None,
            None if number == _NO_NUMBER else int(number),
            None if complete == _NOT_KNOWN else int(complete),
            int(lost),
            int(knows),
            int(sent),
            read,
            floor,
            older,
            earlier,
        ),
    )


def _read_pool(cursor: _Cursor) -> PoolEntry:
    key, number, flags = map(int, cursor.unpack(_POOL))
    counts, durations = cursor.counters(), cursor.durations()
    base, base_durations = NO_COUNTS, NO_HISTOGRAMS
    if flags & _HAS_BASE:
        base, base_durations = cursor.counters(), cursor.durations()
    fallen = cursor.sums() if flags & _HAS_FALLEN else None
    return made(PoolEntry, (key, number, flags & _OVER != 0, counts, durations, base, base_durations, fallen))


def _row(body: bytes) -> RowSums:
    cursor = _Cursor(body)
    try:
        *lengths, knows, sent = map(int, cursor.unpack(_NAMES))
        host, program = (cursor.take(length).decode("utf-8", "surrogatepass") for length in lengths)
        sums = cursor.sums()
    except (error, UnicodeDecodeError) as reason:
        raise PacketError(f"sums of a row that are malformed ({reason})") from None
    cursor.finish()
    return RowSums(host, program, knows, sent, sums)


def _check_version(payload: bytes) -> None:
    if not payload or payload[0] != VERSION:
        raise PacketError("a ledger of another version")


def _duration(seconds: float) -> float:
    if not 0 <= seconds < inf:
        raise PacketError(f"a ledger with {seconds} seconds")
    return seconds


def _counts(counters: Counters) -> bytes:
    if None in counters:
        return _COUNTS.pack(*[UNKNOWN_COUNT if count is None else count for count in counters])
    return _COUNTS.pack(*counters)


def _sums(sums: Sums) -> tuple[bytes, ...]:
    pieces = [_COUNTS.pack(*sums.counts)]
    for histogram in sums.times:
        encoded = encode_histogram(histogram)
        # A large fleet's sum of nanoseconds exceeds 64 bits within days.
        pieces += (_SIZE.pack(len(encoded)), encoded, histogram.sum_ns.to_bytes(_SUM_BYTES, "big"))
    return tuple(pieces)
