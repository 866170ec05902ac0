"""The latest reading of one pool of one process, and the difference that the next one makes."""

from typing import NamedTuple

from poolhouse.errors import PacketError
from poolhouse.fleet.account import Account, RatePoints, read_joined
from poolhouse.fleet.distribution import Distributions
from poolhouse.fleet.names import clean_text
from poolhouse.fleet.packed import FIELD_MASK
from poolhouse.fleet.rows import recent_times
from poolhouse.fleet.samples import RECENT, Samples, extended, value_since
from poolhouse.fleet.snapshot import PoolRow, Times
from poolhouse.fleet.vectors import COUNTS, counts_vector, gauges_vector
from poolhouse.meter.reading import REST, Mark, PoolReading
from poolhouse.wire.message import RawPool, ReportDatagram
from poolhouse.wire.stored import NO_HISTOGRAMS, head_of, joined_histograms, stored_reading

#: A pool's last minute begins 30 to 60 seconds ago: fewer points than a program has, because there are many more
#: pools.
TIMES_STEP = 30.0
TIMES_POINTS = 2
#: The size of a pool in bytes, without that of its datagrams; measured with tracemalloc.
POOL_BYTES = 1_000


class PoolState(NamedTuple):
    """One pool at one instant, as immutable values."""

    #: Whether the pool exists; if not, its durations count only for its process.
    is_shown: bool
    head: bytes
    durations: bytes
    #: The durations at the beginning of the last minute.
    durations_before: bytes
    span: int
    points: RatePoints

    def recent(self) -> tuple[Distributions, Distributions]:
        """The durations since the pool's start: now, and at the beginning of the last minute."""
        return read_joined(self.durations), read_joined(self.durations_before)

    def row(self, recent: tuple[Distributions, Distributions] | None, knows: int) -> PoolRow | None:
        """The row for faces; ``None`` if the datagram was not laid out like ours.

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


class Pool(Account):
    """One pool that is reported on its own, or the sum of those that are not.

    Attributes:
        gauges: The pool's share of its process's gauges; 0 while it adds nothing.
    """

    __slots__ = ("_durations_samples", "_head", "_span", "gauges")

    def __init__(self, number: int, counts: int, sent: int, durations: bytes) -> None:
        """See `Account`; call `take` next."""
        super().__init__(number, counts, sent, durations)
        self.gauges = 0
        self._durations_samples: Samples[bytes] = ()
        #: The datagram without its histograms, which are at its end.
        self._head = b""
        #: How many reports the reading stands for: more than 1 if some were lost.
        self._span = 1

    @classmethod
    def new(cls, message: ReportDatagram, raw: RawPool, is_base: bool) -> "Pool":
        """A pool before its first reading; call `take` next.

        Args:
            message: The datagram that carries it.
            raw: The reading.
            is_base: Whether counting begins at this reading, which then adds nothing itself.

        Raises:
            PacketError: If a histogram is malformed.
        """
        counts, sent = counts_vector(raw.counters)
        if not is_base:
            return cls(message.number - 1, 0, sent, NO_HISTOGRAMS)
        durations = joined_histograms(raw)
        read_joined(durations)
        return cls(message.number - 1, counts, sent, durations)

    @classmethod
    def of(cls, account: Account) -> "Pool":
        """A pool known only by its account."""
        pool = cls(account.number, account.counts, account.sent, account.durations)
        pool.is_over, pool.base, pool.base_durations = account.is_over, account.base, account.base_durations
        pool.fallen = account.fallen
        pool.is_ahead = True
        return pool

    def account(self) -> Account:
        """The account without the reading."""
        account = Account(self.number, self.counts, self.sent, self.durations)
        account.is_over, account.base, account.base_durations = self.is_over, self.base, self.base_durations
        account.fallen = self.fallen
        return account

    def take(
        self, message: ReportDatagram, raw: RawPool, datagram: bytes, now: float
    ) -> tuple[int, Distributions]:
        """Take a newer reading; return the vector of counts, and the durations, that it adds.

        Raises:
            PacketError: If it is malformed or too large to be added; nothing is taken then.
        """
        counts, sent = counts_vector(raw.counters)
        if not COUNTS.is_small(counts):
            raise PacketError("a counter beyond 2**48")
        durations = joined_histograms(raw)
        grown = self.grow(raw, durations)
        rise = self.rise(counts, sent)
        span = max(1, message.number - self.number)
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
        self._head = head_of(datagram, durations)
        self._span = span
        self.is_over = not raw.pools and raw.key != REST
        self.number = message.number
        self.is_ahead = False
        return rise, grown

    @property
    def reading(self) -> PoolReading | None:
        """The latest reading without its histograms; ``None`` if the datagram was not laid out like ours."""
        return stored_reading(self._head, self.durations, with_histograms=False)

    @property
    def name(self) -> str:
        """The pool's name for people; empty if not known."""
        reading = self.reading
        return "" if reading is None else clean_text(reading.name)

    @property
    def size(self) -> int:
        """The pool's approximate size in bytes."""
        size = POOL_BYTES + len(self._head) + len(self.base_durations)
        return size + len(self.durations) * (1 + len(self._durations_samples))

    def would_grow(self, raw: RawPool, datagram: bytes) -> bool:
        """Whether this reading may need more bytes than the pool has now."""
        histograms = len(raw.wait) + len(raw.use) + len(raw.create)
        return POOL_BYTES + len(datagram) + histograms * TIMES_POINTS > self.size

    def state(self, now: float) -> PoolState:
        """The pool's present state."""
        return PoolState(
            self.gauges != 0,
            self._head,
            self.durations,
            value_since(self._durations_samples, now - RECENT, self.durations),
            self._span,
            self.rate_points(),
        )

    def forget_samples(self) -> None:
        """Drop the samples and keep the counters."""
        self._samples = ()
        self._durations_samples = ()
