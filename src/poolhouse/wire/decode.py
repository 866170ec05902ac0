"""Datagrams of collectd's binary protocol to value lists and notifications.

A datagram is read once from its first byte to its last. Every length is checked against the bytes that are left
before it is used, and every part is at least four bytes long, so no input can make the reader loop.

Source: collectd 5.12 ``src/network.c`` ``parse_packet`` and what it calls.
"""

from struct import unpack_from

from poolhouse.errors import PacketError
from poolhouse.wire.cdtime import from_cdtime
from poolhouse.wire.parts import (
    ABSOLUTE,
    HEADER,
    HOST,
    INTERVAL,
    INTERVAL_HR,
    MESSAGE,
    MESSAGE_BYTES,
    NAME_BYTES,
    PLUGIN,
    PLUGIN_INSTANCE,
    SEVERITY,
    TIME,
    TIME_HR,
    TYPE,
    TYPE_INSTANCE,
    VALUE_CODES,
    VALUES,
)
from poolhouse.wire.values import Identifier, Notification, ValueList

_NAMES = frozenset((HOST, PLUGIN, PLUGIN_INSTANCE, TYPE, TYPE_INSTANCE))
_NUMBERS = frozenset((TIME, TIME_HR, INTERVAL, INTERVAL_HR, SEVERITY))


def decode_packet(packet: bytes) -> list[ValueList | Notification]:
    r"""The value lists and notifications of one datagram, in its order; an empty list if it holds none.

    As in collectd, a part applies to everything after it until another part of its kind. Value lists without host,
    plugin, type or time are left out, and so are notifications without time or severity. Parts of unknown kinds
    are skipped. In names, bytes that are not valid UTF-8 become ``\xNN``.

    Raises:
        PacketError: If a part is malformed; its ``offset`` is where that part begins.
    """
    found: list[ValueList | Notification] = []
    names: dict[int, str] = dict.fromkeys(_NAMES, "")
    time = interval = severity = None
    header = HEADER.unpack_from
    at, end = 0, len(packet)
    while at < end:
        left = end - at
        if left < HEADER.size:
            raise PacketError(f"{left} bytes left, too few for a part", at)
        kind, length = header(packet, at)
        if not HEADER.size <= length <= left:
            raise PacketError(f"part 0x{kind:04x} of length {length} where {left} bytes are left", at)
        following = at + length
        if kind in _NAMES:
            names[kind] = _string(packet, at, following, NAME_BYTES)
        elif kind in _NUMBERS:
            if length != 12:
                raise PacketError(f"number part of {length} bytes, not 12", at)
            number = int.from_bytes(packet[at + 4 : following])
            if kind == TIME:
                time = float(number)
            elif kind == TIME_HR:
                time = from_cdtime(number)
            elif kind == INTERVAL:
                interval = float(number)
            elif kind == INTERVAL_HR:
                interval = from_cdtime(number)
            else:
                severity = number
        elif kind == VALUES:
            kinds, values = _values(packet, at, following)
            if time and names[HOST] and names[PLUGIN] and names[TYPE]:
                found.append(ValueList(_identifier(names), time, interval, kinds, values))
        elif kind == MESSAGE:
            message = _string(packet, at, following, MESSAGE_BYTES)
            if time and severity:
                found.append(Notification(_identifier(names), time, severity, message))
        at = following
    return found


def _identifier(names: dict[int, str]) -> Identifier:
    return Identifier(names[HOST], names[PLUGIN], names[PLUGIN_INSTANCE], names[TYPE], names[TYPE_INSTANCE])


def _string(packet: bytes, at: int, following: int, limit: int) -> str:
    """The string of a part up to its first NUL."""
    if following - at < 5 or packet[following - 1]:
        raise PacketError("string without its closing NUL", at)
    if following - at - 5 > limit:
        raise PacketError(f"string of {following - at - 5} bytes where {limit} are allowed", at)
    return packet[at + 4 : packet.index(0, at + 4)].decode("utf-8", "backslashreplace")


def _values(packet: bytes, at: int, following: int) -> tuple[bytes, tuple[float, ...]]:
    """The kinds, and the values, of a values part."""
    length = following - at
    count = int.from_bytes(packet[at + 4 : at + 6]) if length >= 6 else 0
    if not count or length != 6 + 9 * count:
        raise PacketError(f"values part of {length} bytes for {count} values", at)
    first = at + 6 + count
    kinds = packet[at + 6 : first]
    kind = kinds[0]
    if max(kinds) > ABSOLUTE:
        raise PacketError(f"value of unknown kind {max(kinds)}", at)
    if kinds.count(kind) == count:
        order, code = VALUE_CODES[kind]
        return kinds, unpack_from(f"{order}{count}{code}", packet, first)
    places = range(first, following, 8)
    return kinds, tuple([_one_value(kind, packet, place) for kind, place in zip(kinds, places, strict=True)])


def _one_value(kind: int, packet: bytes, at: int) -> float:
    order, code = VALUE_CODES[kind]
    value: float = unpack_from(order + code, packet, at)[0]
    return value
