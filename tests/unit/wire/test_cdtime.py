"""collectd's high-resolution time."""

from math import inf

from hypothesis import given
from hypothesis import strategies as st

from poolhouse.wire.cdtime import from_cdtime, to_cdtime


@given(st.integers(0, 2**53 - 1))
def test_what_a_float_can_hold_comes_back_whole(time: int):
    assert to_cdtime(from_cdtime(time)) == time


@given(st.floats(min_value=1e9, max_value=1e10))
def test_times_of_these_centuries_come_back_whole(seconds: float):
    assert from_cdtime(to_cdtime(seconds)) == seconds


def test_what_does_not_fit_is_clamped():
    assert (to_cdtime(-1.0), to_cdtime(inf)) == (0, 2**64 - 2048)
