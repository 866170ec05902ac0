"""What a sender cannot do: grow the aggregator, break it, or pretend to be something else."""

import gc
import sys
from collections.abc import Callable
from functools import partial
from math import inf, nan
from struct import Struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolhouse.feed.protocol.chunks import unpack
from poolhouse.feed.protocol.frame import Frame, Server, decode_frame, encode_frame
from poolhouse.fleet.fleet import MENDING_PERIOD, NO_MEMORY, Fleet
from poolhouse.fleet.limits import FleetLimits
from poolhouse.fleet.names import clean_text, plugin_instance
from poolhouse.fleet.snapshot import Snapshot
from poolhouse.meter.reading import Gauges, Mark
from poolhouse.wire.parts import (
    GAUGE,
    HEADER,
    HOST,
    INTERVAL,
    PLUGIN,
    PLUGIN_INSTANCE,
    SIGNS,
    TIME,
    TYPE,
    TYPE_INSTANCE,
    number_part,
    string_part,
    values_part,
)
from poolhouse.wire.signs import SECTION, SITE_NUMBERS, SITES, SITES_KEY
from support.reporting import ModelProcess


def earlier_list(values, host=b"web1", plugin=b"sqlalchemy", program=b"nova", token=b"1:aa"):
    return (
        string_part(HOST, host)
        + number_part(TIME, 1_700_000_000)
        + number_part(INTERVAL, 2)
        + string_part(PLUGIN, plugin)
        + string_part(PLUGIN_INSTANCE, program)
        + string_part(TYPE, b"sqlalchemy_pool")
        + string_part(TYPE_INSTANCE, token)
        + values_part(bytes([GAUGE] * len(values)), Struct(f"<{len(values)}d").pack(*values))
    )


@pytest.mark.parametrize(
    ("bound", "limits", "others"),
    [
        ("hosts", FleetLimits(hosts=1), {"host": "web2"}),
        ("programs", FleetLimits(programs=1), {"program": "neutron"}),
        ("processes", FleetLimits(processes=1), {}),
        ("name_length", FleetLimits(name_length=8), {"program": "neutron-server"}),
    ],
)
def test_what_is_over_a_limit_is_refused_and_counted_under_its_name(make_aggregator, bound, limits, others):
    """Trap 37."""
    aggregator = make_aggregator(limits)
    aggregator.report(ModelProcess("1:aaaaaa"))
    refused = ModelProcess("2:bbbbbb", **others)
    assert aggregator.receive(*refused.report(aggregator.now)) == [f"over the limit of {bound}"] * 2
    snapshot = aggregator.snapshot()
    assert snapshot.health.over_limit == ((bound, 2),)
    assert (snapshot.health.received, snapshot.health.refused) == (4, 2)
    assert (snapshot.fleet.processes, len(snapshot.hosts), len(snapshot.programs)) == (1, 1, 1)


def test_a_place_that_becomes_free_is_given_away(make_aggregator):
    aggregator = make_aggregator(FleetLimits(processes=1, hosts=1, programs=1))
    aggregator.report(ModelProcess("1:aaaaaa"))
    for _ in range(3):
        aggregator.now += 11
        aggregator.snapshot()
    aggregator.report(ModelProcess("2:bbbbbb", host="web2", program="neutron"))
    assert aggregator.program("neutron").processes == 1


def test_pools_over_the_limit_are_refused_and_the_others_go_on(make_aggregator):
    aggregator = make_aggregator(FleetLimits(pools=2))
    process = ModelProcess(pools=3)
    assert aggregator.receive(*process.report(aggregator.now)) == [None, None, "over the limit of pools"]
    assert aggregator.program().pools == 2
    process.pools.pop(0)
    for _ in range(7):
        aggregator.now += 2
        aggregator.receive(*process.report(aggregator.now))
    assert aggregator.program().pools == 2


@given(st.binary(max_size=200))
def test_no_bytes_raise(datagram):
    """Trap 22. Trap 23."""
    fleet = Fleet(FleetLimits(), 0.0)
    reason = fleet.receive(datagram, 1.0, 1.7e9)
    assert reason
    assert fleet.snapshot(1.0, 1.7e9).health.refused == 1


@given(st.integers(0, 700), st.integers(0, 255), st.integers(0, 700))
def test_no_report_that_was_tampered_with_raises_or_breaks_a_snapshot(at, byte, length):
    """Trap 23."""
    process = ModelProcess(pools=2)
    for pool in process.pools:
        pool.work(20)
    fleet = Fleet(FleetLimits(), 0.0)
    for now in (1.0, 3.0):
        for datagram in process.report(now):
            tampered = bytearray(datagram)
            tampered[min(at, len(tampered) - 1)] = byte
            fleet.receive(bytes(tampered), now, 1.7e9)
            fleet.receive(datagram[:length], now, 1.7e9)
    for program in ("nova", *(row.name for row in fleet.snapshot(3.0, 1.7e9).programs)):
        assert isinstance(fleet.snapshot(3.0, 1.7e9, program), Snapshot)


def test_a_datagram_that_goes_on_after_its_private_part_breaks_no_snapshot(aggregator):
    process = ModelProcess()
    process.pool.work(5)
    (datagram, _) = process.report(aggregator.now)
    for surplus in (b"\x7a\x02\x00\x04", string_part(HOST, b"web1") * 3, earlier_list((1, 2, 3, 0, 5))):
        aggregator.receive(datagram + surplus)
    snapshot = aggregator.snapshot("nova")
    assert [row.token for row in snapshot.processes] == ["1:aa", "1:abcdef"]
    assert snapshot.fleet.totals.checkouts == 0


@pytest.mark.parametrize(
    "values", [(nan,) * 5, (1, inf, 0, 0, 0), (1, -1, 0, 0, 0), (1, 2.0**50, 0, 0, 0), (1, 2)]
)
def test_values_that_cannot_be_summed_are_refused_and_the_sums_stay(aggregator, values):
    """Trap 28. Trap 44."""
    aggregator.receive(earlier_list((1, 2, 3, 0, 5)))
    assert aggregator.receive(earlier_list(values)) != [None]
    row = aggregator.program()
    assert (row.used, row.idle, row.processes) == (2, 3, 1)


def test_numbers_at_their_bounds_can_be_summed_and_read(aggregator):
    """Trap 28."""
    processes = [ModelProcess(f"{n}:aaaaaa") for n in range(50)]
    for process in processes:
        top = (1 << 32) - 1
        process.pool.gauges = Gauges(top, top, top, top)
        process.pool.marks = [Mark(0, top, top, top)]
        process.pool.count(checkouts=1 << 47)
    aggregator.report(*processes)
    row = aggregator.program()
    assert (row.used, row.totals.connects) == (50 * ((1 << 32) - 1), 0)
    processes[0].pool.count(checkouts=1 << 50)
    (first, _) = processes[0].report(aggregator.now)
    assert aggregator.receive(first) != [None]
    assert aggregator.program().totals.checkouts == row.totals.checkouts


@pytest.mark.parametrize("plugin", [b"cpu", b"mysql", b"sqlalchemy2"])
def test_only_reports_of_ours_are_taken_whatever_plugin_a_datagram_names(aggregator, plugin):
    """Trap 30."""
    assert aggregator.receive(earlier_list((1, 2, 3, 0, 5), plugin=plugin)) != [None]
    assert aggregator.snapshot().programs == ()


def test_names_are_cleaned_before_anybody_reads_them(aggregator):
    """Trap 30. Trap 43."""
    aggregator.receive(
        earlier_list((1, 2, 3, 0, 5), host=b"..", program=b"a/b\x1b[2J\n", token="7:\x07é".encode())
    )
    snapshot = aggregator.snapshot("a_b_[2J_")
    assert [row.name for row in snapshot.hosts] == ["_."]
    assert [row.name for row in snapshot.programs] == ["a_b_[2J_"]
    assert [row.token for row in snapshot.processes] == ["7:_é"]
    assert not any(ord(character) < 32 for event in snapshot.events for character in event.host + event.text)


def test_names_that_become_equal_are_one_row(aggregator):
    aggregator.receive(
        earlier_list((1, 2, 3, 0, 5), program=b"a/b"), earlier_list((1, 2, 3, 0, 5), program=b"a_b")
    )
    (row,) = aggregator.snapshot().programs
    assert (row.processes, row.used, aggregator.host().processes) == (2, 4, 1)


@pytest.mark.parametrize(
    "double",
    ["sh\u043ep", "\uff53hop", "shop\u0301", "sh\u00f3p", "sho\u0301p", "Shop", "shop "],
    ids=["Cyrillic", "full width", "accent after", "composed", "decomposed", "capital", "blank"],
)
def test_a_program_that_only_looks_like_another_is_a_row_of_its_own(aggregator, double):
    honest, other = ModelProcess("1:aaaaaa", "shop"), ModelProcess("1:aaaaaa", double, "web2")
    aggregator.report(honest, other)
    honest.pool.work(3)
    other.pool.work(100)
    aggregator.now += 2
    aggregator.report(honest, other)
    assert aggregator.program("shop").totals.checkouts == 3
    assert sorted(row.processes for row in aggregator.snapshot().programs) == [1, 1]


def test_names_of_pools_are_cleaned_too(aggregator):
    assert clean_text("db1:5432/shop\x1b\x9b\n") == "db1:5432/shop___"
    process = ModelProcess()
    aggregator.report(process)
    assert aggregator.snapshot("nova").processes[0].pools[0].reading.name == "db1:5432/shop"


def test_a_program_called_host_does_not_collide_with_the_sum_of_its_host():
    """Trap 31."""
    names = ["host", "host_", "host__", "hosts", "a_host", "nova", "_"]
    instances = [plugin_instance(name) for name in names]
    assert instances == ["host_", "host__", "host___", "hosts", "a_host", "nova", "_"]
    assert "host" not in instances


def fleet_of(processes: int) -> Fleet:
    """One program on one host, with so many processes that have reported once."""
    fleet = Fleet(FleetLimits(), 0.0)
    for n in range(processes):
        for datagram in ModelProcess(f"{n}:aaaaaa", born=1.0).report(2.0):
            fleet.receive(datagram, 2.0, 1.7e9)
    return fleet


def calls_of(action: Callable[[], object]) -> int:
    """How many calls it makes, without those of the garbage collector, to which hypothesis listens."""
    calls = 0

    def count(*_: object) -> None:
        nonlocal calls
        calls += 1

    gc.disable()
    sys.setprofile(count)
    try:
        action()
    finally:
        sys.setprofile(None)
        gc.enable()
    return calls


def calls_of_one_report(others: int) -> int:
    """How many it takes to receive a report beside so many processes."""
    fleet = fleet_of(others)
    process = ModelProcess(f"{others}:aaaaaa", born=1.0)
    for now in (2.0, 4.0):
        process.pool.work(5)
        datagrams = process.report(now)
        calls = calls_of(partial(receive_all, fleet, datagrams, now))
    return calls


def receive_all(fleet: Fleet, datagrams: list[bytes], now: float) -> None:
    for datagram in datagrams:
        fleet.receive(datagram, now, 1.7e9)


def calls_of_one_snapshot(processes: int, program: str | None = None) -> int:
    """How many it takes to look at a fleet of so many processes."""
    fleet = fleet_of(processes)
    return calls_of(lambda: fleet.snapshot(3.0, 1.7e9, program))


def test_the_work_of_a_datagram_does_not_grow_with_the_fleet():
    """Trap 40."""
    assert calls_of_one_report(1) == calls_of_one_report(10) == calls_of_one_report(300) < 1000


def test_the_work_of_a_snapshot_grows_only_with_the_processes_that_are_asked_for():
    assert calls_of_one_snapshot(10) == calls_of_one_snapshot(300)
    assert calls_of_one_snapshot(10, "another") == calls_of_one_snapshot(300, "another")
    assert calls_of_one_snapshot(10, "nova") < calls_of_one_snapshot(300, "nova")


#: Use times with one number of 1,700 bits: as the longest duration, and as a count.
ENDLESS = b"\xff" * 240 + b"\x7f"


@pytest.mark.parametrize("use", [bytes((0, 1)) + ENDLESS + b"\x01", bytes((0, 1, 1)) + ENDLESS])
def test_use_times_beyond_all_numbers_are_no_use_times_and_the_fleet_can_be_shown(aggregator, use):
    """No float holds such a number, and no console reads it."""
    site = SITE_NUMBERS.pack(0, len(use), 7, 1, 2000, 3, 4, 5, 6, 7, 0) + use
    sites = SITES_KEY.pack(1) + site
    signs = bytes((1,)) + SECTION.pack(SITES, len(sites)) + sites
    pool, rest = ModelProcess().report(aggregator.now)
    aggregator.receive(pool, rest + HEADER.pack(SIGNS, HEADER.size + len(signs)) + signs)
    snapshot = aggregator.snapshot("nova")
    (holder,) = snapshot.holders
    assert (holder.site.open, holder.site.use) == (1, None)
    content = unpack(b"".join(encode_frame(Frame(Server("connmond"), snapshot))))
    assert decode_frame(content).snapshot.holders == snapshot.holders


def test_a_datagram_for_which_there_is_no_memory_is_refused_and_counted_and_the_next_one_is_taken(
    aggregator, monkeypatch
):
    def fails(datagram: bytes) -> None:
        raise MemoryError

    process = ModelProcess()
    with monkeypatch.context() as patched:
        patched.setattr("poolhouse.fleet.fleet.decode_message", fails)
        assert aggregator.receive(*process.report(aggregator.now)) == ["there is no memory left"] * 2
    aggregator.report(process)
    snapshot = aggregator.snapshot()
    assert snapshot.health.over_limit == (("memory", 2),)
    assert snapshot.fleet.processes == 1
    assert not aggregator.fleet.is_torn


def test_a_fleet_for_whose_mending_there_is_no_memory_is_mended_later_and_takes_nothing_before(
    aggregator, monkeypatch
):
    def fails(*_: object, **__: object) -> None:
        raise MemoryError

    process, other = ModelProcess(), ModelProcess("2:bbbbbb")
    with monkeypatch.context() as patched:
        patched.setattr("poolhouse.fleet.fleet.Fleet._take_report", fails)
        patched.setattr("poolhouse.fleet.fleet.make_anew", fails)
        assert aggregator.receive(*process.report(aggregator.now)) == [NO_MEMORY] * 2
    assert aggregator.fleet.is_torn
    assert aggregator.receive(*other.report(aggregator.now)) == [NO_MEMORY] * 2
    aggregator.now += MENDING_PERIOD
    aggregator.report(process, other)
    assert not aggregator.fleet.is_torn
    assert aggregator.fleet.mended == 1
    assert aggregator.snapshot().fleet.processes == 2
