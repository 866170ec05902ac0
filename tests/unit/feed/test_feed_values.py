"""A fleet from value lists, as ``HELO`` consoles and the directive ``monitor`` get them."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolhouse.export.collectd import console_datagram, value_lists
from poolhouse.feed.protocol.values import PartialFleet
from poolhouse.fleet.snapshot import Peaks, Rates, Row, Snapshot, Totals
from poolhouse.wire.decode import decode_packet
from poolhouse.wire.values import DERIVE, GAUGE, Identifier, ValueList


def values(
    host: str, instance: str, kind: str, name: str, *numbers: float, interval: float | None = 10.0
) -> ValueList:
    identifier = Identifier(host, "sqlalchemy", instance, kind, name)
    return ValueList(
        identifier, 1.7e9, interval, bytes([GAUGE if kind == "count" else DERIVE] * len(numbers)), numbers
    )


def tell(fleet: PartialFleet, now: float, host: str = "web1", instance: str = "shop", **numbers: float) -> None:
    """Send values by their type instance; names that end in ``_s`` are of type derive."""
    for name, number in numbers.items():
        kind = "derive" if name.endswith("_s") else "count"
        fleet.receive(values(host, instance, kind, name.removesuffix("_s"), number), now)


def look(fleet: PartialFleet, now: float) -> Snapshot:
    """The snapshot a second later, when the newest values count."""
    return fleet.snapshot(now + 1.0, 1.7e9)


def program(snapshot: Snapshot, name: str = "shop") -> Row:
    (row,) = [row for row in snapshot.programs if row.name == name]
    return row


def test_gauges_become_the_fields_of_a_row() -> None:
    fleet = PartialFleet(0.0)
    tell(fleet, 0.0, numprocs=2, numpools=3, checkedin=4, checkedout=5, detached=1, connections=10, waiting=6)
    tell(fleet, 0.0, max=15, maxidle=5, minidle=0)
    row = program(look(fleet, 0.0))
    assert (row.processes, row.pools, row.idle, row.used, row.detached, row.waiting) == (2, 3, 4, 5, 1, 6)
    assert (row.connections, row.max_open, row.max_idle, row.min_idle) == (10, 15, 5, 0)


def test_what_is_not_sent_is_not_known() -> None:
    fleet = PartialFleet(0.0)
    tell(fleet, 0.0, checkedout=5)
    row = program(look(fleet, 0.0))
    assert (row.waiting, row.max_open, row.processes, row.recent.wait, row.totals.commits) == (None,) * 5


def test_a_program_on_two_hosts_is_one_row_and_hosts_are_rows_of_their_own() -> None:
    fleet = PartialFleet(0.0)
    tell(fleet, 0.0, "web1", "shop", checkedout=5)
    tell(fleet, 0.0, "web2", "shop", checkedout=2)
    tell(fleet, 0.0, "web1", "host", checkedout=6)
    tell(fleet, 0.0, "web2", "host", checkedout=2)
    snapshot = look(fleet, 0.0)
    assert program(snapshot).used == 7
    assert [(row.name, row.used) for row in snapshot.hosts] == [("web1", 6), ("web2", 2)]
    assert snapshot.fleet.used == 8


def test_a_program_called_host_is_a_program() -> None:
    """Trap 31."""
    fleet = PartialFleet(0.0)
    tell(fleet, 0.0, "web1", "host_", checkedout=5)
    tell(fleet, 0.0, "web1", "host__", checkedout=6)
    tell(fleet, 0.0, "web1", "ghost_", checkedout=7)
    assert [row.name for row in look(fleet, 0.0).programs] == ["ghost_", "host", "host_"]


def test_rates_are_differences_by_the_receivers_clock() -> None:
    fleet = PartialFleet(0.0)
    tell(fleet, 0.0, checkouts_s=1000)
    assert program(look(fleet, 0.0)).rates == Rates()
    tell(fleet, 10.0, checkouts_s=1250)
    row = program(look(fleet, 10.0))
    assert (row.rates.checkouts, row.interval_checkouts, row.totals.checkouts) == (25.0, 250, 1250)


def test_a_lost_interval_does_not_double_the_rate() -> None:
    fleet = PartialFleet(0.0)
    tell(fleet, 0.0, checkouts_s=0)
    tell(fleet, 20.0, checkouts_s=500)
    row = program(look(fleet, 20.0))
    assert (row.rates.checkouts, row.interval_checkouts) == (25.0, 250)


def test_two_values_at_almost_the_same_time_tell_no_wild_rate() -> None:
    fleet = PartialFleet(0.0)
    for now, total in ((0.0, 0), (10.0, 100), (10.001, 101), (20.0, 200)):
        tell(fleet, now, checkouts_s=total)
        row = program(look(fleet, now))
        assert row.rates.checkouts in (None, 10.0)


def test_a_total_that_falls_is_never_a_negative_rate() -> None:
    """Trap 45."""
    fleet = PartialFleet(0.0)
    seen: list[tuple[float | None, int | None]] = []
    for now, total in ((0.0, 1000), (10.0, 1100), (20.0, 40), (30.0, 60)):
        tell(fleet, now, checkouts_s=total)
        row = program(look(fleet, now))
        seen.append((row.rates.checkouts, row.totals.checkouts))
    assert seen == [(None, 1000), (10.0, 1100), (None, 1100), (2.0, 1120)]


@given(st.lists(st.tuples(st.floats(0.0, 100.0), st.integers(0, 2**63 - 1)), max_size=20))
def test_no_sequence_of_totals_gives_a_negative_rate_or_a_falling_total(steps: list[tuple[float, int]]) -> None:
    """Trap 45."""
    fleet, now, last = PartialFleet(0.0), 0.0, 0
    for elapsed, total in steps:
        now += elapsed
        tell(fleet, now, numprocs=1, checkouts_s=total)
        row = fleet.snapshot(now, 1.7e9).fleet
        assert (row.rates.checkouts or 0.0) >= 0.0
        if row.totals.checkouts is not None and elapsed < 50.0:
            assert row.totals.checkouts >= last
        last = row.totals.checkouts or 0


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf, -1.0, 1e300])
def test_a_number_that_is_no_count_is_not_known(number: float) -> None:
    """Trap 44: a NaN gauge ended the earlier console."""
    fleet = PartialFleet(0.0)
    tell(fleet, 0.0, checkedout=5, checkedin=1)
    tell(fleet, 10.0, checkedout=number, checkedin=1)
    row = program(look(fleet, 10.0))
    assert (row.used, row.idle) == (None, 1)


def test_rows_go_stale_and_then_away() -> None:
    fleet = PartialFleet(0.0)
    tell(fleet, 0.0, "web1", "shop", checkedout=5)
    tell(fleet, 0.0, "web1", "host", checkedout=5)
    assert [program(fleet.snapshot(now, 1.7e9)).is_stale for now in (1.0, 19.9, 20.0, 49.9)] == [
        False,
        False,
        True,
        True,
    ]
    gone = fleet.snapshot(50.0, 1.7e9)
    assert (gone.programs, gone.hosts, gone.fleet.used, gone.fleet.age) == ((), (), None, None)


def test_age_and_interval_are_those_of_the_newest_values() -> None:
    fleet = PartialFleet(0.0)
    tell(fleet, 0.0, "web1", "shop", checkedout=5)
    tell(fleet, 4.0, "web2", "shop", checkedout=5)
    row = program(fleet.snapshot(7.0, 1.7e9))
    assert (row.age, row.interval, row.is_stale) == (3.0, 10.0, False)


def test_maxima_are_kept() -> None:
    fleet = PartialFleet(0.0)
    for now, used in ((0.0, 3), (10.0, 9), (20.0, 4)):
        tell(fleet, now, numprocs=1, checkedout=used, checkedin=0, detached=0, checkouts_s=now * 2)
        snapshot = look(fleet, now)
    assert program(snapshot).peaks == Peaks(processes=1, connections=9, used=9, checkouts=20)
    assert snapshot.fleet.peaks.used == 9


def test_half_of_a_moment_is_never_taken_for_a_maximum() -> None:
    fleet = PartialFleet(0.0)
    tell(fleet, 0.0, checkedin=10, checkedout=0, detached=0)
    look(fleet, 0.0)
    tell(fleet, 10.0, checkedin=10, checkedout=0)
    tell(fleet, 20.0, checkedout=10)
    assert program(fleet.snapshot(20.1, 1.7e9)).connections == 10
    tell(fleet, 20.1, checkedin=0, detached=0)
    row = program(look(fleet, 20.2))
    assert (row.used, row.connections, row.peaks.connections) == (10, 10, 10)


@pytest.mark.parametrize(
    "other",
    [
        ValueList(Identifier("web1", "cpu", "0", "count", "checkedout"), 1.7e9, 10.0, b"\1", (1.0,)),
        values("web1", "shop", "duration", "wait-p99", 1.0),
        values("web1", "shop", "count", "checkedout", 1.0, 2.0),
        values("web1", "shop", "count", "checkedout"),
        values("", "shop", "count", "checkedout", 1.0),
        values("web1", "", "count", "checkedout", 1.0),
    ],
)
def test_other_value_lists_are_refused_and_counted(other: ValueList) -> None:
    fleet = PartialFleet(0.0)
    assert not fleet.receive(other, 0.0)
    snapshot = look(fleet, 0.0)
    assert snapshot.programs == ()
    assert (snapshot.health.received, snapshot.health.refused) == (1, 1)


def test_a_type_instance_of_a_later_server_does_no_harm() -> None:
    fleet = PartialFleet(0.0)
    assert fleet.receive(values("web1", "shop", "count", "something-new", 1.0), 0.0)


def test_rows_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("poolhouse.feed.protocol.values.MAX_SERIES", 3)
    fleet = PartialFleet(0.0)
    for number in range(5):
        tell(fleet, 0.0, f"web{number}", checkedout=1)
    snapshot = look(fleet, 0.0)
    assert program(snapshot).used == 3
    assert snapshot.health.over_limit == (("rows", 2),)


def test_names_cannot_command_the_terminal() -> None:
    fleet = PartialFleet(0.0)
    tell(fleet, 0.0, "web1", "shop\x1b[2J", checkedout=1)
    (row,) = look(fleet, 0.0).programs
    assert row.name == "shop\\x1b[2J"


@pytest.mark.parametrize(("interval", "gone"), [(1e12, 18_000.0), (0.0, 50.0), (None, 50.0), (0.001, 5.0)])
def test_an_absurd_interval_is_bounded(interval: float | None, gone: float) -> None:
    fleet = PartialFleet(0.0)
    fleet.receive(values("web1", "shop", "count", "checkedout", 1.0, interval=interval), 0.0)
    assert fleet.snapshot(gone - 0.1, 1.7e9).programs != ()
    assert fleet.snapshot(gone, 1.7e9).programs == ()


def test_what_our_servers_send_to_the_earlier_console_is_understood_whole() -> None:
    totals = Totals(*range(100, 100 + len(Totals._fields)))
    sent = Row(
        "shop", 2, 3, idle=4, used=5, detached=6, waiting=7, max_open=8, max_idle=9, min_idle=1, totals=totals
    )
    fleet = PartialFleet(0.0)
    for told in value_lists("web1", "shop", sent, 1.7e9):
        if (datagram := console_datagram(told)) is not None:
            (received,) = decode_packet(datagram)
            assert isinstance(received, ValueList)
            assert fleet.receive(received, 0.0)
    row = program(look(fleet, 0.0))
    gauges = (
        "processes",
        "pools",
        "idle",
        "used",
        "detached",
        "waiting",
        "max_open",
        "max_idle",
        "min_idle",
        "totals",
    )
    assert [getattr(row, name) for name in gauges] == [getattr(sent, name) for name in gauges]
