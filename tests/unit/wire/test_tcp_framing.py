"""Frames on a TCP connection: whatever the cuts, the same frames; whatever the bytes, frames or one sentence."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolhouse.errors import PacketError
from poolhouse.wire.framing import (
    LARGEST_PAYLOAD,
    LARGEST_UNEXPECTED,
    MAGIC,
    OF_NODES,
    Frame,
    Kind,
    Unframer,
    frame,
)

frames = st.lists(
    st.sampled_from(Kind).flatmap(
        lambda kind: st.builds(Frame, st.just(kind), st.binary(max_size=min(8, LARGEST_PAYLOAD[kind])))
    ),
    max_size=8,
)


@given(frames, st.lists(st.integers(0, 200), max_size=10))
def test_the_frames_arrive_however_the_bytes_are_cut(sent, cuts):
    data = MAGIC + b"".join(frame(*one) for one in sent)
    edges = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    unframer = Unframer()
    pieces = [data[begin:end] for begin, end in pairwise(edges)]
    assert [one for piece in pieces for one in unframer.feed(piece)] == sent
    assert unframer.buffered == 0


@given(st.binary(max_size=64), st.booleans())
def test_any_bytes_are_frames_or_a_sentence_and_little_is_kept(data, is_greeted):
    unframer = Unframer()
    try:
        for one in unframer.feed(MAGIC * is_greeted + data):
            assert len(one.payload) <= LARGEST_PAYLOAD[one.kind]
    except PacketError:
        assert unframer.buffered <= len(MAGIC) + len(data)


@pytest.mark.parametrize("kind", Kind)
def test_a_length_beyond_the_kinds_limit_is_refused_before_the_payload_arrives(kind):
    limit = LARGEST_PAYLOAD[kind]
    with pytest.raises(PacketError, match=f"a {kind.name} frame of {limit + 1:,} bytes"):
        list(Unframer().feed(MAGIC + (kind << 24 | limit + 1).to_bytes(4, "big")))
    with pytest.raises(ValueError, match=f"at most {limit:,} bytes"):
        frame(kind, bytes(limit + 1))
    assert list(Unframer().feed(MAGIC + frame(kind, bytes(min(limit, 9))))) == [Frame(kind, bytes(min(limit, 9)))]


def test_an_unknown_kind_is_refused():
    with pytest.raises(PacketError, match="unknown kind 200"):
        list(Unframer().feed(MAGIC + bytes([200, 0, 0, 0])))


@pytest.mark.parametrize(
    ("begin", "words"),
    [
        # connmon 0.3.6: a kind letter, a number, the call's name and its arguments, then NUL.
        (b"Q0 login [null, null]\0", "a client of connmon 0.x"),
        (b"GET /metrics HTTP/1.1\r\n", "an HTTP client"),
        (b"\x16\x03\x01\x02\x00\x01", "a client that speaks TLS"),
        (MAGIC[:5] + b"2\r\n", "another version of the protocol"),
        (b"\x00\x00", "no client of poolhouse"),
        (b"\xff\xfe\x00", "no client of poolhouse"),
        (b"hello", "no client of poolhouse"),
        (MAGIC.replace(b"\r\n", b"\n\n"), "another version of the protocol"),
    ],
)
def test_whoever_speaks_another_protocol_is_named(begin, words):
    with pytest.raises(PacketError, match=words):
        list(Unframer().feed(begin))


def test_half_a_magic_is_waited_for():
    unframer = Unframer()
    assert list(unframer.feed(MAGIC[:3])) == []
    assert not unframer.is_greeted
    assert list(unframer.feed(MAGIC[3:])) == []
    assert unframer.is_greeted


def test_what_is_not_expected_yet_may_not_be_large():
    unframer = Unframer(())
    assert list(unframer.feed(MAGIC + frame(Kind.REPORT, bytes(LARGEST_UNEXPECTED)))) != []
    with pytest.raises(PacketError, match="a LEDGER frame of 8,388,608 bytes"):
        list(unframer.feed((Kind.LEDGER << 24 | 8 << 20).to_bytes(4, "big")))
    unframer = Unframer(())
    list(unframer.feed(MAGIC))
    unframer.kinds = OF_NODES
    assert list(unframer.feed((Kind.LEDGER << 24 | 8 << 20).to_bytes(4, "big"))) == []
