"""How tables are sorted, filtered, laid out and judged."""

from dataclasses import replace
from itertools import pairwise
from math import nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolhouse.fleet.fleet import Fleet
from poolhouse.fleet.limits import FleetLimits
from poolhouse.fleet.snapshot import Health, Peaks, Rates, Row, Snapshot, Times, UserState
from poolhouse.meter.reading import REST
from poolhouse.views.column import Sheet, Sorting
from poolhouse.views.fleet_table import busiest, fleet_table
from poolhouse.views.header import fleet_header
from poolhouse.views.history import Past
from poolhouse.views.line import cells, text_of
from poolhouse.views.pool_table import NO_POOL, POOL_TABLE, find_pool, pool_entries
from poolhouse.views.standing import is_saturated
from support.reports import report
from support.sample_fleet import CHECKOUT, FLEET, MIGRATE, PROGRAMS, pool, process, with_processes

TABLE = fleet_table("program")


def names(rows) -> list[str]:
    return [row.name for row in rows]


def test_programs_are_sorted_by_use_unless_asked():
    assert names(TABLE.arranged(PROGRAMS)) == ["checkout", "catalog", "billing", "nightly", "migrate"]


def test_sorting_the_other_way_round_turns_the_rows():
    backwards = TABLE.arranged(PROGRAMS, Sorting("USED/MAX", is_reversed=True))
    assert names(backwards) == ["migrate", "nightly", "billing", "catalog", "checkout"]


@given(st.lists(st.integers(0, 3), max_size=12), st.integers(1, 5), st.sampled_from(["", "P1", "x"]))
def test_the_busiest_sums_are_those_whose_rows_come_first(used: list[int], most: int, containing: str):
    fleet = Fleet(FleetLimits(), 0.0)
    for place, one in enumerate(used):
        for datagram in report(f"p{place:02}", token=f"{place}:a", used=one):
            assert fleet.receive(datagram, 0.0, 0.0) is None
    sums = fleet.overview(0.0).programs
    found, total = busiest(sums, most, containing)
    rows = TABLE.arranged([one.state(0.0).row() for one in sums], None, containing)
    assert total == len(rows)
    assert [one.key[1] for one in found] == names(rows)[:most]


def test_names_are_sorted_from_a_to_z():
    assert names(TABLE.arranged(PROGRAMS, Sorting("PROGRAM"))) == sorted(names(PROGRAMS))


@pytest.mark.parametrize("is_reversed", [False, True])
def test_what_is_not_known_comes_last_either_way(is_reversed):
    rows = [Row("b", used=None), Row("a", used=nan), Row("c", used=1)]
    assert names(TABLE.arranged(rows, Sorting("USED/MAX", is_reversed))) == ["c", "a", "b"]


@pytest.mark.parametrize("column", TABLE.columns, ids=lambda column: column.heading)
def test_every_column_can_be_sorted_by(column):
    assert sorted(names(TABLE.arranged(PROGRAMS, Sorting(column.heading)))) == sorted(names(PROGRAMS))


@pytest.mark.parametrize("column", POOL_TABLE.columns, ids=lambda column: column.heading)
def test_every_column_of_pools_can_be_sorted_by(column):
    entries = pool_entries(with_processes())
    assert len(POOL_TABLE.arranged(entries, Sorting(column.heading))) == len(entries)


def test_equal_rows_stand_by_name_so_that_they_stay_where_they_are():
    rows = [Row(name, used=3) for name in "cab"]
    assert names(TABLE.arranged(rows)) == ["a", "b", "c"]


def test_the_filter_looks_at_names_whatever_their_case():
    assert names(TABLE.arranged(PROGRAMS, containing="CAT")) == ["catalog"]
    assert TABLE.arranged(PROGRAMS, containing="nowhere") == []
    entries = POOL_TABLE.arranged(pool_entries(with_processes()), containing="audit")
    assert [entry.name for entry in entries] == ["db2:5432/audit"]


@pytest.mark.parametrize("width", range(20, 260, 7))
def test_no_line_is_wider_than_the_window(width):
    for table, rows in ((TABLE, PROGRAMS), (POOL_TABLE, pool_entries(with_processes()))):
        sheet = Sheet(table, table.arranged(rows), width)
        assert cells(text_of(sheet.heading())) <= width
        assert all(cells(text_of(sheet.line(index))) <= width for index in range(len(sheet.rows)))


def test_columns_are_dropped_from_the_right_as_the_window_narrows():
    shown = [[column.heading for column, _ in Sheet(TABLE, PROGRAMS, width).placed] for width in range(30, 250)]
    assert all(wider[: len(narrower)] == narrower for narrower, wider in pairwise(shown))
    # Nothing is wrong with any of them, so that column gives way.
    assert shown[-1] == [*(column.heading for column in TABLE.columns if column.heading != "WHY"), "WHY"]


def test_80_cells_have_room_for_what_one_wants_to_see_at_once():
    sheet = Sheet(TABLE, PROGRAMS, 80)
    headings = [column.heading for column, _ in sheet.placed][:10]
    assert headings == ["PROGRAM", "PROCS", "USED/MAX", "PEAK", "IDLE", "WAIT", "OUT/S", "WAIT99", "HOLD99", "AGE"]


def test_every_column_of_the_earlier_console_is_there():
    """Last message and interval; processes, connections, checked out: now, ever, in the interval; checkouts."""
    row = Row(
        "nova",
        processes=2,
        used=3,
        idle=1,
        rates=Rates(checkouts=4.4),
        interval_checkouts=5,
        age=6.0,
        interval=7.0,
        interval_peaks=Peaks(connections=8, used=9),
        peaks=Peaks(processes=10, connections=11, used=12, checkouts=13),
    )
    sheet = Sheet(TABLE, (row,), 500)
    headings = [heading.strip("▾▴") for heading in text_of(sheet.heading()).split()]
    told = dict(zip(headings, text_of(sheet.line(0)).split()[1:], strict=True))
    assert (told["AGE"], told["EVERY"], told["OUT/S"]) == ("6s", "7.0s", "4.4")
    assert (told["PROCS"], told["PROCMAX"]) == ("2", "10")
    assert (told["CONNS"], told["CONNMAX"], told["CONNINT"]) == ("4", "11", "8")
    assert (told["USED/MAX"], told["USEDMAX"], told["PEAK"]) == ("3/–", "12", "9")
    assert (told["OUTINT"], told["OUTMAX"]) == ("5", "13")


def test_moving_brings_hidden_columns_into_sight_and_keeps_the_name():
    sheet = Sheet(TABLE, PROGRAMS, 60, moved=12)
    assert [column.heading for column, _ in sheet.placed][:2] == ["PROGRAM", "CONNMAX"]
    assert text_of(sheet.heading()).startswith("  ◂PROGRAM")


def test_a_heading_is_found_by_the_cell_that_was_clicked():
    sheet = Sheet(TABLE, TABLE.arranged(PROGRAMS), 80)
    heading = text_of(sheet.heading())
    for name in ("PROGRAM", "PROCS", "OUT/S", "HOLD99"):
        assert sheet.heading_at(heading.index(name)) == name
    assert sheet.heading_at(0) is None


def test_red_is_never_alone():
    """Whatever is bad has a sign beside it, in the fleet's tables."""
    for row in (CHECKOUT, MIGRATE, CHECKOUT._replace(is_stale=True)):
        for column in TABLE.columns:
            span = column.span(row)
            assert span.tone != "bad" or span.text.endswith("!")


def test_signs_tell_reporting_late_and_full():
    assert [TABLE.sign(row).text for row in TABLE.arranged(PROGRAMS)] == ["!", "●", "●", "●", "○"]


def test_an_upper_bound_says_so():
    entry = pool_entries(with_processes())[0]
    bound = entry._replace(is_bound=True)
    assert POOL_TABLE.column("USED/MAX").span(bound).text == "≤10/10 !"
    assert TABLE.column("PEAK≤").text(CHECKOUT) == "≤120"


def test_a_process_without_pools_shows_its_sums():
    snapshot = with_processes()._replace(processes=(process("web9", "7:abcdef"),))
    (entry,) = pool_entries(snapshot)
    assert (entry.name, entry.used, entry.key) == ("–", 0, ("web9", "7:abcdef", NO_POOL))


def test_a_pool_that_is_gone_is_left_out_and_the_rest_is_named():
    gone, others = pool(1, 0, 0), pool(REST, 3, 0)
    gone = gone._replace(reading=gone.reading._replace(pools=0))
    others = others._replace(reading=others.reading._replace(pools=70))
    snapshot = with_processes()._replace(processes=(process("web1", "7:abcdef", gone, others),))
    assert [entry.name for entry in pool_entries(snapshot)] == ["70 others"]
    assert find_pool(snapshot, ("web1", "7:abcdef", 1)) is None


def test_a_pool_at_its_maximum_with_somebody_waiting_is_saturated():
    row = Row("busy", used=14, max_open=20, full_pools=1, waiting=1, saturated_pools=1)
    assert is_saturated(Snapshot(0.0, FLEET, (row,), (), Health()))


@pytest.mark.parametrize(
    "row",
    [
        Row("full, nobody waits", used=10, max_open=10, full_pools=1, waiting=0),
        Row("somebody waits for a connect", used=1, max_open=10, full_pools=0, waiting=1, saturated_pools=0),
        Row(
            "one is full, another is waited for", used=11, max_open=20, full_pools=1, waiting=1, saturated_pools=0
        ),
        Row("nothing known"),
    ],
)
def test_anything_less_is_not(row):
    assert not is_saturated(Snapshot(0.0, FLEET, (row,), (), Health()))


def test_rows_of_a_source_that_tells_no_full_pools_are_judged_by_their_sums():
    row = Row("earlier", used=10, max_open=10, waiting=1, rates=Rates())
    assert is_saturated(Snapshot(0.0, FLEET, (row,), (), Health()))


def test_a_pool_of_one_that_does_its_work_is_not_red():
    row = FLEET._replace(name="cron", pools=1, used=1, max_open=1, waiting=0, full_pools=1, rates=Rates())
    (line,) = (Sheet(TABLE, [row], 80).line(0),)
    assert all(span.tone != "bad" for span in line)
    assert text_of(line).startswith(" ● cron ")
    head = fleet_header(Snapshot(0.0, row, (row,), (), Health()), Past(), 80, ())
    assert "1/1 pools full" in text_of(head[0])
    assert all(span.tone != "bad" for one in head for span in one)


def test_what_the_kernel_dropped_and_what_the_csv_file_lost_are_in_the_header_if_there_is_any():
    def third(health: Health) -> str:
        return text_of(fleet_header(Snapshot(0.0, FLEET, (), (), health), Past(), 200, ())[2])

    assert "kernel" not in third(Health())
    assert "CSV" not in third(Health())
    told = third(Health(received=9, dropped=1009, unwritten=3))
    assert "kernel dropped 1009 !" in " ".join(told.split()).replace(",", "")
    assert "CSV writes failed 3" in " ".join(told.split())


def test_what_was_refused_is_told_with_its_reasons_and_who_uses_an_old_password():
    users = (
        UserState("alice", 9, 1, 0.0, 2.0),
        UserState("bob", 9, 1, 0.0, 900.0),
        UserState("eve", 9, 0, 0.0, None),
    )
    health = Health(refused=9, refusals=(("host", 1), ("replayed", 5), ("unsigned", 3)), users=users)
    told = " ".join(text_of(fleet_header(Snapshot(0.0, FLEET, (), (), health), Past(), 300, ())[2]).split())
    assert "refused 9 (replayed 5, unsigned 3) old password: alice received" in told


@pytest.mark.parametrize(("waiting", "is_bad"), [(0, False), (1, True), (None, True)])
def test_at_its_maximum_a_pool_is_red_while_callers_wait_or_may_wait(waiting, is_bad):
    row = FLEET._replace(name="cron", pools=1, used=1, max_open=1, waiting=waiting, full_pools=1)
    line = text_of(Sheet(TABLE, [row], 80).line(0))
    assert (line.startswith(" ! "), "1/1 !" in line) == (is_bad, is_bad)


def test_columns_in_which_nothing_is_known_give_way():
    """The feed of an earlier collectd tells neither waits nor times, but connections."""
    rows = [
        row._replace(waiting=None, recent=Times(), rates=Rates(), interval_peaks=Peaks(), max_open=None)
        for row in PROGRAMS
    ]
    heading = text_of(Sheet(TABLE, rows, 80).heading())
    assert "CONNS" in heading
    assert "WAIT" not in heading
    assert len(heading) <= 80
    known = [*rows[:-1], rows[-1]._replace(waiting=0)]
    assert "WAIT " in text_of(Sheet(TABLE, known, 80).heading())


def test_a_column_that_gave_way_can_still_be_reached():
    rows = [row._replace(waiting=None) for row in PROGRAMS]
    sheet = Sheet(TABLE, rows, 80)
    seen = {
        column.heading for moved in range(len(TABLE.columns)) for column, _ in replace(sheet, moved=moved).placed
    }
    assert seen == {column.heading for column in TABLE.columns}
