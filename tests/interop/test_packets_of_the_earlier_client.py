"""What PyPI's sqlalchemy-collectd 0.0.8 sends, as it was captured."""

from packets.capture import FOLDER, read_packets
from poolhouse.meter.reading import Counters
from poolhouse.wire.message import LegacyDatagram, PoolSums, decode_message


def test_its_two_datagrams_say_what_its_process_did():
    who = ("web1", "nova", "5646:48e133", 1795414698.0, 2.0)
    # One connection out, another returned and therefore closed.
    pool = PoolSums(pools=1, used=1, idle=0, detached=0, connections=1)
    # What it does not send is not known, rather than 0.
    totals = Counters(2, 2, 1, 0, *[None] * 6)
    messages = [decode_message(packet) for packet in read_packets(FOLDER / "sqlalchemy-collectd-0.0.8.hex")]
    assert messages == [LegacyDatagram(*who, pool), LegacyDatagram(*who, totals)]
