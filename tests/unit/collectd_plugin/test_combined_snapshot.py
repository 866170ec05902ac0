from poolhouse.collectd_plugin.combined import combined
from poolhouse.fleet.snapshot import Health, Peaks, Rates, Row, Snapshot, Times, Totals
from poolhouse.meter.histogram import Histogram

HEALTH = Health(received=12)
WAIT = Times(wait=Histogram())


def snapshot(fleet: Row, *programs: Row, hosts: tuple[Row, ...] = ()) -> Snapshot:
    return Snapshot(wall_time=5.0, fleet=fleet, programs=programs, hosts=hosts, health=HEALTH)


def reported_row(name: str) -> Row:
    return Row(
        name, processes=2, pools=2, idle=1, used=3, detached=0, waiting=1, max_open=10, full_pools=0,
        totals=Totals(checkouts=100, timeouts=2), rates=Rates(checkouts=5.0, timeouts=0.0),
        peaks=Peaks(processes=4, connections=9, used=8, used_bound=9), recent=WAIT, age=0.5, interval=2.0,
    )  # fmt: skip


def forwarded_row(name: str) -> Row:
    """As an earlier server tells it: thirteen values, no times, no timeouts, nobody waiting, no maximum."""
    return Row(
        name, processes=1, pools=1, idle=5, used=6, detached=0, totals=Totals(checkouts=7),
        rates=Rates(checkouts=1.0), peaks=Peaks(processes=1, connections=11, used=7), age=3.0, interval=10.0,
        is_stale=True,
    )  # fmt: skip


def test_without_anything_forwarded_the_reported_picture_stays_as_it_is():
    reported = snapshot(reported_row(""), reported_row("nova"))
    assert combined(reported, snapshot(Row(""))) is reported


def test_without_anything_reported_the_fleet_is_what_is_forwarded_and_its_limits_are_known():
    forwarded = forwarded_row("")._replace(max_open=10)
    both = combined(snapshot(Row("", processes=0)), snapshot(forwarded, forwarded_row("nova")))
    assert both.fleet == forwarded


def test_rows_of_one_name_are_added_and_others_stand_side_by_side():
    both = combined(
        snapshot(reported_row(""), reported_row("nova"), hosts=(reported_row("web1"),)),
        snapshot(forwarded_row(""), forwarded_row("glance"), forwarded_row("nova"), hosts=(forwarded_row("db1"),)),
    )
    assert [row.name for row in both.programs] == ["glance", "nova"]
    assert [row.name for row in both.hosts] == ["db1", "web1"]
    assert both.programs[0] == forwarded_row("glance")
    assert both.hosts == (forwarded_row("db1"), reported_row("web1"))
    assert both.health == HEALTH


def test_a_sum_holds_what_either_side_knows():
    row = combined(
        snapshot(reported_row(""), reported_row("nova")), snapshot(Row(""), forwarded_row("nova"))
    ).programs[0]
    assert (row.processes, row.pools, row.idle, row.used, row.connections) == (3, 3, 6, 9, 15)
    assert row.waiting == 1
    assert row.max_open is None  # One side's limit is not known.
    assert (row.totals.checkouts, row.totals.timeouts, row.totals.commits) == (107, 2, None)
    assert row.rates.checkouts == 6.0
    assert row.recent is WAIT
    assert (row.age, row.interval, row.is_stale) == (0.5, 10.0, False)


def test_peaks_of_a_sum_are_the_largest_that_is_certain():
    row = combined(
        snapshot(reported_row(""), reported_row("nova")), snapshot(Row(""), forwarded_row("nova"))
    ).programs[0]
    assert row.peaks.processes == 4
    assert row.peaks.connections == 15  # Now, more than either side ever had alone.
    assert row.peaks.used == 9
    assert row.peaks.used_bound is None
