"""Who has to make room: whatever comes and goes, the address that has the most connections."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from poolhouse.crowd import Crowd

#: Each either comes (an address) or the one of that place goes (a number).
happenings = st.lists(st.one_of(st.sampled_from("abc"), st.integers(0, 20)), max_size=60)


@given(happenings)
def test_the_largest_address_is_always_known(happenings):
    crowd: Crowd[int] = Crowd(1000)
    there: dict[int, str] = {}
    for number, what in enumerate(happenings):
        if isinstance(what, str):
            crowd.add(number, what)
            there[number] = what
        else:
            crowd.discard(what)
            there.pop(what, None)
        assert list(crowd) == list(there)
        if there:
            counts = Counter(there.values())
            oldest, newest = crowd.oldest_of_largest(), crowd.newest_of_largest()
            assert counts[there[oldest]] == counts[there[newest]] == max(counts.values())
            assert oldest == next(one for one, address in there.items() if address == there[oldest])
            assert newest == next(one for one, address in reversed(there.items()) if address == there[newest])


def test_a_flood_from_one_address_ends_its_own_connections_only():
    crowd: Crowd[str] = Crowd(4)
    for honest in ("10.0.0.1", "10.0.0.2"):
        crowd.add(honest, honest)
    for number in range(50):
        crowd.add(f"flood {number}", "192.0.2.1")
        while crowd.is_too_large:
            crowd.discard(crowd.oldest_of_largest())
    assert list(crowd) == ["10.0.0.1", "10.0.0.2", "flood 48", "flood 49"]


def test_a_flood_from_many_addresses_leaves_a_newcomer_its_turn():
    """With one connection for each address, the oldest is ended: a newcomer stays until as many others come."""
    crowd: Crowd[str] = Crowd(4)
    for number in range(50):
        crowd.add(f"flood {number}", f"192.0.2.{number}")
        if number == 46:
            crowd.add("honest", "10.0.0.1")
        while crowd.is_too_large:
            crowd.discard(crowd.oldest_of_largest())
    assert list(crowd) == ["honest", "flood 47", "flood 48", "flood 49"]


def test_a_flood_from_many_addresses_ends_none_of_those_that_were_let_in_before():
    """With one connection for each address, the newest is ended: a flood is newer than those that it meets."""
    crowd: Crowd[str] = Crowd(4)
    crowd.add("honest", "10.0.0.1")
    for number in range(50):
        crowd.add(f"flood {number}", f"192.0.2.{number}")
        while crowd.is_too_large:
            crowd.discard(crowd.newest_of_largest())
    assert list(crowd) == ["honest", "flood 0", "flood 1", "flood 2"]


def test_a_newcomer_takes_places_of_the_largest_until_both_have_equally_many():
    crowd: Crowd[str] = Crowd(5)
    for number in range(5):
        crowd.add(f"flood {number}", "192.0.2.1")
    assert list(crowd.of_largest_but("192.0.2.1")) == []
    for number in range(5):
        place = next(crowd.of_largest_but("10.0.0.1"), None)
        assert crowd.has_room_for("10.0.0.1") == (place is not None)
        if place is not None:
            crowd.discard(place)
            crowd.add(f"honest {number}", "10.0.0.1")
    assert list(crowd) == ["flood 0", "flood 1", "flood 2", "honest 0", "honest 1"]
    assert (crowd.count("10.0.0.1"), crowd.count("10.0.0.2")) == (2, 0)
