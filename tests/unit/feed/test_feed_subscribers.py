"""Who is served, and that nobody is made to serve a victim."""

from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolhouse.errors import SettingError
from poolhouse.feed.protocol.datagrams import (
    HELO,
    Ask,
    Bye,
    Cookie,
    DenialReason,
    Denied,
    Missing,
    decode_datagram,
    encode_datagram,
)
from poolhouse.feed.protocol.subscribers import (
    HELO_SECONDS,
    LIFETIME,
    MOST_HELO_PORTS,
    Subscribers,
    parse_network,
)

HERE = ("127.0.0.1", 40000)
ELSEWHERE = ("192.0.2.7", 40000)
NONCE = b"console1"
SECRET = b"sixteen bytes or more"


def ask(subscribers: Subscribers, *, address=HERE, nonce=NONCE, program=None, now=0.0, via=None) -> None:
    """The whole handshake."""
    answer = subscribers.handle(encode_datagram(Ask(nonce)), address, now, via)
    assert answer is not None
    cookie = decode_datagram(answer)
    assert isinstance(cookie, Cookie)
    assert subscribers.handle(encode_datagram(Ask(nonce, cookie.cookie, program)), address, now, via) is None


def addresses(subscribers: Subscribers, now: float = 0.0) -> list[tuple[str, int]]:
    return [one.address for one in subscribers.consoles(now)]


def test_each_helo_is_served_for_twelve_seconds_and_together_they_last_for_thirty() -> None:
    subscribers = Subscribers(SECRET)
    assert subscribers.handle(HELO, HERE, 100.0) is None
    (console,) = subscribers.consoles(100.0 + HELO_SECONDS - 0.1)
    assert (console.address, console.nonce) == (HERE, None)
    assert subscribers.consoles(100.0 + HELO_SECONDS) == []
    for now in range(200, 230, 5):  # As sqlalchemy-collectd's console says it.
        subscribers.handle(HELO, HERE, float(now))
        assert addresses(subscribers, now + 5.0) == [HERE]
    assert addresses(subscribers, 225.0 + LIFETIME - 0.1) == [HERE]
    assert addresses(subscribers, 225.0 + LIFETIME) == []


def test_a_forged_helo_makes_the_server_send_to_few_ports_of_a_victim() -> None:
    """Trap 39."""
    subscribers = Subscribers(SECRET, [ip_network("192.0.2.0/24")])
    for port in range(1, 100):
        for host in ("192.0.2.7", "::ffff:192.0.2.7", "192.0.2.8"):
            subscribers.handle(HELO, (host, port), 0.0)
    hosts = [host.removeprefix("::ffff:") for host, *_ in addresses(subscribers)]
    assert (hosts.count("192.0.2.7"), hosts.count("192.0.2.8")) == (MOST_HELO_PORTS, MOST_HELO_PORTS)


@pytest.mark.parametrize("datagram", [b"HELO\n", b"HEL", b"helo", b"HELOHELO", b""])
def test_helo_is_four_bytes_exactly(datagram: bytes) -> None:
    subscribers = Subscribers(SECRET)
    assert subscribers.handle(datagram, HERE, 0.0) is None
    assert subscribers.consoles(0.0) == []
    assert subscribers.refused == {"malformed": 1}


def test_helo_from_elsewhere_is_not_served() -> None:
    """Trap 39."""
    subscribers = Subscribers(SECRET)
    assert subscribers.handle(HELO, ELSEWHERE, 0.0) is None
    assert subscribers.consoles(0.0) == []
    assert subscribers.refused == {"address": 1}


def test_allowed_networks_are_served_and_loopback_stays_so() -> None:
    subscribers = Subscribers(SECRET, [ip_network("192.0.2.0/24"), ip_network("fd00::/8")])
    for address in (
        ELSEWHERE,
        HERE,
        ("fd00::1", 1, 0, 0),
        ("::1", 1, 0, 0),
        ("10.0.0.1", 1),
        ("fe80::1%eth0", 1, 0, 2),
    ):
        subscribers.handle(HELO, address, 0.0)
    assert [host for host, *_ in addresses(subscribers)] == ["192.0.2.7", "127.0.0.1", "fd00::1", "::1"]


def test_an_ipv4_address_that_comes_through_an_ipv6_socket_is_an_ipv4_address() -> None:
    subscribers = Subscribers(SECRET)
    subscribers.handle(HELO, ("::ffff:127.0.0.1", 1, 0, 0), 0.0)
    subscribers.handle(HELO, ("::ffff:192.0.2.7", 1, 0, 0), 0.0)
    assert [host for host, *_ in addresses(subscribers)] == ["::ffff:127.0.0.1"]


def test_ours_is_served_only_when_the_cookie_comes_back() -> None:
    """Trap 39."""
    subscribers = Subscribers(SECRET)
    word = encode_datagram(Ask(NONCE))
    for _ in range(3):
        answer = subscribers.handle(word, HERE, 0.0)
        assert answer is not None
        assert subscribers.consoles(0.0) == []
    ask(subscribers, program="shop")
    (console,) = subscribers.consoles(0.0)
    assert (console.nonce, console.program) == (NONCE, "shop")


def test_a_cookie_is_good_for_its_own_address_only() -> None:
    """Trap 39."""
    subscribers = Subscribers(SECRET)
    answer = subscribers.handle(encode_datagram(Ask(NONCE)), HERE, 0.0)
    assert answer is not None
    stolen = decode_datagram(answer)
    assert isinstance(stolen, Cookie)
    for address in (("127.0.0.1", 40001), ("127.0.0.2", 40000)):
        again = subscribers.handle(encode_datagram(Ask(NONCE, stolen.cookie)), address, 0.0)
        assert again is not None
    assert subscribers.consoles(0.0) == []


def test_a_cookie_is_good_for_a_minute_at_least_and_for_two_at_most() -> None:
    for age, is_good in ((60.0, True), (120.0, False)):
        subscribers = Subscribers(SECRET)
        answer = subscribers.handle(encode_datagram(Ask(NONCE)), HERE, 59.0)
        assert answer is not None
        cookie = decode_datagram(answer)
        assert isinstance(cookie, Cookie)
        subscribers.handle(encode_datagram(Ask(NONCE, cookie.cookie)), HERE, 59.0 + age)
        assert bool(subscribers.consoles(59.0 + age)) is is_good


@given(
    st.binary(max_size=400)
    | st.builds(Ask, st.binary(min_size=8, max_size=8), st.binary(min_size=16, max_size=16), st.text()).map(
        encode_datagram
    ),
    st.sampled_from([HERE, ELSEWHERE, ("::1", 5, 0, 0), ("not an address", 5)]),
)
def test_no_answer_is_longer_than_what_was_sent(datagram: bytes, address: tuple) -> None:
    """Trap 39."""
    answer = Subscribers(SECRET).handle(datagram, address, 0.0)
    assert len(answer or b"") <= len(datagram)


def test_who_is_not_served_is_told_why() -> None:
    subscribers = Subscribers(SECRET, limit=1)
    answer = subscribers.handle(encode_datagram(Ask(NONCE)), ELSEWHERE, 0.0)
    assert answer is not None
    assert decode_datagram(answer) == Denied(NONCE, DenialReason.ADDRESS)
    ask(subscribers)
    cookie = decode_datagram(subscribers.handle(encode_datagram(Ask(NONCE)), ("127.0.0.1", 2), 0.0) or b"")
    assert isinstance(cookie, Cookie)
    answer = subscribers.handle(encode_datagram(Ask(NONCE, cookie.cookie)), ("127.0.0.1", 2), 0.0)
    assert decode_datagram(answer or b"") == Denied(NONCE, DenialReason.FULL)
    assert addresses(subscribers) == [HERE]


def test_the_number_of_consoles_is_bounded_and_room_comes_back() -> None:
    subscribers = Subscribers(SECRET, limit=3)
    for port in range(1, 100):
        subscribers.handle(HELO, ("127.0.0.1", port), 0.0)
    assert [port for _, port in addresses(subscribers)] == [1, 2, 3]
    assert subscribers.refused == {"full": 96}
    subscribers.handle(HELO, ("127.0.0.1", 50), LIFETIME)
    assert [port for _, port in addresses(subscribers, LIFETIME)] == [50]


def test_consoles_of_one_address_take_no_place_of_others() -> None:
    network = ip_network("192.0.2.0/24")
    subscribers = Subscribers(SECRET, [network], limit=6)
    ask(subscribers, address=HERE)
    for port in range(1, 50):
        address = ("192.0.2.1", port)
        cookie = decode_datagram(subscribers.handle(encode_datagram(Ask(NONCE)), address, 0.0) or b"")
        assert isinstance(cookie, Cookie)
        answer = subscribers.handle(encode_datagram(Ask(NONCE, cookie.cookie)), address, 0.0)
        assert (answer is None) is (port <= 5)
    ask(subscribers, address=("192.0.2.2", 1))
    ask(subscribers, address=("192.0.2.2", 2))
    kept = [HERE, ("192.0.2.1", 1), ("192.0.2.1", 2), ("192.0.2.1", 3), ("192.0.2.2", 1), ("192.0.2.2", 2)]
    assert addresses(subscribers) == kept


def test_forged_helo_of_a_network_takes_no_place_of_this_machine_and_other_networks() -> None:
    subscribers = Subscribers(SECRET, [ip_network("192.0.2.0/24"), ip_network("10.0.0.0/8")], limit=6)
    for number in range(1, 100):
        subscribers.handle(HELO, (f"192.0.2.{number}", 1), 0.0)
    for address in (HERE, ("127.0.0.1", 2), ("10.0.0.1", 1), ("10.0.0.2", 1), ("10.0.0.3", 1)):
        subscribers.handle(HELO, address, 0.0)
    kept = [("192.0.2.1", 1), ("192.0.2.2", 1), HERE, ("127.0.0.1", 2), ("10.0.0.1", 1), ("10.0.0.2", 1)]
    assert addresses(subscribers) == kept


def test_forged_helo_cannot_take_the_place_of_our_consoles() -> None:
    """Trap 39."""
    subscribers = Subscribers(SECRET, limit=3)
    for port in range(1, 100):
        subscribers.handle(HELO, ("127.0.0.1", port), 0.0)
    ask(subscribers)
    assert [one.nonce for one in subscribers.consoles(0.0)] == [None, None, None, NONCE]


def test_our_word_wins_over_helo_from_the_same_console() -> None:
    subscribers = Subscribers(SECRET)
    subscribers.handle(HELO, HERE, 0.0)
    ask(subscribers)
    subscribers.handle(HELO, HERE, 1.0)
    (console,) = subscribers.consoles(1.0)
    assert console.nonce == NONCE


def test_the_way_back_belongs_to_the_console() -> None:
    subscribers = Subscribers(SECRET)
    subscribers.handle(HELO, HERE, 0.0, via="socket 1")
    ask(subscribers, via="socket 2")
    assert [(one.via, one.nonce) for one in subscribers.consoles(0.0)] == [("socket 1", None), ("socket 2", NONCE)]


def test_newcomers_are_those_that_began_or_changed_their_program() -> None:
    subscribers = Subscribers(SECRET)
    subscribers.handle(HELO, ("127.0.0.1", 1), 0.0)
    ask(subscribers)
    assert [one.program for one in subscribers.newcomers(0.0)] == [None, None]
    subscribers.handle(HELO, ("127.0.0.1", 1), 1.0)
    ask(subscribers, now=1.0)
    assert subscribers.newcomers(1.0) == []
    ask(subscribers, program="shop", now=2.0)
    assert [one.program for one in subscribers.newcomers(2.0)] == ["shop"]


def test_bye_ends_it_but_not_from_somebody_else() -> None:
    subscribers = Subscribers(SECRET)
    ask(subscribers)
    subscribers.handle(encode_datagram(Bye(NONCE, bytes(16))), HERE, 0.0)
    assert addresses(subscribers) == [HERE]
    cookie = decode_datagram(subscribers.handle(encode_datagram(Ask(NONCE)), HERE, 0.0) or b"")
    assert isinstance(cookie, Cookie)
    subscribers.handle(encode_datagram(Bye(NONCE, cookie.cookie)), HERE, 0.0)
    assert addresses(subscribers) == []


def test_a_network_that_is_none_is_named() -> None:
    assert parse_network("10.1.2.3/8") == ip_network("10.0.0.0/8")
    assert parse_network("192.0.2.1") == ip_network("192.0.2.1/32")
    with pytest.raises(SettingError, match=r"allow: '10\.0\.0\.0/99' is not a network"):
        parse_network("10.0.0.0/99", "allow")


def test_a_console_that_a_connection_proves_is_served_at_once_wherever_it_is():
    subscribers = Subscribers(SECRET)
    asked = encode_datagram(Ask(b"console1", program="shop"))
    assert subscribers.handle(asked, ("192.0.2.7", 0), 0.0, "connection", is_proven=True) is None
    (one,) = subscribers.consoles(LIFETIME - 0.1)
    assert (one.via, one.nonce, one.program, one.is_proven) == ("connection", b"console1", "shop", True)
    assert subscribers.consoles(LIFETIME) == []


def test_over_a_connection_nobody_says_helo_or_misses_a_part_and_everybody_may_leave():
    subscribers = Subscribers(SECRET)
    address = ("127.0.0.1", 0)

    def take(datagram: bytes) -> bytes | None:
        return subscribers.handle(datagram, address, 0.0, "connection", is_proven=True)

    assert take(HELO) is None
    assert (subscribers.refused.total(), subscribers.consoles(0.0)) == (1, [])
    take(encode_datagram(Ask(b"console1")))
    assert take(encode_datagram(Missing(b"console1", bytes(16), 1, ((0, 3),)))) is None
    assert (subscribers.refused["cookie"], subscribers.missing) == (1, [])
    take(encode_datagram(Bye(b"console1", bytes(16))))
    assert subscribers.consoles(0.0) == []
    take(encode_datagram(Ask(b"console1")))
    subscribers.leave(address, "connection")
    assert subscribers.consoles(0.0) == []


def test_consoles_over_connections_take_no_place_of_those_over_udp():
    subscribers = Subscribers(SECRET, limit=1)
    for number in range(3):
        asked = encode_datagram(Ask(b"console%d" % number))
        subscribers.handle(asked, ("127.0.0.1", 0), 0.0, number, is_proven=True)
    address = ("127.0.0.1", 4000)
    answer = decode_datagram(subscribers.handle(encode_datagram(Ask(b"udp_cons")), address, 0.0) or b"")
    assert isinstance(answer, Cookie)
    assert subscribers.handle(encode_datagram(Ask(b"udp_cons", answer.cookie)), address, 0.0) is None
    assert len(subscribers.consoles(0.0)) == 4
