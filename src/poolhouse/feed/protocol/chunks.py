"""Splits a frame of any size into datagrams of at most 1,346 bytes, and reassembles it.

A frame that lost chunks is kept for a while, until they are sent again or another frame is complete.
"""

import zlib
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from poolhouse.errors import PacketError
from poolhouse.feed.protocol.datagrams import CHUNK_BYTES, Chunk, encode_datagram

#: The most chunks of one frame: 1.3 MB, which a console's socket can take if they are sent in small bursts.
MAX_CHUNKS = 1024
#: The most bytes of one unpacked frame, so that no peer can fill a console's memory.
MAX_BYTES = 32 << 20
#: The most incomplete frames, for datagrams that overtake each other.
PENDING_FRAMES = 2

#: A zlib stream's head, an empty last block of deflate, and how many bytes they and the checksum take.
_STREAM_HEAD, _LAST_BLOCK = b"\x78\x01", b"\x03\x00"
_STREAM_BYTES = len(_STREAM_HEAD) + len(_LAST_BLOCK) + 4
_ADLER_BASE = 65521


class Piece(NamedTuple):
    """Compressed content that stands alone: concatenated pieces unpack to their concatenated contents.

    A deflate stream may be cut wherever it was flushed with ``Z_FULL_FLUSH`` (RFC 1951, RFC 1950).
    """

    packed: bytes
    #: The content's length in bytes, and its Adler-32.
    length: int
    check: int


def compress(content: bytes) -> Piece:
    """The content as a piece; best for some ten thousand bytes at a time."""
    packer = zlib.compressobj(1, zlib.DEFLATED, -15)
    packed = packer.compress(content) + packer.flush(zlib.Z_FULL_FLUSH)
    return Piece(packed, len(content), zlib.adler32(content))


def is_too_large(pieces: Sequence[Piece]) -> bool:
    """Whether a frame of these pieces would exceed `MAX_CHUNKS`, or `MAX_BYTES` of content."""
    packed = sum(len(piece.packed) for piece in pieces) + _STREAM_BYTES
    return packed > MAX_CHUNKS * CHUNK_BYTES or sum(piece.length for piece in pieces) > MAX_BYTES


def chunks_of(pieces: Sequence[Piece]) -> list[bytes]:
    """The chunks of a frame of these pieces."""
    check = 1
    for piece in pieces:
        check = _joined_check(check, piece)
    packed = b"".join((_STREAM_HEAD, *(piece.packed for piece in pieces), _LAST_BLOCK, check.to_bytes(4)))
    return [packed[at : at + CHUNK_BYTES] for at in range(0, len(packed), CHUNK_BYTES)]


def _joined_check(check: int, piece: Piece) -> int:
    """The Adler-32 of a text with checksum `check` followed by the piece's content."""
    low, high = check & 0xFFFF, check >> 16
    more_low, more_high = piece.check & 0xFFFF, piece.check >> 16
    high = (high + more_high + (low - 1) * piece.length) % _ADLER_BASE
    return high << 16 | (low + more_low - 1) % _ADLER_BASE


def datagrams(
    chunks: list[bytes], nonce: bytes, frame: int, parts: Iterable[int] | None = None
) -> Iterator[bytes]:
    """The datagrams that carry a packed frame to one console.

    Args:
        chunks: From `chunks_of`; the same for all consoles with the same view.
        nonce: The console's nonce.
        frame: The frame's number, different from the previous frame's; wraps at 2**32.
        parts: The chunks to send; ``None`` for all.
    """
    for part in range(len(chunks)) if parts is None else parts:
        yield encode_datagram(Chunk(nonce, frame & 0xFFFFFFFF, part, len(chunks), chunks[part]))


class Reassembly:
    """Reassembles frames from chunks in any order; bounded."""

    def __init__(self) -> None:
        self._pending: dict[int, dict[int, bytes]] = {}
        self._parts: dict[int, int] = {}

    def __len__(self) -> int:
        """How many frames are incomplete."""
        return len(self._pending)

    def missing(self) -> tuple[int, list[int]] | None:
        """The number and the missing parts of the newest incomplete frame; ``None`` if there is none."""
        if not self._pending:
            return None
        frame, chunks = next(reversed(self._pending.items()))
        return frame, [part for part in range(self._parts[frame]) if part not in chunks]

    def add(self, chunk: Chunk) -> bytes | None:
        """The content of the frame that this chunk completes, or ``None``.

        A complete frame makes those that began before it useless: they are dropped.

        Raises:
            PacketError: If the frame has too many chunks, or does not unpack.
        """
        if chunk.parts > MAX_CHUNKS:
            raise PacketError(f"a frame of {chunk.parts} chunks")
        chunks = self._pending.setdefault(chunk.frame, {})
        chunks[chunk.part] = chunk.payload
        self._parts[chunk.frame] = chunk.parts
        if len(chunks) < chunk.parts:
            if len(self._pending) > PENDING_FRAMES:
                self._drop_oldest()
            return None
        while chunk.frame != next(iter(self._pending)):
            self._drop_oldest()
        del self._pending[chunk.frame], self._parts[chunk.frame]
        return unpack(b"".join(chunks[part] for part in sorted(chunks)))

    def _drop_oldest(self) -> None:
        oldest = next(iter(self._pending))
        del self._pending[oldest], self._parts[oldest]


def unpack(packed: bytes) -> bytes:
    """Decompress.

    Raises:
        PacketError: If it is damaged, exceeds `MAX_BYTES`, or something follows it.
    """
    unpacker = zlib.decompressobj()
    try:
        content = unpacker.decompress(packed, MAX_BYTES)
    except zlib.error as error:
        raise PacketError(f"a frame that does not unpack ({error})") from None
    if not unpacker.eof or unpacker.unused_data:
        raise PacketError("a frame that is cut, too large, or followed by something")
    return content
