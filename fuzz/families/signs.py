"""Signs: which lines hold connections, and what the process found."""

import json

from fuzz.samples import report
from poolhouse.errors import PacketError
from poolhouse.feed.protocol.plain import decoder, encoder
from poolhouse.fleet.holders import MOST_SITES, Holders
from poolhouse.fleet.signs import NO_SIGNS
from poolhouse.fleet.snapshot import Holder
from poolhouse.meter.signs import Finding, PoolSigns, ProcessSigns
from poolhouse.wire.message import ReportDatagram, decode_message
from poolhouse.wire.report import encode_report
from poolhouse.wire.signs_decode import decode_signs, decode_sites, decode_targets, scanned


def seeds() -> dict[str, bytes]:
    """The payloads of our reports."""
    found = {}
    for pools in (0, 1, 2):
        for place, datagram in enumerate(encode_report(report(pools=pools, told=True))):
            message = decode_message(datagram)
            if isinstance(message, ReportDatagram) and message.signs:
                found[f"{pools} pools {place}"] = message.signs
    return found


def check(data: bytes) -> None:
    """Nothing but `PacketError`; what was decoded travels to a console and back."""
    try:
        names = dict(scanned(data).names)
        raw = decode_signs([data, data])
        decode_sites([data])
        decode_targets([data, data])
    except PacketError:
        return
    values = [
        (ProcessSigns | None, raw.process_signs(names)),
        (tuple[Finding, ...], raw.process_findings(names)),
    ]
    for key in raw.sites.keys() | raw.pools.keys():
        try:
            values.append((PoolSigns | None, raw.pool_signs(key, names)))
        except PacketError:
            continue
    holders = Holders()
    holders.learn(names.items())
    signs = NO_SIGNS.with_newer(data, 1)
    for most in (1, MOST_SITES):
        steps = holders.state("nova", [signs, signs]).steps(most)
        values += [(tuple[Holder, ...], tuple(found)) for found in steps if found]
    holders.retire(signs)
    values.append((tuple[Holder, ...], tuple(next(filter(None, holders.state("nova", []).steps(9)), []))))
    for kind, value in values:
        decoder(kind)(json.loads(json.dumps(encoder(kind)(value))))
