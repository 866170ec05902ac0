"""The sums of one process, as the earlier client sends them, or ours at ``detail=plain``."""

from collections.abc import Callable
from math import inf

from poolhouse.errors import PacketError
from poolhouse.fleet.account import Counted, Joined
from poolhouse.fleet.distribution import NO_DISTRIBUTIONS
from poolhouse.fleet.packed import FIELD_MASK
from poolhouse.fleet.vectors import CHECKOUTS_SHIFT, COUNTS, GAUGES, counts_vector, fields_mask, gauges_vector
from poolhouse.meter.reading import Counters, Gauges, Limits
from poolhouse.wire.ledger import Earlier
from poolhouse.wire.message import LegacyDatagram, PoolSums

#: These datagrams carry no number, only the sender's clock in whole seconds. One that is older than the last by up
#: to this many seconds is late; after this time it is accepted, so that a clock set back cannot silence a sender.
LATE_SECONDS = 10.0
#: The same for those that another node has passed on: a node that was stopped reads them when it goes on.
RELAYED_LATE_SECONDS = 120.0


class _Order:
    """Distinguishes late datagrams from clocks that were set back."""

    __slots__ = ("_sent", "_taken_at")

    def __init__(self) -> None:
        self._sent = -inf
        self._taken_at = -inf

    @property
    def wall_time(self) -> float:
        """The sender's time in the last datagram that was taken; 0 for none."""
        return max(self._sent, 0.0)

    def skip_to(self, wall_time: float, now: float) -> None:
        """Another node has taken a datagram of this time."""
        self._sent = wall_time
        self._taken_at = now

    def is_newer(self, wall_time: float) -> bool:
        """Whether the sender's clock did not run back since the last datagram that was taken."""
        return wall_time >= self._sent

    def is_next(self, wall_time: float, now: float, *, is_relayed: bool) -> bool:
        """Whether a datagram of the sender's `wall_time` is to be taken."""
        late = RELAYED_LATE_SECONDS if is_relayed else LATE_SECONDS
        if 0 < self._sent - wall_time <= late and now - self._taken_at < late:
            return False
        self._sent = wall_time
        self._taken_at = now
        return True


class LegacySums(Counted):
    """Gauges and counters of a whole process, which arrive in two kinds of datagrams.

    Attributes:
        gauges: The vector of the process's gauges; 0 while it adds nothing.
        risen: The vector of all that was counted: it never falls.
    """

    __slots__ = ("_counts_order", "_gauges_order", "_is_counted", "gauges", "risen")

    def __init__(self) -> None:
        super().__init__(0, 0)
        self.gauges = 0
        self._is_counted = False
        self.risen = 0
        self._counts_order = _Order()
        self._gauges_order = _Order()

    def take_gauges(self, message: LegacyDatagram, sums: PoolSums, now: float, *, is_relayed: bool) -> None:
        """Take newer gauges.

        Args:
            message: The datagram that carries them.
            sums: The gauges.
            now: The aggregator's time.
            is_relayed: Whether another node has passed it on.

        Raises:
            PacketError: If a gauge is too large to be summed.
        """
        gauges = Gauges(sums.idle, sums.used, sums.detached, sums.waiting or 0)
        limits = Limits(sums.max_open, sums.max_idle, sums.min_idle)
        checkouts = self.gauges >> CHECKOUTS_SHIFT & FIELD_MASK
        vector = gauges_vector(sums.pools, gauges, limits, None, checkouts, is_full=False, is_bound=False)
        if not GAUGES.is_small(vector):
            raise PacketError("a gauge beyond 2**48", 0)
        if self._gauges_order.is_next(message.wall_time, now, is_relayed=is_relayed):
            self.gauges = vector

    def take_counts(
        self, message: LegacyDatagram, counters: Counters, is_base: bool, now: float, *, is_relayed: bool
    ) -> int:
        """Take newer counters; return the vector of their increase.

        Args:
            message: The datagram that carries them.
            counters: The counters.
            is_base: Whether the first ones are where counting begins, instead of counting themselves.
            now: The aggregator's time.
            is_relayed: Whether another node has passed it on.

        Raises:
            PacketError: If a counter is too large to be summed.
        """
        counts, sent = counts_vector(counters)
        if not COUNTS.is_small(counts):
            raise PacketError("a counter beyond 2**48", 0)
        is_newer = self._counts_order.is_newer(message.wall_time)
        if not self._counts_order.is_next(message.wall_time, now, is_relayed=is_relayed):
            return 0
        if not self._is_counted:
            self._is_counted = True
            self.sent = sent
            self.counts = counts if is_base else 0
        # Prometheus's rule for `rate`: a counter that fell was reset, and its value counts in full. A datagram
        # dated before the last one may be a late one: of that, a counter that falls adds nothing.
        rise = self._rise(counts, sent, COUNTS.rise_with_resets if is_newer else COUNTS.rise)
        self.risen += rise
        self.note(now, message.interval, self.risen)
        self.gauges += ((rise & FIELD_MASK) - (self.gauges >> CHECKOUTS_SHIFT & FIELD_MASK)) << CHECKOUTS_SHIFT
        return rise

    def entry(self) -> Earlier:
        """The sums as they are told to other nodes."""
        counts = [
            count if self.sent >> place & 1 else None for place, count in enumerate(COUNTS.unpack(self.counts))
        ]
        wall_time = self._counts_order.wall_time if self._is_counted else 0.0
        return Earlier(wall_time, COUNTS.unpack(self.risen), Counters._make(counts))

    def join(self, told: Earlier, now: float) -> Joined:
        """Take what another node has counted: the larger sum holds, and counting goes on from the newer datagram.

        Raises:
            PacketError: If a counter is too large to be summed.
        """
        counts, sent = counts_vector(told.counts)
        risen = COUNTS.pack(told.risen)
        if not (COUNTS.is_small(counts) and COUNTS.is_small(risen)):
            raise PacketError("a counter beyond 2**48", 0)
        total = COUNTS.larger(self.risen, risen)
        rise, self.risen = total - self.risen, total
        if sent and (not self._is_counted or told.wall_time > self._counts_order.wall_time):
            self.counts = counts | self.counts & ~fields_mask(sent)
            self._is_counted = True
            self._counts_order.skip_to(told.wall_time, now)
            self._samples = ()
        self.sent |= sent
        return Joined((rise, NO_DISTRIBUTIONS), rise != 0, total != risen)

    def _rise(self, counts: int, sent: int, risen: Callable[[int, int], int]) -> int:
        """Take a newer vector; return by how much its counters rose.

        Args:
            counts: The vector.
            sent: A bit for each counter that it has.
            risen: How to treat a counter that fell.
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

    def forget_samples(self) -> None:
        """Drop the samples and keep the counters."""
        self._samples = ()
