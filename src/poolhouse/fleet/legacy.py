"""The sums of one process, as the earlier client sends them, or ours at ``detail=plain``."""

from math import inf

from poolhouse.errors import PacketError
from poolhouse.fleet.packed import FIELD_MASK
from poolhouse.fleet.pool import Counted
from poolhouse.fleet.vectors import CHECKOUTS_SHIFT, COUNTS, GAUGES, counts_vector, gauges_vector
from poolhouse.meter.reading import Counters, Gauges, Limits
from poolhouse.wire.message import LegacyDatagram, PoolSums

#: These datagrams carry no number, only the sender's clock in whole seconds. One that is older than the last by up
#: to this many seconds is late; after this time it is accepted, so that a clock set back cannot silence a sender.
LATE_SECONDS = 10.0


class _Order:
    """Distinguishes late datagrams from clocks that were set back."""

    __slots__ = ("_sent", "_taken_at")

    def __init__(self) -> None:
        self._sent = -inf
        self._taken_at = -inf

    def is_newer(self, wall_time: float) -> bool:
        """Whether the sender's clock did not run back since the last datagram that was taken."""
        return wall_time >= self._sent

    def is_next(self, wall_time: float, now: float) -> bool:
        """Whether a datagram of the sender's `wall_time` is to be taken."""
        if 0 < self._sent - wall_time <= LATE_SECONDS and now - self._taken_at < LATE_SECONDS:
            return False
        self._sent = wall_time
        self._taken_at = now
        return True


class LegacySums(Counted):
    """Gauges and counters of a whole process, which arrive in two kinds of datagrams.

    Attributes:
        gauges: The vector of the process's gauges; 0 while it adds nothing.
    """

    __slots__ = ("_counts_order", "_gauges_order", "_is_counted", "_risen", "gauges")

    def __init__(self) -> None:
        super().__init__(0, 0)
        self.gauges = 0
        self._is_counted = False
        #: The vector of all that was added: it never falls.
        self._risen = 0
        self._counts_order = _Order()
        self._gauges_order = _Order()

    def take_gauges(self, message: LegacyDatagram, sums: PoolSums, now: float) -> None:
        """Take newer gauges.

        Raises:
            PacketError: If a gauge is too large to be summed.
        """
        gauges = Gauges(sums.idle, sums.used, sums.detached, sums.waiting or 0)
        limits = Limits(sums.max_open, sums.max_idle, sums.min_idle)
        checkouts = self.gauges >> CHECKOUTS_SHIFT & FIELD_MASK
        vector = gauges_vector(sums.pools, gauges, limits, None, checkouts, is_full=False, is_bound=False)
        if not GAUGES.is_small(vector):
            raise PacketError("a gauge beyond 2**48", 0)
        if self._gauges_order.is_next(message.wall_time, now):
            self.gauges = vector

    def take_counts(self, message: LegacyDatagram, counters: Counters, is_base: bool, now: float) -> int:
        """Take newer counters; return the vector of their increase.

        Args:
            message: The datagram that carries them.
            counters: The counters.
            is_base: Whether the first ones are where counting begins, instead of counting themselves.
            now: The aggregator's time.

        Raises:
            PacketError: If a counter is too large to be summed.
        """
        counts, sent = counts_vector(counters)
        if not COUNTS.is_small(counts):
            raise PacketError("a counter beyond 2**48", 0)
        is_newer = self._counts_order.is_newer(message.wall_time)
        if not self._counts_order.is_next(message.wall_time, now):
            return 0
        if not self._is_counted:
            self._is_counted = True
            self.sent = sent
            self.counts = counts if is_base else 0
        # Prometheus's rule for `rate`: a counter that fell was reset, and its value counts in full. A datagram
        # dated before the last one may be a late one: of that, a counter that falls adds nothing.
        rise = self.rise(counts, sent, COUNTS.rise_with_resets if is_newer else COUNTS.rise)
        self._risen += rise
        self.note(now, message.interval, self._risen)
        self.gauges += ((rise & FIELD_MASK) - (self.gauges >> CHECKOUTS_SHIFT & FIELD_MASK)) << CHECKOUTS_SHIFT
        return rise

    def forget_samples(self) -> None:
        """Drop the samples and keep the counters."""
        self._samples = ()
