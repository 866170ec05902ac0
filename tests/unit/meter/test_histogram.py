"""Histograms against durations that were sorted and counted."""

import random
from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolhouse.meter.histogram import BOUNDS_NS, BUCKETS, Histogram

durations = st.lists(st.integers(min_value=0, max_value=3 * 10**12), max_size=200)


def of(values: list[int], scale: int = 3) -> Histogram:
    histogram = Histogram(scale)
    histogram.record_all(values)
    return histogram


def test_a_bucket_holds_what_is_above_its_lower_and_up_to_its_upper_bound():
    # BOUNDS_NS[i] is the upper bound of bucket i - 1; whole nanoseconds beyond it belong to the next.
    histogram = of([BOUNDS_NS[10], BOUNDS_NS[10] + 1])
    assert [i for i, n in enumerate(histogram.counts) if n] == [9, 10]


def test_durations_outside_the_range_are_counted_at_its_ends():
    histogram = of([-5, 0, BOUNDS_NS[0], BOUNDS_NS[-1] + 1, 10**15])
    assert (histogram.zero, histogram.counts[BUCKETS - 1]) == (3, 2)
    assert histogram.sum_ns == BOUNDS_NS[0] + BOUNDS_NS[-1] + 1 + 10**15


def test_an_empty_histogram_has_no_quantile():
    assert Histogram().quantile(0.5) is None


@given(values=durations, scale=st.integers(-1, 3))
def test_no_duration_exceeds_the_bound_of_the_longest(values: list[int], scale: int):
    histogram = of(values, scale)
    if any(values):
        assert histogram.longest_bound() == max(values) / 1e9
    histogram.max_ns = 0
    bound = histogram.longest_bound()
    if not values or max(values) > BOUNDS_NS[-1]:
        assert bound is None
    elif bound is not None:
        longest = max(max(values), BOUNDS_NS[0])
        assert longest <= bound * 1e9 + 1
        assert bound * 1e9 <= longest * 2.0 ** (2.0**-scale) + 1
    else:
        # The last bucket at this scale has durations of more than its bound, too.
        assert histogram.counts[-1]


@pytest.mark.parametrize("q", [0.5, 0.9, 0.99, 0.999])
def test_a_quantile_is_within_the_bucket_width_of_the_true_one(q: float):
    rng = random.Random(7)
    values = [int(rng.lognormvariate(15, 2)) for _ in range(20_000)]
    truth = sorted(values)[ceil(q * len(values)) - 1] / 1e9
    # Half a bucket at scale 3 is 2**(1/16) - 1 = 4.43 %.
    assert of(values).quantile(q) == pytest.approx(truth, rel=0.0443)


@given(durations, st.lists(st.floats(0, 1), max_size=4), st.booleans())
def test_several_quantiles_are_those_taken_one_by_one(values: list[int], shares: list[float], knows_longest: bool):
    histogram = of(values)
    histogram.max_ns *= knows_longest
    assert histogram.quantiles(shares) == [histogram.quantile(q) for q in shares]


@given(durations, durations)
def test_merging_is_recording_in_one(first: list[int], second: list[int]):
    merged = of(first)
    merged.add(of(second))
    assert merged == of(first + second)


@given(durations, durations)
def test_subtracting_undoes_adding(first: list[int], second: list[int]):
    histogram = of(first + second)
    histogram.subtract(of(first))
    expected = of(second)
    expected.max_ns = histogram.max_ns
    assert histogram == expected


@given(durations, st.integers(min_value=-1, max_value=3))
def test_downscaling_is_recording_at_the_coarser_scale(values: list[int], scale: int):
    histogram = of(values)
    histogram.downscale(scale)
    assert histogram == of(values, scale)


@given(durations, durations)
def test_scales_meet_at_the_coarser_one(first: list[int], second: list[int]):
    merged = of(first, 3)
    merged.add(of(second, 1))
    assert merged == of(first + second, 1)


@given(durations, st.integers(-1, 3))
def test_counts_up_to_powers_of_two_are_true(values: list[int], scale: int):
    histogram = of(values)
    histogram.downscale(scale)
    up_to = histogram.up_to_powers()
    assert list(up_to) == list(range(-20, 11, 2 if scale < 0 else 1))
    for exponent in list(up_to)[:-1]:
        assert up_to[exponent] == sum(value <= 2.0**exponent * 1e9 for value in values)
    assert up_to[10] == len(values)
