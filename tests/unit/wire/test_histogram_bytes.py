"""Histograms as bytes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolhouse.errors import PacketError
from poolhouse.meter.histogram import Histogram, bucket_count
from poolhouse.wire.histogram import decode_histogram, encode_histogram, histogram_runs
from support.wire_strategies import histograms

HEAD_BYTES = 25


@given(histograms())
def test_a_histogram_comes_back_whole(histogram: Histogram):
    assert decode_histogram(encode_histogram(histogram)) == histogram


def with_counts(counts: list[int]) -> Histogram:
    histogram = Histogram()
    histogram.counts[: len(counts)] = counts
    return histogram


@pytest.mark.parametrize(
    ("counts", "runs"),
    [
        ([0, 0, 7], [(1, 2, "07")]),
        # Two empty buckets cost less than the header of another run; four cost more.
        ([1, 0, 0, 2], [(1, 0, "01000002")]),
        ([1, 0, 0, 0, 0, 2], [(1, 0, "01"), (1, 5, "02")]),
        # A wider count takes its neighbours along while that is no dearer than a run of its own.
        ([1, 256, 1], [(2, 0, "000101000001")]),
        ([1] * 6 + [256], [(1, 0, "010101010101"), (2, 6, "0100")]),
        ([2**16, 2**32], [(4, 0, "00010000"), (8, 1, "0000000100000000")]),
    ],
)
def test_counts_of_one_width_stand_together(counts: list[int], runs: list[tuple[int, int, str]]):
    told = histogram_runs(encode_histogram(with_counts(counts)))
    assert [(width, first, data.hex()) for width, first, data in told.runs] == runs


def test_an_empty_histogram_is_its_head():
    assert len(encode_histogram(Histogram())) == HEAD_BYTES


def test_numbers_beyond_64_bits_are_told_as_the_largest():
    histogram = Histogram()
    histogram.sum_ns = histogram.max_ns = histogram.zero = 2**64
    assert histogram_runs(encode_histogram(histogram))[1:4] == (2**64 - 1,) * 3


HEAD = bytes([3]) + bytes(24)


@pytest.mark.parametrize(
    ("data", "offset"),
    [
        (b"", 0),
        (HEAD[:-1], 0),
        (bytes([4]) + bytes(24), 0),
        (bytes([0xFE]) + bytes(24), 0),
        (HEAD + b"\x01", 25),
        (HEAD + b"\x01\x00\x02\x07", 25),
        (HEAD + b"\x03\x00\x01\x07\x07\x07", 25),
        (HEAD + b"\x01\x00\x00", 25),
        (HEAD + b"\x01\xf0\x01\x07", 25),
        (HEAD + b"\x01\xef\x02\x07\x07", 25),
        # Runs stand in the order of their buckets and do not overlap, so that adding them is one pass.
        (HEAD + b"\x01\x05\x02\x07\x07\x01\x06\x01\x07", 30),
    ],
)
def test_what_is_no_histogram_is_refused(data: bytes, offset: int):
    with pytest.raises(PacketError) as caught:
        decode_histogram(data)
    assert caught.value.offset == offset


@given(st.binary(max_size=60), st.integers(-1, 3))
def test_any_bytes_end_in_a_histogram_or_a_packet_error(runs: bytes, scale: int):
    data = scale.to_bytes(1, signed=True) + bytes(24) + runs
    try:
        histogram = decode_histogram(data)
    except PacketError:
        return
    assert len(histogram.counts) == bucket_count(scale)
