"""The programs as plain text, for scripts, logs and pipes."""

from datetime import tzinfo
from typing import Any

from poolhouse.fleet.snapshot import Snapshot
from poolhouse.views.column import Sheet
from poolhouse.views.fleet_table import fleet_table
from poolhouse.views.header import fleet_header, program_header
from poolhouse.views.history import Past
from poolhouse.views.line import Line, Span, stripped, text_of
from poolhouse.views.pool_table import POOL_TABLE, pool_entries
from poolhouse.views.units import time_of_day


def lines(
    snapshot: Snapshot, width: int, zone: tzinfo | None = None, program: str | None = None
) -> tuple[Line, ...]:
    """The fleet's totals and the table of programs, as lines of at most `width` cells.

    With a `program` whose processes the snapshot tells, its totals and the table of its pools.
    """
    status = (Span(time_of_day(snapshot.wall_time, zone)),)
    sheet: Sheet[Any]
    if program is None:
        table = fleet_table("program")
        sheet = Sheet(table, table.arranged(snapshot.programs), width)
        head = fleet_header(snapshot, Past(), width, status)
    else:
        sheet = Sheet(POOL_TABLE, POOL_TABLE.arranged(pool_entries(snapshot)), width)
        head = program_header(snapshot, program, Past(), width, status)
    rows = map(sheet.line, range(len(sheet.rows)))
    return tuple(map(stripped, (*head, (), sheet.heading(), *rows)))


def text(snapshot: Snapshot, width: int = 80, zone: tzinfo | None = None) -> str:
    """The same without tones, a line each."""
    return "\n".join(text_of(line) for line in lines(snapshot, width, zone)) + "\n"
