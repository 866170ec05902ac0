"""The messages of a TCP connection's handshake: introductions and proofs.

The server sends a nonce. The client says what it is and, if the service has a login, adds a proof that it knows
the password. The server welcomes it with a proof of its own. A proof is an HMAC-SHA-256 (RFC 2104), keyed with
the password, over both nonces and the client's fields: the password is never sent, and a proof is valid on its own
connection only.
"""

import hmac
import json
from hashlib import sha256
from typing import Any, Literal, NamedTuple, get_args

from poolhouse.errors import PacketError

NONCE_BYTES = 16
#: The most characters of a name.
LONGEST_NAME = 255

Role = Literal["report", "console", "node"]


class Challenge(NamedTuple):
    """The server's first message."""

    nonce: bytes
    demands_login: bool = False


class Hello(NamedTuple):
    """The client's introduction.

    Attributes:
        role: What it wants to do.
        product: Its name and version, for logs.
        nonce: Random, for the server's proof.
        service: The name of the service that it wants.
        node: Its name, if it is a node.
        user: Its login's user; empty without a login.
        proof: Its login's proof; empty without a login.
    """

    role: Role
    product: str
    nonce: bytes
    service: str = ""
    node: str = ""
    user: str = ""
    proof: bytes = b""


class Welcome(NamedTuple):
    """The server's answer to a client that it accepts."""

    product: str
    service: str = ""
    node: str = ""
    proof: bytes = b""


class Denied(NamedTuple):
    """Why the server ends the connection.

    Attributes:
        text: The reason, in a sentence.
        reason: `LOGIN` if the login is wrong or missing; else empty.
    """

    text: str
    reason: str = ""


#: The `Denied.reason` of a login that is wrong or missing.
LOGIN = "login"


def encode_challenge(challenge: Challenge) -> bytes:
    """The payload of a `Kind.CHALLENGE` frame."""
    return bytes([challenge.demands_login]) + challenge.nonce


def decode_challenge(payload: bytes) -> Challenge:
    """The challenge; PacketError if it is malformed. Fields of later versions are ignored."""
    if len(payload) < 1 + NONCE_BYTES:
        raise PacketError("a challenge that is too short")
    return Challenge(payload[1 : 1 + NONCE_BYTES], bool(payload[0] & 1))


def encode_hello(hello: Hello) -> bytes:
    """The payload of a `Kind.HELLO` frame."""
    return _encode(hello)


def decode_hello(payload: bytes) -> Hello:
    """A client's message; PacketError if it is malformed."""
    values = _decode(payload, Hello)
    if values["role"] not in get_args(Role) or len(values["nonce"]) != NONCE_BYTES:
        raise PacketError("a hello of an unknown role, or without a nonce")
    return Hello(**values)


def encode_welcome(welcome: Welcome) -> bytes:
    """The payload of a `Kind.WELCOME` frame."""
    return _encode(welcome)


def decode_welcome(payload: bytes) -> Welcome:
    """A server's answer; PacketError if it is malformed."""
    return Welcome(**_decode(payload, Welcome))


def encode_denied(denied: Denied) -> bytes:
    """The payload of a `Kind.DENIED` frame."""
    return _encode(denied)


def decode_denied(payload: bytes) -> Denied:
    """Why a server refuses; PacketError if it is malformed."""
    return Denied(**_decode(payload, Denied))


def client_proof(password: str, challenge: Challenge, hello: Hello) -> bytes:
    """The proof to the server that the client knows the password."""
    said = json.dumps([hello.role, hello.service, hello.node, hello.user]).encode()
    return _proof(password, b"client", challenge.nonce, hello.nonce, said)


def server_proof(password: str, challenge: Challenge, hello: Hello) -> bytes:
    """The proof to the client that the server knows the password."""
    return _proof(password, b"server", challenge.nonce, hello.nonce, b"")


def is_proof(given: bytes, expected: bytes) -> bool:
    """Whether both proofs are the same, compared in constant time."""
    return hmac.compare_digest(given, expected)


def _proof(password: str, *said: bytes) -> bytes:
    # Each field is preceded by its length, so that different fields never give the same bytes.
    message = b"".join(len(part).to_bytes(4, "big") + part for part in said)
    return hmac.new(password.encode("utf-8", "surrogatepass"), message, sha256).digest()


#: The fields that are bytes; they travel as hexadecimal digits.
_BYTES = ("nonce", "proof")


def _encode(message: Hello | Welcome | Denied) -> bytes:
    values = {
        name: value.hex() if isinstance(value, bytes) else value for name, value in message._asdict().items()
    }
    return json.dumps(values).encode()


def _decode(payload: bytes, message: type[Hello] | type[Welcome] | type[Denied]) -> dict[str, Any]:
    """The fields of a message, with defaults for those it leaves out; fields of later versions are ignored."""
    try:
        values = json.loads(payload)
    except (ValueError, RecursionError):
        raise PacketError(f"a {message.__name__} that is not JSON") from None
    if not isinstance(values, dict):
        raise PacketError(f"a {message.__name__} that is not an object")
    return {name: _field(values, name, message) for name in message._fields}


def _field(values: dict[str, Any], name: str, message: type[Hello] | type[Welcome] | type[Denied]) -> Any:
    value = values.get(name, message._field_defaults.get(name))
    if isinstance(value, bytes):
        return value
    if not isinstance(value, str) or len(value) > (4 * LONGEST_NAME):
        raise PacketError(f"a {message.__name__} without a {name}")
    if name not in _BYTES:
        return value
    try:
        return bytes.fromhex(value)
    except ValueError:
        raise PacketError(f"a {message.__name__} whose {name} is not a hexadecimal number") from None
