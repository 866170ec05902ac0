r"""Names as bytes: cleaned of control characters, and cut where a peer would stop reading.

collectd takes any bytes but NUL; the earlier server and console take ASCII only. Names that are not ASCII travel
with their escapes in the standard parts, and as UTF-8 in our private part.
"""

from poolhouse.wire.parts import NAME_BYTES

_ESCAPES = {code: f"\\x{code:02x}" for code in (*range(0x20), 0x7F)}


def ascii_name(name: str, limit: int = NAME_BYTES) -> bytes:
    r"""The name in printable ASCII, other characters as escapes, cut after `limit` bytes.

    >>> ascii_name("café\n")
    b'caf\\xe9\\x0a'
    """
    return name.translate(_ESCAPES).encode("ascii", "backslashreplace")[:limit]


def utf8_name(name: str, limit: int = NAME_BYTES) -> bytes:
    r"""The name in UTF-8 without control characters, cut before the character that would exceed `limit` bytes.

    >>> utf8_name("café\0"), utf8_name("café", 4)
    (b'caf\xc3\xa9\\x00', b'caf')
    """
    text = name.translate(_ESCAPES).encode("utf-8", "backslashreplace")
    return text if len(text) <= limit else text[:limit].decode("utf-8", "ignore").encode()
