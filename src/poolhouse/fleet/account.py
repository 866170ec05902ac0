"""The account of one pool: its latest reading, and the base where counting begins. Adds differences to the sums.

The accounts of several nodes are joined (`Account.join`): the newer reading, the larger total, the smaller base.
This is commutative, associative and idempotent, so neither the order nor the number of joins matters. Counts never
fall: the total only rises, and the base only falls.
"""

from typing import NamedTuple

from poolhouse.errors import PacketError
from poolhouse.fleet.distribution import (
    NO_DISTRIBUTIONS,
    NOTHING,
    Distributions,
    distribution_of,
    larger,
    read,
    risen,
    smaller,
    summed,
)
from poolhouse.fleet.rows import INTERVAL_SHARE, rates
from poolhouse.fleet.samples import Samples, extended
from poolhouse.fleet.snapshot import Rates
from poolhouse.fleet.vectors import ALL_SENT, COUNTS, counts_vector, fields_mask
from poolhouse.meter.reading import REST, Counters
from poolhouse.wire.histogram import encode_histogram
from poolhouse.wire.ledger import NO_COUNTS, PoolEntry, Sums
from poolhouse.wire.message import RawPool
from poolhouse.wire.stored import NO_HISTOGRAMS, joined, parted_histograms
from poolhouse.wire.tuples import made

#: A pool's rates are taken over two intervals: fewer points than a program has, because there are many more pools.
RATE_POINTS = 3
#: The size of an account in bytes, without that of its histograms; measured with tracemalloc.
ACCOUNT_BYTES = 450

#: Counts, as a vector, and durations.
Amount = tuple[int, Distributions]
NO_AMOUNT: Amount = (0, NO_DISTRIBUTIONS)


class Counted:
    """The counters of one source.

    Attributes:
        counts: The counters of the newest reading, as a vector.
        sent: A bit for each counter that the source sends.
    """

    __slots__ = ("_samples", "counts", "sent")

    def __init__(self, counts: int, sent: int) -> None:
        self.counts: int = counts
        self.sent: int = sent
        self._samples: Samples[int] = ()

    def note(self, now: float, interval: float, counts: int) -> None:
        """Store the present counters for `rates`."""
        self._samples = extended(self._samples, now, counts, INTERVAL_SHARE * interval, RATE_POINTS)

    def rate_points(self) -> "RatePoints":
        """The counters at the latest few instants."""
        return RatePoints(self._samples, self.sent)


class RatePoints(NamedTuple):
    """Counters at a few instants."""

    samples: Samples[int]
    sent: int

    def rates(self) -> Rates:
        """Counts a second over the last intervals."""
        if not self.samples:
            return Rates()
        (oldest, older), (newest, newer) = self.samples[0], self.samples[-1]
        return rates(newer, older, newest - oldest, self.sent)


class Joined(NamedTuple):
    """The result of a join.

    Attributes:
        amount: What it adds to the sums.
        has_learned: Whether the account has changed, so that other nodes must be told.
        knows_more: Whether the account holds something that the other lacks and will not get with a report.
    """

    amount: Amount = NO_AMOUNT
    has_learned: bool = False
    knows_more: bool = False

    def plus(self, other: "Joined") -> "Joined":
        """Both results together."""
        if other is NOTHING_JOINED:
            return self
        if self is NOTHING_JOINED:
            return other
        return Joined(
            add(self.amount, other.amount),
            self.has_learned or other.has_learned,
            self.knows_more or other.knows_more,
        )


#: The result of a join that changed nothing, and that found nothing to tell.
NOTHING_JOINED = Joined()


class Account(Counted):
    """The counts of one pool.

    Attributes:
        number: The report of this reading.
        is_ahead: Whether only another node has received that report.
        is_over: Whether the pool is gone, so that its counters are final.
        durations: The reading's histograms, joined.
        base: The counters where counting begins, as a vector.
        base_durations: The histograms where counting begins.
        fallen: What counters and histograms lost when they fell, which stays counted; ``None`` for nothing.
    """

    __slots__ = ("base", "base_durations", "durations", "fallen", "is_ahead", "is_over", "number")

    def __init__(self, number: int, counts: int, sent: int, durations: bytes) -> None:
        """Start with nothing counted.

        Args:
            number: The report of this reading.
            counts: Its counters, as a vector.
            sent: A bit for each counter that is sent.
            durations: Its histograms, joined.
        """
        super().__init__(counts, sent)
        self.number = number
        self.is_ahead = False
        self.is_over = False
        self.durations = durations
        self.base = counts
        self.base_durations = durations
        self.fallen: Amount | None = None

    def rise(self, counts: int, sent: int) -> int:
        """Take a newer vector; return by how much its counters rose. A counter that fell adds nothing."""
        if sent != self.sent:
            # A new counter counts from its first value on; one that is no longer sent keeps its last value.
            counts |= self.counts & ~fields_mask(sent)
            new = counts & fields_mask(sent & ~self.sent)
            self.base += new
            self.counts += new
            self.sent |= sent
        rise = COUNTS.rise_of_all(counts, self.counts)
        if rise is None:
            rise = COUNTS.rise(counts, self.counts)
            self._note_fall(self.counts + rise - counts, NO_DISTRIBUTIONS)
        self.counts = counts
        return rise

    def grow(self, raw: RawPool, durations: bytes) -> Distributions:
        """Take newer histograms; return the durations that they add.

        Raises:
            PacketError: If one is malformed; nothing is taken then.
        """
        if durations == self.durations:
            return NO_DISTRIBUTIONS
        before = self.durations
        has_fallen = False
        grown = []
        for now, then in zip((raw.wait, raw.use, raw.create), parted_histograms(before), strict=True):
            more = NOTHING
            if now != then:
                newer, older = read(now), read(then)
                since = newer.since(older)
                has_fallen |= since is None
                more = newer.rise(older) if since is None else since
                if not (more.counts or more.sum_ns):  # The first reading, and no duration yet.
                    more = NOTHING
            grown.append(more)
        wait, use, create = grown
        self.durations = durations
        if has_fallen:
            # The total is what it was before, plus the rise.
            total = summed(read_joined(before), (wait, use, create))
            self._note_fall(0, risen(total, read_joined(durations)))
        return NO_DISTRIBUTIONS if wait is use is create is NOTHING else (wait, use, create)

    def count_all(self) -> Amount:
        """Count what came before the base, too; return what that adds."""
        if not self.base and self.base_durations == NO_HISTOGRAMS:
            return NO_AMOUNT
        before = self.amount()
        self.base, self.base_durations = 0, NO_HISTOGRAMS
        return less(self.amount(), before)

    def amount(self) -> Amount:
        """Everything that it has counted."""
        counts, times = self._total()
        if self.base_durations != NO_HISTOGRAMS:
            times = risen(times, read_joined(self.base_durations))
        return counts - self.base, times

    def entry(self, key: int) -> PoolEntry:
        """The account in the form for other nodes."""
        has_base = self.base or self.base_durations != NO_HISTOGRAMS
        return made(
            PoolEntry,
            (
                key,
                self.number,
                self.is_over,
                self._counters(self.counts),
                self.durations,
                self._counters(self.base) if has_base else NO_COUNTS,
                self.base_durations,
                sums_of(self.fallen) if self.fallen is not None else None,
            ),
        )

    def is_told(self, told: PoolEntry) -> bool:
        """Whether another node's entry of the pool is this very account, without any fall of its counters."""
        if (told.number, told.is_over and told.key != REST) != (self.number, self.is_over):
            return False
        if told.durations != self.durations:
            return False
        if self.fallen is not None or told.fallen is not None or told.base_durations != self.base_durations:
            return False
        base = counts_vector(told.base)[0] if told.base is not NO_COUNTS else 0
        return base == self.base and counts_vector(told.counts) == (self.counts, self.sent)

    def join(self, other: "Account", keeps_base: bool) -> Joined:
        """Take another node's account of the pool.

        Args:
            other: Its account (`account_of`).
            keeps_base: Whether the base stays, because what came before it was counted and forgotten.
        """
        is_newer = other.number > self.number
        has_learned = is_newer or (other.is_over and not self.is_over)
        if (
            other.counts == self.counts
            and other.durations == self.durations
            and other.base == self.base
            and other.sent == self.sent
            and other.base_durations == self.base_durations
            and self.fallen is None
            and other.fallen is None
        ):
            self._renew(other, is_newer)
            return Joined(NO_AMOUNT, has_learned)
        before = self.amount()
        (counts, times), (other_counts, other_times) = self._total(), other._total()
        total = COUNTS.larger(counts, other_counts), larger(times, other_times)
        base = self._joined_base(other, keeps_base, total[0])
        base_durations = self.base_durations
        if not keeps_base and other.base_durations != base_durations:
            base_durations = _smaller_joined(base_durations, other.base_durations)
        knows_more = base & ~fields_mask(self.sent & ~other.sent) != other.base or (
            base_durations != other.base_durations
        )
        if other.number >= self.number:
            knows_more |= less(total, (other_counts, other_times)) != NO_AMOUNT or self.sent & ~other.sent != 0
        has_learned |= base != self.base or base_durations != self.base_durations
        has_learned |= less(total, (counts, times)) != NO_AMOUNT
        if is_newer:
            # A counter that the other node never saw keeps its value.
            self.counts = other.counts | self.counts & fields_mask(self.sent & ~other.sent)
            self.durations = other.durations
            self._samples = ()
        else:
            self.counts |= other.counts & fields_mask(other.sent & ~self.sent)
        self._renew(other, is_newer)
        self.base, self.base_durations = base, base_durations
        fallen = less(total, (self.counts, read_joined(self.durations)))
        self.fallen = fallen if fallen != NO_AMOUNT else None
        return Joined(less(self.amount(), before), has_learned, knows_more and not keeps_base)

    def _renew(self, other: "Account", is_newer: bool) -> None:
        self.sent |= other.sent
        self.is_over |= other.is_over
        if is_newer:
            self.number = other.number
            self.is_ahead = True

    def _joined_base(self, other: "Account", keeps_base: bool, total: int) -> int:
        only_other = fields_mask(other.sent & ~self.sent)
        if keeps_base:
            return self.base | total & only_other
        both = fields_mask(self.sent & other.sent)
        mine, others = self.base & both, other.base & both
        least = mine + others - COUNTS.larger(mine, others)
        return least | self.base & fields_mask(self.sent & ~other.sent) | other.base & only_other

    def _total(self) -> Amount:
        times = read_joined(self.durations)
        if self.fallen is None:
            return self.counts, times
        return self.counts + self.fallen[0], summed(times, self.fallen[1])

    def _note_fall(self, counts: int, times: Distributions) -> None:
        self.fallen = add(self.fallen or NO_AMOUNT, (counts, times))

    def _counters(self, vector: int) -> Counters:
        counts = COUNTS.unpack(vector)
        if self.sent == ALL_SENT:
            return Counters._make(counts)
        return Counters._make([count if self.sent >> place & 1 else None for place, count in enumerate(counts)])


def account_of(told: PoolEntry) -> tuple[Account, Amount]:
    """Another node's account, and what it has counted.

    Raises:
        PacketError: If it is malformed or too large to be added.
    """
    counts, sent = counts_vector(told.counts)
    base, _ = counts_vector(told.base)
    if not (COUNTS.is_small(counts) and COUNTS.is_small(base)):
        raise PacketError("a counter beyond 2**48")
    account = Account(told.number, counts, sent, told.durations)
    account.is_over = told.is_over and told.key != REST
    account.base, account.base_durations = base, told.base_durations
    account.fallen = amount_of(told.fallen) if told.fallen is not None else None
    total, times = account._total()
    if COUNTS.rise_of_all(total, base) is None:
        raise PacketError("a counter that is less than where counting begins")
    if told.base_durations != NO_HISTOGRAMS:
        begun = read_joined(told.base_durations)
        for now, then in zip(times, begun, strict=True):
            if now.since(then) is None:
                raise PacketError("a histogram that is less than where counting begins")
        times = risen(times, begun)
    return account, (total - base, times)


def add(one: Amount, other: Amount) -> Amount:
    """The sum of both."""
    return one[0] + other[0], summed(one[1], other[1])


def less(newer: Amount, older: Amount) -> Amount:
    """The rise of an amount."""
    return COUNTS.rise(newer[0], older[0]), risen(newer[1], older[1])


def largest(one: Amount, other: Amount) -> Amount:
    """The larger counts of both."""
    return COUNTS.larger(one[0], other[0]), larger(one[1], other[1])


def sums_of(amount: Amount) -> Sums:
    """The amount in the form for other nodes."""
    wait, use, create = (distribution.histogram() for distribution in amount[1])
    return Sums(COUNTS.unpack(amount[0]), (wait, use, create))


def amount_of(sums: Sums) -> Amount:
    """The amount sent by another node.

    Raises:
        PacketError: If it is too large to be added.
    """
    counts = [*sums.counts]
    for histogram in sums.times:
        counts += (histogram.zero, *histogram.counts)
    if max(counts) >> 62:
        raise PacketError("a sum beyond 2**62")
    wait, use, create = map(distribution_of, sums.times)
    times = wait, use, create
    return COUNTS.pack(sums.counts), NO_DISTRIBUTIONS if times == NO_DISTRIBUTIONS else times


def read_joined(histograms: bytes) -> Distributions:
    """The distributions of joined histograms.

    Raises:
        PacketError: If one is malformed.
    """
    if histograms == NO_HISTOGRAMS:
        return NO_DISTRIBUTIONS
    wait, use, create = map(read, parted_histograms(histograms))
    return wait, use, create


def _smaller_joined(one: bytes, other: bytes) -> bytes:
    """The histograms with the smaller counts of both; none if one of them counts in full."""
    if NO_HISTOGRAMS in (one, other):
        return NO_HISTOGRAMS
    first, second = read_joined(one), read_joined(other)
    least = smaller(first, second)
    # Of two readings of the same pool, one is older, and keeps its bytes.
    if least in (first, second):
        return one if least == first else other
    wait, use, create = (encode_histogram(distribution.histogram()) for distribution in least)
    return joined(wait, use, create)
