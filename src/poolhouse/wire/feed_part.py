"""A datagram of the consoles' feed, wrapped in one part so that it can be sealed; pure."""

from poolhouse.errors import PacketError
from poolhouse.wire.parts import ENCRYPTION, FEED, HEADER, SIGNATURE

_ENCRYPTION_BYTES = ENCRYPTION.to_bytes(2)
_SEALS = (SIGNATURE.to_bytes(2), _ENCRYPTION_BYTES)


def parted(content: bytes) -> bytes:
    r"""The part that wraps this datagram.

    >>> parted(b"HELO")
    b'z\x05\x00\x08HELO'
    """
    return HEADER.pack(FEED, HEADER.size + len(content)) + content


def unparted(parts: bytes) -> bytes:
    """The datagram in a part.

    Raises:
        PacketError: If `parts` is not exactly one such part.
    """
    if parts[: HEADER.size] != HEADER.pack(FEED, len(parts) & 0xFFFF):
        raise PacketError("not one datagram of the feed")
    return parts[HEADER.size :]


def is_sealed(datagram: bytes) -> bool:
    """Whether a datagram of the feed is sealed: no unsealed one begins with these bytes."""
    return datagram[:2] in _SEALS


def is_encrypted(datagram: bytes) -> bool:
    """Whether a sealed datagram of the feed is encrypted."""
    return datagram[:2] == _ENCRYPTION_BYTES
