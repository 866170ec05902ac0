"""A frame of any size through datagrams of at most 1,346 bytes, and out again.

A frame that lost a chunk is dropped whole: the next one is on its way.
"""

import zlib
from collections.abc import Iterator

from poolhouse.errors import PacketError
from poolhouse.feed.protocol.datagrams import CHUNK_BYTES, Chunk, encode_datagram

#: The most chunks of one frame: 1.3 MB, which a console's socket can take when they are sent in small bursts.
MAX_CHUNKS = 1024
#: The most bytes of one frame when unpacked: no peer can make a console fill its memory.
MAX_BYTES = 32 << 20
#: Frames that may be incomplete at once, for datagrams that overtake each other.
PENDING_FRAMES = 2


def pack(content: bytes) -> list[bytes] | None:
    """The compressed chunks of a frame; ``None`` beyond `MAX_CHUNKS` of them, or beyond `MAX_BYTES` of content."""
    packed = zlib.compress(content, 1)
    if len(content) > MAX_BYTES or len(packed) > MAX_CHUNKS * CHUNK_BYTES:
        return None
    return [packed[at : at + CHUNK_BYTES] for at in range(0, len(packed), CHUNK_BYTES)]


def datagrams(chunks: list[bytes], nonce: bytes, frame: int) -> Iterator[bytes]:
    """The datagrams that carry a packed frame to one console.

    Args:
        chunks: From `pack`; the same for every console that sees the same.
        nonce: The console's.
        frame: The frame's number, another one than that of the frame before; wraps at 2**32.
    """
    for part, payload in enumerate(chunks):
        yield encode_datagram(Chunk(nonce, frame & 0xFFFFFFFF, part, len(chunks), payload))


class Reassembly:
    """Frames from chunks, in whatever order they come; bounded."""

    def __init__(self) -> None:
        self._pending: dict[int, dict[int, bytes]] = {}

    def __len__(self) -> int:
        """How many frames are incomplete."""
        return len(self._pending)

    def add(self, chunk: Chunk) -> bytes | None:
        """The content of the frame that this chunk completes, if it does.

        A frame that is complete makes those that began before it worthless: they are dropped.

        Raises:
            PacketError: If the frame has too many chunks, or does not unpack.
        """
        if chunk.parts > MAX_CHUNKS:
            raise PacketError(f"a frame of {chunk.parts} chunks", 0)
        chunks = self._pending.setdefault(chunk.frame, {})
        chunks[chunk.part] = chunk.payload
        if len(chunks) < chunk.parts:
            if len(self._pending) > PENDING_FRAMES:
                self._drop_oldest()
            return None
        while chunk.frame != next(iter(self._pending)):
            self._drop_oldest()
        del self._pending[chunk.frame]
        return unpack(b"".join(chunks[part] for part in sorted(chunks)))

    def _drop_oldest(self) -> None:
        del self._pending[next(iter(self._pending))]


def unpack(packed: bytes) -> bytes:
    """What was compressed.

    Raises:
        PacketError: If it is damaged, has more than `MAX_BYTES`, or something follows it.
    """
    unpacker = zlib.decompressobj()
    try:
        content = unpacker.decompress(packed, MAX_BYTES)
    except zlib.error as error:
        raise PacketError(f"a frame that does not unpack ({error})", 0) from None
    if not unpacker.eof or unpacker.unused_data:
        raise PacketError("a frame that is cut, too large, or followed by something", 0)
    return content
