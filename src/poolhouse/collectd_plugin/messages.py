"""Describes a received datagram in one line, for ``loglevel "debug"``."""

from poolhouse.errors import PacketError
from poolhouse.meter.reading import Counters, Gauges
from poolhouse.wire.message import LegacyDatagram, PoolSums, ReportDatagram, decode_message
from poolhouse.wire.values import Notification, ValueList


def describe(datagram: bytes) -> str:
    r"""A description of a datagram, or why it cannot be read; text from the datagram is quoted.

    >>> describe(b"\0\0\0\0")
    'refused: part 0x0000 of length 0 where 4 bytes are left (at byte 0)'
    """
    try:
        message = decode_message(datagram)
    except PacketError as error:
        return f"refused: {error}"
    match message:
        case ReportDatagram():
            pool = (
                "no pool" if message.pool is None else f"pool {message.pool.name!r} {_fields(message.pool.gauges)}"
            )
            return (
                f"report {message.number} of {message.host!r} {message.program!r} {message.token!r}, datagram "
                f"{message.place + 1} of {message.datagrams}{', goodbye' if message.goodbye else ''}: {pool}"
            )
        case LegacyDatagram():
            identity = f"{message.host!r} {message.program!r} {message.token!r}"
            return f"sums of {identity}: {_fields(message.sums)}"
        case _:
            return "; ".join(map(_item, message)) or "nothing"


def _item(item: ValueList | Notification) -> str:
    said = item.values if isinstance(item, ValueList) else item.message
    return f"{str(item.identifier)!r} {said!r}"


def _fields(values: Gauges | Counters | PoolSums) -> str:
    return " ".join(f"{name}={value}" for name, value in values._asdict().items() if value is not None)
