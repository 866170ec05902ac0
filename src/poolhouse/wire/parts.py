"""The parts that a datagram of collectd's binary protocol is made of.

A datagram is a sequence of parts, each ``uint16 kind | uint16 length | payload``, big-endian; the length includes
the header's four bytes.

Source: collectd 5.12 ``src/network.h``, ``src/network.c``.
"""

from struct import Struct

HOST = 0x0000
TIME = 0x0001
PLUGIN = 0x0002
PLUGIN_INSTANCE = 0x0003
TYPE = 0x0004
TYPE_INSTANCE = 0x0005
VALUES = 0x0006
INTERVAL = 0x0007
TIME_HR = 0x0008
INTERVAL_HR = 0x0009
MESSAGE = 0x0100
SEVERITY = 0x0101
#: Parts that seal other parts, `poolhouse.wire.seal`: HMAC-SHA-256, and AES-256.
SIGNATURE = 0x0200
ENCRYPTION = 0x0210
#: Ours: one process's report, `poolhouse.wire.report`. collectd skips unknown parts by their length.
PRIVATE = 0x7A01
#: Ours: a process's signs, `poolhouse.wire.signs`.
SIGNS = 0x7A02
#: Ours: an aggregator's question to a process whose report may be a replay, and the answer,
#: `poolhouse.wire.challenge`.
QUESTION, ANSWER = 0x7A03, 0x7A04
#: Ours: a datagram of the consoles' feed inside a seal, `poolhouse.wire.feed_part`.
FEED = 0x7A05

#: Kinds of values: the byte that stands for each.
COUNTER, GAUGE, DERIVE, ABSOLUTE = range(4)
#: The `struct` byte order and code of each kind: only gauges are little-endian.
VALUE_CODES = {COUNTER: (">", "Q"), GAUGE: ("<", "d"), DERIVE: (">", "q"), ABSOLUTE: (">", "Q")}

#: The longest datagram that collectd reads completely, by default.
PACKET_BYTES = 1452
#: The most bytes of parts in a datagram: collectd's own sender keeps 106 of its 1,452 free for a signature.
PAYLOAD_BYTES = 1346
#: The most bytes of a name, without its closing NUL (``DATA_MAX_NAME_LEN`` - 1).
NAME_BYTES = 127
#: The most bytes of a notification's message, without its closing NUL (``NOTIF_MAX_MSG_LEN`` - 1).
MESSAGE_BYTES = 255

HEADER = Struct(">HH")
NUMBER = Struct(">HHQ")
_LARGEST_NUMBER = (1 << 64) - 1
#: A values part up to its first kind: kind, length, number of values.
VALUES_HEADER = Struct(">HHH")


def string_part(kind: int, text: bytes) -> bytes:
    r"""A part that holds a string; the closing NUL counts towards the part's length.

    >>> string_part(HOST, b"web1")
    b'\x00\x00\x00\tweb1\x00'
    """
    return HEADER.pack(kind, 5 + len(text)) + text + b"\0"


def number_part(kind: int, number: int) -> bytes:
    r"""A part that holds an unsigned number of 64 bits; a larger number is clamped.

    >>> number_part(INTERVAL, 10)
    b'\x00\x07\x00\x0c\x00\x00\x00\x00\x00\x00\x00\n'
    """
    return NUMBER.pack(kind, 12, min(max(number, 0), _LARGEST_NUMBER))


def values_part(kinds: bytes, values: bytes) -> bytes:
    """A part that holds values: one byte of kind each, then eight bytes of value each, already packed."""
    return VALUES_HEADER.pack(VALUES, 6 + 9 * len(kinds), len(kinds)) + kinds + values
