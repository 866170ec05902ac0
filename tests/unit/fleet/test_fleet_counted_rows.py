"""What exporters read of a row: counts at powers of two, and the name of its pools."""

from hypothesis import given
from hypothesis import strategies as st

from poolhouse.fleet.distribution import distribution_of
from poolhouse.fleet.fleet import Fleet
from poolhouse.fleet.limits import FleetLimits
from poolhouse.meter.histogram import Histogram
from support.reports import report

DURATIONS = st.lists(st.integers(0, 2 * 10**12) | st.integers(0, 40).map(lambda n: 2**n), max_size=200)


@given(DURATIONS, st.integers(-1, 3))
def test_the_counts_at_powers_of_two_are_the_true_ones(durations: list[int], scale: int) -> None:
    histogram = Histogram()
    histogram.record_all(durations)
    histogram.downscale(scale)
    exponents = range(-20, 11, 1 if scale >= 0 else 2)
    true = [sum(ns <= 2.0**exponent * 1e9 for ns in durations) for exponent in exponents]
    # What is longer than the last bound is counted in the last bucket.
    assert distribution_of(histogram).up_to_powers() == (*true[:-1], len(durations))


def pool_name(*names: str) -> str | None:
    fleet = Fleet(FleetLimits(), 0.0)
    for number, name in enumerate(names):
        for datagram in report("shop", token=f"{number}:a", pool=name):
            assert fleet.receive(datagram, 1.0, 0.0) is None
    ((_, _, state),) = fleet.row_states(fleet.program_rows(1.0), 1.0)
    return state.counted().pool


def test_a_row_has_the_name_that_all_of_its_pools_share_and_none_otherwise() -> None:
    assert pool_name("db1:5432/shop", "db1:5432/shop") == "db1:5432/shop"
    assert pool_name("db1:5432/shop", "db2:5432/shop", "db1:5432/shop") is None


def test_a_counted_row_is_the_row_without_what_is_of_the_last_minutes() -> None:
    fleet, wait = Fleet(FleetLimits(), 0.0), Histogram()
    wait.record_all([1_000_000, 3_000_000])
    for datagram in report("shop", used=2, checkouts=9, wait=wait):
        fleet.receive(datagram, 1.0, 0.0)
    ((host, program, state),) = fleet.row_states(fleet.program_rows(1.0, by_host=True), 1.0)
    whole, counted = state.row(), state.counted()
    assert (host, program, counted.row.name) == ("web1", "shop", "shop")
    assert (counted.row.used, counted.row.totals) == (whole.used, whole.totals) == (2, whole.totals)
    assert counted.wait is not None
    assert counted.wait.histogram() == whole.since_start.wait == wait
    assert counted.create is None
