"""Which consoles over TCP are let in, and which have to leave."""

from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolhouse.feed.protocol.connections import MOST_CONNECTIONS, Connections
from poolhouse.feed.protocol.subscribers import LIFETIME

NETWORK = ip_network("10.0.0.0/8")


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "192.0.2.7", "fe80::1%eth0", "an unknown address"])
def test_without_networks_every_console_is_let_in(host):
    assert Connections().refusal(host, has_login=False) is None


@pytest.mark.parametrize(
    ("host", "is_allowed"),
    [
        ("127.0.0.1", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("10.1.2.3", True),
        ("::ffff:10.1.2.3", True),
        ("192.0.2.7", False),
        ("fe80::1%eth0", False),
        ("an unknown address", False),
    ],
)
def test_networks_limit_consoles_without_a_login(host, is_allowed):
    connections = Connections([NETWORK])
    assert (connections.refusal(host, has_login=False) is None) is is_allowed
    assert connections.refusal(host, has_login=True) is None


def test_there_are_at_most_so_many_and_one_that_leaves_makes_room():
    connections = Connections()
    for number in range(MOST_CONNECTIONS):
        assert connections.refusal("10.0.0.1", has_login=True) is None
        assert connections.join(number, "10.0.0.1", 0.0) is None
    assert connections.refusal("10.0.0.1", has_login=True) == "64 consoles are connected already"
    connections.leave(3)
    connections.leave(3)
    assert connections.refusal("10.0.0.1", has_login=True) is None


def test_consoles_of_one_address_take_no_place_of_others():
    connections = Connections(limit=6)
    connections.join("kept", "10.0.0.1", 0.0)
    for number in range(5):
        connections.join(number, "192.0.2.1", 0.0)
    assert connections.refusal("192.0.2.1", has_login=True) == "6 consoles are connected already"
    for key, gone in (("late", 4), ("later", 3)):
        assert connections.refusal("10.0.0.2", has_login=True) is None
        assert connections.join(key, "10.0.0.2", 0.0) == gone
        connections.leave(gone)
    # Three and two are as even as it gets.
    assert connections.refusal("10.0.0.2", has_login=True) is not None
    assert connections.refusal("10.0.0.1", has_login=True) is None


def test_a_console_that_says_nothing_has_to_leave():
    connections = Connections()
    connections.join("one", "::1", 0.0)
    connections.join("two", "::1", 0.0)
    connections.hear("two", 20.0)
    assert connections.overdue(LIFETIME - 0.1) == []
    assert connections.overdue(LIFETIME) == [("one", "it has asked for nothing for 30 s")]


def test_a_console_that_asks_and_does_not_read_has_to_leave():
    connections = Connections()
    connections.join("one", "::1", 0.0)
    connections.hold("one", 10.0)
    connections.hear("one", 39.0)
    assert connections.overdue(39.9) == []
    assert connections.overdue(40.0) == [("one", "it has read nothing for 30 s")]
    connections.release("one")
    assert connections.overdue(40.0) == []


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["join", "hear", "hold", "release", "leave"]), st.integers(0, 4), st.floats(0.0, 40.0)
    )
)


@given(STEPS)
def test_a_console_that_reads_and_asks_stays_and_every_other_one_goes(steps):
    connections = Connections(limit=3)
    now, heard, held = 0.0, {}, {}
    for name, key, seconds in steps:
        now += seconds
        if name == "join":
            if key not in heard and connections.refusal("::1", has_login=False) is None:
                connections.join(key, "::1", now)
                heard[key] = now
        elif name == "leave" or key in heard:
            getattr(connections, name)(*([key, now] if name in ("hear", "hold") else [key]))
            if name == "hear":
                heard[key] = now
            elif name == "hold":
                held[key] = now
            else:
                held.pop(key, None)
            if name == "leave":
                heard.pop(key, None)
        assert len(connections) == len(heard) <= 3
        overdue = {one for one, _ in connections.overdue(now)}
        assert overdue == {one for one in heard if now - heard[one] >= 30 or now - held.get(one, now) >= 30}
