"""Throw mutated packets at the decoders for as long as you like.

    python fuzz/fuzz_wire.py [SECONDS] [SEED]

Nothing but `PacketError` may come out; anything else ends the run with the input that did it. The mutations begin
with packets of ours and with those captured from a real collectd.
"""

import random
import sys
import time
from pathlib import Path

from poolhouse.errors import PacketError
from poolhouse.meter.histogram import Histogram
from poolhouse.meter.reading import Mark, PoolReading
from poolhouse.wire.decode import decode_packet
from poolhouse.wire.message import ReportDatagram, decode_message
from poolhouse.wire.report import Report, Sums, encode_report

PACKETS = Path(__file__).parents[1] / "tests" / "packets"
#: Numbers that lengths and counts like to trip over.
EDGES = (0, 1, 3, 4, 5, 0x7F, 0x80, 0xFE, 0xFF)


def seeds() -> list[bytes]:
    """Packets that are whole."""
    captured = [
        bytes.fromhex(line)
        for file in sorted(PACKETS.glob("*.hex"))
        for line in file.read_text().splitlines()
        if not line.startswith("#")
    ]
    times = Histogram()
    times.record_all(range(1000, 10**9, 7_654_321))
    pool = PoolReading(
        1, "db:5432/nova", "QueuePool", marks=(Mark(1, 2, 3, 4),), wait=times, use=times, create=times
    )
    report = Report("wäb", "nova", "1:abcdef", 1, 1, 1.0, 1.7e9, 2.0, False, Sums(1), (pool, pool, pool))
    return captured + encode_report(report) + encode_report(report, "plain")


def mutated(packet: bytes, rng: random.Random) -> bytes:
    """The packet with some bytes changed, cut out, doubled or cut off."""
    data = bytearray(packet)
    for _ in range(rng.randint(1, 6)):
        at = rng.randrange(len(data) + 1)
        match rng.randrange(5):
            case 0 if at < len(data):
                data[at] = rng.choice(EDGES)
            case 1 if at < len(data):
                data[at] ^= 1 << rng.randrange(8)
            case 2:
                del data[at : at + rng.randint(1, 16)]
            case 3:
                data[at:at] = data[at : at + rng.randint(1, 64)]
            case _:
                del data[at + rng.randrange(64) :]
    return bytes(data)


def look_at(packet: bytes) -> None:
    """Decode all there is to decode."""
    for decode in (decode_packet, decode_message):
        try:
            message = decode(packet)
            if isinstance(message, ReportDatagram) and message.pool:
                message.pool.reading()
        except PacketError as error:
            if not 0 <= error.offset <= len(packet):
                raise AssertionError("an offset outside the packet") from error


def main() -> None:
    """Run for a while; tell how many packets it was."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 60.0
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(2**32)
    rng, whole, count = random.Random(seed), seeds(), 0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        packet = mutated(rng.choice(whole), rng)
        count += 1
        try:
            look_at(packet)
        except BaseException:
            sys.stderr.write(f"seed {seed}, packet {count}: {packet.hex()}\n")
            raise
    sys.stdout.write(f"{count} packets, seed {seed}: nothing but PacketError\n")


if __name__ == "__main__":
    main()
