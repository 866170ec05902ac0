"""The sums of one process, as sent by sqlalchemy-collectd's client or by ours at ``detail=plain``."""

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
#: The same for datagrams passed on by another node: a node that was stopped reads them when it continues. For this
#: long, too, a counter that falls in a datagram dated before another one means a late datagram, not a reset.
RELAYED_LATE_SECONDS = 120.0


class _Order:
    """Distinguishes late datagrams from clocks that were set back."""

    __slots__ = ("_newest", "_newest_at", "_sent", "_taken_at")

    def __init__(self) -> None:
        self._sent = -inf
        self._taken_at = -inf
        #: The latest of the sender's times, and when it arrived. It stays if an earlier time is accepted after it.
        self._newest = -inf
        self._newest_at = -inf

    @property
    def wall_time(self) -> float:
        """The sender's time in the last accepted datagram; 0 for none."""
        return max(self._sent, 0.0)

    @property
    def newest(self) -> float:
        """The sender's time in the newest datagram; 0 for none."""
        return max(self._newest, 0.0)

    def skip_to(self, wall_time: float, now: float) -> None:
        """Note that another node has accepted a datagram of this time."""
        self._sent = self._newest = wall_time
        self._taken_at = self._newest_at = now

    def is_newest(self, wall_time: float, now: float) -> bool:
        """Whether a datagram is dated after all others, as far as nodes must remember them; noted if so."""
        if wall_time < self._newest and now - self._newest_at < RELAYED_LATE_SECONDS:
            return False
        self._newest = wall_time
        self._newest_at = now
        return True

    def is_next(self, wall_time: float, now: float, *, is_relayed: bool) -> bool:
        """Whether to accept a datagram with the sender's `wall_time`."""
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
        risen: The vector of everything counted, which never falls.
    """

    __slots__ = ("_counts_order", "_gauges_order", "_is_counted", "gauges", "risen")

    def __init__(self) -> None:
        super().__init__(0, 0)
        self.gauges = 0
        self._is_counted = False
        self.risen = 0
        self._counts_order = _Order()
        self._gauges_order = _Order()

    def told_at(self, message: LegacyDatagram) -> float:
        """The sender's time in the last accepted sums of the same kind; 0 for none."""
        order = self._gauges_order if isinstance(message.sums, PoolSums) else self._counts_order
        return order.wall_time

    def take_gauges(self, message: LegacyDatagram, sums: PoolSums, now: float, *, is_relayed: bool) -> None:
        """Take newer gauges.

        Args:
            message: The datagram that carries them.
            sums: The gauges.
            now: The aggregator's time.
            is_relayed: Whether another node has passed it on.

        Raises:
            PacketError: If a gauge is too large to be added.
        """
        gauges = Gauges(sums.idle, sums.used, sums.detached, sums.waiting or 0)
        limits = Limits(sums.max_open, sums.max_idle, sums.min_idle)
        checkouts = self.gauges >> CHECKOUTS_SHIFT & FIELD_MASK
        vector = gauges_vector(sums.pools, gauges, limits, None, checkouts, is_full=False, is_bound=False)
        if not GAUGES.is_small(vector):
            raise PacketError("a gauge beyond 2**48")
        if self._gauges_order.is_next(message.wall_time, now, is_relayed=is_relayed):
            self.gauges = vector

    def take_counts(
        self, message: LegacyDatagram, counters: Counters, is_base: bool, now: float, *, is_relayed: bool
    ) -> int:
        """Take newer counters; return the vector of their increase.

        Args:
            message: The datagram that carries them.
            counters: The counters.
            is_base: Whether counting begins at the first counters, which then add nothing themselves.
            now: The aggregator's time.
            is_relayed: Whether another node has passed it on.

        Raises:
            PacketError: If a counter is too large to be added.
        """
        counts, sent = counts_vector(counters)
        if not COUNTS.is_small(counts):
            raise PacketError("a counter beyond 2**48")
        is_next = self._counts_order.is_next(message.wall_time, now, is_relayed=is_relayed)
        if not self._is_counted:
            self._is_counted = True
            self.sent = sent
            self.counts = counts if is_base else 0
        rise = self._rise(counts, sent, is_newest=self._counts_order.is_newest(message.wall_time, now))
        if not (rise or is_next):
            return 0
        self.risen += rise
        self.note(now, message.interval, self.risen)
        self.gauges += ((rise & FIELD_MASK) - (self.gauges >> CHECKOUTS_SHIFT & FIELD_MASK)) << CHECKOUTS_SHIFT
        return rise

    def entry(self) -> Earlier:
        """The sums in the form for other nodes."""
        counts = [
            count if self.sent >> place & 1 else None for place, count in enumerate(COUNTS.unpack(self.counts))
        ]
        wall_time = self._counts_order.newest if self._is_counted else 0.0
        return Earlier(wall_time, COUNTS.unpack(self.risen), Counters._make(counts))

    def join(self, told: Earlier, now: float) -> Joined:
        """Take what another node has counted: the larger sum wins, and counting continues from the newer datagram.

        Raises:
            PacketError: If a counter is too large to be added.
        """
        counts, sent = counts_vector(told.counts)
        risen = COUNTS.pack(told.risen)
        if not (COUNTS.is_small(counts) and COUNTS.is_small(risen)):
            raise PacketError("a counter beyond 2**48")
        total = COUNTS.larger(self.risen, risen)
        rise, self.risen = total - self.risen, total
        newest = self._counts_order.newest if self._is_counted else -1.0
        # The reading counts as news even if it adds nothing: both sides continue counting from it.
        is_newer = sent != 0 and told.wall_time > newest
        is_older = self._is_counted and (not sent or told.wall_time < newest) and self.counts != counts
        if is_newer:
            self.counts = counts | self.counts & ~fields_mask(sent)
            self._is_counted = True
            self._counts_order.skip_to(told.wall_time, now)
            self._samples = ()
        self.sent |= sent
        return Joined((rise, NO_DISTRIBUTIONS), is_newer or rise != 0, is_older or total != risen)

    def _rise(self, counts: int, sent: int, *, is_newest: bool) -> int:
        """Take a vector; return by how much its counters rose.

        Args:
            counts: The vector.
            sent: A bit for each counter in it.
            is_newest: Whether its datagram is dated after all others.
        """
        if sent != self.sent:
            # A new counter counts from its first value on; one that is no longer sent keeps its last value.
            counts |= self.counts & ~fields_mask(sent)
            self.counts += counts & fields_mask(sent & ~self.sent)
            self.sent |= sent
        if is_newest:
            # Prometheus's rule for `rate`: a counter that fell was reset, and its value counts in full.
            rise = COUNTS.rise_with_resets(counts, self.counts)
            self.counts = counts
            return rise
        # It came late, or a clock was set back. A counter that falls keeps its value: what it rises to with the
        # next datagram has been counted already. So it does not matter which node takes which datagram, or in
        # which order.
        rise = COUNTS.rise(counts, self.counts)
        self.counts += rise
        return rise

    def forget_samples(self) -> None:
        """Drop the samples and keep the counters."""
        self._samples = ()
