"""One pool's newest reading as two bytes objects, for an aggregator that keeps thousands of them.

Histograms are most of a reading and often stay the same from one reading to the next. So they are stored
separately, and the bytes before them in the datagram are stored as they are.
"""

from struct import Struct

from poolhouse.errors import PacketError
from poolhouse.meter.reading import PoolReading
from poolhouse.wire.message import RawPool, ReportDatagram, decode_message

#: The header of the joined histograms: bytes of the wait and of the use histogram. One object instead of four.
_LENGTHS = Struct(">HH")
NO_HISTOGRAMS = _LENGTHS.pack(0, 0)


def joined_histograms(raw: RawPool) -> bytes:
    """The three histograms' bytes of a reading as one object."""
    return _LENGTHS.pack(len(raw.wait), len(raw.use)) + raw.wait + raw.use + raw.create


def joined(wait: bytes, use: bytes, create: bytes) -> bytes:
    """Three histograms' bytes as one object, as `joined_histograms` does."""
    return _LENGTHS.pack(len(wait), len(use)) + wait + use + create


def parted_histograms(histograms: bytes) -> tuple[bytes, bytes, bytes]:
    """The wait, use and create histogram of `joined_histograms`."""
    wait, use = _LENGTHS.unpack_from(histograms)
    use_at = _LENGTHS.size + wait
    create_at = use_at + use
    return histograms[_LENGTHS.size : use_at], histograms[use_at:create_at], histograms[create_at:]


def head_of(datagram: bytes, joined: bytes) -> bytes:
    """The datagram without the histograms at its end."""
    return datagram[: len(datagram) - len(joined) + _LENGTHS.size]


def stored_reading(head: bytes, joined: bytes, *, with_histograms: bool = True) -> PoolReading | None:
    """The reading; ``None`` if the datagram did not have our layout."""
    try:
        message = decode_message(head + joined[_LENGTHS.size :])
        if not isinstance(message, ReportDatagram) or message.pool is None:
            return None
        raw = message.pool
        return (raw if with_histograms else raw._replace(wait=b"", use=b"", create=b"")).reading()
    except PacketError:
        return None
