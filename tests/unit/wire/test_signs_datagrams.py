"""A process's signs as parts of its report: what comes back, what older receivers do, and what has room."""

from contextlib import suppress
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolhouse.errors import PacketError
from poolhouse.meter.histogram import Histogram
from poolhouse.meter.signs import (
    OTHER_SITES,
    UNKNOWN_SITE,
    ConnectErrors,
    Finding,
    Looks,
    PoolSigns,
    ProcessSigns,
    SiteReading,
)
from poolhouse.report.telling import Teller
from poolhouse.wire.decode import decode_packet
from poolhouse.wire.message import ReportDatagram, decode_message
from poolhouse.wire.parts import HEADER, PAYLOAD_BYTES, PRIVATE, SIGNS
from poolhouse.wire.report import Report, encode_report
from poolhouse.wire.signs import NAME_BYTES, SECTION, SPARE_DEPTH, WHOLE, encode_use, name_id
from poolhouse.wire.signs_decode import (
    RawSigns,
    decode_signs,
    decode_sites,
    decode_targets,
    decode_use,
    depth_of,
    told_names,
)
from support.wire_parts import parts_of
from support.wire_samples import WORST, pool, report
from support.wire_strategies import findings, pool_signs, process_signs, use_times


def payloads(told: Report) -> list[bytes]:
    """The signs of the report's datagrams, in their order."""
    messages = [decode_message(datagram) for datagram in encode_report(told)]
    assert all(isinstance(message, ReportDatagram) for message in messages)
    return [message.signs for message in messages if message.signs]


def decoded(found: list[bytes]) -> tuple[RawSigns, dict[int, str]]:
    return decode_signs(found), dict(name for payload in found for name in told_names(payload))


@cache
def use_of(milliseconds: float, times: int) -> Histogram:
    use = Histogram()
    use.record_all(round(milliseconds * 1e6 * (1 + n % 17 / 5)) for n in range(times))
    return use


def busy_sites(count: int, *, name: str = "app/views/checkout.py:{} in checkout_cart") -> tuple[SiteReading, ...]:
    """Sites of a program that has worked for hours."""
    return tuple(
        SiteReading(
            name.format(100 + n),
            n % 3,
            n / 7,
            70_000 + n,
            0,
            90_000.0 - n,
            n * 1.5,
            Looks(50_000, 3_000, 10, 2),
            "app/payments/client.py:51 in send",
            use_of(3, 70_000).copy(),
        )
        for n in range(count)
    )


@given(process_signs, st.lists(findings, max_size=2).map(tuple), st.lists(pool_signs, max_size=2))
def test_signs_come_back_whole(process: ProcessSigns, found: tuple[Finding, ...], signs: list[PoolSigns]):
    pools = [pool(key=key, signs=one) for key, one in enumerate(signs, 1)]
    raw, names = decoded(payloads(report(*pools, signs=process, findings=found)))
    assert raw.process_signs(names) == process
    assert raw.process_findings(names) == found
    assert [raw.pool_signs(key, names) for key in range(1, len(signs) + 1)] == signs


@given(use_times())
def test_use_times_come_back(use: Histogram):
    assert decode_use(encode_use(use)) == use


def test_fine_use_times_are_told_at_scale_0():
    use = use_of(3, 100)
    told = decode_use(encode_use(use))
    coarse = use.copy()
    coarse.downscale(0)
    assert (told.counts, told.max_ns) == (coarse.counts, -(-coarse.max_ns // 1000) * 1000)
    assert told.sum_ns == pytest.approx(use.sum_ns, rel=0.5)


def test_without_signs_a_report_is_what_it_was():
    for datagram in encode_report(report(pool())):
        assert SIGNS not in dict(parts_of(datagram))


def test_a_process_of_one_pool_and_twelve_sites_adds_no_datagram():
    one = pool(
        signs=PoolSigns("db1:5432/shop", "app/db.py:12 in <module>", 9_000, 12, 50_000, 80, sites=busy_sites(12))
    )
    told = report(one, signs=ProcessSigns(9_000))
    assert len(encode_report(told)) > 2  # With all the names.
    teller = Teller()
    lengths = []
    for _ in range(12):
        selection = teller.select(told.signs, (), told.pool_signs())
        lengths.append(len(encode_report(told, selection=selection)))
        teller.note(selection)
    assert lengths == [2] * 12


def test_the_signs_stand_behind_the_private_part_where_no_pool_is_told():
    several = report(*[pool(key=key, signs=PoolSigns(sites=busy_sites(3))) for key in (1, 2, 3)])
    *with_pools, last = map(parts_of, encode_report(several))
    assert [parts[-1][0] for parts in with_pools] == [PRIVATE] * 3
    assert [kind for kind, _ in last][-2:] == [PRIVATE, SIGNS]


def test_at_most_two_datagrams_are_added_and_the_header_is_within_what_the_earlier_server_reads():
    long = PoolSigns(sites=busy_sites(64, name="é" * 200 + "{}"))
    worst = WORST._replace(pools=tuple(one._replace(signs=long) for one in WORST.pools))
    datagrams = encode_report(worst)
    assert len(datagrams) == 5
    for datagram in datagrams:
        assert len(datagram) <= PAYLOAD_BYTES
        at = dict(parts_of(datagram)).get(SIGNS, 0)
        assert at + HEADER.size <= 1024
    assert all(decode_signs([payload]).sites for payload in payloads(worst))


def test_a_receiver_that_does_not_know_the_kind_reads_all_else():
    told = report(pool(), signs=ProcessSigns(7))
    first, second = encode_report(told)
    at = dict(parts_of(second))[SIGNS]
    unknown = second[:at] + b"\x7a\x7f" + second[at + 2 :]
    without, _ = encode_report(told._replace(signs=None))[1], first
    assert decode_message(unknown) == decode_message(second)._replace(signs=b"") == decode_message(without)
    assert decode_packet(unknown) == decode_packet(without)


def test_plain_detail_tells_no_signs():
    told = report(pool(signs=PoolSigns(sites=busy_sites(1))))
    assert all(SIGNS not in dict(parts_of(datagram)) for datagram in encode_report(told, "plain"))


def test_a_payload_says_for_how_long_what_was_told_before_counts():
    few, many = (report(pool(signs=PoolSigns(sites=busy_sites(count)))) for count in (2, 40))
    assert list(map(depth_of, payloads(few))) == [WHOLE]
    assert list(map(depth_of, payloads(many))) == [WHOLE + 1 + SPARE_DEPTH] * 3
    teller = Teller()
    depths = []
    for number in range(1, 8):
        sites = tuple(site._replace(open=0, returned=number) for site in busy_sites(16))
        told = report(pool(signs=PoolSigns(sites=sites)), number=number)
        selection = teller.select(None, (), told.pool_signs())
        selection.may_add = False
        _, second = encode_report(told, selection=selection)
        depths.append(depth_of(decode_message(second).signs))
        teller.note(selection)
    assert depths[0] == WHOLE  # Nothing was told before.
    assert all(WHOLE < depth < 7 for depth in depths[1:])
    assert depth_of(b"") == 0


def test_the_newest_payload_counts():
    older = payloads(report(pool(signs=PoolSigns(sites=busy_sites(2)))))
    changed = busy_sites(1)[0]._replace(open=9)
    newer = payloads(report(pool(signs=PoolSigns(sites=(changed,)))))
    raw, _ = decoded([*newer, *older])
    assert [site.open for site in raw.sites[1].values()] == [9, 1]
    assert sorted(site.open for site in decode_sites([*newer, *older])) == [1, 9]


def test_what_past_pools_showed_is_told_under_the_rest():
    past = PoolSigns("db1", sites=busy_sites(2))
    raw, names = decoded(payloads(report(pool(signs=PoolSigns("db1")), past_signs=past)))
    assert [site.site for site in raw.pool_signs(0, names).sites] == [site.site for site in past.sites]


def test_names_that_everybody_knows_are_not_told():
    told = report(pool(signs=PoolSigns(sites=(SiteReading(UNKNOWN_SITE), SiteReading(OTHER_SITES)))))
    raw, names = decoded(payloads(told))
    assert names == {}
    assert {site.site for site in raw.pool_signs(1, names).sites} == {UNKNOWN_SITE, OTHER_SITES}


def test_a_long_name_keeps_its_end_and_its_own_id():
    name = "package/" * 40 + "views.py:88 in checkout"
    _, names = decoded(payloads(report(pool(signs=PoolSigns(sites=(SiteReading(name),))))))
    assert len(names[name_id(name)].encode()) <= NAME_BYTES
    assert names[name_id(name)].startswith("…")
    assert names[name_id(name)].endswith("/views.py:88 in checkout")


def test_numbers_beyond_their_places_are_told_as_the_largest():
    huge = SiteReading("a", 2**40, 1e12, 2**70, 2**40, 1e12, 1e12, Looks(*[2**40] * 4))
    errors = ConnectErrors(*[2**40] * 9)
    told = report(pool(signs=PoolSigns(sites=(huge,), connect_errors=errors, dead=-1)))
    raw, names = decoded(payloads(told))
    signs = raw.pool_signs(1, names)
    assert (signs.sites[0].open, signs.connect_errors.other, signs.dead) == (2**16 - 1, 2**32 - 1, 0)


def test_a_section_of_a_later_version_is_skipped_and_a_longer_one_is_read():
    (payload,) = payloads(report(pool(signs=PoolSigns(looks=5)), signs=ProcessSigns(7)))
    longer = payload[:1] + SECTION.pack(1, 40) + payload[4:40] + b"more" + payload[40:]
    raw, names = decoded([longer + SECTION.pack(99, 3) + b"abc"])
    assert raw.process_signs(names) == ProcessSigns(7)
    assert raw.pool_signs(1, names) == PoolSigns(looks=5)


@pytest.mark.parametrize("damage", [b"", b"\x01", b"\x01\x00", b"\x01\x00\xff"])
def test_targets_are_those_of_the_newest_payload_or_an_error(damage: bytes):
    newer, older = (payloads(report(pool(signs=PoolSigns(target))))[0] for target in ("db2", "db1"))
    raw, names = decode_signs([newer]), dict(told_names(newer))
    assert {key: names[name] for key, name in decode_targets([newer, older]).items()} == {1: "db2"}
    assert decode_targets([newer]) == {key: numbers[1] for key, numbers in raw.pools.items()}
    if damage:
        with pytest.raises(PacketError):
            decode_targets([newer + damage])


@given(st.data())
def test_damaged_signs_raise_nothing_but_packet_errors(data: st.DataObject):
    full = report(
        pool(signs=PoolSigns("db", sites=busy_sites(2), dead=1)),
        signs=ProcessSigns(1, stall_line="a"),
        findings=(Finding("leak", 1, "a", "b", 3.0, (1.0, 2.0)),),
    )
    whole = bytearray(payloads(full)[0])
    for _ in range(data.draw(st.integers(0, 3))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(whole[: data.draw(st.integers(0, len(whole)))])
    with suppress(PacketError):
        names = dict(told_names(cut))
        decode_sites([cut])
        decode_targets([cut])
        raw = decode_signs([cut])
        raw.process_signs(names)
        raw.process_findings(names)
        for key in raw.sites:
            raw.pool_signs(key, names)
