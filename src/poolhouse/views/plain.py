"""The programs as plain text, for scripts, logs and pipes."""

from datetime import tzinfo
from typing import Any

from poolhouse.fleet.snapshot import Snapshot
from poolhouse.views.column import Sheet
from poolhouse.views.fleet_table import causes_of, fleet_table
from poolhouse.views.header import fleet_header, missing_nodes, program_header
from poolhouse.views.history import Past
from poolhouse.views.holder_table import fleet_holders, holder_table, line_causes
from poolhouse.views.line import Line, Span, cells, stripped, text_of
from poolhouse.views.pool_table import POOL_TABLE, pool_entries
from poolhouse.views.units import time_of_day
from poolhouse.views.verdict_line import tells_verdicts, verdict_lines


def lines(
    snapshot: Snapshot, width: int, zone: tzinfo | None = None, program: str | None = None
) -> tuple[Line, ...]:
    """The fleet's totals and the table of programs, as lines of at most `width` cells.

    If the processes report who holds connections, the main verdict comes first, in full, and the holders come
    last. Missing nodes of the service are named in the first line of the totals.

    With a `program` whose processes are in the snapshot: its totals and the table of its pools.
    """
    time = Span(time_of_day(snapshot.wall_time, zone))
    missing = next((one for one in missing_nodes(snapshot.health) if cells(one.text) <= width // 2), None)
    status = (missing, Span("  "), time) if missing else (time,)
    sheet: Sheet[Any]
    if program is None:
        table = fleet_table(
            "program",
            causes=causes_of(snapshot.verdicts, "program", snapshot.programs if tells_verdicts(snapshot) else ()),
        )
        sheet = Sheet(table, table.arranged(snapshot.programs), width)
        head = fleet_header(snapshot, Past(), width, status)
    else:
        sheet = Sheet(POOL_TABLE, POOL_TABLE.arranged(pool_entries(snapshot)), width)
        head = program_header(snapshot, program, Past(), width, status)
    rows = map(sheet.line, range(len(sheet.rows)))
    told = [*head, (), sheet.heading(), *rows]
    if tells_verdicts(snapshot):
        told[:0] = verdict_lines(snapshot.verdicts, snapshot.fleet, width)
        told += _holders(snapshot, program, width)
    return tuple(map(stripped, told))


def _holders(snapshot: Snapshot, program: str | None, width: int) -> list[Line]:
    """The table of the lines that hold connections."""
    entries = fleet_holders(snapshot, program)
    if not entries:
        return []
    table = holder_table("fleet" if program is None else "program", line_causes(snapshot.verdicts))
    sheet = Sheet(table, table.arranged(entries), width)
    return [(), sheet.heading(), *map(sheet.line, range(len(sheet.rows)))]


def text(snapshot: Snapshot, width: int = 80, zone: tzinfo | None = None) -> str:
    """The same without tones, one row per line."""
    return "\n".join(text_of(line) for line in lines(snapshot, width, zone)) + "\n"
