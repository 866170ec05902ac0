"""The question whether a report is made now, and its answer."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from packets.sealed import PASSWORD, PLAIN, USER
from poolhouse.errors import PacketError
from poolhouse.wire.challenge import ANSWER_BYTES, NONCE_BYTES, answer_in, nonce_of, question_part, with_answer
from poolhouse.wire.decode import decode_packet
from poolhouse.wire.message import decode_message
from poolhouse.wire.seal import LONGEST_USER, sign
from support.crafted import CraftedProcess

nonces = st.binary(min_size=NONCE_BYTES, max_size=NONCE_BYTES)


@given(nonces)
def test_a_nonce_goes_there_and_back(nonce: bytes):
    assert nonce_of(question_part(nonce)) == nonce
    assert answer_in(with_answer(PLAIN, nonce)) == nonce


@given(st.binary(max_size=60))
def test_any_bytes_are_a_question_or_a_packet_error(data: bytes):
    answer_in(data)
    with pytest.raises(PacketError):
        nonce_of(data)


def test_an_answer_changes_nothing_of_what_a_datagram_says():
    assert answer_in(PLAIN) is None
    assert decode_packet(with_answer(PLAIN, bytes(16))) == decode_packet(PLAIN)
    for detail in ("full", "plain"):
        for datagram in CraftedProcess("nova").report(detail):
            assert len(with_answer(datagram, bytes(16))) == len(datagram) + ANSWER_BYTES
            assert decode_message(with_answer(datagram, bytes(16))) == decode_message(datagram)


def test_a_question_is_no_amplifier():
    longest = LONGEST_USER["sign"]
    question = sign(question_part(bytes(16)), b"u" * longest, PASSWORD)
    shortest = min(len(sign(datagram, USER, PASSWORD)) for datagram in CraftedProcess("a", "b", "1").report())
    assert len(question) < shortest
