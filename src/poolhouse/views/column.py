"""Tables whose columns know how they are formatted, aligned, sorted, judged and explained.

A table is defined once, as a tuple of columns in order of weight: the narrower the window, the more of them are
dropped from the right. The face asks for a `Sheet` and draws those of its lines that are in sight.
"""

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import isfinite
from typing import Any, Generic, NamedTuple, TypeVar

from poolhouse.clean import clean
from poolhouse.views.line import Line, Span, Tone, cells, cut_beginning, cut_line, dimmed, left, right

R = TypeVar("R")

#: Cells before the first column: a blank, the row's sign, a blank.
_MARGIN = 3


def _plain(_: Any) -> Tone:
    return "plain"


@dataclass(frozen=True)
class Column(Generic[R]):
    """One column.

    >>> waiting = Column[int]("WAIT", "Callers that wait for a connection.", str, lambda n: n, 6,
    ...                       tone=lambda n: "bad" if n else "plain", has_sign=True)
    >>> waiting.span(12), waiting.span(0)
    (Span(text='12 !', tone='bad'), Span(text='0  ', tone='plain'))
    """

    heading: str
    #: What the legend says of it, with its unit.
    meaning: str
    text: Callable[[R], str]
    #: What it is sorted by; rows where this is ``None`` (or NaN) come last either way.
    order: Callable[[R], Any]
    #: Cells, at least; a column of names may have as many as `widest` if its content needs them.
    width: int
    widest: int = 0
    tone: Callable[[R], Tone] = _plain
    #: Whether ``!`` stands beside what is bad.
    has_sign: bool = False
    #: Whether a name too long for its column loses its beginning rather than its end.
    keeps_end: bool = False
    #: Whether it holds words that are no names, for faces that have room to set them apart from numbers.
    is_text: bool = False
    #: From what it is sorted by to its text, where that needs nothing else: a face that needs both asks once.
    shown: Callable[[Any], str] | None = None
    #: The share of a whole that it is, for faces that draw a bar; ``None`` where there is no whole.
    part: Callable[[R], float | None] | None = None

    @property
    def is_name(self) -> bool:
        """Whether it holds names: at the left, sorted from A to Z first; numbers largest first."""
        return self.widest > 0

    def span(self, row: R) -> Span:
        """The row's text in this column, not yet aligned, with its tone and sign."""
        tone, text = self.tone(row), self.text(row)
        if self.is_name:
            text = clean(text)
        if self.has_sign:
            text += " !" if tone == "bad" else "  "
        return Span(text, tone)


class Sorting(NamedTuple):
    """By which column a table is sorted, and whether the other way round."""

    heading: str
    is_reversed: bool = False


@dataclass(frozen=True)
class Table(Generic[R]):
    """What a table of rows of one kind looks like.

    Attributes:
        columns: In order of weight. The first ones stay when the others are moved to the left.
        sign: How the row stands, in one cell: the first thing on its line.
        key: What tells a row from others, from one snapshot to the next.
        sorting: How it is sorted unless somebody asks.
        essential: How many columns come before names get more than the least of their width; the rest of the
            columns come after.
        is_late: Whether the row is drawn dim.
        fixed: How many columns stay when the others are moved.
    """

    columns: tuple[Column[R], ...]
    sign: Callable[[R], Span]
    key: Callable[[R], Hashable]
    sorting: Sorting
    essential: int
    is_late: Callable[[R], bool] = lambda _: False
    fixed: int = 1

    def column(self, heading: str) -> Column[R]:
        """The column with this heading."""
        return next(column for column in self.columns if column.heading == heading)

    def arranged(self, rows: Iterable[R], sorting: Sorting | None = None, containing: str = "") -> list[R]:
        """The rows whose names contain the text, whatever its case, sorted; equal ones by name."""
        names = [column.text for column in self.columns if column.is_name]
        wanted = containing.casefold()
        kept = [(tuple(name(row).casefold() for name in names), row) for row in rows]
        if wanted:
            kept = [pair for pair in kept if wanted in "\n".join(pair[0])]
        kept.sort(key=lambda pair: pair[0])
        heading, is_reversed = sorting or self.sorting
        column = self.column(heading)
        if column.is_name:
            kept.sort(key=lambda pair: column.text(pair[1]).casefold(), reverse=is_reversed)
        else:
            sign = 1 if is_reversed else -1
            kept.sort(key=lambda pair: _rank(column.order(pair[1]), sign))
        return [row for _, row in kept]


def _rank(value: Any, sign: int) -> tuple[bool, float]:
    if value is None or not isfinite(value):
        return (True, 0.0)
    return (False, sign * value)


def _aligned(column: Column[Any], text: str, width: int) -> str:
    if column.keeps_end:
        text = cut_beginning(text, width)
    return left(text, width) if column.is_name else right(text, width)


def _fitting(
    columns: Sequence[Column[Any]], wanted: list[int], room: int, essential: int, fixed: int
) -> list[int]:
    """The widths of those columns that fit, from the left, each with a cell between it and the next."""
    widths: list[int] = []
    for column, want in zip(columns, wanted, strict=True):
        if len(widths) == essential:
            room = _widen(widths, wanted, room)
        width = min(column.width, want) if len(widths) < essential else want
        if len(widths) >= fixed and width + 1 > room:
            break
        widths.append(width)
        room -= width + 1
    if len(widths) <= essential:
        _widen(widths, wanted, room)
    return widths


def _widen(widths: list[int], wanted: list[int], room: int) -> int:
    """Give columns what they want as far as the room goes, in order; return what is left of it."""
    for index, width in enumerate(widths):
        extra = max(0, min(wanted[index] - width, room))
        widths[index] += extra
        room -= extra
    return room


class _Placed(NamedTuple):
    """A column and the cells it has been given."""

    column: Column[Any]
    width: int


@dataclass(frozen=True)
class Sheet(Generic[R]):
    """A table's arranged rows, laid out for a width: its lines are made when they are asked for.

    Attributes:
        table: What the rows look like.
        rows: In the order in which they are drawn.
        width: Cells of the window.
        moved: How many columns after the fixed ones are left away at the left.
        sorting: What the heading shows as sorted by.
    """

    table: Table[R]
    rows: Sequence[R]
    width: int
    moved: int = 0
    sorting: Sorting | None = None

    @cached_property
    def placed(self) -> tuple[_Placed, ...]:
        """The columns that fit, with their widths; names get what is left, in order."""
        table = self.table
        ordered = self._ordered
        columns = (*ordered[: table.fixed], *ordered[table.fixed + self.moved :])
        wanted = [self._wanted(column) for column in columns]
        room = self.width - _MARGIN + 1
        # Columns that gave way are not essential.
        essential = sum(column in ordered[: table.essential] for column in table.columns[: table.essential])
        widths = _fitting(columns, wanted, room, essential, table.fixed)
        if len(widths) < len(columns):
            # One cell for the arrow that says so.
            widths = _fitting(columns, wanted, room - 1, essential, table.fixed)
        return tuple(map(_Placed, columns, widths))

    @cached_property
    def _ordered(self) -> tuple[Column[R], ...]:
        """The columns, where those in which nothing is known give way to the others."""
        table = self.table
        fixed, others = table.columns[: table.fixed], table.columns[table.fixed :]
        unknown = {column.heading for column in others if self._is_unknown(column)} if self.rows else set[str]()
        return (
            *fixed,
            *(column for column in others if column.heading not in unknown),
            *(column for column in others if column.heading in unknown),
        )

    def _is_unknown(self, column: Column[R]) -> bool:
        """Whether no row knows anything of it; the rows are looked at until one does."""
        return not column.is_name and all(column.order(row) is None for row in self.rows)

    @property
    def hidden(self) -> int:
        """How many columns are out of sight at the right."""
        return len(self.table.columns) - self.moved - len(self.placed)

    def heading(self) -> Line:
        """The line of headings; ``▾`` or ``▴`` stands beside what the rows are sorted by, ``▸`` where more is."""
        sorting = self.sorting or self.table.sorting
        spans = [Span(" " * (_MARGIN - 1), "dim")]
        before = "◂" if self.moved else " "
        for column, width in self.placed:
            is_sorted = column.heading == sorting.heading
            text = column.heading
            if is_sorted:
                arrow = "▴" if sorting.is_reversed != column.is_name else "▾"
                text = f"{text}{arrow}" if column.is_name else f"{arrow}{text}"
            if column.has_sign:
                text += "  "
            # An arrow may stand in the cell between two columns.
            aligned = before + left(text, width) if column.is_name else right(text, width + 1)
            spans.append(Span(aligned, "strong" if is_sorted else "dim"))
            before = " "
        if self.hidden > 0 and (room := self.width - sum(cells(span.text) for span in spans)) >= 1:
            spans.append(Span(right("▸", room), "dim"))
        return cut_line(tuple(spans), self.width)

    def heading_at(self, cell: int) -> str | None:
        """The heading of the column in which this cell of a line is."""
        end = _MARGIN
        for column, width in self.placed:
            end += width + 1
            if _MARGIN <= cell < end:
                return column.heading
        return None

    def line(self, index: int) -> Line:
        """One row: its sign, then its columns."""
        row = self.rows[index]
        spans = [Span(" "), self.table.sign(row), Span(" ")]
        for position, (column, width) in enumerate(self.placed):
            text, tone = column.span(row)
            if position:
                spans.append(Span(" "))
            spans.append(Span(_aligned(column, text, width), tone))
        line = cut_line(tuple(spans), self.width)
        return dimmed(line) if self.table.is_late(row) else line

    def _wanted(self, column: Column[R]) -> int:
        if not column.is_name:
            return column.width
        longest = max((cells(clean(column.text(row))) for row in self.rows), default=0)
        return min(column.widest, max(cells(column.heading) + 1, longest))
