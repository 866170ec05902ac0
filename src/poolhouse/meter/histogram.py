"""OpenTelemetry's base-2 exponential histogram of durations.

At scale 3 a bucket is 2**(1/8) = 1.0905 times as wide as the one before, so a quantile read from it is within
4.4 % of the true one. Sums are kept in whole nanoseconds; what is read is in seconds. Histograms of several
processes merge exactly: counts of the same bucket add up, and a finer histogram is brought to the scale of
a coarser one by adding neighbours.

Index and boundaries: OpenTelemetry metrics data model, "ExponentialHistogram": bucket ``i`` holds values in
``(base**i, base**(i + 1)]`` with ``base = 2**(2**-scale)``, here of seconds.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from itertools import accumulate
from math import ceil, inf
from operator import add, sub

#: The finest scale, in which everything is recorded.
SCALE = 3
#: Durations up to 2**-20 s (0.95 µs) are counted as zero.
ZERO_EXPONENT = -20
#: Durations beyond 2**10 s (17 min) are counted in the last bucket.
TOP_EXPONENT = 10
#: Buckets at scale 3, and the index of the first of them.
BUCKETS = (TOP_EXPONENT - ZERO_EXPONENT) << SCALE
FIRST_INDEX = ZERO_EXPONENT << SCALE

#: Upper bounds of the zero bucket and of the buckets at scale 3, in seconds.
BOUNDS: tuple[float, ...] = tuple(
    2.0 ** (index / (1 << SCALE)) for index in range(FIRST_INDEX, FIRST_INDEX + BUCKETS + 1)
)
#: The same in nanoseconds, rounded down: a whole number of nanoseconds is at most the true bound exactly if it is
#: at most the bound rounded down.
BOUNDS_NS: tuple[int, ...] = tuple(int(bound * 1e9) for bound in BOUNDS)


#: Bounds of classic histograms, as exponents of two: 122 µs to 64 s. All of them are bounds of the buckets here.
CLASSIC_EXPONENTS = range(-13, 7)


def bucket_count(scale: int) -> int:
    """The number of buckets of a histogram with this scale.

    >>> bucket_count(3), bucket_count(2)
    (240, 120)
    """
    return BUCKETS >> (SCALE - scale)


class Histogram:
    """Counts of durations; mutable, not safe for threads.

    Attributes:
        scale: 3, or less after merging with a coarser histogram (at least -1: 15 buckets).
        zero: How many durations were at most 2**-20 s.
        counts: How many fell into each bucket, `bucket_count` of them; the first begins at 2**-20 s.
        sum_ns: The sum of all durations, in nanoseconds.
        max_ns: The longest duration, in nanoseconds; 0 if there was none, or if it is not known.
    """

    __slots__ = ("counts", "max_ns", "scale", "sum_ns", "zero")

    def __init__(self, scale: int = SCALE) -> None:
        self.scale = scale
        self.zero = 0
        self.counts = [0] * bucket_count(scale)
        self.sum_ns = 0
        self.max_ns = 0

    @property
    def count(self) -> int:
        """How many durations were recorded."""
        return self.zero + sum(self.counts)

    def record_all(self, durations_ns: Iterable[int]) -> None:
        """Add durations in nanoseconds; a negative one (a clock that was set back) counts as zero."""
        batch = sorted(durations_ns)
        if not batch:
            return
        self.sum_ns += sum(batch) if batch[0] >= 0 else sum(n for n in batch if n > 0)
        self.max_ns = max(self.max_ns, batch[-1])
        at = bisect_right(batch, BOUNDS_NS[0])
        self.zero += at
        self._count(batch, at, BOUNDS_NS)

    def record_seconds(self, durations: Sequence[float]) -> None:
        """Add durations in seconds, none of them negative. The sum of each batch is rounded to nanoseconds.

        Made for batches of 2,048, of which many are too short for any bucket: those cost 15 ns each, the
        others, which are sorted so that the bounds can be sought in them, about 70.
        """
        if not durations:
            return
        batch = [duration for duration in durations if duration > BOUNDS[0]]
        batch.sort()
        self.sum_ns += round(sum(durations) * 1e9)
        if batch or self.max_ns <= BOUNDS_NS[0]:
            self.max_ns = max(self.max_ns, round((batch[-1] if batch else max(durations)) * 1e9))
        self.zero += len(durations) - len(batch)
        self._count(batch, 0, BOUNDS)

    def _count(self, batch: Sequence[float], at: int, bounds: Sequence[float]) -> None:
        """Count the sorted durations from index `at` on, all beyond the zero bucket, in the unit of `bounds`."""
        shift = SCALE - self.scale
        counts, end = self.counts, len(batch)
        while at < end:
            index = min(bisect_left(bounds, batch[at]), BUCKETS)
            following = end if index == BUCKETS else bisect_right(batch, bounds[index], at)
            counts[(index - 1) >> shift] += following - at
            at = following

    def add(self, other: "Histogram") -> None:
        """Merge another histogram into this one, at the coarser of the two scales."""
        counts = self._meet(other)
        self.counts = list(map(add, self.counts, counts))
        self.zero += other.zero
        self.sum_ns += other.sum_ns
        self.max_ns = max(self.max_ns, other.max_ns)

    def subtract(self, earlier: "Histogram") -> None:
        """Subtract an earlier reading of the same cumulative histogram; ``max_ns`` stays."""
        counts = self._meet(earlier)
        self.counts = list(map(sub, self.counts, counts))
        self.zero -= earlier.zero
        self.sum_ns -= earlier.sum_ns

    def copy(self) -> "Histogram":
        """An independent copy."""
        copy = Histogram.__new__(Histogram)
        copy.scale, copy.zero, copy.sum_ns, copy.max_ns = self.scale, self.zero, self.sum_ns, self.max_ns
        copy.counts = self.counts.copy()
        return copy

    def downscale(self, scale: int) -> None:
        """Make the buckets wider by adding neighbours, down to `scale`; exact."""
        self.counts = _downscaled(self.counts, self.scale - scale)
        self.scale = scale

    def estimate_sum(self) -> None:
        """Set the sum from the buckets' geometric middles, for a histogram of which only the counts are known."""
        width = 2.0**-self.scale
        middles = (2.0 ** (ZERO_EXPONENT + (bucket + 0.5) * width) for bucket in range(len(self.counts)))
        self.sum_ns = round(sum(count * middle for count, middle in zip(self.counts, middles, strict=True)) * 1e9)

    def up_to_powers(self) -> dict[int, int]:
        """How many durations were at most 2**n seconds, by n: exact; at scale -1 only for even n."""
        cumulated = list(accumulate(self.counts, initial=self.zero))
        per_step, step = (1, 2) if self.scale < 0 else (1 << self.scale, 1)
        return {ZERO_EXPONENT + step * place: count for place, count in enumerate(cumulated[::per_step])}

    def quantile(self, q: float) -> float | None:
        """The duration in seconds that a share `q` of all durations does not exceed; ``None`` if there are none.

        Within 4.4 % at scale 3: the geometric middle of the bucket, and at most the longest duration if known.
        """
        return self.quantiles((q,))[0]

    def quantiles(self, shares: Sequence[float]) -> list[float | None]:
        """Several quantiles for little more than the cost of one; see `quantile`."""
        cumulated = list(accumulate(self.counts, initial=self.zero))
        total = cumulated[-1]
        if not total:
            return [None] * len(shares)
        width = 2.0**-self.scale
        longest = self.max_ns / 1e9 if self.max_ns else inf
        found: list[float | None] = []
        for q in shares:
            rank = max(1, min(total, ceil(q * total)))
            bucket = bisect_left(cumulated, rank) - 1
            found.append(
                min(longest, float(2.0 ** (ZERO_EXPONENT + (bucket + 0.5) * width))) if bucket >= 0 else 0.0
            )
        return found

    def longest_bound(self) -> float | None:
        """Seconds that no duration exceeded; ``None`` if there is no duration, or one beyond all buckets."""
        if self.max_ns:
            return self.max_ns / 1e9
        if self.counts and self.counts[-1]:
            return None
        bucket = next((index for index in range(len(self.counts), 0, -1) if self.counts[index - 1]), 0)
        return 2.0 ** (ZERO_EXPONENT + bucket * 2.0**-self.scale) if bucket or self.zero else None

    def _meet(self, other: "Histogram") -> Sequence[int]:
        """Convert this histogram to the coarser scale of the two; return the other's counts at that scale."""
        if other.scale < self.scale:
            self.downscale(other.scale)
        return _downscaled(other.counts, other.scale - self.scale)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Histogram):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in self.__slots__)

    __hash__ = None  # type: ignore[assignment]  # mutable

    def __repr__(self) -> str:
        """The state, for example ``<Histogram scale 3: 12 durations, max 0.25 s>``."""
        return f"<Histogram scale {self.scale}: {self.count} durations, max {self.max_ns / 1e9:g} s>"


def _downscaled(counts: list[int], steps: int) -> list[int]:
    for _ in range(steps):
        if len(counts) % 2:
            counts = [*counts, 0]
        counts = list(map(add, counts[::2], counts[1::2]))
    return counts
