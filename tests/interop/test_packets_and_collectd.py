"""collectd's packets and ours, each read by the other: the ones captured once, and a daemon of today."""

from math import isnan
from pathlib import Path

import pytest

from packets.capture import capture, read_packets
from packets.known_values import NOTIFICATIONS, VALUES
from poolhouse.wire.decode import decode_packet
from poolhouse.wire.encode import encode_packets
from poolhouse.wire.typesdb import parse_types_db
from poolhouse.wire.values import Identifier, Notification, ValueList
from support.collectd import Collectd, free_port, send

TYPES = parse_types_db(Path("/usr/share/collectd/types.db").read_text())

#: collectd's python plugin names itself where a notification has no plugin.
TOLD_NOTIFICATIONS = [
    Notification(Identifier(host, plugin or "python", *identity), time, severity, message)
    for host, plugin, *identity, time, severity, message in NOTIFICATIONS
]
TOLD_VALUES = [
    ValueList(
        Identifier(*identity), time, interval, bytes(source.kind for source in TYPES[identity[3]]), tuple(values)
    )
    for *identity, time, interval, values in VALUES
]


def comparable(item: ValueList | Notification) -> object:
    """The same with a NaN that equals itself."""
    if isinstance(item, ValueList):
        return item._replace(values=tuple("NaN" if isnan(value) else value for value in item.values))
    return item


def assert_packets_say_what_was_told(packets: list[bytes]) -> None:
    said = [comparable(item) for packet in packets for item in decode_packet(packet)]
    assert said == [comparable(item) for item in (*TOLD_NOTIFICATIONS, *TOLD_VALUES)]


def test_captured_packets_say_what_collectd_was_told():
    assert_packets_say_what_was_told(read_packets())


def test_a_daemon_of_today_says_what_it_is_told(tmp_path: Path):
    assert_packets_say_what_was_told(capture(tmp_path))


def test_we_pack_values_byte_for_byte_as_collectd_does():
    packets = read_packets()
    notifications, values = packets[: len(NOTIFICATIONS)], packets[len(NOTIFICATIONS) :]
    assert [encode_packets([item]) for item in TOLD_NOTIFICATIONS] == [[packet] for packet in notifications]
    assert encode_packets(TOLD_VALUES) == values


@pytest.mark.parametrize("high_resolution", [True, False])
def test_collectd_writes_what_our_packets_say(tmp_path: Path, high_resolution: bool):
    port = free_port()
    config = f'LoadPlugin network\n<Plugin network>\nListen "127.0.0.1" "{port}"\n</Plugin>'
    with Collectd(tmp_path, "", more=config) as collectd:
        send(encode_packets([*TOLD_VALUES, *TOLD_NOTIFICATIONS], high_resolution=high_resolution), port)
        for severity, told in zip(("WARNING", "FAILURE", "OKAY"), TOLD_NOTIFICATIONS, strict=True):
            log = collectd.wait_for_log(f"message = {told.message}\n")
            assert f"severity = {severity}, host = web1, plugin = {told.identifier.plugin}" in log
        first = {str(told.identifier): float(told.values[0]) for told in TOLD_VALUES}
        written = collectd.wait_for_values({name: value for name, value in first.items() if not isnan(value)})
        assert isnan(written["web1/sqlalchemy-nova/count-checkedin"])
        assert written.keys() == first.keys()
