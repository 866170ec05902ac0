"""A value list as the earlier server sends it to a console: one a datagram, the eight parts in its order."""

import struct


def value_datagram(
    host: str, instance: str, kind: str, name: str, value: float, *, interval: int = 10, time: int = 1_700_000_000
) -> bytes:
    """One value of plugin ``sqlalchemy``: a gauge for type ``count``, a derive for any other."""

    def text(part: int, word: str) -> bytes:
        return struct.pack("!HH", part, 5 + len(word)) + word.encode("ascii") + b"\0"

    def number(part: int, whole: int) -> bytes:
        return struct.pack("!HHQ", part, 12, whole)

    data = struct.pack("<d", value) if kind == "count" else struct.pack("!q", int(value))
    return b"".join(
        (
            text(0x0000, host),
            number(0x0001, time),
            text(0x0002, "sqlalchemy"),
            text(0x0003, instance),
            text(0x0004, kind),
            number(0x0007, interval),
            text(0x0005, name),
            struct.pack("!HHHB", 0x0006, 15, 1, 1 if kind == "count" else 2) + data,
        )
    )
