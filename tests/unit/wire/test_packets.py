"""collectd's binary protocol, against bytes worked out by hand and against itself."""

from collections.abc import Callable
from contextlib import suppress
from math import inf, isnan, nan
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolhouse.errors import PacketError
from poolhouse.wire.decode import decode_packet
from poolhouse.wire.encode import encode_alone, encode_packets
from poolhouse.wire.message import decode_message
from poolhouse.wire.names import ascii_name
from poolhouse.wire.parts import (
    HEADER,
    HOST,
    MESSAGE,
    PAYLOAD_BYTES,
    PLUGIN,
    PLUGIN_INSTANCE,
    PRIVATE,
    SEVERITY,
    TIME,
    TYPE,
    TYPE_INSTANCE,
    number_part,
    string_part,
    values_part,
)
from poolhouse.wire.values import (
    ABSOLUTE,
    COUNTER,
    DERIVE,
    FAILURE,
    GAUGE,
    OKAY,
    WARNING,
    Identifier,
    Notification,
    ValueList,
)
from support.wire_parts import parts_of

#: Three value lists, worked out byte by byte from collectd's source and accepted by collectd 5.12.0.
WORKED = bytes.fromhex(
    "00000009 7765623100"
    "0008000c 1954fc4020000000"
    "0009000c 0000000280000000"
    "0002000f 73716c616c6368656d7900"
    "00030009 6e6f766100"
    "0004000a 636f756e7400"
    "0005000f 636865636b65646f757400"
    "0006000f 0001010000000000001440"
    "0005000e 636865636b6564696e00"
    "0006000f 0001010000000000000840"
    "0004000b 64657269766500"
    "0005000e 636865636b6f75747300"
    "0006000f 00010200000000000004d2"
)


def nova(kind: str, instance: str) -> Identifier:
    return Identifier("web1", "sqlalchemy", "nova", kind, instance)


WORKED_LISTS = [
    ValueList(nova("count", "checkedout"), 1700000000.5, 10.0, bytes([GAUGE]), (5.0,)),
    ValueList(nova("count", "checkedin"), 1700000000.5, 10.0, bytes([GAUGE]), (3.0,)),
    ValueList(nova("derive", "checkouts"), 1700000000.5, 10.0, bytes([DERIVE]), (1234,)),
]

NUMBERS = {
    COUNTER: st.integers(0, 2**64 - 1),
    GAUGE: st.floats(allow_nan=False),
    DERIVE: st.integers(-(2**63), 2**63 - 1),
    ABSOLUTE: st.integers(0, 2**64 - 1),
}
texts = st.text(st.characters(codec="utf-8", exclude_categories=["C"]), max_size=31)
present = texts.filter(bool)
identifiers = st.builds(Identifier, present, present, texts, present, texts)
#: Times and intervals that both forms tell exactly.
times = st.integers(1, 2**33).map(float)
intervals = st.none() | st.integers(1, 2**33).map(float)


@st.composite
def value_lists(draw: st.DrawFn) -> ValueList:
    kinds = draw(st.lists(st.sampled_from(list(NUMBERS)), min_size=1, max_size=12))
    values = tuple(draw(NUMBERS[kind]) for kind in kinds)
    return ValueList(draw(identifiers), draw(times), draw(intervals), bytes(kinds), values)


notifications = st.builds(
    Notification, identifiers, times, st.sampled_from([FAILURE, WARNING, OKAY]), texts.filter(bool)
)


def decoded(packets: list[bytes]) -> list[ValueList | Notification]:
    return [item for packet in packets for item in decode_packet(packet)]


def test_the_worked_bytes_decode_to_their_values():
    assert decode_packet(WORKED) == WORKED_LISTS


def test_the_worked_values_encode_to_their_bytes():
    assert encode_packets(WORKED_LISTS) == [WORKED]


@given(st.lists(st.one_of(value_lists(), notifications), max_size=20), st.booleans())
def test_what_was_encoded_is_decoded(told: list[ValueList | Notification], high_resolution: bool):
    packets = encode_packets(told, high_resolution=high_resolution)
    assert decoded(packets) == told
    assert all(len(packet) <= PAYLOAD_BYTES for packet in packets)


@given(value_lists())
def test_a_value_list_alone_is_decoded_but_for_names_beyond_ascii(told: ValueList):
    (alone,) = decode_packet(encode_alone(told))
    identifier = Identifier(*(ascii_name(name).decode() for name in told.identifier))
    assert alone == told._replace(identifier=identifier, interval=told.interval or 1.0)
    assert len(parts_of(encode_alone(told))) == 8


def test_packets_are_as_full_as_can_be():
    told = [WORKED_LISTS[0]._replace(identifier=nova("count", f"{n:04}")) for n in range(200)]
    packets = encode_packets(told)
    # 67 bytes that stand once a packet and 24 for each value list: 53 fit into 1,346 bytes.
    assert [len(decode_packet(packet)) for packet in packets] == [53, 53, 53, 41]


def test_only_what_changed_is_sent_again():
    told = [WORKED_LISTS[0], WORKED_LISTS[0]._replace(identifier=nova("count", ""))]
    (packet,) = encode_packets(told)
    assert decode_packet(packet) == told
    assert [kind for kind, _ in parts_of(packet)].count(TYPE_INSTANCE) == 2
    assert [kind for kind, _ in parts_of(packet)].count(HOST) == 1


def test_nan_is_sent_as_collectd_sends_it():
    (packet,) = encode_packets([WORKED_LISTS[0]._replace(values=(nan,))])
    assert packet.endswith(bytes.fromhex("0001 01 000000000000f87f"))
    (item,) = decode_packet(packet)
    assert isinstance(item, ValueList)
    assert isnan(item.values[0])


def test_intervals_below_a_second_are_one_where_seconds_are_whole():
    (packet,) = encode_packets([WORKED_LISTS[0]._replace(interval=0.25)], high_resolution=False)
    (item,) = decode_packet(packet)
    assert isinstance(item, ValueList)
    assert (item.time, item.interval) == (1700000000.0, 1.0)


@pytest.mark.parametrize(
    ("kind", "value"),
    [(COUNTER, -1), (DERIVE, nan), (DERIVE, 2**63), (ABSOLUTE, 0.5), (COUNTER, 2**64), (DERIVE, inf)],
)
def test_a_value_that_does_not_fit_its_kind_is_refused(kind: int, value: float):
    with pytest.raises(ValueError, match="does not fit"):
        encode_packets([WORKED_LISTS[0]._replace(kinds=bytes([kind]), values=(value,))])


def test_a_value_list_longer_than_a_packet_is_refused():
    many = WORKED_LISTS[0]._replace(kinds=bytes([GAUGE] * 150), values=(1.0,) * 150)
    with pytest.raises(ValueError, match="more than a packet"):
        encode_packets([many])


def test_each_of_several_value_lists_in_a_packet_counts():
    """Trap 36. A standard packet, several lists and high-resolution time, loses none of them."""
    assert len(decode_packet(WORKED)) == 3


def test_a_later_type_does_not_end_the_instances_before_it():
    packet = WORKED + string_part(PLUGIN, b"cpu") + values_part(bytes([GAUGE]), bytes(8))
    last = decode_packet(packet)[-1]
    assert last.identifier == Identifier("web1", "cpu", "nova", "derive", "checkouts")


@pytest.mark.parametrize("kind", [0x00FF, 0x7A01, 0x7FFF, 0x0200, 0x0210])
@pytest.mark.parametrize("length", [0, 1, 500])
def test_parts_of_unknown_kinds_are_skipped_by_their_length(kind: int, length: int):
    unknown = kind.to_bytes(2) + (4 + length).to_bytes(2) + b"\0" * length
    assert decode_packet(WORKED[:9] + unknown + WORKED[9:]) == WORKED_LISTS


@pytest.mark.parametrize("missing", [HOST, TIME, PLUGIN, TYPE])
def test_a_value_list_without_its_identity_or_time_is_left_out(missing: int):
    parts = {
        HOST: string_part(HOST, b"web1"),
        TIME: number_part(TIME, 1700000000),
        PLUGIN: string_part(PLUGIN, b"cpu"),
        TYPE: string_part(TYPE, b"count"),
    }
    values = values_part(bytes([GAUGE]), bytes(8))
    (complete,) = decode_packet(b"".join(parts.values()) + values)
    assert isinstance(complete, ValueList)
    assert complete.interval is None
    del parts[missing]
    assert decode_packet(b"".join(parts.values()) + values) == []


def test_a_notification_without_a_time_is_left_out():
    assert decode_packet(string_part(MESSAGE, b"something")) == []


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (b"caf\xc3\xa9", "café"),
        (b"caf\xe9", "caf\\xe9"),
        (b"cut\0here", "cut"),
    ],
)
def test_names_of_any_bytes_are_read(name: bytes, shown: str):
    """Trap 43. A name that is neither ASCII nor UTF-8 is shown with escapes and raises nothing."""
    packet = string_part(PLUGIN_INSTANCE, name) + WORKED[:48] + WORKED[57:]
    assert decode_packet(packet)[0].identifier.plugin_instance == shown


@pytest.mark.parametrize(
    ("packet", "offset", "complaint"),
    [
        (WORKED + bytes(4), 166, "length 0"),
        (WORKED + b"\x7a\x01\x00\x00", 166, "length 0"),
        (WORKED + b"\x7a\x01\x00\x03", 166, "length 3"),
        (WORKED + b"\x7a\x01\x00\x05", 166, "length 5"),
        (WORKED[:-1], 151, "14 bytes are left"),
        (WORKED[:153], 151, "2 bytes left"),
        (b"\x00\x00\x00\x04" + WORKED, 0, "closing NUL"),
        (b"\x00\x00\x00\x05a" + WORKED, 0, "closing NUL"),
        (string_part(HOST, b"a" * 128) + WORKED, 0, "128 bytes where 127"),
        (WORKED + string_part(MESSAGE, b"a" * 256), 166, "256 bytes where 255"),
        (WORKED + b"\x00\x01\x00\x0b" + bytes(7), 166, "number part of 11 bytes"),
        (WORKED + b"\x00\x09\x00\x0d" + bytes(9), 166, "number part of 13 bytes"),
        (WORKED + b"\x00\x06\x00\x05\x00", 166, "values part of 5 bytes"),
        (WORKED + b"\x00\x06\x00\x06\x00\x00", 166, "for 0 values"),
        (WORKED + b"\x00\x06\x00\x0f\x00\x02" + bytes(9), 166, "for 2 values"),
        (WORKED + b"\x00\x06\x00\x0f\xff\xff" + bytes(9), 166, "for 65535 values"),
        (WORKED + values_part(b"\x04", bytes(8)), 166, "unknown kind 4"),
    ],
)
def test_a_malformed_part_is_refused_where_it_begins(packet: bytes, offset: int, complaint: str):
    """Traps 22, 44. A length of 0, or a byte too long, ends in an error that says where; never in a loop."""
    with pytest.raises(PacketError, match=complaint) as caught:
        decode_packet(packet)
    assert caught.value.offset == offset


class CountedBytes(bytes):
    """Bytes that count how many of them were asked for."""

    asked = 0

    def __getitem__(self, key):
        got = super().__getitem__(key)
        CountedBytes.asked += 1 if isinstance(key, int) else len(got)
        return got

    def index(self, *args):
        found = super().index(*args)
        CountedBytes.asked += found - args[1] + 1
        return found


class CountedHeader:
    """A part's header whose bytes count as asked for, too."""

    size = HEADER.size

    def unpack_from(self, packet: bytes, at: int) -> tuple[int, int]:
        CountedBytes.asked += self.size
        return HEADER.unpack_from(packet, at)


part_kinds = st.sampled_from([*range(10), MESSAGE, SEVERITY, PRIVATE])


@pytest.mark.parametrize("decode", [decode_packet, decode_message])
@given(parts=st.lists(st.tuples(part_kinds, st.binary(max_size=40)), max_size=60))
def test_each_byte_is_looked_at_a_bounded_number_of_times(
    decode: Callable[[bytes], object], parts: list[tuple[int, bytes]]
):
    packet = CountedBytes(
        b"".join(kind.to_bytes(2) + (4 + len(payload)).to_bytes(2) + payload for kind, payload in parts)
    )
    CountedBytes.asked = 0
    header = CountedHeader()
    with (
        suppress(PacketError),
        patch("poolhouse.wire.decode.HEADER", header),
        patch("poolhouse.wire.message.HEADER", header),
    ):
        decode(packet)
    # Twice at most by each of the two readers; a list's values are read in place besides, once.
    assert CountedBytes.asked <= 4 * len(packet)


@given(st.binary(max_size=2000))
def test_any_bytes_end_in_values_or_in_a_packet_error(packet: bytes):
    """Trap 23."""
    for decode in (decode_packet, decode_message):
        with suppress(PacketError):
            decode(packet)
