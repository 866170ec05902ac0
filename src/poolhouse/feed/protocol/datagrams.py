"""The datagrams of the feed, one class each, to bytes and back.

Every datagram of ours is ``magic(4) version(1) kind(1) nonce(8)`` and then, big-endian:

========  =========  =====================================================================================
kind      direction  what follows
========  =========  =====================================================================================
1 Ask     to server  cookie(16), zeros if none was received yet; length(1) and UTF-8 name of the program whose
                     processes are also requested, length 0 for none
2 Cookie  to console cookie(16): repeat it in the next Ask
3 Chunk   to console frame(4) part(2) parts(2), then at most `CHUNK_BYTES` bytes of the frame
4 Denied  to console reason(1), see `DenialReason`
5 Bye     to server  cookie(16)
6 Missing to server  cookie(16), frame(4), then at most `MOST_RANGES` times first(2) last(2): the parts of the
                     frame that have not arrived
7 Yield   to console nothing, and a nonce of zeros: a server needs the port that you are listening on
========  =========  =====================================================================================

The nonce is the console's; the server repeats it, so that a third party that cannot read the traffic cannot answer
in the server's place. Software that does not know this protocol ignores it: sqlalchemy-collectd's plugin answers
only ``HELO``, exactly four bytes.
"""

import struct
from collections.abc import Iterable, Iterator
from enum import IntEnum
from hashlib import sha256
from typing import NamedTuple

from poolhouse.errors import PacketError

#: The only datagram that a console of sqlalchemy-collectd sends.
HELO = b"HELO"
MAGIC = b"PHCF"
VERSION = 1
NONCE_BYTES = 8
COOKIE_BYTES = 16
NO_COOKIE = bytes(COOKIE_BYTES)

_HEAD = struct.Struct(f"!4sBB{NONCE_BYTES}s")
_CHUNK = struct.Struct("!IHH")
_MISSING = struct.Struct("!I")
_RANGE = struct.Struct("!HH")
#: The size used by collectd's own sender: it fits every path that carries its datagrams.
DATAGRAM_BYTES = 1346
#: The most bytes of a frame in one chunk, leaving room for a seal; and the most accepted from other versions.
CHUNK_BYTES = DATAGRAM_BYTES - _HEAD.size - _CHUNK.size - 104
LONGEST_CHUNK = DATAGRAM_BYTES - _HEAD.size - _CHUNK.size
#: The longest name of a program, in UTF-8 bytes.
PROGRAM_BYTES = 255
#: The most gaps that one `Missing` can name.
MOST_RANGES = 256


class DenialReason(IntEnum):
    """Why a server refuses a console."""

    #: The console's address is in none of the allowed networks.
    ADDRESS = 1
    #: The server already serves as many consoles as it may.
    FULL = 2
    #: It serves only signed or encrypted requests, or only encrypted ones.
    UNSIGNED = 3
    UNENCRYPTED = 4
    #: It does not know the user, or has another password.
    CREDENTIALS = 5
    #: It has no passwords, or cannot decrypt.
    NO_KEYS = 6
    #: It requires a signature inside what is encrypted.
    FORGEABLE = 7


class Ask(NamedTuple):
    """The console requests snapshots for the next 30 seconds."""

    nonce: bytes
    cookie: bytes = NO_COOKIE
    #: A program whose processes are also requested.
    program: str | None = None


class Cookie(NamedTuple):
    """The server asks for a proof of address: repeat this cookie in the next `Ask`."""

    nonce: bytes
    cookie: bytes


class Chunk(NamedTuple):
    """One piece of a frame."""

    nonce: bytes
    frame: int
    #: The number of this part of the frame, from 0, and how many parts there are.
    part: int
    parts: int
    payload: bytes


class Denied(NamedTuple):
    """The server refuses this console."""

    nonce: bytes
    reason: DenialReason


class Bye(NamedTuple):
    """The console unsubscribes."""

    nonce: bytes
    cookie: bytes


#: From a starting server to a console that has taken its port: leave it, and ask there instead.
YIELD = _HEAD.pack(MAGIC, VERSION, 7, bytes(NONCE_BYTES))


class Missing(NamedTuple):
    """The console has received a frame without these parts."""

    nonce: bytes
    cookie: bytes
    frame: int
    #: The first and the last part of each gap.
    ranges: tuple[tuple[int, int], ...]

    def parts(self, most: int) -> Iterator[int]:
        """The numbers of the parts, in a frame with this many parts."""
        return (part for first, last in self.ranges for part in range(first, min(last + 1, most)))


Message = Ask | Cookie | Chunk | Denied | Bye | Missing
_KINDS: tuple[type[Message], ...] = (Ask, Cookie, Chunk, Denied, Bye, Missing)


def ranges_of(parts: Iterable[int]) -> tuple[tuple[int, int], ...]:
    """Ascending numbers as ranges, at most `MOST_RANGES` of them.

    >>> ranges_of([1, 2, 3, 7])
    ((1, 3), (7, 7))
    """
    ranges: list[tuple[int, int]] = []
    for part in parts:
        if ranges and part == ranges[-1][1] + 1:
            ranges[-1] = ranges[-1][0], part
        elif len(ranges) == MOST_RANGES:
            break
        else:
            ranges.append((part, part))
    return tuple(ranges)


def denial_nonce(datagram: bytes) -> bytes:
    """The nonce of a `Denied` that answers a sealed datagram which the server cannot open."""
    return sha256(datagram).digest()[:NONCE_BYTES]


def encode_datagram(message: Message) -> bytes:
    """The bytes of one datagram; a program name longer than `PROGRAM_BYTES` is cut."""
    match message:
        case Ask(_, cookie, program):
            name = (program or "").encode("utf-8", "replace")[:PROGRAM_BYTES]
            body = cookie + bytes([len(name)]) + name
        case Cookie(_, cookie) | Bye(_, cookie):
            body = cookie
        case Chunk(_, frame, part, parts, payload):
            body = _CHUNK.pack(frame, part, parts) + payload
        case Denied(_, reason):
            body = bytes([reason])
        case Missing(_, cookie, frame, ranges):
            numbers = [part for pair in ranges for part in pair]
            body = cookie + _MISSING.pack(frame) + struct.pack(f"!{len(numbers)}H", *numbers)
    return _HEAD.pack(MAGIC, VERSION, _KINDS.index(type(message)) + 1, message.nonce) + body


def decode_datagram(datagram: bytes) -> Message:
    """Decode one datagram.

    Raises:
        PacketError: If it is not ours, of another version, or malformed.
    """
    if len(datagram) < _HEAD.size:
        raise PacketError(f"{len(datagram)} bytes, less than a header")
    magic, version, kind, nonce = _HEAD.unpack_from(datagram)
    if magic != MAGIC:
        raise PacketError("not a datagram of the feed")
    if version != VERSION:
        raise PacketError(f"version {version} of the feed; this is version {VERSION}", 4)
    body = datagram[_HEAD.size :]
    match kind:
        case 1:
            return _ask(nonce, body)
        case 2:
            return Cookie(nonce, _cookie(body))
        case 3:
            return _chunk(nonce, body)
        case 4:
            return Denied(nonce, _reason(body))
        case 5:
            return Bye(nonce, _cookie(body))
        case 6:
            return _missing(nonce, body)
        case _:
            raise PacketError(f"unknown kind {kind}", 5)


def _ask(nonce: bytes, body: bytes) -> Ask:
    cookie, rest = body[:COOKIE_BYTES], body[COOKIE_BYTES:]
    if not rest or len(rest) != 1 + rest[0]:
        raise PacketError("a program's name of the wrong length", _HEAD.size + COOKIE_BYTES)
    return Ask(nonce, cookie, rest[1:].decode("utf-8", "replace") or None)


def _cookie(body: bytes) -> bytes:
    if len(body) != COOKIE_BYTES:
        raise PacketError(f"a cookie of {len(body)} bytes", _HEAD.size)
    return body


def _chunk(nonce: bytes, body: bytes) -> Chunk:
    if len(body) < _CHUNK.size or len(body) > _CHUNK.size + LONGEST_CHUNK:
        raise PacketError(f"a chunk of {len(body)} bytes", _HEAD.size)
    frame, part, parts = _CHUNK.unpack_from(body)
    if part >= parts:
        raise PacketError(f"part {part} of {parts}", _HEAD.size)
    return Chunk(nonce, frame, part, parts, body[_CHUNK.size :])


def _missing(nonce: bytes, body: bytes) -> Missing:
    head = COOKIE_BYTES + _MISSING.size
    if len(body) < head or (len(body) - head) % 4 or len(body) > head + 4 * MOST_RANGES:
        raise PacketError(f"a list of parts of {len(body)} bytes", _HEAD.size)
    (frame,) = _MISSING.unpack_from(body, COOKIE_BYTES)
    ranges = tuple((first, last) for first, last in _RANGE.iter_unpack(body[head:]))
    bounds = [bound for pair in ranges for bound in pair]
    if bounds != sorted(bounds):
        raise PacketError("parts that do not ascend", _HEAD.size + head)
    return Missing(nonce, body[:COOKIE_BYTES], frame, ranges)


def _reason(body: bytes) -> DenialReason:
    try:
        (reason,) = body
        return DenialReason(reason)
    except ValueError:
        raise PacketError("an unknown reason", _HEAD.size) from None
