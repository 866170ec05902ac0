"""Histograms as vectors, so that the difference of two reports is added to four sums in microseconds.

A pool's histograms stay as the bytes that arrived; equal bytes are known to hold nothing new without decoding.
"""

from array import array
from collections.abc import Sequence
from itertools import accumulate
from struct import Struct, pack
from typing import NamedTuple

from poolhouse.errors import PacketError
from poolhouse.fleet.packed import FIELD_BITS, FIELD_BYTES, FIELD_MASK, LARGEST, Layout
from poolhouse.meter.histogram import BUCKETS, SCALE, TOP_EXPONENT, ZERO_EXPONENT, Histogram, bucket_count
from poolhouse.wire.histogram import histogram_runs
from poolhouse.wire.tuples import made

#: The zero bucket, then the buckets at the finest scale; a coarser histogram leaves the upper ones empty.
_LAYOUT = Layout(1 + BUCKETS)
_BYTES = FIELD_BYTES * (1 + BUCKETS)
#: The bits of all fields but the lowest seven of each.
_BEYOND_7_BITS = _LAYOUT.pack([FIELD_MASK - 127] * (1 + BUCKETS))
#: Type codes of arrays, and the largest number each holds.
_CODES = tuple((code, (1 << 8 * array(code).itemsize) - 1) for code in "BHIQ")


#: How to read one number for each power of two (for every second one at scale -1), by scale.
_POWERS = {
    scale: Struct(
        "<" + f"Q{FIELD_BYTES * ((1 << max(0, scale)) - 1)}x" * ((TOP_EXPONENT - ZERO_EXPONENT) >> (scale < 0))
    )
    for scale in range(-1, SCALE + 1)
}


class Distribution(NamedTuple):
    """A histogram that only adds; see `Histogram` for scale, sum and maximum."""

    scale: int
    #: The zero bucket in the lowest field, then the buckets.
    counts: int
    sum_ns: int
    max_ns: int

    def plus(self, other: "Distribution") -> "Distribution":
        """The sum of both, at the coarser scale."""
        scale, counts, sum_ns, max_ns = self
        more = other.counts
        if scale != other.scale:
            scale = min(scale, other.scale)
            counts, more = _downscaled(self, scale), _downscaled(other, scale)
        _, _, other_sum_ns, other_max_ns = other
        longest = max_ns if max_ns > other_max_ns else other_max_ns
        return made(Distribution, (scale, counts + more, sum_ns + other_sum_ns, longest))

    def since(self, earlier: "Distribution") -> "Distribution | None":
        """The durations since an earlier reading; ``None`` if a count fell, because the source restarted."""
        scale, counts, sum_ns, max_ns = self
        before = earlier.counts
        if scale != earlier.scale:
            scale = min(scale, earlier.scale)
            counts, before = _downscaled(self, scale), _downscaled(earlier, scale)
        rise = _LAYOUT.rise_of_all(counts, before)
        if rise is None or sum_ns < earlier.sum_ns:
            return None
        return made(Distribution, (scale, rise, sum_ns - earlier.sum_ns, max_ns))

    def rise(self, earlier: "Distribution") -> "Distribution":
        """The rise of each count; one that fell adds nothing."""
        scale, counts, before = _aligned(self, earlier)
        sum_ns = max(0, self.sum_ns - earlier.sum_ns)
        return Distribution(scale, _LAYOUT.rise(counts, before), sum_ns, self.max_ns)

    def larger(self, other: "Distribution") -> "Distribution":
        """The larger count of each bucket, the larger sum and the larger maximum."""
        scale, counts, others = _aligned(self, other)
        sum_ns, max_ns = max(self.sum_ns, other.sum_ns), max(self.max_ns, other.max_ns)
        return Distribution(scale, _LAYOUT.larger(counts, others), sum_ns, max_ns)

    def smaller(self, other: "Distribution") -> "Distribution":
        """The smaller count of each bucket, the smaller sum and the smaller maximum."""
        scale, counts, others = _aligned(self, other)
        sum_ns, max_ns = min(self.sum_ns, other.sum_ns), min(self.max_ns, other.max_ns)
        return Distribution(scale, counts + others - _LAYOUT.larger(counts, others), sum_ns, max_ns)

    def latest(self, earlier: "Distribution") -> Histogram:
        """The durations since an earlier state of the same sum; the longest is known only if it grew."""
        histogram = (self.since(earlier) or NOTHING).histogram()
        histogram.max_ns = self.max_ns if self.max_ns > earlier.max_ns else 0
        return histogram

    def kept(self) -> "Kept":
        """The same in a fraction of the memory, for a row that keeps a few of them."""
        if not self.counts:  # As every row begins: a flood begins thousands.
            return Kept(self.scale, 0, array(_CODES[0][0]), self.sum_ns, self.max_ns)
        numbers = _LAYOUT.unpack(self.counts)
        largest = max(numbers)
        code = next(code for code, most in _CODES if largest <= most)
        first, end = used_range(numbers)
        return Kept(self.scale, first, array(code, numbers[first:end]), self.sum_ns, self.max_ns)

    def up_to_powers(self) -> tuple[int, ...]:
        """How many durations were at most 2**-20 s, 2**-19 s and so on to 2**10 s: exact, the last one all.

        At scale -1, whose buckets are wider, only every second one: 2**-20 s, 2**-18 s and so on.
        """
        counts = self.counts
        for step in range(self.scale):
            # Each field becomes the sum of itself and those above it: two, then four, then eight.
            counts += counts >> (FIELD_BITS << step)
        buckets = _POWERS[self.scale].unpack_from(counts.to_bytes(_BYTES + FIELD_BYTES, "little"), FIELD_BYTES)
        return tuple(accumulate(buckets, initial=self.counts & FIELD_MASK))

    def used_buckets(self) -> tuple[int, int, Sequence[int]]:
        """The zero bucket's count, the index of the first bucket in use, and the counts from there to the last.

        The index is OpenTelemetry's: bucket ``i`` holds durations in ``(base**i, base**(i + 1)]`` seconds with
        ``base = 2**(2**-scale)``. Without a bucket in use it is 0. The counts are bytes if all are less than 128,
        which takes half the time.
        """
        zero, others = self.counts & FIELD_MASK, self.counts >> FIELD_BITS
        if not others:
            return zero, 0, b""
        first = ((others & -others).bit_length() - 1) // FIELD_BITS
        end = (others.bit_length() + FIELD_BITS - 1) // FIELD_BITS
        counts: Sequence[int]
        if others & _BEYOND_7_BITS:
            counts = _LAYOUT.unpack(others)[first:end]
        else:
            counts = others.to_bytes(_BYTES, "little")[FIELD_BYTES * first : FIELD_BYTES * end : FIELD_BYTES]
        return zero, first + int(ZERO_EXPONENT * 2.0**self.scale), counts

    def histogram(self) -> Histogram:
        """The same as a separate histogram."""
        histogram = Histogram.__new__(Histogram)  # Skip the counts that its constructor would allocate.
        numbers = _LAYOUT.unpack(self.counts)
        histogram.scale = self.scale
        histogram.zero = numbers[0]
        histogram.counts = list(numbers[1 : 1 + bucket_count(self.scale)])
        histogram.sum_ns = self.sum_ns
        histogram.max_ns = self.max_ns
        return histogram


class Kept(NamedTuple):
    """A stored `Distribution`: its counts as narrow as possible, without the empty ones at both ends."""

    scale: int
    #: How many empty fields precede the counts.
    first: int
    counts: "array[int]"
    sum_ns: int
    max_ns: int

    def size(self) -> int:
        """Its approximate size in bytes."""
        return 200 + len(self.counts) * self.counts.itemsize

    def distribution(self) -> Distribution:
        """The same, ready for arithmetic."""
        counts = int.from_bytes(pack(f"<{len(self.counts)}Q", *self.counts), "little")
        return Distribution(self.scale, counts << FIELD_BITS * self.first, self.sum_ns, self.max_ns)


def distribution_of(histogram: Histogram) -> Distribution:
    """The distribution of a histogram of sums."""
    empty = [0] * (BUCKETS - len(histogram.counts))
    counts = _LAYOUT.pack((histogram.zero, *histogram.counts, *empty))
    return Distribution(histogram.scale, counts, histogram.sum_ns, histogram.max_ns)


#: No durations yet.
NOTHING = Distribution(SCALE, 0, 0, 0)

#: The distributions of wait, use and create times.
Distributions = tuple[Distribution, Distribution, Distribution]
NO_DISTRIBUTIONS: Distributions = (NOTHING, NOTHING, NOTHING)


def read(data: bytes) -> Distribution:
    """The distribution of a histogram's bytes; empty for empty bytes.

    Raises:
        PacketError: If the bytes are not a histogram, or a count is too large to be added.
    """
    if not data:
        return NOTHING
    scale, zero, sum_ns, max_ns, runs = histogram_runs(data)
    counts, is_large = zero, zero > LARGEST
    if runs:
        # Only the buckets in use: making an int takes a nanosecond per byte.
        (_, begin, _), (width, last, numbers) = runs[0], runs[-1]
        packed = bytearray(FIELD_BYTES * (last + len(numbers) // width - begin))
        for width, first, numbers in runs:
            at = FIELD_BYTES * (first - begin)
            end = at + FIELD_BYTES * (len(numbers) // width)
            if width == 1:
                packed[at:end:FIELD_BYTES] = numbers
                continue
            # From big-endian numbers to little-endian fields, one byte of all numbers at a time.
            for byte in range(width):
                packed[at + byte : end : FIELD_BYTES] = numbers[width - 1 - byte :: width]
            is_large |= width == FIELD_BYTES
        counts += int.from_bytes(packed, "little") << FIELD_BITS * (begin + 1)
    if is_large and (zero > LARGEST or not _LAYOUT.is_small(counts)):
        raise PacketError("a histogram with a count beyond 2**48")
    return made(Distribution, (scale, counts, sum_ns, max_ns))


def used_range(numbers: Sequence[int]) -> tuple[int, int]:
    """The range of the numbers that are not 0: first index, and end.

    >>> used_range((0, 3, 0, 1, 0)), used_range((0, 0))
    ((1, 4), (0, 0))
    """
    used = [place for place, number in enumerate(numbers) if number]
    return (used[0], used[-1] + 1) if used else (0, 0)


def summed(one: Distributions, other: Distributions) -> Distributions:
    """The sum of both, each kind separately."""
    if other is NO_DISTRIBUTIONS:
        return one
    if one is NO_DISTRIBUTIONS:
        return other
    wait, use, create = (a.plus(b) if b.counts or b.sum_ns else a for a, b in zip(one, other, strict=True))
    return wait, use, create


def risen(newer: Distributions, older: Distributions) -> Distributions:
    """The rise of each count; `NOTHING` for a kind that did not rise."""
    wait, use, create = (_risen(now, then) for now, then in zip(newer, older, strict=True))
    return NO_DISTRIBUTIONS if wait is use is create is NOTHING else (wait, use, create)


def larger(one: Distributions, other: Distributions) -> Distributions:
    """The larger counts of both."""
    wait, use, create = (a if a == b else a.larger(b) for a, b in zip(one, other, strict=True))
    return wait, use, create


def smaller(one: Distributions, other: Distributions) -> Distributions:
    """The smaller counts of both."""
    wait, use, create = (a if a == b else a.smaller(b) for a, b in zip(one, other, strict=True))
    return wait, use, create


def _risen(newer: Distribution, older: Distribution) -> Distribution:
    if newer == older:
        return NOTHING
    rise = newer.since(older) or newer.rise(older)
    return rise if rise.counts or rise.sum_ns else NOTHING


def _aligned(one: Distribution, other: Distribution) -> tuple[int, int, int]:
    """The coarser scale, and the counts of both at it."""
    scale = min(one.scale, other.scale)
    return scale, _downscaled(one, scale), _downscaled(other, scale)


def _downscaled(distribution: Distribution, scale: int) -> int:
    if distribution.scale == scale:
        return distribution.counts
    histogram = distribution.histogram()
    histogram.downscale(scale)
    empty = [0] * (BUCKETS - len(histogram.counts))
    return _LAYOUT.pack((histogram.zero, *histogram.counts, *empty))
