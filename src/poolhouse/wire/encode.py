"""Value lists and notifications to datagrams of collectd's binary protocol."""

from collections.abc import Iterable
from math import ceil
from struct import error as struct_error
from struct import pack

from poolhouse.wire.cdtime import to_cdtime
from poolhouse.wire.names import ascii_name, utf8_name
from poolhouse.wire.parts import (
    GAUGE,
    HOST,
    INTERVAL,
    INTERVAL_HR,
    MESSAGE,
    MESSAGE_BYTES,
    PAYLOAD_BYTES,
    PLUGIN,
    PLUGIN_INSTANCE,
    SEVERITY,
    TIME,
    TIME_HR,
    TYPE,
    TYPE_INSTANCE,
    VALUE_CODES,
    number_part,
    string_part,
    values_part,
)
from poolhouse.wire.values import Notification, ValueList

_NAMES = (HOST, PLUGIN, PLUGIN_INSTANCE, TYPE, TYPE_INSTANCE)
#: The state of a receiver at the start of every packet.
_START = {kind: string_part(kind, b"") for kind in _NAMES}
#: NaN as collectd sends it, whatever its bytes are on this platform.
_NAN = bytes.fromhex("000000000000f87f")


def encode_packets(told: Iterable[ValueList | Notification], *, high_resolution: bool = True) -> list[bytes]:
    """Packets of at most `PAYLOAD_BYTES` with all values in order, each as full as possible.

    A part is sent only where it differs from the last one of its kind in the packet, as collectd's own sender
    does. Names are cleaned and cut to what collectd takes.

    Args:
        told: Value lists and notifications.
        high_resolution: False for whole seconds, the form before collectd 5.

    Raises:
        ValueError: If a value list alone is longer than a packet, or a value does not fit its kind.
    """
    packets = []
    packet, state = b"", dict(_START)
    for item in told:
        parts, payload = _parts(item, high_resolution)
        # A receiver keeps the interval until the packet's end: a value list without one needs a new packet.
        keeps_interval = isinstance(item, ValueList) and item.interval is None and INTERVAL in state
        piece = _changes(parts, state) + payload
        if keeps_interval or len(packet) + len(piece) > PAYLOAD_BYTES:
            packets.append(packet)
            packet, state = b"", dict(_START)
            piece = _changes(parts, state) + payload
        if len(piece) > PAYLOAD_BYTES:
            raise ValueError(f"{item.identifier}: {len(piece)} bytes, more than a packet of {PAYLOAD_BYTES}")
        packet += piece
        state.update(parts)
    return [*packets, packet] if packet else packets


def encode_alone(told: ValueList) -> bytes:
    """A packet of one value list with all eight parts, in ASCII and whole seconds, for the oldest peers.

    An unknown interval is sent as one second.

    Raises:
        ValueError: If a value does not fit its kind.
    """
    names = zip(_NAMES, map(ascii_name, told.identifier), strict=True)
    return (
        number_part(TIME, int(told.time))
        + number_part(INTERVAL, _whole(told.interval or 1))
        + b"".join(string_part(kind, name) for kind, name in names)
        + _values(told)
    )


def _parts(item: ValueList | Notification, high_resolution: bool) -> tuple[dict[int, bytes], bytes]:
    """The parts that apply until changed, in the order of sending, and then the parts that a receiver acts on."""
    host, *names = (string_part(kind, utf8_name(name)) for kind, name in zip(_NAMES, item.identifier, strict=True))
    time = number_part(TIME_HR, to_cdtime(item.time)) if high_resolution else number_part(TIME, int(item.time))
    if isinstance(item, Notification):
        parts = {TIME: time, SEVERITY: number_part(SEVERITY, item.severity), HOST: host}
        payload = string_part(MESSAGE, utf8_name(item.message, MESSAGE_BYTES))
    else:
        parts = {HOST: host, TIME: time}
        if item.interval is not None and high_resolution:
            parts[INTERVAL] = number_part(INTERVAL_HR, to_cdtime(item.interval))
        elif item.interval is not None:
            parts[INTERVAL] = number_part(INTERVAL, _whole(item.interval))
        payload = _values(item)
    parts.update(zip(_NAMES[1:], names, strict=True))
    return parts, payload


def _changes(parts: dict[int, bytes], state: dict[int, bytes]) -> bytes:
    return b"".join(part for kind, part in parts.items() if state.get(kind) != part)


def _whole(interval: float) -> int:
    """Whole seconds, at least one: a receiver that reads whole seconds takes 0 for no interval."""
    return max(1, ceil(interval))


def _values(told: ValueList) -> bytes:
    values = b"".join([_value(kind, value) for kind, value in zip(told.kinds, told.values, strict=True)])
    return values_part(told.kinds, values)


def _value(kind: int, value: float) -> bytes:
    if kind == GAUGE and value != value:
        return _NAN
    try:
        return pack("".join(VALUE_CODES[kind]), value)
    except struct_error as error:
        raise ValueError(f"{value!r} does not fit a value of kind {kind}: {error}") from None
