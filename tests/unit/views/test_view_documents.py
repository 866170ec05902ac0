"""Tables and pages as documents: the snapshot that makes them is `support.sample_fleet`."""

from datetime import UTC
from pathlib import Path

import pytest

from poolhouse.views import plain
from poolhouse.views.as_json import json_text
from poolhouse.views.column import Sheet, Table
from poolhouse.views.event_table import event_table
from poolhouse.views.fleet_table import fleet_table
from poolhouse.views.header import fleet_header, program_header
from poolhouse.views.history import History
from poolhouse.views.legend import legend
from poolhouse.views.line import Line, text_of
from poolhouse.views.pool_page import pool_header, pool_page
from poolhouse.views.pool_table import POOL_TABLE, pool_entries
from support.documents import assert_document
from support.sample_fleet import SNAPSHOT, moment, with_processes

DOCUMENTS = Path(__file__).parent / "documents"


def document(*lines: Line) -> str:
    return "".join(f"{text_of(line).rstrip()}\n" for line in lines)


def sheet_of(table: Table, rows, width: int) -> str:
    sheet = Sheet(table, table.arranged(rows), width)
    return document(sheet.heading(), *map(sheet.line, range(len(sheet.rows))))


@pytest.fixture(scope="module")
def history() -> History:
    """Forty seconds in which the fleet filled up."""
    history = History()
    for second in range(-39, 1):
        history.add(moment(second, 180 + 3 * second, max(0, second + 12), 1840 + 20 * second))
    return history


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_programs_as_plain_text(width):
    assert_document(DOCUMENTS / f"programs-{width}.txt", plain.text(SNAPSHOT, width, UTC))


@pytest.mark.parametrize("width", [80, 200])
def test_header_of_the_fleet_with_its_past(width, history):
    assert_document(
        DOCUMENTS / f"header-{width}.txt", document(*fleet_header(SNAPSHOT, history.of("fleet"), width, ()))
    )


@pytest.mark.parametrize("width", [80, 200])
def test_hosts(width, history):
    assert_document(
        DOCUMENTS / f"hosts-{width}.txt", sheet_of(fleet_table("host", history), SNAPSHOT.hosts, width)
    )


@pytest.mark.parametrize("width", [80, 120, 200])
def test_a_program_with_its_processes(width, history):
    snapshot = with_processes()
    header = program_header(snapshot, "checkout", history.of("program", "checkout"), width, ())
    table = sheet_of(POOL_TABLE, pool_entries(snapshot), width)
    assert_document(DOCUMENTS / f"program-{width}.txt", document(*header) + table)


@pytest.mark.parametrize(("width", "height"), [(60, 19), (80, 19), (80, 40), (200, 55)])
def test_a_pool(width, height):
    entry = pool_entries(with_processes())[0]
    lines = (*pool_header(entry, width, ()), *pool_page(entry, width, height))
    assert_document(DOCUMENTS / f"pool-{width}x{height}.txt", document(*lines))


def test_a_page_of_a_pool_fits_a_window_of_24_lines():
    assert len(pool_page(pool_entries(with_processes())[0], 80, 24 - 5)) == 24 - 5


def test_events():
    assert_document(DOCUMENTS / "events-100.txt", sheet_of(event_table(UTC), SNAPSHOT.events, 100))


@pytest.mark.parametrize("width", [80, 200])
def test_the_legend_explains_every_column_once(width):
    tables = [("programs", fleet_table("program")), ("one program", POOL_TABLE)]
    text = document(*legend(tables, [("q", "quit")], width))
    assert_document(DOCUMENTS / f"legend-{width}.txt", text)


def test_json_has_raw_numbers_with_units_in_its_keys():
    program = with_processes()._replace(programs=SNAPSHOT.programs[2:3], hosts=(), processes=())
    assert_document(DOCUMENTS / "checkout.json", json_text(program))
