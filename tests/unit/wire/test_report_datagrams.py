"""A process's report as datagrams: what comes back, and what every peer relies on."""

from collections.abc import Callable
from contextlib import suppress
from math import inf, nan
from typing import Literal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from poolhouse.errors import PacketError
from poolhouse.meter.histogram import Histogram
from poolhouse.meter.reading import Counters, Limits
from poolhouse.wire.decode import decode_packet
from poolhouse.wire.encode import encode_alone, encode_packets
from poolhouse.wire.message import LegacyDatagram, PoolSums, ReportDatagram, decode_message, legacy_datagram
from poolhouse.wire.names import ascii_name, utf8_name
from poolhouse.wire.parts import HEADER, HOST, PAYLOAD_BYTES, PLUGIN_INSTANCE, PRIVATE, TYPE_INSTANCE, string_part
from poolhouse.wire.report import HEAD, POOL, Report, encode_report
from poolhouse.wire.values import DERIVE, GAUGE, Identifier, ValueList
from support.wire_parts import parts_of
from support.wire_samples import WORST, full_histogram, pool, report
from support.wire_strategies import names, plain_names, reports


def decoded(datagram: bytes) -> ReportDatagram:
    message = decode_message(datagram)
    assert isinstance(message, ReportDatagram)
    return message


@given(reports(plain_names))
@example(report(pool(wait=None, use=Histogram(), create=full_histogram(-1)), pool(key=0, pools=0, is_bound=True)))
def test_a_report_comes_back_whole(told: Report):
    datagrams = encode_report(told)
    messages = [decoded(datagram) for datagram in datagrams]
    assert len(messages) == max(2, len(told.pools))
    for place, message in enumerate(messages):
        assert message._replace(pool=None) == ReportDatagram(
            told.host,
            told.program,
            told.token,
            told.number,
            told.sequence + place,
            place,
            len(messages),
            told.uptime,
            told.wall_time,
            told.interval,
            told.goodbye,
            None,
        )
    readings = [message.pool.reading() for message in messages if message.pool]
    assert len(readings) == len(told.pools)
    for sent, received in zip(told.pools, readings, strict=True):
        for name in ("wait", "use", "create"):
            before, after = getattr(sent, name), getattr(received, name)
            assert (before is None) == (after is None)
            if before is not None:
                before = before.copy()
                before.downscale(after.scale)
                assert before == after
        assert received._replace(wait=None, use=None, create=None) == sent._replace(
            wait=None, use=None, create=None
        )


@given(reports(names))
@example(WORST)
def test_any_report_fits_its_datagrams_and_is_read_again(told: Report):
    for detail in ("full", "plain"):
        datagrams = encode_report(told, detail)
        assert max(map(len, datagrams)) <= PAYLOAD_BYTES
        for datagram in datagrams:
            assert isinstance(decode_message(datagram), ReportDatagram if detail == "full" else LegacyDatagram)


@given(reports(names))
@example(WORST)
def test_a_report_leaves_the_room_that_a_seal_needs(told: Report):
    datagrams = encode_report(told, payload_bytes=PAYLOAD_BYTES - 120)
    assert max(map(len, datagrams)) <= PAYLOAD_BYTES - 120
    assert all(isinstance(decode_message(datagram), ReportDatagram) for datagram in datagrams)


def test_only_histograms_that_do_not_fit_lose_their_scale():
    small = Histogram()
    small.record_all([5_000_000] * 10)
    large = full_histogram()
    (first, _) = encode_report(report(pool(wait=small, use=large, create=small)))
    reading = decoded(first).pool.reading()
    assert (reading.wait.scale, reading.use.scale, reading.create.scale) == (3, 1, 3)
    large.downscale(1)
    assert (reading.wait, reading.use, reading.create) == (small, large, small)


def test_unknown_values_stay_unknown():
    unknown = pool(limits=Limits(), counters=Counters(*[None] * 10), is_bound=True)
    first, _ = encode_report(report(unknown))
    assert decoded(first).pool.reading() == unknown


def test_what_does_not_fit_its_number_is_told_as_the_largest_known():
    reading = decoded(
        encode_report(report(pool(limits=Limits(2**40), counters=Counters(2**70))))[0]
    ).pool.reading()
    assert (reading.limits.max_open, reading.counters.checkouts) == (2**32 - 2, 2**64 - 2)


def test_without_pools_the_two_datagrams_still_tell_the_head():
    first, second = map(decoded, encode_report(report(goodbye=True)))
    assert (first.sequence, second.sequence) == (13, 14)
    assert (first.place, second.place, first.datagrams, second.datagrams) == (0, 1, 2, 2)
    assert first.goodbye
    assert second.goodbye
    assert first.pool is None
    assert second.pool is None


def test_a_name_beyond_ascii_travels_escaped_and_whole():
    """Trap 15. A name that is not ASCII reaches every server: with its escapes, and beside them as it is."""
    first, _ = encode_report(report(host="büro", program="überwachung\udcff"))
    assert b"b\\xfcro\0" in first
    assert b"\\xfcberwachung\\udcff\0" in first
    assert decoded(first)[:2] == ("büro", "überwachung\\udcff")


def test_an_ascii_name_is_not_told_twice():
    first, _ = encode_report(report(program="inventory"))
    assert first.count(b"inventory") == 1


@pytest.mark.parametrize(
    ("name", "ascii_form", "utf8_form"),
    [
        ("nova", b"nova", b"nova"),
        ("no\0va\x7f\n", rb"no\x00va\x7f\x0a", rb"no\x00va\x7f\x0a"),
        ("é" * 100, rb"\xe9" * 30 + b"~97d172", "é".encode() * 63),
        ("a" + "日" * 100, (b"a" + rb"\u65e5" * 20)[:120] + b"~f820da", b"a" + "日".encode() * 42),
        ("\udcff", rb"\udcff", rb"\udcff"),
        ("", b"", b""),
    ],
)
def test_names_are_printable_and_cut_at_127_bytes(name: str, ascii_form: bytes, utf8_form: bytes):
    assert (ascii_name(name), utf8_name(name)) == (ascii_form, utf8_form)


@pytest.mark.parametrize("letter", ["a", "日"])
@pytest.mark.parametrize("detail", ["full", "plain"])
def test_two_long_names_with_the_same_beginning_stay_two(letter: str, detail: Literal["full", "plain"]):
    """Else the sums of two programs, or of two machines, would be shown as one's."""
    for field in ("host", "program"):
        told = [
            decode_message(datagram)
            for end in ("-blue", "-green")
            for datagram in encode_report(report(**{field: letter * 200 + end}), detail)
        ]
        assert len({getattr(message, field) for message in told}) == 2


@given(reports(plain_names))
def test_plain_detail_is_the_two_earlier_lists(told: Report):
    first, second = (decode_message(datagram) for datagram in encode_report(told, "plain"))
    sums = told.sums
    assert isinstance(first, LegacyDatagram)
    assert isinstance(second, LegacyDatagram)
    assert first.sums == PoolSums(
        sums.pools,
        sums.gauges.used,
        sums.gauges.idle,
        sums.gauges.detached,
        sums.gauges.connections,
        sums.gauges.waiting,
        *sums.limits,
    )
    # The earlier list has no way to say that one of its own four is not known.
    seed = [0 if count is None else count for count in sums.counters[:4]]
    assert second.sums == Counters(*seed, *sums.counters[4:])
    assert first.wall_time == int(told.wall_time)
    assert first.interval >= max(1, told.interval)
    assert first.token == told.token


def test_a_later_version_of_the_private_part_leaves_the_earlier_list():
    first, _ = encode_report(report(pool()))
    at = first.index(b"\x7a\x01")
    later = first[: at + 4] + b"\x02" + first[at + 5 :]
    message = decode_message(later)
    assert isinstance(message, LegacyDatagram)
    assert message.sums == PoolSums(1, 4, 3, 1, 8, 2, 15, 5, 0)


@pytest.mark.parametrize("told", [WORST, report(pool()), report()])
def test_no_header_is_cut_where_the_earlier_server_stops_reading(told: Report):
    for datagram in encode_report(told):
        parts = parts_of(datagram)
        assert parts[-1][0] == PRIVATE
        assert [kind for kind, _ in parts].count(PRIVATE) == 1
        assert parts[-1][1] <= 458
        # The header of a part that might follow begins behind what is read, or there is none.
        assert all(at + 4 <= 1024 for _, at in parts)


def test_a_histogram_is_bytes_until_asked():
    first, _ = encode_report(report(pool(wait=full_histogram(1))))
    raw = decoded(first).pool
    assert isinstance(raw.wait, bytes)
    assert raw.use == b""
    assert raw.reading().wait == full_histogram(1)


Change = Callable[[bytes, int], bytes]


def put(offset: int, data: bytes) -> Change:
    return lambda datagram, at: datagram[: at + offset] + data + datagram[at + offset + len(data) :]


NAN, INFINITE = bytes.fromhex("7ff8000000000000"), bytes.fromhex("7ff0000000000000")
FIRST_NUMBER = 4 + HEAD.size
MARKS_AT = FIRST_NUMBER + 132


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (put(6, b"\0\x02"), "datagram 2 of 2"),
        (put(18, NAN), "uptime nan"),
        (put(26, INFINITE), "time inf"),
        (put(34, bytes(8)), "interval 0.0"),
        (put(42, b"\x05"), "bytes where it names"),
        (put(MARKS_AT, b"\x06"), "6 marks"),
        (put(FIRST_NUMBER + POOL.size, b"\xff"), "not text"),
    ],
)
def test_what_cannot_be_true_in_a_private_part_is_refused(change: Change, complaint: str):
    first, _ = encode_report(report(pool()))
    at = first.index(b"\x7a\x01")
    with pytest.raises(ValueError, match=complaint):
        decode_message(change(first, at))


def test_a_private_part_cut_anywhere_is_refused():
    for datagram in encode_report(report(pool(wait=full_histogram(-1), use=full_histogram(-1)), host="bürö")):
        at = dict(parts_of(datagram))[PRIVATE]
        for end in range(at + 5, len(datagram)):
            cut = datagram[:at] + HEADER.pack(PRIVATE, end - at) + datagram[at + 4 : end]
            with pytest.raises(PacketError) as caught:
                decode_message(cut)
            assert caught.value.offset == at


@pytest.mark.parametrize("length", [0, 3, 5])
def test_a_malformed_part_behind_a_report_is_refused_where_it_begins(length: int):
    """Trap 22."""
    first, _ = encode_report(report(pool()))
    with pytest.raises(PacketError) as caught:
        decode_message(first + HEADER.pack(PRIVATE, length))
    assert caught.value.offset == len(first)


@pytest.mark.parametrize("kind", [HOST, PLUGIN_INSTANCE, TYPE_INSTANCE])
def test_a_private_part_without_a_name_beside_it_is_refused(kind: int):
    first, _ = encode_report(report(pool()))
    places = [at for _, at in parts_of(first)] + [len(first)]
    at = dict(parts_of(first))[kind]
    end = places[places.index(at) + 1]
    for instead in (b"", string_part(kind, b""), string_part(kind, b"x" * 128), first[at : end - 1] + b"x"):
        with pytest.raises(PacketError, match=f"no name in part 0x{kind:04x}"):
            decode_message(first[:at] + instead + first[end:])


@given(st.data())
def test_damaged_reports_raise_nothing_but_packet_errors(data: st.DataObject):
    """Trap 23. What is cut or flipped on the way ends in one exception, or in values; never in another error."""
    whole = bytearray(encode_report(report(pool(wait=full_histogram(0)), pool()))[data.draw(st.integers(0, 1))])
    for _ in range(data.draw(st.integers(0, 3))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(whole[: data.draw(st.integers(0, len(whole)))])
    with suppress(PacketError):
        message = decode_message(cut)
        if isinstance(message, ReportDatagram) and message.pool:
            message.pool.reading()


SEED_POOL, SEED_TOTALS = (1.0, 2.0, 3.0, 0.0, 5.0), (10, 0, 3, 1)


def earlier(
    kind: str = "sqlalchemy_pool", value_kind: int = GAUGE, values: tuple[float, ...] = SEED_POOL
) -> bytes:
    """A datagram as the earlier client sends it."""
    identifier = Identifier("web1", "sqlalchemy", "nova", kind, "4711:abcdef")
    return encode_alone(ValueList(identifier, 1700000000.0, 2.0, bytes([value_kind] * len(values)), values))


def test_the_earlier_clients_two_datagrams_are_understood():
    assert decode_message(earlier()) == LegacyDatagram(
        "web1", "nova", "4711:abcdef", 1700000000.0, 2.0, PoolSums(1, 2, 3, 0, 5)
    )
    message = decode_message(earlier("sqlalchemy_totals", DERIVE, SEED_TOTALS))
    assert isinstance(message, LegacyDatagram)
    assert message.sums == Counters(10, 3, 1, 0, *[None] * 6)


def test_values_that_have_no_name_yet_are_left_unread():
    message = decode_message(earlier(values=(*SEED_POOL, 1.0, nan, 3.0, 4.0, -1.0, nan)))
    assert isinstance(message, LegacyDatagram)
    assert message.sums == PoolSums(1, 2, 3, 0, 5, 1, None, 3, 4)


@pytest.mark.parametrize(
    ("datagram", "complaint"),
    [
        (earlier(values=(1.0, nan, 3.0, 0.0, 5.0)), "gauge nan"),
        (earlier(values=(1.0, inf, 3.0, 0.0, 5.0)), "gauge inf"),
        (earlier(values=(*SEED_POOL, inf)), "gauge inf"),
        (earlier(values=(1.0, -1.0, 3.0, 0.0, 5.0)), "gauge -1"),
        (earlier(values=(1.0, 1e300, 3.0, 0.0, 5.0)), "gauge 1e"),
        (earlier(values=SEED_POOL[:4]), "4 values in sqlalchemy_pool, not 5"),
        (earlier(value_kind=DERIVE, values=(1, 2, 3, 0, 5)), "another kind"),
        (earlier("sqlalchemy_totals", DERIVE, (10, 0, -1, 1)), "count -1"),
        (earlier("sqlalchemy_totals", DERIVE, (*SEED_TOTALS, -2)), "count -2"),
        (earlier("sqlalchemy_totals", DERIVE, SEED_TOTALS[:3]), "3 values in sqlalchemy_totals, not 4"),
        (earlier("sqlalchemy_totals", GAUGE, (10.0, 0.0, 3.0, 1.0)), "another kind"),
        (earlier().replace(b"4711:abcdef", bytes(11)), "without a program or a token"),
        (earlier().replace(bytes.fromhex("0007000c0000000000000002"), b""), "without an interval"),
    ],
)
def test_sums_that_cannot_be_summed_are_refused(datagram: bytes, complaint: str):
    """Traps 28, 29. NaN, infinite, negative, too few values or values of another kind never reach a sum."""
    with pytest.raises(PacketError, match=complaint):
        decode_message(datagram)


def test_other_plugins_are_plain_values_whatever_their_parts():
    first, _ = encode_report(report(pool()))
    message = decode_message(first.replace(b"sqlalchemy\0", b"alchemysql\0"))
    assert isinstance(message, list)
    assert message[0].identifier.plugin == "alchemysql"


def test_several_earlier_lists_in_one_packet_are_each_understood():
    """Trap 36."""
    told = [decode_packet(earlier())[0], decode_packet(earlier("sqlalchemy_totals", DERIVE, SEED_TOTALS))[0]]
    (packet,) = encode_packets(told)
    message = decode_message(packet)
    assert isinstance(message, list)
    assert [legacy_datagram(item) for item in message] == [
        decode_message(earlier()),
        decode_message(earlier("sqlalchemy_totals", DERIVE, SEED_TOTALS)),
    ]
