"""A console's side of a TCP connection, against the node's own service and against strangers."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolhouse.configuration.service import Login
from poolhouse.daemon.reception import Failures, Reception, Refused
from poolhouse.errors import PacketError
from poolhouse.feed.protocol.chunks import datagrams
from poolhouse.feed.protocol.conversation import FIRST_FRAME_S, Conversation
from poolhouse.feed.protocol.datagrams import (
    NO_COOKIE,
    Ask,
    DenialReason,
    Denied,
    decode_datagram,
    encode_datagram,
)
from poolhouse.feed.protocol.frame import Frame as FeedFrame
from poolhouse.feed.protocol.frame import Server, encode_frame
from poolhouse.feed.protocol.subscription import PERIOD
from poolhouse.fleet.snapshot import Health, Row, Snapshot
from poolhouse.wire.framing import MAGIC, Frame, Kind, frame
from poolhouse.wire.introduction import GREETING_PATIENCE_S, LoginMissing, Refusal
from poolhouse.wire.session import Denied as NotLetIn
from poolhouse.wire.session import Hello, Welcome, encode_denied, encode_welcome

ME = Welcome("connmond 0.1.0", "default", "node1")
NONCE = b"console1"
SNAPSHOT = Snapshot(1.7e9, Row("", used=3), (Row("shop", used=3),), (), Health())
CHUNKS = encode_frame(FeedFrame(Server("connmond 0.1.0", 2.0), SNAPSHOT))
#: Twice as long as 2.5 intervals and a second.
SILENCE = 2 * (2.5 * 2.0 + 1.0)


class Node:
    """The node's side: its reception, and what the console has said since it was let in."""

    def __init__(self, login: Login | None = None, known: Login | None = None, began: float = 0.0) -> None:
        self.reception = Reception(ME, bytes(16), login, Failures(), "10.0.0.7", began)
        hello = Hello("console", "connmon 0.1.0", bytes(16), "default")
        self.console = Conversation(hello, known, NONCE, "shop", began)

    def exchange(self, now: float = 0.0) -> list[Frame]:
        frames: list[Frame] = []
        while self.console.outgoing or self.reception.outgoing:
            said, self.console.outgoing[:] = bytes(self.console.outgoing), b""
            with suppress(Refused):  # Its reason is queued.
                frames += self.reception.receive(said, now)
            answer, self.reception.outgoing[:] = bytes(self.reception.outgoing), b""
            self.console.receive(answer, now)
            assert self.console.step(now) is None
        return frames

    def send(self, chunks: list[bytes], now: float) -> Snapshot | None:
        found = None
        for datagram in datagrams(chunks, NONCE, 1):
            found = self.console.receive(frame(Kind.FEED, datagram), now) or found
        return found


def test_it_asks_once_it_is_let_in_and_again_every_five_seconds():
    node = Node()
    (asked,) = node.exchange()
    assert (asked.kind, decode_datagram(asked.payload)) == (Kind.FEED, Ask(NONCE, NO_COOKIE, "shop"))
    assert node.console.welcome == ME
    assert node.console.next_due == PERIOD
    node.console.step(PERIOD - 0.1)
    assert node.exchange(PERIOD - 0.1) == []
    node.console.step(PERIOD)
    assert len(node.exchange(PERIOD)) == 1


def test_another_program_is_asked_for_at_once_and_the_same_one_is_not():
    node = Node()
    node.exchange()
    node.console.ask("shop", 1.0)
    assert node.console.step(1.0) is None
    assert node.exchange(1.0) == []
    node.console.ask(None, 1.0)
    assert node.console.step(1.0) is None
    (asked,) = node.exchange(1.0)
    assert decode_datagram(asked.payload) == Ask(NONCE)


def test_a_program_that_is_wanted_before_the_welcome_is_asked_for_after_it():
    node = Node()
    node.console.ask("billing", 0.0)
    (asked,) = node.exchange()
    assert decode_datagram(asked.payload) == Ask(NONCE, program="billing")


def test_a_frame_becomes_a_snapshot_and_tells_who_serves():
    node = Node()
    node.exchange()
    assert node.send(CHUNKS, 3.0) == SNAPSHOT
    assert node.console.server == Server("connmond 0.1.0", 2.0)
    assert (node.console.heard, node.console.patience) == (3.0, 6.0)


@given(st.lists(st.integers(1, 400), min_size=1))
def test_however_the_bytes_are_cut_the_same_snapshots_arrive(sizes):
    node = Node()
    node.exchange()
    data = b"".join(frame(Kind.FEED, one) for one in [*datagrams(CHUNKS, NONCE, 1), *datagrams(CHUNKS, NONCE, 2)])
    found, at = [], 0
    for size in (*sizes, len(data)):
        if (snapshot := node.console.receive(data[at : at + size], 1.0)) is not None:
            found.append(snapshot)
        at += size
    assert found
    assert all(one == SNAPSHOT for one in found)


def test_a_login_is_proved_and_a_wrong_one_refused_and_a_missing_one_said():
    login = Login("monitor", "s3cret")
    node = Node(login, login)
    assert len(node.exchange()) == 1
    with pytest.raises(Refusal, match="wrong user or password") as caught:
        Node(login, Login("monitor", "guess")).exchange()
    assert caught.value.is_login
    with pytest.raises(LoginMissing):
        Node(login).exchange()


def test_a_node_that_does_not_know_the_password_is_not_believed():
    with pytest.raises(PacketError, match="it does not prove that it knows the password"):
        Node(None, Login("monitor", "s3cret")).exchange()


def test_a_node_that_says_nothing_is_given_up():
    console = Node(began=100.0).console
    assert console.next_due == 100.0 + GREETING_PATIENCE_S
    assert console.step(104.9) is None
    assert console.step(105.0) == "it did not answer within 5 s"


def test_a_node_that_lets_us_in_and_sends_nothing_is_given_up():
    node = Node()
    node.exchange()
    assert node.console.step(FIRST_FRAME_S - 0.1) is None
    assert node.console.step(FIRST_FRAME_S) == "it has sent nothing for 10 s"


def test_a_node_that_falls_silent_is_given_up():
    node = Node()
    node.exchange()
    node.send(CHUNKS, 100.0)
    assert node.console.step(100.0 + SILENCE - 0.1) is None
    assert node.console.step(100.0 + SILENCE) == "it has sent nothing for 12 s"


def test_a_node_that_ends_says_so():
    node = Node()
    node.exchange()
    with pytest.raises(Refusal) as caught:
        node.console.receive(frame(Kind.DENIED, encode_denied(NotLetIn("it ends"))), 1.0)
    assert (caught.value.text, caught.value.is_login) == ("it ends", False)


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (frame(Kind.FEED, encode_datagram(Ask(NONCE))), "only a console sends"),
        (frame(Kind.FEED, encode_datagram(Denied(NONCE, DenialReason.FULL))), "does not serve us"),
        (frame(Kind.FEED, next(datagrams(CHUNKS, b"another1", 1))), "another console's nonce"),
        (frame(Kind.FEED, b"HELO"), "less than a header"),
        (frame(Kind.TAKEN, bytes(8)), "it sent TAKEN while we are connected"),
        (frame(Kind.WELCOME, encode_welcome(ME)), "it sent WELCOME while we are connected"),
    ],
)
def test_a_word_out_of_turn_ends_it(said, reason):
    node = Node()
    node.exchange()
    with pytest.raises(PacketError, match=reason):
        node.console.receive(said, 1.0)


def test_a_feed_before_the_welcome_ends_it():
    console = Node().console
    with pytest.raises(PacketError, match="it sent FEED while"):
        console.receive(MAGIC + frame(Kind.FEED, next(datagrams(CHUNKS, NONCE, 1))), 0.0)


@given(st.binary(max_size=600), st.booleans())
def test_whatever_arrives_it_is_a_snapshot_or_an_error_of_ours(data, is_let_in):
    node = Node()
    if is_let_in:
        node.exchange()
    with suppress(PacketError):
        node.console.receive(data if is_let_in else MAGIC + data, 1.0)
