import math

import pytest

from poolhouse.export.collectd import COUNTS, MAX_DERIVE, console_datagram, holder_lists, value_lists
from poolhouse.fleet.snapshot import Holder, Row, Times, Totals
from poolhouse.meter.histogram import Histogram
from poolhouse.meter.signs import SiteReading
from poolhouse.wire.decode import decode_packet
from poolhouse.wire.layout import DERIVES
from poolhouse.wire.values import DERIVE, GAUGE, Identifier, ValueList

SEED_NAMES = {
    *(f"count-{name}" for name in ("checkedin", "checkedout", "connections", "detached", "numpools", "numprocs")),
    *(f"derive-{name}" for name in ("checkouts", "connects", "disconnects", "invalidated")),
    *(f"derive-{name}" for name in ("commits", "rollbacks", "transactions")),
}
FURTHER_NAMES = {
    *(f"count-{name}" for name in ("waiting", "max", "maxidle", "minidle")),
    *(f"derive-{name}" for name in ("timeouts", "acquireerrors", "connecterrors")),
    *(f"duration-{what}-{q}" for what in ("wait", "use", "create") for q in ("p50", "p95", "p99")),
    *(f"total_time_in_ms-{what}" for what in ("wait", "use", "create")),
}


def histogram(*milliseconds: float) -> Histogram:
    filled = Histogram()
    filled.record_all([int(ms * 1e6) for ms in milliseconds])
    return filled


def full_row() -> Row:
    """A row in which every field has a value of its own."""
    return Row(
        "nova",
        processes=2,
        pools=3,
        idle=4,
        used=5,
        detached=6,
        waiting=7,
        max_open=80,
        max_idle=50,
        min_idle=9,
        totals=Totals(*range(100, 110)),
        recent=Times(histogram(100), histogram(200), histogram(300)),
        since_start=Times(histogram(100, 50.9), histogram(200), histogram(300)),
    )


def by_name(row: Row, which: str = "all") -> dict[str, float]:
    told = list(value_lists("web1", "nova", row, 1_700_000_000.5, which))
    assert all(one.identifier[:3] == ("web1", "sqlalchemy", "nova") for one in told)
    assert all((one.time, one.interval) == (1_700_000_000.5, None) for one in told)
    return {f"{one.identifier.type}-{one.identifier.type_instance}": one.values[0] for one in told}


def test_a_row_is_told_under_the_seeds_names_and_the_further_ones_of_the_vocabulary():
    assert set(by_name(full_row())) == SEED_NAMES | FURTHER_NAMES


def test_values_earlier_tells_the_seeds_thirteen_only():
    assert set(by_name(full_row(), "earlier")) == SEED_NAMES


def test_every_value_is_the_field_that_its_name_says():
    values = by_name(full_row())
    expected = {
        "count-checkedin": 4, "count-checkedout": 5, "count-connections": 15, "count-detached": 6,
        "count-numpools": 3, "count-numprocs": 2, "count-waiting": 7, "count-max": 80, "count-maxidle": 50,
        "count-minidle": 9, "derive-checkouts": 100, "derive-connects": 101, "derive-disconnects": 102,
        "derive-invalidated": 103, "derive-commits": 104, "derive-rollbacks": 105, "derive-transactions": 106,
        "derive-timeouts": 107, "derive-acquireerrors": 108, "derive-connecterrors": 109,
        "total_time_in_ms-wait": 150, "total_time_in_ms-use": 200, "total_time_in_ms-create": 300,
    }  # fmt: skip
    assert {name: values[name] for name in expected} == expected
    # The histogram's guarantee.
    assert values["duration-wait-p99"] == pytest.approx(0.1, rel=0.044)
    assert values["duration-use-p50"] == pytest.approx(0.2, rel=0.044)
    assert values["duration-create-p95"] == pytest.approx(0.3, rel=0.044)


def test_what_a_row_does_not_know_is_left_out():
    row = Row(
        "nova", used=1, totals=Totals(checkouts=2), recent=Times(Histogram()), since_start=Times(Histogram())
    )
    assert by_name(row) == {
        "count-checkedout": 1,
        "count-connections": 1,
        "derive-checkouts": 2,
        "total_time_in_ms-wait": 0,
    }


def test_a_total_beyond_what_collectd_holds_stays_at_the_largest():
    """Trap 28."""
    assert by_name(Row("nova", totals=Totals(checkouts=1 << 70))) == {"derive-checkouts": MAX_DERIVE}


def test_no_two_fields_share_a_name():
    assert len(set(COUNTS.values())) == len(COUNTS)
    assert set(DERIVES.values()) == set(Totals._fields)


def test_a_console_is_sent_whole_seconds_and_all_eight_parts_in_ascii():
    """As earlier_peers.md, 10, has it; the part numbers are collectd's."""
    told = ValueList(
        Identifier("wéb1", "sqlalchemy", "nova", "count", "checkedout"),
        1_700_000_000.9,
        10.0,
        bytes([GAUGE]),
        (5.0,),
    )
    datagram = console_datagram(told)
    assert datagram is not None
    kinds, at = [], 0
    while at < len(datagram):
        kinds.append(int.from_bytes(datagram[at : at + 2], "big"))
        at += int.from_bytes(datagram[at + 2 : at + 4], "big")
    assert sorted(kinds) == [0, 1, 2, 3, 4, 5, 6, 7]
    (decoded,) = decode_packet(datagram)
    assert isinstance(decoded, ValueList)
    assert (decoded.identifier.host, decoded.time, decoded.interval) == ("w\\xe9b1", 1_700_000_000.0, 10.0)
    assert decoded.values == (5.0,)


def test_a_console_is_sent_counts_and_derives_only():
    sent = [one for one in value_lists("web1", "nova", full_row(), 0.0) if console_datagram(one)]
    assert {one.identifier.type for one in sent} == {"count", "derive"}


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_console_is_not_sent_what_is_no_number(value):
    """Trap 44."""
    told = ValueList(Identifier("h", "sqlalchemy", "p", "count", "x"), 1.0, 1.0, bytes([GAUGE]), (value,))
    assert console_datagram(told) is None


def test_a_console_is_not_sent_a_value_of_another_kind_than_its_types():
    told = ValueList(Identifier("h", "sqlalchemy", "p", "derive", "x"), 1.0, 1.0, bytes([DERIVE]), (1.5,))
    assert console_datagram(told) is None


def test_a_console_is_not_sent_lists_of_several_values():
    told = ValueList(Identifier("h", "sqlalchemy", "p", "count", "x"), 1.0, 1.0, bytes([GAUGE] * 2), (1.0, 2.0))
    assert console_datagram(told) is None


def test_a_line_that_holds_connections_has_values_of_its_own():
    site = SiteReading("shop/views.py:88 in cart", 2, 9.5, 10, 0, 20.25)
    told = list(holder_lists(Holder("shop", 3, site), 1_700_000_000.5))
    assert all(one.identifier[:3] == ("", "sqlalchemy", "shop") for one in told)
    assert {str(one.identifier).rpartition("/")[2]: one.values[0] for one in told} == {
        "count-open-shop_views.py:88 in cart": 2.0,
        "total_time_in_ms-held-shop_views.py:88 in cart": 20_250,
        "duration-oldest-shop_views.py:88 in cart": 9.5,
    }


def test_a_line_without_open_connections_has_no_oldest_and_a_long_one_keeps_its_end():
    site = SiteReading("x" * 300 + ".py:88 in cart")
    told = list(holder_lists(Holder("host", 3, site), 1.0))
    assert [one.identifier.type for one in told] == ["count", "total_time_in_ms"]
    assert {one.identifier.plugin_instance for one in told} == {"host_"}
    assert all(len(one.identifier.type_instance) == 120 for one in told)
    assert told[0].identifier.type_instance.endswith(".py:88 in cart")
