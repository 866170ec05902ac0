"""How a TCP connection begins: messages that survive the wire, proofs that fit one conversation only."""

import hmac
import json
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolhouse.errors import PacketError
from poolhouse.wire.session import (
    Challenge,
    Denied,
    Hello,
    Welcome,
    client_proof,
    decode_challenge,
    decode_denied,
    decode_hello,
    decode_welcome,
    encode_challenge,
    encode_denied,
    encode_hello,
    encode_welcome,
    is_proof,
    server_proof,
)

nonces = st.binary(min_size=16, max_size=16)
names = st.text(max_size=40)
proofs = st.binary(max_size=32)
challenges = st.builds(Challenge, nonces, st.booleans())
hellos = st.builds(
    Hello, st.sampled_from(["report", "console", "node"]), names, nonces, names, names, names, proofs
)
DECODERS = (decode_hello, decode_welcome, decode_denied, decode_challenge)


@given(challenges, hellos, st.builds(Welcome, names, names, names, proofs), st.builds(Denied, names))
def test_every_message_survives_the_wire(challenge, hello, welcome, denied):
    assert decode_challenge(encode_challenge(challenge)) == challenge
    assert decode_hello(encode_hello(hello)) == hello
    assert decode_welcome(encode_welcome(welcome)) == welcome
    assert decode_denied(encode_denied(denied)) == denied


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["role", "product", "nonce", "proof", "text", "x"]), inner, max_size=6)
    ),
    max_leaves=12,
)


@given(st.binary(max_size=60) | json_values.map(lambda value: json.dumps(value).encode()))
def test_whatever_comes_is_a_message_or_a_packet_error(payload):
    for decode in DECODERS:
        try:
            decode(payload)
        except PacketError as error:
            assert len(str(error)) < 200  # noqa: PT017 - both outcomes are right; a third is not.


def test_a_bomb_of_brackets_is_a_packet_error():
    with pytest.raises(PacketError):
        decode_hello(b"[" * 4096)


def test_a_later_version_may_say_more():
    said = json.loads(encode_hello(Hello("report", "p", bytes(16)))) | {"colour": [1, 2]}
    assert decode_hello(json.dumps(said).encode()) == Hello("report", "p", bytes(16))


@pytest.mark.parametrize(
    "wrong",
    [{"role": "king"}, {"nonce": "00"}, {"nonce": "zz"}, {"product": 7}, {"user": None}, {"user": "x" * 2000}],
)
def test_a_wrong_hello_is_refused(wrong):
    said = json.loads(encode_hello(Hello("report", "p", bytes(16)))) | wrong
    with pytest.raises(PacketError):
        decode_hello(json.dumps(said).encode())


CHALLENGE = Challenge(bytes(range(16)), True)
HELLO = Hello("report", "poolhouse 0.1.0", bytes(range(16, 32)), "default", "", "monitor")


def test_the_proof_is_an_hmac_over_everything_that_was_said():
    said = [b"client", CHALLENGE.nonce, HELLO.nonce, b'["report", "default", "", "monitor"]']
    message = b"".join(len(part).to_bytes(4, "big") + part for part in said)
    assert client_proof("s3cret", CHALLENGE, HELLO) == hmac.new(b"s3cret", message, sha256).digest()


@pytest.mark.parametrize(
    "other",
    [
        HELLO._replace(nonce=bytes(16)),
        HELLO._replace(user="root"),
        HELLO._replace(role="node"),
        HELLO._replace(service="other"),
        HELLO._replace(node="node1"),
    ],
)
def test_a_proof_fits_one_conversation_only(other):
    proof = client_proof("s3cret", CHALLENGE, HELLO)
    assert is_proof(proof, client_proof("s3cret", CHALLENGE, HELLO))
    assert not is_proof(proof, client_proof("s3cret", CHALLENGE, other))
    assert not is_proof(proof, client_proof("s3cret", Challenge(bytes(16), True), HELLO))
    assert not is_proof(proof, client_proof("guess", CHALLENGE, HELLO))
    # The server's is another: sending the client's back proves nothing.
    assert not is_proof(proof, server_proof("s3cret", CHALLENGE, HELLO))
