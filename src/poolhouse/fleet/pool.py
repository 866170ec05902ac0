"""What one pool of one process told last, and what is new in its next reading."""

from collections.abc import Callable
from struct import Struct

from poolhouse.errors import PacketError
from poolhouse.fleet.distribution import NO_DISTRIBUTIONS, NOTHING, Distributions, read
from poolhouse.fleet.lanes import LANE
from poolhouse.fleet.names import clean_text
from poolhouse.fleet.rows import INTERVAL_SHARE, rates, recent_times
from poolhouse.fleet.snapshot import PoolRow, Rates
from poolhouse.fleet.trail import RECENT, Trail, extended, value_since
from poolhouse.fleet.vectors import COUNTS, counts_vector, gauges_vector, lanes_of
from poolhouse.meter.reading import REST, Mark
from poolhouse.wire.message import RawPool, ReportDatagram, decode_message

#: How long the first two of a pool's three histograms are; then the three. One object instead of four, because
#: every pool keeps three of them.
_LENGTHS = Struct(">HH")

#: A pool's rates are over two intervals, its last minute begins 30 to 60 seconds ago: fewer points than a program
#: has, because there are so many pools.
RATE_POINTS = 3
TIMES_STEP = 30.0
TIMES_POINTS = 2


class Counted:
    """The counters of one source.

    Attributes:
        counts: What was told last, as a vector.
        told: A bit for each counter that is told.
    """

    __slots__ = ("_trail", "counts", "told")

    def __init__(self, counts: int, told: int) -> None:
        self.counts = counts
        self.told = told
        self._trail: Trail[int] = ()

    def rise(self, counts: int, told: int, risen: Callable[[int, int], int] = COUNTS.rise) -> int:
        """Take a newer vector; return by how much its counters rose.

        Args:
            counts: The vector.
            told: A bit for each counter that it tells.
            risen: What becomes of a counter that fell: by default it adds nothing, and counting begins there.
        """
        if told == self.told:
            rise = risen(counts, self.counts)
        else:
            # What is told for the first time is where counting begins; what is told no longer stays as it was.
            both = lanes_of(told & self.told)
            rise = risen(counts & both, self.counts & both)
            counts |= self.counts & ~lanes_of(told)
            self.told |= told
        self.counts = counts
        return rise

    def note(self, now: float, interval: float, counts: int) -> None:
        """Keep where the counters stand for `rates`."""
        self._trail = extended(self._trail, now, counts, INTERVAL_SHARE * interval, RATE_POINTS)

    def rates(self) -> Rates:
        """Counts a second over the last intervals."""
        if not self._trail:
            return Rates()
        (oldest, older), (newest, newer) = self._trail[0], self._trail[-1]
        return rates(newer, older, newest - oldest, self.told)


class Pool(Counted):
    """A pool that is told one by one, or the sum of those that are not.

    Attributes:
        number: The report whose reading this is.
        gauges: What the pool adds to its process's gauges; 0 while it adds nothing.
        is_over: Whether the pool is gone, so that its counters are final.
    """

    __slots__ = ("_durations", "_durations_trail", "_head", "_span", "gauges", "is_over", "number")

    def __init__(self, message: ReportDatagram, raw: RawPool, is_base: bool) -> None:
        """Begin with a first reading, to be taken by `take` next.

        Args:
            message: The datagram that told it.
            raw: The reading.
            is_base: Whether the reading is where counting begins, instead of counting itself.

        Raises:
            PacketError: If a histogram is malformed.
        """
        counts, told = counts_vector(raw.counters)
        super().__init__(counts if is_base else 0, told)
        self.number = message.number - 1
        self.gauges = 0
        self.is_over = False
        self._durations = _NO_DURATIONS
        if is_base:
            self._durations = _joined(raw)
            _read(self._durations)
        self._durations_trail: Trail[bytes] = ()
        #: Everything of the datagram that comes before the histograms.
        self._head = b""
        #: For how many reports the reading stands: more than 1 when some were lost.
        self._span = 1

    def take(
        self, message: ReportDatagram, raw: RawPool, datagram: bytes, now: float
    ) -> tuple[int, Distributions]:
        """Take a newer reading; return the vector of counts, and the durations, that it adds.

        Raises:
            PacketError: If it cannot be understood or summed; nothing is taken then.
        """
        counts, told = counts_vector(raw.counters)
        if not COUNTS.is_small(counts):
            raise PacketError("a counter beyond 2**48", 0)
        durations = _joined(raw)
        grown = NO_DISTRIBUTIONS if durations == self._durations else _grown(raw, self._durations)
        rise = self.rise(counts, told)
        span = message.number - self.number
        if span == 1:
            mark = raw.marks[0].used if raw.marks else 0
        else:
            mark = max((mark.used for mark in raw.marks if mark.interval > self.number), default=0)
        used, max_open = raw.gauges.used, raw.limits.max_open
        self.gauges = gauges_vector(
            raw.pools,
            raw.gauges,
            raw.limits,
            max(mark, used),
            (rise & LANE) // span,
            raw.pools == 1 and max_open is not None and 0 < max_open <= used,
            raw.is_bound,
        )
        self.note(now, message.interval, self.counts)
        self._durations_trail = extended(self._durations_trail, now, durations, TIMES_STEP, TIMES_POINTS)
        self._durations = durations
        self._head = datagram[: len(datagram) - len(durations) + _LENGTHS.size]
        self._span = span
        self.is_over = not raw.pools and raw.key != REST
        self.number = message.number
        return rise, grown

    def recent(self, now: float) -> tuple[Distributions, Distributions]:
        """The durations since the pool's start: now, and at the beginning of the last minute."""
        return _read(self._durations), _read(value_since(self._durations_trail, now - RECENT, self._durations))

    def forget_trails(self) -> None:
        """Keep what counts only."""
        self._trail = ()
        self._durations_trail = ()

    def row(self, recent: tuple[Distributions, Distributions], knows: int) -> PoolRow | None:
        """The row that faces read; ``None`` if the datagram was not laid out as ours are.

        Args:
            recent: What `recent` says.
            knows: What the pool's process tells.
        """
        try:
            message = decode_message(self._head + self._durations[_LENGTHS.size :])
        except PacketError:
            return None
        if not isinstance(message, ReportDatagram) or message.pool is None:
            return None
        reading = message.pool.reading()
        reading = reading._replace(name=clean_text(reading.name), kind=clean_text(reading.kind))
        mark = Mark(*map(max, zip(*reading.marks[: self._span], strict=True))) if reading.marks else Mark()
        return PoolRow(reading, self.rates(), recent_times(*recent, knows), mark)


def _joined(raw: RawPool) -> bytes:
    return _LENGTHS.pack(len(raw.wait), len(raw.use)) + raw.wait + raw.use + raw.create


def _parted(joined: bytes) -> tuple[bytes, bytes, bytes]:
    wait, use = _LENGTHS.unpack_from(joined)
    use_at = _LENGTHS.size + wait
    create_at = use_at + use
    return joined[_LENGTHS.size : use_at], joined[use_at:create_at], joined[create_at:]


def _read(joined: bytes) -> Distributions:
    wait, use, create = map(read, _parted(joined))
    return wait, use, create


def _grown(raw: RawPool, old: bytes) -> Distributions:
    wait, use, create = (
        NOTHING if now == before else read(now).since(read(before)) or NOTHING
        for now, before in zip((raw.wait, raw.use, raw.create), _parted(old), strict=True)
    )
    return wait, use, create


_NO_DURATIONS = _LENGTHS.pack(0, 0)
