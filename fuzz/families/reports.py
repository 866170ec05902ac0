"""Datagrams of reports, plain collectd values, and what real collectd sends."""

from pathlib import Path

from fuzz.samples import datagrams
from poolhouse.errors import PacketError
from poolhouse.wire.decode import decode_packet
from poolhouse.wire.message import ReportDatagram, decode_message
from poolhouse.wire.stored import head_of, joined_histograms, parted_histograms, stored_reading

_PACKETS = Path(__file__).parents[2] / "tests" / "packets"


def seeds() -> dict[str, bytes]:
    """Ours, and packets captured from a real collectd."""
    captured = {
        f"{file.stem} {place}": bytes.fromhex(line)
        for file in sorted(_PACKETS.glob("*.hex"))
        for place, line in enumerate(one for one in file.read_text().splitlines() if not one.startswith("#"))
        if place < 2 and len(line) < 1000
    }
    return captured | datagrams()


def check(data: bytes) -> None:
    """Nothing but `PacketError`, whose place is within the datagram; what was decoded can be stored and read."""
    for decode in (decode_packet, decode_message):
        try:
            message = decode(data)
            if isinstance(message, ReportDatagram) and message.pool:
                message.pool.reading()
                joined = joined_histograms(message.pool)
                assert parted_histograms(joined) == (message.pool.wait, message.pool.use, message.pool.create)
                stored_reading(head_of(data, joined), joined)
        except PacketError as error:
            if error.offset is not None and not 0 <= error.offset <= len(data):
                raise AssertionError("an offset outside the packet") from error
