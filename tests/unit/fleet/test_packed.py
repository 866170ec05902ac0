from hypothesis import given
from hypothesis import strategies as st

from poolhouse.fleet.packed import LARGEST, Layout

LANES = 5
LAYOUT = Layout(LANES)
NUMBERS = st.lists(st.integers(0, LARGEST), min_size=LANES, max_size=LANES)


@given(NUMBERS)
def test_unpacking_gives_back_what_was_packed(numbers):
    assert list(LAYOUT.unpack(LAYOUT.pack(numbers))) == numbers


@given(NUMBERS, NUMBERS)
def test_sums_and_rises_are_those_of_each_lane(old, new):
    assert list(LAYOUT.unpack(LAYOUT.pack(old) + LAYOUT.pack(new))) == [
        a + b for a, b in zip(old, new, strict=True)
    ]
    rises = [max(0, n - o) for o, n in zip(old, new, strict=True)]
    assert list(LAYOUT.unpack(LAYOUT.rise(LAYOUT.pack(new), LAYOUT.pack(old)))) == rises


@given(NUMBERS, NUMBERS)
def test_a_rise_of_all_is_told_only_if_none_fell(old, new):
    rise = LAYOUT.rise_of_all(LAYOUT.pack(new), LAYOUT.pack(old))
    assert (rise is None) == any(n < o for o, n in zip(old, new, strict=True))


@given(NUMBERS, NUMBERS)
def test_the_larger_is_taken_in_each_lane(one, other):
    larger = LAYOUT.larger(LAYOUT.pack(one), LAYOUT.pack(other))
    assert list(LAYOUT.unpack(larger)) == [max(a, b) for a, b in zip(one, other, strict=True)]


@given(st.lists(st.integers(0, (1 << 64) - 1), min_size=LANES, max_size=LANES))
def test_numbers_beyond_the_largest_are_found_in_any_lane(numbers):
    assert LAYOUT.is_small(LAYOUT.pack(numbers)) == (max(numbers) <= LARGEST)


def test_a_sum_that_outgrew_its_fields_can_still_be_read():
    assert LAYOUT.unpack(LAYOUT.mask + 1) == (0,) * LANES
