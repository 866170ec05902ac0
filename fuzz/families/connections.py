"""A TCP connection: what its two sides read of each other until one is let in, and after that."""

from fuzz.samples import datagrams
from poolhouse.configuration.service import Login
from poolhouse.daemon.reception import Failures, Reception
from poolhouse.errors import PacketError
from poolhouse.feed.protocol.conversation import Conversation
from poolhouse.feed.protocol.datagrams import Ask, encode_datagram
from poolhouse.wire.framing import MAGIC, Kind, frame
from poolhouse.wire.session import (
    Challenge,
    Denied,
    Hello,
    Welcome,
    encode_challenge,
    encode_denied,
    encode_hello,
    encode_welcome,
)

_ME = Welcome("connmond 1", "default", "node1")
_NONCE = bytes(range(16))
_HELLO = Hello("report", "shop 1", _NONCE, "default", "", "alice", bytes(32))


def seeds() -> dict[str, bytes]:
    """What a client, a console, a node and a server begin with."""
    report, ask = datagrams()["no pool 0"], encode_datagram(Ask(bytes(8)))
    roles = {
        role: MAGIC + frame(Kind.HELLO, encode_hello(_HELLO._replace(role=role, node="node2")))
        for role in ("report", "console", "node")
    }
    challenge = MAGIC + frame(Kind.CHALLENGE, encode_challenge(Challenge(_NONCE)))
    return {
        "client": roles["report"] + frame(Kind.REPORT, report),
        "console": roles["console"] + frame(Kind.FEED, ask),
        "node": roles["node"] + frame(Kind.ASK),
        "server": challenge + frame(Kind.WELCOME, encode_welcome(_ME)),
        "refusal": challenge + frame(Kind.DENIED, encode_denied(Denied("no", "login"))),
        "http": b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "tls": b"\x16\x03\x01\x02\x00\x01",
    }


def check(data: bytes) -> None:
    """Nothing but `PacketError`; before a guest is let in, nothing large is kept; all words can be logged."""
    for login in (None, Login("alice", "s3cret")):
        for cut in (len(data), 9, 1):
            reception = Reception(_ME, _NONCE, login, Failures(), "192.0.2.1", 0.0)
            conversation = Conversation(_HELLO, login, bytes(8), None, 0.0)
            pieces = [data[:cut], data[cut:]]
            try:
                for piece in pieces:
                    for one in reception.receive(piece, 1.0):
                        assert reception.guest is not None, f"{one.kind} before its guest was let in"
            except PacketError as error:
                _loggable(error)
            else:
                assert reception.guest or reception._unframer.buffered < 4200, "much is kept of a stranger"
            try:
                for piece in pieces:
                    conversation.receive(piece, 1.0)
                conversation.step(2.0)
            except PacketError as error:
                _loggable(error)


def _loggable(error: PacketError) -> None:
    words = str(error.args[0])
    assert len(words) < 5000, "an endless sentence"
    words.encode()
