"""A datagram between console and server as one part, which is how it stands inside a seal; pure."""

from poolhouse.errors import PacketError
from poolhouse.wire.parts import ENCRYPTION, FEED, HEADER, SIGNATURE

_ENCRYPTION_BYTES = ENCRYPTION.to_bytes(2)
_SEALS = (SIGNATURE.to_bytes(2), _ENCRYPTION_BYTES)


def parted(content: bytes) -> bytes:
    r"""The part with this datagram.

    >>> parted(b"HELO")
    b'z\x05\x00\x08HELO'
    """
    return HEADER.pack(FEED, HEADER.size + len(content)) + content


def unparted(parts: bytes) -> bytes:
    """The datagram in a part.

    Raises:
        PacketError: If it is not one such part.
    """
    if parts[: HEADER.size] != HEADER.pack(FEED, len(parts) & 0xFFFF):
        raise PacketError("not one datagram of the feed")
    return parts[HEADER.size :]


def is_sealed(datagram: bytes) -> bool:
    """Whether a datagram of the feed is sealed; no other one of it begins like that."""
    return datagram[:2] in _SEALS


def is_encrypted(datagram: bytes) -> bool:
    """Whether a sealed one is encrypted."""
    return datagram[:2] == _ENCRYPTION_BYTES
