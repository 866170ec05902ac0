"""connmon's CSV file: its columns, time format, token and order, as its releases wrote them."""

import csv
import io

import pytest

from poolhouse.configuration.service import CSV_COLUMNS
from poolhouse.export.csv import COLUMNS, LINES_AT_ONCE, MEMORY, MOST_FORGOTTEN, CsvTable
from poolhouse.fleet.snapshot import HostProgram, Peaks, Rates, Row

#: As connmon wrote it; and monotonic seconds.
AT = "2026-11-29 06:40:45", 100.0
SHOP = Row(
    "shop",
    processes=2,
    idle=3,
    used=4,
    detached=0,
    rates=Rates(checkouts=3.0),
    peaks=Peaks(processes=3, connections=9, used=8),
)


def table(*columns: str) -> CsvTable:
    return CsvTable(columns or CSV_COLUMNS, "connmon")


def written(ours: CsvTable, programs: list[HostProgram], timestamp: str, now: float) -> str:
    """The lines of an instant at which the fleet has these programs."""
    ours.note(programs, now)
    return "".join(ours.lines(timestamp, now))


def test_the_columns_are_those_that_the_configuration_knows():
    assert tuple(COLUMNS) == CSV_COLUMNS
    assert table().header == ",".join(CSV_COLUMNS) + "\n"


def test_a_row_reads_as_connmons():
    rows = written(table(), [HostProgram("web1", "shop", SHOP)], *AT)
    assert rows == "2026-11-29 06:40:45,connmon,web1,shop,2,7,4,3,9,8,3.0000\n"


def test_rows_are_sorted_by_host_and_program_and_have_the_columns_asked_for():
    programs = [HostProgram("web2", "a", SHOP), HostProgram("web1", "b", SHOP), HostProgram("web1", "a", SHOP)]
    assert written(table("hostname", "progname"), programs, *AT) == "web1,a\nweb1,b\nweb2,a\n"


def test_a_program_without_processes_keeps_its_row_with_zeros_and_its_maxima_for_a_day():
    ours = table("progname", "process_count", "checkout_count", "max_checkedout", "checkouts_per_second")
    written(ours, [HostProgram("web1", "shop", SHOP)], *AT)
    assert written(ours, [], "", AT[1] + MEMORY) == "shop,0,0,8,0.0000\n"
    assert written(ours, [], "", AT[1] + MEMORY + 1) == ""


@pytest.mark.parametrize(
    ("name", "quoted"),
    [
        ('a,"b"\nc', '"a,""b""\nc"'),
        ("a\rb", '"a\rb"'),
        ("a\r\nb", '"a\r\nb"'),
        ('"', '""""'),
        (" a; b\t", " a; b\t"),
        ("Größe 数据库\u2028", "Größe 数据库\u2028"),
    ],
)
def test_names_that_need_it_are_quoted_and_read_back(name, quoted):
    text = written(table("hostname", "progname"), [HostProgram("web1", name, SHOP)], *AT)
    assert text == f"web1,{quoted}\n"
    assert list(csv.reader(io.StringIO(text, newline=""))) == [["web1", name]]


def test_what_a_source_does_not_tell_is_0():
    assert written(table("checkout_count", "max_connections"), [HostProgram("h", "p", Row("p"))], *AT) == "0,0\n"


def test_what_was_noted_of_an_instant_without_lines_is_not_there_at_the_next():
    """Memory may run out in between; by the next instant a program may be gone."""
    ours = table("progname", "process_count")
    ours.note([HostProgram("web1", "shop", SHOP), HostProgram("web1", "till", SHOP)], 100.0)
    assert written(ours, [HostProgram("web1", "shop", SHOP)], "", 101.0) == "shop,2\ntill,0\n"


@pytest.mark.long
def test_names_without_end_do_not_make_the_table_grow_without_end():
    ours = table("progname")
    for first in range(0, 3 * MOST_FORGOTTEN, 1000):
        written(ours, [HostProgram("h", f"p{n}", SHOP) for n in range(first, first + 1000)], "", first)
    assert written(ours, [], "", first + 1.0).count("\n") == MOST_FORGOTTEN


def test_no_step_makes_many_lines_and_every_program_has_one():
    ours = table("hostname", "progname")
    programs = [HostProgram(f"web{n}", "shop", SHOP) for n in range(3 * LINES_AT_ONCE + 1)]
    for at in range(0, len(programs), 7):
        ours.note(programs[at : at + 7], AT[1])
    steps = [text.splitlines() for text in ours.lines(*AT)]
    assert [len(lines) for lines in steps] == [LINES_AT_ONCE] * 3 + [1]
    assert sorted(line for lines in steps for line in lines) == sorted(
        f"{one.host},{one.program}" for one in programs
    )
