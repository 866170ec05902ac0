"""Frames on a TCP connection between clients, consoles and the nodes of a service.

Each side first sends `MAGIC`, then frames: one byte of kind, three bytes of length, big endian, and the payload.
The magic begins with a byte that is not text and ends with a line end, so neither a program with another protocol
nor a link that rewrites line ends is mistaken for a peer. ``docs/reference/tcp.md`` has every byte.
"""

from collections.abc import Container, Iterator
from enum import IntEnum
from struct import Struct
from typing import NamedTuple

from poolhouse.errors import PacketError
from poolhouse.wire.tuples import made

#: The first bytes that each side sends; the digit is the protocol's version.
MAGIC = b"\x93PLHS1\r\n"
_ANY_VERSION = MAGIC[:5]
#: How `stranger` describes a peer with a newer or older version of this protocol.
ANOTHER_VERSION = "another version of the protocol"
#: How `stranger` describes a program that was never upgraded.
EARLIER_CLIENT = "a client of connmon 0.x, which needs Python 2"
HEADER = Struct(">I")
_LENGTH_MASK = 0xFFFFFF


class Kind(IntEnum):
    """The kinds of frames."""

    #: Server to client: its nonce, and whether it demands a login.
    CHALLENGE = 1
    #: Client to server: its introduction and its login.
    HELLO = 2
    #: Server to client: accepted.
    WELCOME = 3
    #: Server to client: refused; the connection ends.
    DENIED = 4
    #: One datagram of a report, as it would travel by UDP.
    REPORT = 5
    #: Server to client: how many `REPORT` frames of this connection it has taken.
    TAKEN = 6
    #: One datagram of the feed, from a console or to it, as it would travel by UDP.
    FEED = 7
    #: Node to node, every second: a sign of life, and how long the service has been counting.
    PULSE = 8
    #: Node to node: a request for everything that the peer has counted.
    ASK = 9
    #: Node to node: entries of the ledger.
    LEDGER = 10
    #: Node to node: the sums of forgotten processes, row by row.
    ROWS = 11
    #: Node to node: the answer to `ASK` is complete.
    TOLD = 12


#: The most bytes of a payload by kind, checked before any of the payload is buffered.
LARGEST_PAYLOAD = {
    Kind.CHALLENGE: 64,
    Kind.HELLO: 4096,
    Kind.WELCOME: 4096,
    Kind.DENIED: 4096,
    Kind.REPORT: 8192,
    Kind.TAKEN: 8,
    Kind.FEED: 65507,
    Kind.PULSE: 64,
    Kind.ASK: 0,
    Kind.LEDGER: 8 << 20,
    Kind.ROWS: 8 << 20,
    Kind.TOLD: 64,
}

#: Kinds and their limits by number; `None` and 0 for numbers that are not a kind.
_KINDS: tuple[Kind | None, ...] = tuple(
    next((kind for kind in Kind if kind == number), None) for number in range(256)
)
_LARGEST = tuple(0 if kind is None else LARGEST_PAYLOAD[kind] for kind in _KINDS)
#: The most bytes of a payload of an unexpected kind: enough to read the frame and refuse it with a clear message.
LARGEST_UNEXPECTED = 4096
#: The kinds that nodes send each other after their introductions.
OF_NODES = frozenset((Kind.REPORT, Kind.PULSE, Kind.ASK, Kind.LEDGER, Kind.ROWS, Kind.TOLD))


class Frame(NamedTuple):
    """One frame."""

    kind: Kind
    payload: bytes


def frame(kind: Kind, payload: bytes = b"") -> bytes:
    """A frame's bytes.

    Raises:
        ValueError: If the payload is longer than its kind allows.
    """
    if len(payload) > _LARGEST[kind]:
        raise ValueError(f"{kind.name} has at most {_LARGEST[kind]:,} bytes, not {len(payload):,}")
    return HEADER.pack(kind << 24 | len(payload)) + payload


class Unframer:
    """Splits the bytes of one direction of a connection into frames.

    Attributes:
        is_greeted: Whether the other side's magic has arrived.
        kinds: The kinds whose frames may be as large as their kind allows. A peer that is not let in yet may send
            nothing large: otherwise a hundred strangers could make this process buffer a gigabyte.
    """

    def __init__(self, kinds: Container[Kind] = frozenset(Kind)) -> None:
        self.kinds = kinds
        self.is_greeted = False
        self._buffer = bytearray()

    @property
    def buffered(self) -> int:
        """How many bytes are buffered until the rest of their frame arrives."""
        return len(self._buffer)

    def feed(self, data: bytes) -> Iterator[Frame]:
        """The frames that these bytes complete. Take all of them before the next call of `feed`.

        Raises:
            PacketError: If the other side does not speak this protocol, or exceeds its limits. The connection is
                unusable from then on.
        """
        if self._buffer or not self.is_greeted:
            self._buffer += data
            data = b""
            if not self._is_greeted_now():
                return
        # Usually whole frames arrive together: cut them out of `data` without buffering.
        several: bytes | bytearray = data or self._buffer
        at, end, header = 0, len(several), HEADER.size
        try:
            while at + header <= end:
                (word,) = HEADER.unpack_from(several, at)
                kind, length = _KINDS[word >> 24], word & _LENGTH_MASK
                if kind is None or length > LARGEST_UNEXPECTED or length > _LARGEST[kind]:
                    kind = self._allowed(word >> 24, length)
                begin = at + header
                if end < begin + length:
                    return
                at = begin + length
                yield made(Frame, (kind, bytes(several[begin:at])))
        finally:
            if several is data:
                self._buffer += data[at:]
            else:
                del self._buffer[:at]

    def _is_greeted_now(self) -> bool:
        if not self.is_greeted:
            begun = min(len(self._buffer), len(MAGIC))
            if not self._buffer.startswith(MAGIC[:begun]):
                raise PacketError(stranger(bytes(self._buffer)))
            if begun == len(MAGIC):
                self.is_greeted = True
                del self._buffer[: len(MAGIC)]
        return self.is_greeted

    def _allowed(self, number: int, length: int) -> Kind:
        """The kind of a frame that is unknown or long, or PacketError."""
        kind = _KINDS[number]
        if kind is None:
            raise PacketError(f"a frame of the unknown kind {number}")
        if length > _LARGEST[number] or (length > LARGEST_UNEXPECTED and kind not in self.kinds):
            raise PacketError(f"a {kind.name} frame of {length:,} bytes")
        return kind


def stranger(begin: bytes) -> str:
    """A guess at the protocol of a connection that does not begin with `MAGIC`.

    >>> stranger(b"GET / HTTP/1.1"), stranger(b"Q1 login [null, null]" + bytes(1))
    ('an HTTP client', 'a client of connmon 0.x, which needs Python 2')
    """
    if begin.startswith(_ANY_VERSION):
        return f"{ANOTHER_VERSION} ({begin[: len(MAGIC)]!r})"
    if begin[:2] == b"\x16\x03":
        return "a client that speaks TLS"
    if begin.split(b" ", 1)[0] in (b"GET", b"HEAD", b"POST", b"PUT", b"OPTIONS", b"DELETE", b"CONNECT"):
        return "an HTTP client"
    text, nul, _ = begin.partition(b"\0")
    if nul and text and all(32 <= byte < 127 for byte in text):
        return EARLIER_CLIENT
    return "no client of poolhouse"
