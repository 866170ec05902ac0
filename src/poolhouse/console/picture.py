"""The contents of the window as lines, made from the session alone; the widgets paint them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import tzinfo
from typing import Any

from poolhouse.clean import clean
from poolhouse.console.notices import is_fresh, not_told, nothing_yet, status, too_small, trouble
from poolhouse.console.session import Session
from poolhouse.fleet.snapshot import Snapshot
from poolhouse.views.column import Sheet
from poolhouse.views.header import fleet_header, host_header, program_header
from poolhouse.views.holder_table import holder_page
from poolhouse.views.legend import legend
from poolhouse.views.line import Line, Span, cells, cut_line, spread, text_of
from poolhouse.views.pool_page import pool_header, pool_page
from poolhouse.views.units import time_of_day
from poolhouse.views.verdict_line import WHY, WHY_HERE, tells_verdicts, verdict_line, verdict_page

#: The smallest window in which a table is legible.
LEAST_SIZE = (60, 10)
#: Lines above the body: three of the header, and a rule; above them the verdict, if verdicts are reported.
_HEAD_LINES = 4

_PAGES = (("programs", "p"), ("hosts", "h"), ("lines", "l"), ("events", "e"))


@dataclass(frozen=True, slots=True)
class Picture:
    """The contents of the window at one instant.

    Attributes:
        head: The first lines; empty if a notice fills the window.
        sheet: The page's table, if it has one.
        lines: The contents instead of a table: a page of text, or a notice.
        foot: The last line: what the keys do.
        is_notice: Whether the lines are in the middle of the window.
        is_dim: Whether the body is out of date.
        hint: The line above the foot, if there is one.
    """

    head: tuple[Line, ...]
    sheet: Sheet[Any] | None
    lines: tuple[Line, ...]
    foot: Line
    is_notice: bool = False
    is_dim: bool = False
    hint: Line = ()


def picture(
    session: Session,
    width: int,
    height: int,
    now: float,
    zone: tzinfo | None,
    keys: Sequence[tuple[str, str]],
) -> Picture:
    """The contents of the window.

    Args:
        session: The received data, and the user's choices.
        width: Cells of the window.
        height: Lines of the window.
        now: Monotonic seconds, for everything that counts up or down.
        zone: The time zone for times of day; ``None`` for this machine's.
        keys: Every key with its effect, for the legend.
    """
    hint = _hint(session, width)
    height -= bool(hint)
    if width < LEAST_SIZE[0] or height < LEAST_SIZE[1]:
        return Picture((), None, too_small(width, height, LEAST_SIZE), (), is_notice=True)
    foot = _foot(session, width)
    if session.place.page == "legend":
        return Picture((), None, legend(session.tables, keys, width), foot, hint=hint)
    snapshot, link = session.snapshot, session.link
    if snapshot is None or not (snapshot.programs or snapshot.hosts):
        state = status(link, snapshot, now, width, is_paused=session.is_paused, zone=zone)
        title = spread([(Span("poolhouse", "strong"),)], width, state)
        return Picture((title,), None, nothing_yet(link, snapshot, now), foot, is_notice=True, hint=hint)
    if session.place.page == "verdicts":
        return Picture((), None, _verdicts(snapshot, width, zone), foot, is_dim=not is_fresh(link, now), hint=hint)
    warning = trouble(link, snapshot, now, width, zone)
    is_dim = not is_fresh(link, now)
    how = WHY_HERE if session.is_at_verdict else WHY
    first = (_verdict(snapshot, width, zone, how, is_dim=is_dim),) if tells_verdicts(snapshot) else ()
    height -= len(first)
    sheet, lines = _body(session, snapshot, width, height)
    head = _head(
        session, snapshot, width, status(link, snapshot, now, width, is_paused=session.is_paused, zone=zone)
    )
    rule = cut_line(warning, width) if warning is not None else _rule(session, sheet, width, height)
    return Picture((*first, *head, rule), sheet, lines, foot, is_dim=is_dim, hint=hint)


def _hint(session: Session, width: int) -> Line:
    text = session.hint
    return cut_line((Span(f" → {text}", "accent"),), width) if text else ()


def _verdict(snapshot: Snapshot, width: int, zone: tzinfo | None, how: str, *, is_dim: bool) -> Line:
    """The main verdict, and `how` to read more; if it is of an earlier time (`is_dim`), behind that time."""
    if not is_dim:
        return verdict_line(snapshot.verdicts, snapshot.fleet, width, how)
    time = f"{time_of_day(snapshot.wall_time, zone)} "
    said = verdict_line(snapshot.verdicts, snapshot.fleet, width - cells(time), how)
    return (Span(time + text_of(said), "dim"),)


def _verdicts(snapshot: Snapshot, width: int, zone: tzinfo | None) -> tuple[Line, ...]:
    """The page of verdicts, the main one first."""
    if not tells_verdicts(snapshot):
        return ((), (Span("  No process reports enough for a verdict.", "dim"),))
    if not snapshot.verdicts:
        return ((), (Span(" "), *verdict_line((), snapshot.fleet, width - 1)))
    lines: list[Line] = []
    for verdict in snapshot.verdicts:
        page = verdict_page(verdict, width - 2, snapshot.wall_time, zone)
        lines += [*([()] if lines else []), *((Span(" "), *line) if line else line for line in page)]
    return tuple(lines)


def _body_height(height: int) -> int:
    """Lines of the window between its head and its foot."""
    return height - _HEAD_LINES - 1


def _head(session: Session, snapshot: Snapshot, width: int, state: Line) -> tuple[Line, Line, Line]:
    program = session.place.program
    if (entry := session.pool()) is not None:
        return pool_header(entry, width, state)
    if program is not None:
        return program_header(snapshot, program, session.history.of("program", program), width, state)
    if (host := session.place.host) is not None:
        return host_header(snapshot, host, session.history.of("host", host), width, state)
    return fleet_header(snapshot, session.history.of("fleet"), width, state)


def _body(
    session: Session, snapshot: Snapshot, width: int, height: int
) -> tuple[Sheet[Any] | None, tuple[Line, ...]]:
    place = session.place
    if place.page == "pool":
        entry = session.pool()
        if entry is None:
            return None, ((), (Span("  This pool is gone. esc goes back.", "dim"),))
        return None, pool_page(entry, width, _body_height(height))
    if place.page == "program" and all(row.name != place.program for row in snapshot.programs):
        return None, ((), (Span("  No process of this program reports any more. esc goes back.", "dim"),))
    if place.page == "host" and all(row.name != place.host for row in snapshot.hosts):
        return None, ((), (Span("  No process on this host reports any more. esc goes back.", "dim"),))
    if place.page == "line":
        return None, holder_page(session.holders(), width, _body_height(height))
    if place.page == "lines" and not session.row_count():
        return None, ((), (Span("  No process reports which lines hold its connections.", "dim"),))
    if place.page in ("program", "host") and not session.has_details():
        return None, ((), not_told(session.link, place.program, place.host))
    if place.page == "events" and not snapshot.events:
        return None, ((), (Span("  Nothing has happened yet, or the source does not report events.", "dim"),))
    return session.sheet(width), ()


def _rule(session: Session, sheet: Sheet[Any] | None, width: int, height: int) -> Line:
    """The line below the header; on its right the filter, and the number of rows if not all are visible."""
    if sheet is None:
        return (Span("─" * width, "dim"),)
    containing, total = session.arrangement.containing, session.row_count()
    label = ""
    if containing:
        label = f" {len(sheet.rows)} of {total} contain “{clean(containing)}” (esc clears) "
    elif len(sheet.rows) > _body_height(height) - 1:
        label = f" {total:,} rows "
    return (
        Span("─" * max(0, width - cells(label) - 2), "dim"),
        *cut_line((Span(label, "accent"),), width),
        Span("──", "dim"),
    )


def _foot(session: Session, width: int) -> Line:
    page = session.place.page
    spans: list[Span] = []
    for name, key in _PAGES:
        rest = Span(f"{name[1:]} ", "strong" if name == page else "plain")
        spans += [Span("[", "dim"), Span(key, "accent"), Span("]", "dim"), rest]
    spans[-1] = Span(spans[-1].text.rstrip(), spans[-1].tone)
    hints: list[tuple[str, str]] = []
    if session.has_way_back:
        hints.append(("esc", "back"))
    hints.append(("?", "help"))
    if page in ("pool", "line", "verdicts", "legend"):
        hints.append(("↑↓", "scroll"))
    if page in ("programs", "hosts", "lines", "host", "program"):
        hints.append(("↵", "open"))
    if session.table is not None:
        hints += [("/", "filter"), ("s", "sort")]
    hints.append(("space", "resume" if session.is_paused else "pause"))
    fields = [tuple(spans), *((Span(key, "accent"), Span(f" {what}")) for key, what in hints)]
    return spread(fields, width, end=(Span("q", "accent"),))
