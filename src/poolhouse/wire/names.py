r"""Names as bytes: free of control characters, and cut where a peer would stop reading.

collectd takes any bytes but NUL; the earlier server and console take ASCII only. Names that are not ASCII are
escaped in the standard parts, and are UTF-8 in our private part.
"""

from hashlib import blake2b

from poolhouse.wire.parts import NAME_BYTES

_ESCAPES = {code: f"\\x{code:02x}" for code in (*range(0x20), 0x7F)}


def ascii_name(name: str, limit: int = NAME_BYTES) -> bytes:
    r"""A name that identifies something, in printable ASCII, other characters as escapes.

    A name of more than `limit` bytes is cut and ends with ``~`` and six digits of its digest, so that two long
    names with the same beginning stay distinct.

    >>> ascii_name("café\n"), ascii_name("orders-in-frankfurt", 12)
    (b'caf\\xe9\\x0a', b'order~68de31')
    """
    return _shortened(name.translate(_ESCAPES).encode("ascii", "backslashreplace"), limit)


def utf8_identity(name: str, limit: int) -> bytes:
    r"""A name that identifies something, in UTF-8 without control characters; cut as by `ascii_name`.

    >>> utf8_identity("café\0", 99), utf8_identity("überwachung-der-aufträge", 12)
    (b'caf\xc3\xa9\\x00', b'\xc3\xbcber~7bba13')
    """
    return _shortened(_utf8(name), limit)


def utf8_name(name: str, limit: int = NAME_BYTES) -> bytes:
    r"""A text in UTF-8 without control characters, cut before the first character that does not fit `limit` bytes.

    >>> utf8_name("café\0"), utf8_name("café", 4)
    (b'caf\xc3\xa9\\x00', b'caf')
    """
    return _cut(_utf8(name), limit)


def _utf8(name: str) -> bytes:
    return name.translate(_ESCAPES).encode("utf-8", "backslashreplace")


def _cut(text: bytes, limit: int) -> bytes:
    return text if len(text) <= limit else text[:limit].decode("utf-8", "ignore").encode()


def _shortened(text: bytes, limit: int) -> bytes:
    if len(text) <= limit:
        return text
    mark = b"~" + blake2b(text, digest_size=3).hexdigest().encode()
    return _cut(text, limit - len(mark)) + mark
