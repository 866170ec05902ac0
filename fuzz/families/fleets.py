"""A fleet that takes datagrams, and everything that reads it.

An input is some datagrams, the length of each in two bytes before it; between them two seconds pass.
"""

from collections.abc import Iterator

from fuzz.samples import datagrams, report
from poolhouse.daemon.http.figures import figures
from poolhouse.errors import PacketError
from poolhouse.export.collectd import console_datagram, holder_lists, value_lists
from poolhouse.export.csv import COLUMNS, CsvTable
from poolhouse.export.otlp import Otlp
from poolhouse.export.prometheus import Exposition
from poolhouse.export.prometheus_formats import accepted
from poolhouse.export.prometheus_protobuf import ProtobufExposition
from poolhouse.feed.protocol.chunks import unpack
from poolhouse.feed.protocol.frame import Frame, Server, decode_frame, encode_frame
from poolhouse.fleet.fleet import Fleet
from poolhouse.fleet.holders import Line
from poolhouse.fleet.limits import FleetLimits
from poolhouse.fleet.names import asking_for_host, plugin_instance
from poolhouse.fleet.snapshot import HostProgram
from poolhouse.views.as_json import json_text
from poolhouse.views.plain import text
from poolhouse.wire.encode import encode_alone
from poolhouse.wire.report import encode_report

_LIMITS = FleetLimits(bytes=1 << 20, processes=6, hosts=3, programs=3, remembered=3, pools=4)


def _joined(found: list[bytes]) -> bytes:
    return b"".join(len(one).to_bytes(2) + one for one in found)


def seeds() -> dict[str, bytes]:
    """A process that lives for a while, one with two pools, an earlier client, all of them."""
    return {
        "life": _joined([one for n in (1, 2) for one in encode_report(report(n, goodbye=n == 2))]),
        "lines": _joined([one for n in (1, 2) for one in encode_report(report(n, told=True))]),
        "earlier": _joined(encode_report(report(), "plain") * 2),
        "all": _joined(list(datagrams().values())[:4]),
    }


def _parted(data: bytes) -> Iterator[bytes]:
    at = 0
    while at + 2 <= len(data):
        size = int.from_bytes(data[at : at + 2])
        yield data[at + 2 : at + 2 + size]
        at += 2 + size


def check(data: bytes) -> None:
    """Nothing raises; every face shows the fleet; a frame can be read; memory stays in its budget."""
    fleet, now, table = Fleet(_LIMITS, 0.0), 3.0, CsvTable(tuple(COLUMNS), "t")
    for place, datagram in enumerate(_parted(data)):
        refused = fleet.receive(datagram, now, 1.7e9)
        assert refused is None or len(refused) < 1000
        now += 2.0
        if place == 20:
            break
    programs = [row.name for row in fleet.snapshot(now, 1.7e9).programs]
    for asked in (programs[0] if programs else None, asking_for_host("wäb")):
        snapshot = fleet.snapshot(now, 1.7e9, asked)
        json_text(snapshot).encode()
        assert all(line.isprintable() for line in text(snapshot).split("\n")), "an escape in the table"
        try:
            frame = decode_frame(unpack(b"".join(encode_frame(Frame(Server("connmond 1"), snapshot)))))
        except PacketError as error:
            raise AssertionError("a console cannot read the fleet") from error
        assert frame.snapshot.fleet.processes == snapshot.fleet.processes
    own, otlp = figures(fleet.health(now), None, {}), Otlp("1", {}, {})
    otlp.begin(10**18)
    for exposition in (
        Exposition(accepted("")),
        Exposition(accepted("application/openmetrics-text; version=1.0.0")),
        ProtobufExposition(),
    ):
        for host, program, state in fleet.row_states(fleet.program_rows(now, by_host=True), now):
            exposition.add(host, program, state.counted())
            otlp.add(program, state.counted(), 0)
        exposition.add_lines(
            Line(holder.program, holder.site.site, holder.site.open, holder.site.oldest_s, holder.site.held_s)
            for holder in snapshot.holders
        )
        exposition.add_verdicts(snapshot.verdicts)
        b"".join(exposition.chunks(own))
    b"".join(otlp.end(own, 0))
    states = fleet.row_states(fleet.program_rows(now, by_host=True), now)
    table.note((HostProgram(host, program, state.row_without_times()) for host, program, state in states), now)
    assert "".join(table.lines("now", now)).count("\n") >= len(states)
    lists = [values for holder in snapshot.holders for values in holder_lists(holder, 1.7e9)]
    for host, program, state in states:
        lists += value_lists(host, plugin_instance(program), state.row(), 1.7e9)
    for values in lists:
        console_datagram(values)
        encode_alone(values._replace(interval=10.0))
    assert fleet.health(now).bytes <= 2 << 20, "beyond the budget"
    for later in (30.0, 1e5, 3e5):
        fleet.expire(now + later)
    assert fleet.snapshot(now + 3e5, 1.7e9).fleet.processes in (0, None), "a process that lives for ever"
