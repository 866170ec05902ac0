"""The JSON in a frame of the feed, and what shows it: tables, one line, JSON."""

from datetime import UTC

from fuzz.samples import datagrams
from poolhouse.errors import PacketError
from poolhouse.feed.protocol.chunks import unpack
from poolhouse.feed.protocol.frame import Frame, Server, decode_frame, encode_frame
from poolhouse.fleet.fleet import Fleet
from poolhouse.fleet.limits import FleetLimits
from poolhouse.views.as_json import json_text
from poolhouse.views.plain import text


def seeds() -> dict[str, bytes]:
    """Frames of an empty fleet and of one with a program."""
    fleet = Fleet(FleetLimits(), 0.0)
    found = {"empty": b"".join(encode_frame(Frame(Server("connmond 1"), fleet.snapshot(1.0, 1.7e9))))}
    for datagram in datagrams().values():
        fleet.receive(datagram, 5.0, 1.7e9)
    for program in (None, "nova"):
        frame = Frame(Server("connmond 1", 1.0, ("[::1]:25827",), True), fleet.snapshot(6.0, 1.7e9, program))
        found[str(program)] = b"".join(encode_frame(frame))
    return {name: unpack(packed) for name, packed in found.items()}


def check(data: bytes) -> None:
    """Nothing but `PacketError`; what was read can be shown, sent on, and read again."""
    try:
        frame = decode_frame(data)
    except PacketError:
        return
    shown = text(frame.snapshot, zone=UTC)
    assert all(line.isprintable() for line in shown.split("\n")), "an escape in the table"
    json_text(frame.snapshot).encode()
    assert (
        decode_frame(unpack(b"".join(encode_frame(frame)))).snapshot.fleet.processes
        == frame.snapshot.fleet.processes
    )
