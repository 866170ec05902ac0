"""What a console reads: datagrams of the feed, frames, and value lists of an earlier server."""

from contextlib import suppress

from poolhouse.errors import PacketError
from poolhouse.feed.protocol.chunks import Reassembly, chunks_of, compress, datagrams, unpack
from poolhouse.feed.protocol.datagrams import (
    Ask,
    Bye,
    Cookie,
    DenialReason,
    Denied,
    Missing,
    decode_datagram,
    encode_datagram,
)
from poolhouse.feed.protocol.frame import Frame, Server, encode_frame
from poolhouse.feed.protocol.subscription import Subscription
from poolhouse.fleet.fleet import Fleet
from poolhouse.fleet.limits import FleetLimits
from poolhouse.wire.encode import encode_alone
from poolhouse.wire.parts import GAUGE
from poolhouse.wire.values import Identifier, ValueList

_NONCE = bytes(8)


def seeds() -> dict[str, bytes]:
    """Each kind of datagram, and a whole frame."""
    snapshot = Fleet(FleetLimits(), 0.0).snapshot(1.0, 1.7e9)
    chunks = encode_frame(Frame(Server("connmond 1"), snapshot))
    value = ValueList(
        Identifier("web1", "sqlalchemy", "host", "count", "checkedout"), 1.7e9, 10.0, bytes([GAUGE]), (3.0,)
    )
    found = {
        "ask": encode_datagram(Ask(_NONCE, program="shop")),
        "cookie": encode_datagram(Cookie(_NONCE, bytes(16))),
        "denied": encode_datagram(Denied(_NONCE, DenialReason.FULL)),
        "bye": encode_datagram(Bye(_NONCE, bytes(16))),
        "missing": encode_datagram(Missing(_NONCE, bytes(16), 1, ((1, 2), (4, 4)))),
        "value": encode_alone(value),
        "half a frame": next(datagrams([*chunks, *chunks], _NONCE, 2)),
    }
    return found | {f"frame {place}": one for place, one in enumerate(datagrams(chunks, _NONCE, 1))}


def check(data: bytes) -> None:
    """Nothing but `PacketError`; a subscription takes anything, and goes on."""
    for read in (decode_datagram, unpack):
        with suppress(PacketError):
            read(data)
    subscription = Subscription(_NONCE, 0.0)
    for now in (1.0, 2.0, 3.0):
        subscription.receive(data, now)
        subscription.due(now)
        subscription.summed(now, 1.7e9)
    reassembly = Reassembly()
    try:
        for one in datagrams(chunks_of([compress(data)]), _NONCE, 1):
            message = decode_datagram(one)
            assert not isinstance(message, Ask | Cookie | Denied | Bye | Missing)
            content = reassembly.add(message)
        assert content == data, "another content"
    except PacketError as error:
        raise AssertionError("what we packed does not unpack") from error
