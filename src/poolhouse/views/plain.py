"""The programs as plain text, for scripts, logs and pipes."""

from datetime import tzinfo

from poolhouse.fleet.snapshot import Snapshot
from poolhouse.views.column import Sheet
from poolhouse.views.fleet_table import fleet_table
from poolhouse.views.header import fleet_header
from poolhouse.views.history import Past
from poolhouse.views.line import Line, Span, stripped, text_of
from poolhouse.views.units import time_of_day


def lines(snapshot: Snapshot, width: int, zone: tzinfo | None = None) -> tuple[Line, ...]:
    """The fleet's totals and the table of programs, as lines of at most `width` cells."""
    status = (Span(time_of_day(snapshot.wall_time, zone)),)
    table = fleet_table("program")
    sheet = Sheet(table, table.arranged(snapshot.programs), width)
    head = fleet_header(snapshot, Past(), width, status)
    rows = map(sheet.line, range(len(sheet.rows)))
    return tuple(map(stripped, (*head, (), sheet.heading(), *rows)))


def text(snapshot: Snapshot, width: int = 80, zone: tzinfo | None = None) -> str:
    """The same without tones, a line each."""
    return "\n".join(text_of(line) for line in lines(snapshot, width, zone)) + "\n"
