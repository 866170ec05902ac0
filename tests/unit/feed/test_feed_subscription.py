"""A console and a server that speak with each other without a socket."""

import os
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolhouse.feed.protocol.chunks import datagrams
from poolhouse.feed.protocol.datagrams import HELO, Ask, DenialReason, Denied, decode_datagram, encode_datagram
from poolhouse.feed.protocol.frame import Frame, Server, encode_frame
from poolhouse.feed.protocol.subscribers import Subscribers
from poolhouse.feed.protocol.subscription import ANSWER_LIFETIME, PERIOD, Subscription
from poolhouse.fleet.snapshot import Health, Row, Snapshot
from poolhouse.wire.decode import decode_packet
from support.feed_bytes import value_datagram

HERE = ("127.0.0.1", 40000)
NONCE = b"console1"
SERVER = Server("connmond 0.1.0", 1.0, ("127.0.0.1:25827",))
SNAPSHOT = Snapshot(1.7e9, Row("", used=3), (Row("shop", used=3),), (), Health())


def exchange(subscription: Subscription, subscribers: Subscribers, now: float) -> None:
    """Carry datagrams both ways until neither has more to say."""
    while said := subscription.due(now):
        for datagram in said:
            if (answer := subscribers.handle(datagram, HERE, now)) is not None:
                subscription.receive(answer, now)


def frame_datagrams(frame: int = 1) -> Iterator[bytes]:
    return datagrams(encode_frame(Frame(SERVER, SNAPSHOT)), NONCE, frame)


def test_it_says_both_words_at_once_and_then_every_five_seconds() -> None:
    subscription = Subscription(NONCE, 100.0)
    ask = encode_datagram(Ask(NONCE))
    assert subscription.due(100.0) == [HELO, ask]
    assert subscription.due(104.9) == []
    assert subscription.next_due == 105.0
    assert subscription.due(105.0) == [HELO, ask]
    assert subscription.tries == 2


def test_console_and_server_come_together() -> None:
    subscription, subscribers = Subscription(NONCE, 0.0, "shop"), Subscribers(os.urandom(32))
    exchange(subscription, subscribers, 0.0)
    (console,) = subscribers.consoles(0.0)
    assert (console.nonce, console.program) == (NONCE, "shop")
    (snapshot,) = filter(None, [subscription.receive(one, 0.5) for one in frame_datagrams()])
    assert snapshot == SNAPSHOT
    assert subscription.server == SERVER


def test_once_ours_is_answered_helo_is_not_said_any_more() -> None:
    subscription, subscribers = Subscription(NONCE, 0.0), Subscribers(os.urandom(32))
    exchange(subscription, subscribers, 0.0)
    (only,) = subscription.due(PERIOD)
    assert isinstance(decode_datagram(only), Ask)


def test_a_server_that_answers_no_more_is_greeted_with_both_words_again() -> None:
    subscription, subscribers = Subscription(NONCE, 0.0), Subscribers(os.urandom(32))
    exchange(subscription, subscribers, 0.0)
    assert HELO in subscription.due(ANSWER_LIFETIME)


def test_a_server_that_was_restarted_is_asked_anew_at_once() -> None:
    subscription = Subscription(NONCE, 0.0)
    exchange(subscription, Subscribers(os.urandom(32)), 0.0)
    restarted = Subscribers(os.urandom(32))
    exchange(subscription, restarted, PERIOD)
    assert len(restarted.consoles(PERIOD)) == 1


def test_the_cookie_is_renewed_before_it_ends() -> None:
    subscription, subscribers = Subscription(NONCE, 0.0), Subscribers(os.urandom(32))
    now = 0.0
    while now < 600.0:
        exchange(subscription, subscribers, now)
        assert len(subscribers.consoles(now)) == 1
        now += PERIOD


def test_another_program_is_asked_for_at_once() -> None:
    subscription, subscribers = Subscription(NONCE, 0.0), Subscribers(os.urandom(32))
    exchange(subscription, subscribers, 0.0)
    subscription.ask("nightly", 1.0)
    exchange(subscription, subscribers, 1.0)
    assert [one.program for one in subscribers.newcomers(1.0)] == ["nightly"]


def test_bye_is_understood() -> None:
    subscription, subscribers = Subscription(NONCE, 0.0), Subscribers(os.urandom(32))
    assert subscription.bye() is None
    exchange(subscription, subscribers, 0.0)
    bye = subscription.bye()
    assert bye is not None
    subscribers.handle(bye, HERE, 1.0)
    assert subscribers.consoles(1.0) == []


def test_an_earlier_server_is_heard_through_its_value_lists() -> None:
    subscription = Subscription(NONCE, 0.0)
    assert subscription.summed(0.0, 1.7e9) is None
    assert subscription.receive(value_datagram("web1", "shop", "count", "checkedout", 7.0), 1.0) is None
    snapshot = subscription.summed(2.0, 1.7e9)
    assert snapshot is not None
    assert [(row.name, row.used) for row in snapshot.programs] == [("shop", 7)]
    assert subscription.heard == 1.0
    assert subscription.server is None


def test_a_server_that_knows_ours_is_not_summed_from_value_lists_as_well() -> None:
    subscription = Subscription(NONCE, 0.0)
    exchange(subscription, Subscribers(os.urandom(32)), 0.0)
    subscription.receive(value_datagram("web1", "shop", "count", "checkedout", 7.0), 1.0)
    assert subscription.summed(2.0, 1.7e9) is None


def test_frames_for_another_console_are_ignored() -> None:
    subscription = Subscription(b"another1", 0.0)
    assert [subscription.receive(one, 0.0) for one in frame_datagrams()] == [None]
    assert subscription.heard is None


def test_a_denial_is_remembered_until_the_server_serves() -> None:
    subscription = Subscription(NONCE, 0.0)
    subscription.receive(encode_datagram(Denied(NONCE, DenialReason.ADDRESS)), 0.0)
    assert subscription.denied is DenialReason.ADDRESS
    for datagram in frame_datagrams():
        subscription.receive(datagram, 1.0)
    assert subscription.denied is None


@pytest.mark.parametrize("datagram", [bytes(4), b"\0\6\0\0", b"\x7a\1\0\3", HELO, b"PHCF", b""])
def test_malformed_datagrams_are_ignored(datagram: bytes) -> None:
    """Trap 44: a part of length 0 hung the earlier console."""
    subscription = Subscription(NONCE, 0.0)
    assert subscription.receive(datagram, 0.0) is None
    assert subscription.heard is None


@given(st.lists(st.binary(max_size=200) | st.just(b"PHCF\1\3" + NONCE) | st.sampled_from(list(frame_datagrams()))))
def test_no_datagram_raises(received: list[bytes]) -> None:
    """Trap 44."""
    subscription = Subscription(NONCE, 0.0)
    for now, datagram in enumerate(received):
        subscription.receive(datagram, float(now))
        subscription.due(float(now))
        subscription.summed(float(now), 1.7e9)


def test_the_earlier_form_of_the_helper_is_the_protocol_s() -> None:
    (values,) = decode_packet(value_datagram("web1", "shop", "count", "checkedout", 7.0))
    assert str(values.identifier) == "web1/sqlalchemy-shop/count-checkedout"
