"""What another node of the service says, as frames one after the other."""

from itertools import islice

from fuzz.samples import datagrams
from poolhouse.cluster.core import Cluster
from poolhouse.errors import PacketError
from poolhouse.fleet.exchange import Exchange
from poolhouse.fleet.fleet import Fleet
from poolhouse.fleet.limits import FleetLimits
from poolhouse.wire.framing import MAGIC, Kind, Unframer, frame
from poolhouse.wire.ledger import Pulse, chunk, encode_entry, encode_pulse, encode_row_sums, encode_told

_LIMITS = FleetLimits(bytes=1 << 20, processes=20, hosts=5, programs=5, remembered=5).for_cluster()


def _told(*ends: str) -> Fleet:
    fleet = Fleet(_LIMITS, 0.0)
    for name, datagram in datagrams().items():
        if name.startswith(ends):
            fleet.receive(datagram, 5.0, 1.7e9)
    return fleet


def seeds() -> dict[str, bytes]:
    """Each kind of frame, from nodes that have heard something."""
    exchange, ended = Exchange(_told("one", "earlier", "lines")), _told("one", "goodbye")
    entries = [encode_entry(exchange.entry(one, 6.0)) for one in exchange.processes()]
    ended.expire(1e6)
    rows = [encode_row_sums(row) for row in islice(Exchange(ended).forgotten(), 2)]
    return {
        "pulse": frame(Kind.PULSE, encode_pulse(Pulse(12.5, False))),
        "behind": frame(Kind.PULSE, encode_pulse(Pulse(99.0, True))) + frame(Kind.ASK),
        "ledger": frame(Kind.PULSE, encode_pulse(Pulse(9.0, False))) + frame(Kind.LEDGER, chunk(entries)),
        "rows": frame(Kind.ROWS, chunk(rows))
        + frame(Kind.TOLD, encode_told(3.0))
        + frame(Kind.TOLD, encode_told(None)),
        "report": frame(Kind.REPORT, datagrams()["one pool 0"]) + frame(Kind.LEDGER, chunk(entries[:1])),
    }


def check(data: bytes) -> None:
    """Nothing but `PacketError` ends the link; what was taken can be shown, told, and forgotten."""
    fleet = _told("one", "goodbye")
    cluster = Cluster(fleet, "a", ("a", "b", "c"), 0.0)
    for name in ("b", "c"):
        cluster.link(name, 5.0)
    unframer = Unframer()
    list(unframer.feed(MAGIC))
    try:
        for one in unframer.feed(data):
            cluster.receive("b", one, 6.0, 1.7e9)
    except PacketError:
        pass
    cluster.tick(7.0)
    for name in ("b", "c"):
        while cluster.ready(name, 7.0) and cluster.step(name, 7.0):
            pass
    fleet.snapshot(8.0, 1.7e9)
    fleet.expire(30.0)
    fleet.expire(1e6)
    assert fleet.health(1e6).bytes <= 2 << 20, "beyond the budget"
