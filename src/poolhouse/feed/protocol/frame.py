"""One frame of the feed: the server's introduction and a snapshot, as JSON.

``[server, snapshot]``, each as the list of its fields in the order in which `Server` and
`poolhouse.fleet.snapshot.Snapshot` declare them (see `poolhouse.feed.protocol.plain`).
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import NamedTuple

from poolhouse.errors import PacketError
from poolhouse.feed.protocol.chunks import pack
from poolhouse.feed.protocol.plain import decoder, encoder
from poolhouse.fleet.snapshot import ProcessRow, Row, Snapshot, Times

NO_TIMES = Times()


class Server(NamedTuple):
    """Who sends the snapshots."""

    #: For example ``connmond 0.1.0``.
    name: str
    #: Seconds between two snapshots.
    interval: float = 1.0
    #: Where it listens for reports, as ``host:port``.
    reports: tuple[str, ...] = ()


class Frame(NamedTuple):
    """What a console is sent."""

    server: Server
    snapshot: Snapshot


def encode_frame(frame: Frame) -> list[bytes]:
    """The packed chunks of a frame.

    A snapshot that is too large for a frame loses what can be missed first: the processes' histograms, all
    histograms since the start, all histograms, and then the processes from the end, half of them at a time.
    """
    for snapshot in _lighter(frame.snapshot):
        content = json.dumps(_ENCODE(Frame(frame.server, snapshot)), separators=(",", ":")).encode()
        if chunks := pack(content):
            return chunks
    raise AssertionError("bug: a fleet has more programs and hosts than its limits allow")


def decode_frame(content: bytes) -> Frame:
    """The frame that the bytes of a reassembled frame hold.

    Raises:
        PacketError: If they hold none.
    """
    try:
        values = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise PacketError(f"a frame that is no JSON ({type(error).__name__})", 0) from None
    frame: Frame = _DECODE(values)
    return frame


_ENCODE: Callable[[Frame], list[object]] = encoder(Frame)
_DECODE = decoder(Frame)


def _lighter(snapshot: Snapshot) -> Iterator[Snapshot]:
    yield snapshot
    snapshot = replace(snapshot, processes=tuple(map(_without_histograms, snapshot.processes)))
    yield snapshot
    snapshot = _each_row(snapshot, lambda row: replace(row, since_start=NO_TIMES))
    yield snapshot
    snapshot = _each_row(snapshot, lambda row: replace(row, recent=NO_TIMES))
    yield snapshot
    while snapshot.processes:
        snapshot = replace(snapshot, processes=snapshot.processes[: len(snapshot.processes) // 2])
        yield snapshot
    while snapshot.programs or snapshot.hosts:
        snapshot = replace(
            snapshot,
            programs=snapshot.programs[: len(snapshot.programs) // 2],
            hosts=snapshot.hosts[: len(snapshot.hosts) // 2],
            events=(),
        )
        yield snapshot


def _each_row(snapshot: Snapshot, change: Callable[[Row], Row]) -> Snapshot:
    return replace(
        snapshot,
        fleet=change(snapshot.fleet),
        programs=tuple(map(change, snapshot.programs)),
        hosts=tuple(map(change, snapshot.hosts)),
    )


def _without_histograms(process: ProcessRow) -> ProcessRow:
    pools = tuple(
        replace(pool, recent=NO_TIMES, reading=pool.reading._replace(wait=None, use=None, create=None))
        for pool in process.pools
    )
    return replace(process, pools=pools, sums=replace(process.sums, recent=NO_TIMES, since_start=NO_TIMES))
