import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolhouse.errors import PacketError
from poolhouse.fleet.distribution import NOTHING, distribution_of, read
from poolhouse.meter.histogram import BUCKETS, SCALE, Histogram
from poolhouse.wire.histogram import COARSEST_SCALE, encode_histogram

DURATIONS = st.lists(st.integers(0, 2 * 10**12), max_size=60)
SCALES = st.integers(COARSEST_SCALE, SCALE)


def histogram_of(durations, scale=SCALE):
    histogram = Histogram(scale)
    histogram.record_all(durations)
    return histogram


@given(DURATIONS, SCALES, st.sampled_from([1, 200, 70_000, 2**33]))
def test_what_is_read_is_the_histogram_that_was_told(durations, scale, times):
    histogram = histogram_of(durations, scale)
    # Counts of each width that the wire knows.
    histogram.counts = [count * times for count in histogram.counts]
    assert read(encode_histogram(histogram)).histogram() == histogram


@given(DURATIONS, SCALES, DURATIONS, SCALES)
def test_sums_are_those_of_histograms_also_between_scales(some, some_scale, others, other_scale):
    one, other = histogram_of(some, some_scale), histogram_of(others, other_scale)
    total = read(encode_histogram(one)).plus(read(encode_histogram(other))).histogram()
    one.add(other)
    assert total == one


@given(DURATIONS, SCALES, DURATIONS, SCALES)
def test_what_came_since_an_earlier_reading_is_the_difference(earlier, earlier_scale, more, later_scale):
    later = histogram_of(earlier + more, min(earlier_scale, later_scale))
    old = read(encode_histogram(histogram_of(earlier, earlier_scale)))
    grown = read(encode_histogram(later)).since(old)
    expected = histogram_of(more, later.scale)
    assert grown is not None
    assert grown.histogram().counts == expected.counts
    assert grown.histogram().zero == expected.zero
    assert grown.sum_ns == expected.sum_ns


def test_a_count_that_fell_is_a_new_beginning():
    old, new = histogram_of([10**6, 10**9]), histogram_of([10**6, 10**6, 10**6])
    assert read(encode_histogram(new)).since(read(encode_histogram(old))) is None


def test_the_longest_of_the_latest_durations_is_told_only_if_it_is_known():
    old = read(encode_histogram(histogram_of([10**9])))
    quick = read(encode_histogram(histogram_of([10**9, 10**6])))
    slow = read(encode_histogram(histogram_of([10**9, 3 * 10**9])))
    assert quick.latest(old).max_ns == 0
    assert slow.latest(old).max_ns == 3 * 10**9


def test_no_bytes_tell_nothing():
    assert read(b"") is NOTHING


@pytest.mark.parametrize("place", [0, 100])
def test_a_count_beyond_what_can_be_summed_is_refused(place):
    histogram = Histogram()
    histogram.counts[place] = 1 << 48
    with pytest.raises(PacketError, match="beyond"):
        read(encode_histogram(histogram))
    histogram.counts[place] = 0
    histogram.zero = 1 << 48
    with pytest.raises(PacketError, match="beyond"):
        read(encode_histogram(histogram))


@given(DURATIONS, SCALES, st.sampled_from([1, 200, 70_000, 2**33]))
def test_what_is_kept_is_the_same_in_less_memory(durations, scale, times):
    histogram = histogram_of(durations, scale)
    histogram.counts = [count * times for count in histogram.counts]
    distribution = read(encode_histogram(histogram))
    assert distribution.kept().distribution() == distribution
    assert (
        len(distribution.kept().counts) * distribution.kept().counts.itemsize
        <= distribution.counts.bit_length() / 8 + 8
    )


def test_nothing_is_kept_as_nothing():
    longest = NOTHING._replace(max_ns=5)
    assert (longest.kept().distribution(), len(longest.kept().counts)) == (longest, 0)


def test_sums_beyond_what_a_lane_holds_are_kept_without_an_error():
    huge = NOTHING._replace(counts=(1 << 64 * 300) - 1)
    assert huge.kept().distribution().histogram().counts[0] == (1 << 64) - 1


@given(st.lists(st.integers(0, 300), max_size=BUCKETS), st.integers(0, 2**40), st.integers(-1, 3))
def test_buckets_in_use_are_those_of_the_histogram(counts: list[int], zero: int, scale: int) -> None:
    histogram = Histogram()
    histogram.zero, histogram.counts = zero, [*counts, *[0] * (BUCKETS - len(counts))]
    histogram.downscale(scale)
    found, first, used = distribution_of(histogram).used_buckets()
    assert found == zero
    numbers = {first + place: count for place, count in enumerate(used) if count}
    least = int(-20 * 2.0**scale)
    assert numbers == {least + place: count for place, count in enumerate(histogram.counts) if count}
    assert not used or (used[0] and used[-1])
