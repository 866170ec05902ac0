"""Protocol Buffers' wire format, as far as a writer needs it.

Source: protobuf.dev, "Encoding": a field is a tag (its number and how it is written) and its value.
"""

from collections.abc import Sequence
from struct import Struct

#: How a field is written: as a varint, as eight bytes, with its length before it.
VARINT, FIXED64, LENGTH = 0, 1, 2

#: Eight bytes: unsigned, signed, and a double.
fixed64 = Struct("<Q").pack
sfixed64 = Struct("<q").pack
double = Struct("<d").pack


def _written(number: int) -> bytes:
    written = bytearray()
    while number >= 128:
        written.append(number & 127 | 128)
        number >>= 7
    written.append(number)
    return bytes(written)


#: The numbers that occur most.
_SMALL = [_written(number) for number in range(4096)]


def varint(number: int) -> bytes:
    r"""A number of 0 or more.

    >>> varint(1), varint(300)
    (b'\x01', b'\xac\x02')
    """
    return _SMALL[number] if number < len(_SMALL) else _written(number)


def zigzag(number: int) -> bytes:
    r"""A number that may be negative, in the type ``sint32`` or ``sint64``.

    >>> [zigzag(number) for number in (0, -1, 1, -160)]
    [b'\x00', b'\x01', b'\x02', b'\xbf\x02']
    """
    return varint(number << 1 if number >= 0 else (-number << 1) - 1)


def tag(field: int, kind: int) -> bytes:
    """What stands before a value."""
    return varint(field << 3 | kind)


def message(field: int, content: bytes) -> bytes:
    """A field of a message, of bytes or of text in UTF-8."""
    return tag(field, LENGTH) + varint(len(content)) + content


def text(field: int, content: str) -> bytes:
    """A field of text; a half of a surrogate pair, which UTF-8 does not have, becomes a question mark."""
    return message(field, content.encode("utf-8", "replace"))


def packed(numbers: Sequence[int]) -> bytes:
    """The content of a repeated field of varints; bytes of numbers below 128 are that already."""
    if isinstance(numbers, bytes):
        return numbers
    most = max(numbers, default=0)
    if most < 128:
        return bytes(numbers)
    return b"".join(map(_SMALL.__getitem__ if most < len(_SMALL) else varint, numbers))
