"""What console and server say, signed or encrypted; who is answered what, and what is believed."""

from collections.abc import Hashable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolhouse.admission.console_gate import ConsoleGate, ConsoleSeal
from poolhouse.configuration.keys import Keys
from poolhouse.feed.protocol.allowance import Allowance
from poolhouse.feed.protocol.chunks import datagrams
from poolhouse.feed.protocol.datagrams import (
    HELO,
    Ask,
    Bye,
    Cookie,
    DenialReason,
    Denied,
    decode_datagram,
    denial_nonce,
    encode_datagram,
)
from poolhouse.feed.protocol.frame import Frame, Server, encode_frame
from poolhouse.feed.protocol.subscription import Subscription
from poolhouse.feed.return_path import Datagram, Via
from poolhouse.feed.sealed import FeedSeal
from poolhouse.feed.sealed_via import DENIALS_AT_ONCE, Opener, SealedVia
from poolhouse.fleet.snapshot import Health, Row, Snapshot
from poolhouse.report.protection import Protection
from poolhouse.wire.aes import load_keystream
from poolhouse.wire.feed_part import is_encrypted, is_sealed, parted, unparted
from poolhouse.wire.parts import PACKET_BYTES
from poolhouse.wire.seal import Level, Policy, Reason, sign

NONCE = b"console1"
ASK = encode_datagram(Ask(NONCE, program="shop"))
PROTECTIONS = {
    "sign": Protection("sign", "alice", "s3cret"),
    "encrypt": Protection("encrypt", "alice", "s3cret"),
    "wrong": Protection("sign", "alice", "wrong"),
    "wrong encrypted": Protection("encrypt", "alice", "wrong"),
    "eve": Protection("sign", "eve", "s3cret"),
    "old": Protection("sign", "alice", "before"),
}
KEYS = Keys({b"alice": (b"s3cret", b"before")})


def gate(level: Level = "none", keys: Keys | None = KEYS) -> ConsoleGate:
    return ConsoleGate(Policy(level, keys, True, load_keystream()))


class FakeSocket:
    """Notes what is sent."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []

    def sendmsg(self, buffers: list[bytes], *_: Any) -> None:
        self.sent += buffers


def arrived(content: bytes, sock: Any) -> Datagram:
    return Datagram(content, ("192.0.2.1", 40000), Via(sock, ()))


def denial_of(content: bytes, guard: ConsoleGate | None) -> Denied | None:
    sock = FakeSocket()
    opened = Opener().opened(arrived(content, sock), guard, 0.0)
    assert opened is None
    if not sock.sent:
        return None
    (answer,) = sock.sent
    assert len(answer) < len(content), "no amplifier"
    denied = decode_datagram(answer)
    assert isinstance(denied, Denied)
    return denied


@given(
    st.binary(max_size=1300), st.sampled_from(["sign", "encrypt"]), st.sampled_from(["none", "sign", "encrypt"])
)
def test_what_a_console_seals_is_opened_and_answered_with_the_same_seal(content: bytes, how: str, level: Level):
    seal = FeedSeal(PROTECTIONS[how])
    found = gate(level).open(seal.seal(content), "web1")
    if how == "sign" and level == "encrypt":
        assert found is Reason.UNENCRYPTED
        return
    assert found == (content, ConsoleSeal(b"alice", 0, how == "encrypt"))
    assert isinstance(found, tuple)
    assert found[1] is not None
    answer = gate(level).seal(content, found[1])
    assert answer is not None
    assert (is_sealed(answer), is_encrypted(answer)) == (True, how == "encrypt")
    assert seal.open(answer) == content


@given(st.binary(max_size=80))
def test_any_bytes_are_opened_or_refused(data: bytes):
    for one in (gate(), gate("sign"), gate("encrypt"), gate(keys=None)):
        found = one.open(data, "web1")
        assert isinstance(found, Reason) or found == (data, None)
    seal = FeedSeal(PROTECTIONS["sign"])
    assert seal.open(data) is None
    assert seal.refusal(data) is None
    if data[:2] != b"\x7a\x05":
        with pytest.raises(Exception, match="not one datagram"):
            unparted(data)


def test_helo_is_refused_where_the_level_forbids_it_and_never_answered():
    assert gate("none").open(HELO, "web1") == (HELO, None)
    for level in ("sign", "encrypt"):
        one = gate(level)
        assert denial_of(HELO, one) is None
        assert sum(one.gate.refused.values()) == 1


@pytest.mark.parametrize(
    ("who", "level", "has_keys", "reason"),
    [
        (None, "sign", True, DenialReason.UNSIGNED),
        (None, "encrypt", True, DenialReason.UNENCRYPTED),
        ("sign", "encrypt", True, DenialReason.UNENCRYPTED),
        ("wrong", "none", True, DenialReason.CREDENTIALS),
        ("wrong", "sign", True, DenialReason.CREDENTIALS),
        ("wrong encrypted", "encrypt", True, DenialReason.CREDENTIALS),
        ("eve", "sign", True, DenialReason.CREDENTIALS),
        ("sign", "none", False, DenialReason.NO_KEYS),
    ],
)
def test_who_is_refused_is_told_why_and_believes_it(
    who: str | None, level: Level, has_keys: bool, reason: DenialReason
):
    seal = None if who is None else FeedSeal(PROTECTIONS[who])
    datagram = ASK if seal is None else seal.seal(ASK)
    denied = denial_of(datagram, gate(level) if has_keys else None)
    assert denied == Denied(NONCE if seal is None else denial_nonce(datagram), reason)
    if seal is not None:
        assert seal.refusal(encode_datagram(denied)) is reason
        assert seal.refusal(encode_datagram(Denied(NONCE, reason))) is None


def test_refusals_are_answered_so_often_and_no_more():
    sock, opener, guard = FakeSocket(), Opener(), gate("sign")
    for _ in range(1000):
        opener.opened(arrived(ASK, sock), guard, 5.0)
    assert len(sock.sent) == DENIALS_AT_ONCE
    assert guard.gate.refused == {Reason.UNSIGNED: 1000}


@given(st.binary(max_size=80) | st.sampled_from([ASK, HELO, parted(ASK), *(sign(ASK, b"eve", b"") for _ in "1")]))
def test_no_refusal_is_longer_than_what_was_refused(datagram: bytes):
    for guard in (None, gate("sign"), gate("encrypt"), gate("sign", None)):
        sock = FakeSocket()
        Opener().opened(arrived(datagram, sock), guard, 5.0)
        assert sum(map(len, sock.sent)) < max(len(datagram), 1)


@given(st.lists(st.floats(0, 1), max_size=300))
def test_an_allowance_is_never_exceeded(pauses: list[float]):
    allowance, now, taken = Allowance(10.0, 5.0), 0.0, 0
    for pause in pauses:
        now += pause
        taken += allowance.take(now)
    assert taken <= 5 + 10 * now + 1


def test_an_answer_is_sealed_with_the_password_that_was_used_as_long_as_it_is_known():
    sock, guard = FakeSocket(), gate()
    opened = Opener().opened(arrived(FeedSeal(PROTECTIONS["old"]).seal(ASK), sock), guard, 0.0)
    assert opened is not None
    content, via = opened
    assert content == ASK
    assert isinstance(via, SealedVia)
    assert isinstance(via, Hashable)
    via.send(b"answer", ("192.0.2.1", 40000))
    assert sock.sent == [sign(parted(b"answer"), b"alice", b"before")]
    guard.gate.policy = guard.gate.policy._replace(keys=Keys({b"alice": (b"s3cret",)}))
    via.send(b"answer", ("192.0.2.1", 40000))
    assert len(sock.sent) == 1


def test_the_longest_answer_of_the_longest_user_fits_a_packet():
    user = "u" * 64
    guard = ConsoleGate(Policy("encrypt", Keys({user.encode(): (b"p",)}), True, load_keystream()))
    rows = tuple(Row(f"{number * 7919:x}") for number in range(2000))
    chunks = encode_frame(Frame(Server("x"), Snapshot(0.0, Row(""), rows, (), Health())))
    assert len(chunks) > 2
    for datagram in datagrams(chunks, NONCE, 1):
        sealed = guard.seal(datagram, ConsoleSeal(user.encode(), 0, True))
        assert sealed is not None
        assert len(sealed) <= PACKET_BYTES


def frame(number: int, used: int, nonce: bytes = NONCE) -> bytes:
    shot = Snapshot(1.7e9, Row("", used=used), (), (), Health())
    (one,) = datagrams(encode_frame(Frame(Server("connmond"), shot)), nonce, number)
    return one


def test_a_console_that_seals_speaks_no_helo_and_takes_no_frame_again():
    console = Subscription(NONCE, 0.0, is_sealed=True)
    (ask,) = console.due(0.0)
    assert decode_datagram(ask) == Ask(NONCE)
    console.receive(encode_datagram(Cookie(NONCE, b"a" * 16)), 0.1)
    first = console.receive(frame(0xFFFFFFFF, 1), 1.0)
    assert first is not None
    assert console.receive(frame(0, 2), 2.0) is not None
    for again in (frame(0xFFFFFFFF, 1), frame(0, 2), frame(0xFFFFFFF0, 3)):
        assert console.receive(again, 3.0) is None
    assert console.heard == 2.0
    # The server was started anew: it counts from the beginning, under another nonce.
    console.receive(encode_datagram(Cookie(NONCE, b"b" * 16)), 4.0)
    (ask,) = console.due(4.0)
    message = decode_datagram(ask)
    assert isinstance(message, Ask)
    assert (message.cookie, message.nonce != NONCE) == (b"b" * 16, True)
    assert console.receive(frame(7, 3), 5.0) is None
    assert console.receive(frame(0, 3, message.nonce), 5.0) is not None
    bye = console.bye()
    assert bye is not None
    assert decode_datagram(bye) == Bye(message.nonce, b"b" * 16)


def test_a_console_that_does_not_seal_takes_frames_as_before():
    console = Subscription(NONCE, 0.0)
    assert console.due(0.0)[0] == HELO
    assert console.receive(frame(5, 1), 1.0) is not None
    assert console.receive(frame(4, 1), 1.0) is not None


def test_sealed_and_plain_ways_are_different_consoles():
    guard, sock = gate(), FakeSocket()
    ways = set()
    for who in ("sign", "encrypt", "old"):
        opened = Opener().opened(arrived(FeedSeal(PROTECTIONS[who]).seal(ASK), sock), guard, 0.0)
        assert opened is not None
        ways.add(opened[1])
    assert len(ways) == 3
