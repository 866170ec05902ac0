"""The newest reading of one pool of one process, and the difference that the next one makes."""

from collections.abc import Callable
from typing import NamedTuple

from poolhouse.errors import PacketError
from poolhouse.fleet.distribution import NO_DISTRIBUTIONS, NOTHING, Distributions, read
from poolhouse.fleet.names import clean_text
from poolhouse.fleet.packed import FIELD_MASK
from poolhouse.fleet.rows import INTERVAL_SHARE, rates, recent_times
from poolhouse.fleet.samples import RECENT, Samples, extended, value_since
from poolhouse.fleet.snapshot import PoolRow, Rates, Times
from poolhouse.fleet.vectors import COUNTS, counts_vector, fields_mask, gauges_vector
from poolhouse.meter.reading import REST, Mark
from poolhouse.wire.message import RawPool, ReportDatagram
from poolhouse.wire.stored import NO_HISTOGRAMS, head_of, joined_histograms, parted_histograms, stored_reading

#: A pool's rates are over two intervals, its last minute begins 30 to 60 seconds ago: fewer points than a program
#: has, because there are many more pools.
RATE_POINTS = 3
TIMES_STEP = 30.0
TIMES_POINTS = 2
#: Bytes of a pool without those of its datagrams; measured with tracemalloc.
POOL_BYTES = 1_000


class Counted:
    """The counters of one source.

    Attributes:
        counts: The counters of the newest reading, as a vector.
        sent: A bit for each counter that the source sends.
    """

    __slots__ = ("_samples", "counts", "sent")

    def __init__(self, counts: int, sent: int) -> None:
        self.counts = counts
        self.sent = sent
        self._samples: Samples[int] = ()

    def rise(self, counts: int, sent: int, risen: Callable[[int, int], int] = COUNTS.rise) -> int:
        """Take a newer vector; return by how much its counters rose.

        Args:
            counts: The vector.
            sent: A bit for each counter that it has.
            risen: How to treat a counter that fell: by default it adds nothing, and counting continues from there.
        """
        if sent == self.sent:
            rise = risen(counts, self.counts)
        else:
            # A new counter counts from its first value on; one that is no longer sent keeps its last value.
            both = fields_mask(sent & self.sent)
            rise = risen(counts & both, self.counts & both)
            counts |= self.counts & ~fields_mask(sent)
            self.sent |= sent
        self.counts = counts
        return rise

    def note(self, now: float, interval: float, counts: int) -> None:
        """Keep where the counters stand for `rates`."""
        self._samples = extended(self._samples, now, counts, INTERVAL_SHARE * interval, RATE_POINTS)

    def rate_points(self) -> "RatePoints":
        """The counters at the last few instants."""
        return RatePoints(self._samples, self.sent)


class RatePoints(NamedTuple):
    """Where counters stood at a few instants."""

    samples: Samples[int]
    sent: int

    def rates(self) -> Rates:
        """Counts a second over the last intervals."""
        if not self.samples:
            return Rates()
        (oldest, older), (newest, newer) = self.samples[0], self.samples[-1]
        return rates(newer, older, newest - oldest, self.sent)


class PoolState(NamedTuple):
    """One pool at one instant, as immutable values."""

    #: Whether the pool is there; one that is not adds its durations to its process's only.
    is_shown: bool
    head: bytes
    durations: bytes
    #: The durations at the beginning of the last minute.
    durations_before: bytes
    span: int
    points: RatePoints

    def recent(self) -> tuple[Distributions, Distributions]:
        """The durations since the pool's start: now, and at the beginning of the last minute."""
        return _read(self.durations), _read(self.durations_before)

    def row(self, recent: tuple[Distributions, Distributions] | None, knows: int) -> PoolRow | None:
        """The row that faces read; ``None`` if the datagram was not laid out as ours are.

        Args:
            recent: The result of `recent`; ``None`` for a row without durations, at a fraction of the cost.
            knows: The bits of `Knows` for the pool's process.
        """
        reading = stored_reading(self.head, self.durations, with_histograms=recent is not None)
        if reading is None:
            return None
        reading = reading._replace(name=clean_text(reading.name), kind=clean_text(reading.kind))
        mark = Mark(*map(max, zip(*reading.marks[: self.span], strict=True))) if reading.marks else Mark()
        times = Times() if recent is None else recent_times(*recent, knows)
        return PoolRow(reading, self.points.rates(), times, mark)


class Pool(Counted):
    """One pool that is reported on its own, or the sum of those that are not.

    Attributes:
        number: The report whose reading this is.
        gauges: What the pool adds to its process's gauges; 0 while it adds nothing.
        is_over: Whether the pool is gone, so that its counters are final.
    """

    __slots__ = ("_durations", "_durations_samples", "_head", "_span", "gauges", "is_over", "number")

    def __init__(self, message: ReportDatagram, raw: RawPool, is_base: bool) -> None:
        """Begin with a first reading, to be taken by `take` next.

        Args:
            message: The datagram that carries it.
            raw: The reading.
            is_base: Whether the reading is where counting begins, instead of counting itself.

        Raises:
            PacketError: If a histogram is malformed.
        """
        counts, sent = counts_vector(raw.counters)
        super().__init__(counts if is_base else 0, sent)
        self.number = message.number - 1
        self.gauges = 0
        self.is_over = False
        self._durations = NO_HISTOGRAMS
        if is_base:
            self._durations = joined_histograms(raw)
            _read(self._durations)
        self._durations_samples: Samples[bytes] = ()
        #: The datagram without its histograms, which are at its end.
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
        counts, sent = counts_vector(raw.counters)
        if not COUNTS.is_small(counts):
            raise PacketError("a counter beyond 2**48", 0)
        durations = joined_histograms(raw)
        grown = NO_DISTRIBUTIONS if durations == self._durations else _grown(raw, self._durations)
        rise = self.rise(counts, sent)
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
            (rise & FIELD_MASK) // span,
            raw.pools == 1 and max_open is not None and 0 < max_open <= used,
            raw.is_bound,
        )
        self.note(now, message.interval, self.counts)
        self._durations_samples = extended(self._durations_samples, now, durations, TIMES_STEP, TIMES_POINTS)
        self._durations = durations
        self._head = head_of(datagram, durations)
        self._span = span
        self.is_over = not raw.pools and raw.key != REST
        self.number = message.number
        return rise, grown

    @property
    def size(self) -> int:
        """Its bytes, about."""
        return POOL_BYTES + len(self._head) + len(self._durations) * (1 + len(self._durations_samples))

    def would_grow(self, raw: RawPool, datagram: bytes) -> bool:
        """Whether this reading may need more bytes than the pool has."""
        histograms = len(raw.wait) + len(raw.use) + len(raw.create)
        return POOL_BYTES + len(datagram) + histograms * TIMES_POINTS > self.size

    def state(self, now: float) -> PoolState:
        """The pool at this instant."""
        return PoolState(
            self.gauges != 0,
            self._head,
            self._durations,
            value_since(self._durations_samples, now - RECENT, self._durations),
            self._span,
            self.rate_points(),
        )

    def forget_samples(self) -> None:
        """Drop the samples and keep the counters."""
        self._samples = ()
        self._durations_samples = ()


def _read(joined: bytes) -> Distributions:
    wait, use, create = map(read, parted_histograms(joined))
    return wait, use, create


def _grown(raw: RawPool, old: bytes) -> Distributions:
    wait, use, create = (
        NOTHING if now == before else read(now).since(read(before)) or NOTHING
        for now, before in zip((raw.wait, raw.use, raw.create), parted_histograms(old), strict=True)
    )
    return wait, use, create
