"""A client's side of one TCP connection, against a server that is written out byte by byte."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolhouse.configuration.service import Login
from poolhouse.errors import PacketError
from poolhouse.report.conversation import SHORTEST_SILENCE_S, Conversation
from poolhouse.wire.framing import LARGEST_PAYLOAD, MAGIC, Frame, Kind, Unframer, frame
from poolhouse.wire.introduction import GREETING_PATIENCE_S, Phase
from poolhouse.wire.session import (
    Challenge,
    Denied,
    Hello,
    Welcome,
    client_proof,
    decode_hello,
    encode_challenge,
    encode_denied,
    encode_welcome,
    server_proof,
)

HELLO = Hello("report", "poolhouse 0.1.0", bytes(16), "default")
LOGIN = Login("monitor", "s3cret")
NONCE = bytes(range(16))


class Node:
    """The other side: what a conversation has sent, as frames."""

    def __init__(self, conversation: Conversation) -> None:
        self.conversation = conversation
        self._unframer = Unframer()

    def heard(self) -> list[Frame]:
        sent, self.conversation.outgoing[:] = bytes(self.conversation.outgoing), b""
        return list(self._unframer.feed(sent))

    def say(self, kind: Kind, payload: bytes = b"", now: float = 0.0) -> None:
        self.conversation.receive(frame(kind, payload), now)


def opened(login: Login | None = None, demands_login: bool = False) -> Node:
    node = Node(Conversation(HELLO, login, 2.0, 0.0))
    assert node.heard() == []
    node.conversation.receive(MAGIC, 0.0)
    node.say(Kind.CHALLENGE, encode_challenge(Challenge(NONCE, demands_login)))
    return node


def ready() -> Node:
    node = opened()
    node.heard()
    node.say(Kind.WELCOME, encode_welcome(Welcome("connmond 0.1.0", "default", "node1")))
    return node


def test_a_report_follows_the_welcome_and_no_sooner():
    node = opened()
    assert not node.conversation.is_ready
    (hello,) = node.heard()
    assert decode_hello(hello.payload) == HELLO
    node.say(Kind.WELCOME, encode_welcome(Welcome("connmond 0.1.0", "default", "node1")))
    assert node.conversation.is_ready
    node.conversation.report([b"one", b"two"], 1.0)
    assert not node.conversation.is_ready
    assert node.heard() == [Frame(Kind.REPORT, b"one"), Frame(Kind.REPORT, b"two")]
    assert node.conversation.is_ready


def test_with_a_login_both_sides_prove_that_they_know_the_password():
    node = opened(LOGIN, demands_login=True)
    (frame_,) = node.heard()
    hello = decode_hello(frame_.payload)
    challenge = Challenge(NONCE, True)
    assert hello.user == "monitor"
    assert hello.proof == client_proof("s3cret", challenge, hello)
    assert b"s3cret" not in frame_.payload
    node.say(Kind.WELCOME, encode_welcome(Welcome("c", proof=server_proof("s3cret", challenge, hello))))
    assert node.conversation.phase is Phase.READY


def test_a_node_that_does_not_know_the_password_is_sent_no_report():
    node = opened(LOGIN, demands_login=True)
    node.heard()
    with pytest.raises(PacketError, match="does not prove that it knows the password"):
        node.say(Kind.WELCOME, encode_welcome(Welcome("c", proof=bytes(32))))
    assert not node.conversation.is_ready


def test_a_node_that_demands_a_login_of_a_client_without_one_is_told_apart():
    with pytest.raises(PacketError, match="it demands a login: set use_auth, auth_key and auth_secret"):
        opened(demands_login=True)


def test_a_refusal_says_why():
    node = opened()
    with pytest.raises(PacketError, match="it refuses us: no service 'x' here"):
        node.say(Kind.DENIED, encode_denied(Denied("no service 'x' here")))


def test_a_node_that_accepts_and_says_nothing_is_given_up():
    node = Node(Conversation(HELLO, None, 2.0, 10.0))
    assert node.conversation.overdue(10.0 + GREETING_PATIENCE_S - 0.1) is None
    assert node.conversation.overdue(10.0 + GREETING_PATIENCE_S) == "it did not answer within 5 s"
    halfway = opened()
    assert halfway.conversation.overdue(GREETING_PATIENCE_S) is not None


def test_a_node_that_confirms_nothing_any_more_is_given_up():
    node = ready()
    assert node.conversation.overdue(1e9) is None  # Nothing is expected of it.
    node.conversation.report([b"one", b"two"], 100.0)
    node.heard()
    silence = max(SHORTEST_SILENCE_S, 3 * 2.0)
    assert node.conversation.overdue(100.0 + silence - 0.1) is None
    assert node.conversation.overdue(100.0 + silence) == "it has confirmed no report for 6 s"
    node.say(Kind.TAKEN, (1).to_bytes(8, "big"), 105.0)
    assert node.conversation.overdue(105.0 + silence - 0.1) is None
    assert node.conversation.overdue(105.0 + silence) is not None
    node.say(Kind.TAKEN, (2).to_bytes(8, "big"), 106.0)
    assert node.conversation.overdue(1e9) is None


@pytest.mark.parametrize("taken", [3, 2**60])
def test_a_node_cannot_confirm_more_than_was_sent(taken):
    node = ready()
    node.conversation.report([b"one", b"two"], 0.0)
    with pytest.raises(PacketError, match="confirms"):
        node.say(Kind.TAKEN, taken.to_bytes(8, "big"))


@pytest.mark.parametrize("kind", [Kind.FEED, Kind.REPORT, Kind.WELCOME, Kind.CHALLENGE, Kind.HELLO])
def test_words_out_of_turn_end_the_conversation(kind):
    with pytest.raises(PacketError, match=f"it sent {kind.name} while we are connected"):
        ready().say(kind)


@given(st.lists(st.tuples(st.sampled_from(Kind), st.binary(max_size=40)), max_size=6))
def test_whatever_a_node_says_is_taken_or_ends_the_conversation(frames):
    conversation = Conversation(HELLO, LOGIN, 2.0, 0.0)
    try:
        conversation.receive(
            MAGIC + b"".join(frame(kind, said[: min(8, LARGEST_PAYLOAD[kind])]) for kind, said in frames), 0.0
        )
    except PacketError:
        return
    assert conversation.phase in Phase
