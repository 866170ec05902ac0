"""A histogram as bytes.

::

    scale i8 | zero u64 | sum_ns u64 | max_ns u64 | run …
    run: width u8 (1, 2, 4 or 8) | first bucket u8 | length u8 | counts, big-endian, `width` bytes each

Buckets outside all runs are empty. Counts of equal width are grouped because one call of `struct` reads
them all: 1.3–4 µs a histogram, where variable-length numbers take 5–58 µs at the same size.
"""

from functools import cache
from itertools import groupby
from struct import Struct
from typing import NamedTuple

from poolhouse.errors import PacketError
from poolhouse.meter.histogram import SCALE, Histogram, bucket_count

#: The coarsest scale: 15 buckets, each four octaves wide.
COARSEST_SCALE = -1

_TOP = (1 << 64) - 1
_HEAD = Struct(">bQQQ")
_RUN = Struct(">BBB")
#: Stands for a run whose header is cut short: its width of 0 is invalid.
_CUT_SHORT = (0, 0, 0)
_CODES = {1: "B", 2: "H", 4: "I", 8: "Q"}
#: The width of a count by its length in bits; 0 for an empty bucket.
_WIDTHS = (0, *(1,) * 8, *(2,) * 8, *(4,) * 16, *(8,) * 32)


@cache
def _counts(width: int, length: int) -> Struct:
    return Struct(f">{length}{_CODES[width]}")


def encode_histogram(histogram: Histogram) -> bytes:
    """The histogram's bytes; a sum that does not fit 64 bits is clamped."""
    counts = histogram.counts
    pieces = [
        _HEAD.pack(
            histogram.scale, min(histogram.zero, _TOP), min(histogram.sum_ns, _TOP), min(histogram.max_ns, _TOP)
        )
    ]
    for width, first, length in _split(counts):
        pieces.append(_RUN.pack(width, first, length))
        pieces.append(_counts(width, length).pack(*counts[first : first + length]))
    return b"".join(pieces)


class Runs(NamedTuple):
    """A `Histogram`, field by field, whose counts are still bytes."""

    scale: int
    zero: int
    sum_ns: int
    max_ns: int
    #: Width of a count in bytes, the first bucket, and the counts, big-endian; in the order of the buckets.
    runs: tuple[tuple[int, int, bytes], ...]


def histogram_runs(data: bytes) -> Runs:
    """The histogram in `data`, its counts still bytes.

    Raises:
        PacketError: If the bytes are not a histogram; ``offset`` counts from the histogram's first byte.
    """
    end = len(data)
    if end < _HEAD.size:
        raise PacketError("histogram too short", 0)
    scale, zero, sum_ns, max_ns = _HEAD.unpack_from(data)
    if not COARSEST_SCALE <= scale <= SCALE:
        raise PacketError(f"histogram of scale {scale}", 0)
    buckets, header, counts_at = bucket_count(scale), _RUN.unpack_from, _RUN.size
    runs = []
    at, free = _HEAD.size, 0
    while at < end:
        begin = at + counts_at
        width, first, length = header(data, at) if begin <= end else _CUT_SHORT
        following = begin + width * length
        if width not in _CODES or not length or first < free or first + length > buckets or following > end:
            raise PacketError(f"run of {length} counts of {width} bytes from bucket {first} of {buckets}", at)
        runs.append((width, first, data[begin:following]))
        at, free = following, first + length
    return Runs(scale, zero, sum_ns, max_ns, tuple(runs))


def decode_histogram(data: bytes) -> Histogram:
    """The histogram in `data`.

    Raises:
        PacketError: As `histogram_runs`.
    """
    scale, zero, sum_ns, max_ns, runs = histogram_runs(data)
    histogram = Histogram(scale)
    histogram.zero, histogram.sum_ns, histogram.max_ns = zero, sum_ns, max_ns
    for width, first, counts in runs:
        length = len(counts) // width
        histogram.counts[first : first + length] = _counts(width, length).unpack(counts)
    return histogram


def _split(counts: list[int]) -> list[tuple[int, int, int]]:
    """Width, first bucket and length of each run; neighbours are merged where that takes no more bytes."""
    runs: list[tuple[int, int, int]] = []
    at = 0
    for width, group in groupby(map(_WIDTHS.__getitem__, map(int.bit_length, counts))):
        first, length = at, sum(1 for _ in group)
        at += length
        if not width:
            continue
        while runs:
            before_width, before_first, before_length = runs[-1]
            widest, joined = max(width, before_width), first + length - before_first
            if widest * joined > before_width * before_length + _RUN.size + width * length:
                break
            runs.pop()
            width, first, length = widest, before_first, joined
        runs.append((width, first, length))
    return runs
