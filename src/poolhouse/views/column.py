"""Tables whose columns define their format, alignment, order, tone and explanation.

A table is defined once, as a tuple of columns in order of importance: the narrower the window, the more of them
are dropped from the right. A face asks for a `Sheet` and draws its visible lines.
"""

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import isfinite
from typing import Any, Generic, NamedTuple, TypeVar

from poolhouse.clean import clean
from poolhouse.views.line import Line, Span, Tone, cells, cut_beginning, cut_line, dimmed, left, right

R = TypeVar("R")

#: Cells before the first column: a space, the row's sign, a space.
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
    #: The explanation for the legend, with the unit.
    meaning: str
    text: Callable[[R], str]
    #: The sort key; rows for which it is ``None`` (or NaN) come last in either direction.
    order: Callable[[R], Any]
    #: The least width in cells; a column of names may grow to `widest` if its content needs that.
    width: int
    widest: int = 0
    tone: Callable[[R], Tone] = _plain
    #: Whether ``!`` is shown beside bad values.
    has_sign: bool = False
    #: Whether a name too long for its column loses its beginning rather than its end.
    keeps_end: bool = False
    #: Whether it holds words other than names, for faces that set them apart from numbers.
    is_text: bool = False
    #: Makes the text from the sort key, if that is enough: a face that needs both then asks once.
    shown: Callable[[Any], str] | None = None
    #: The value's share of a whole, for faces that draw a bar; ``None`` if there is no whole.
    part: Callable[[R], float | None] | None = None

    @property
    def is_name(self) -> bool:
        """Whether it holds names: aligned left and sorted from A to Z first; numbers sort largest first."""
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
    """The column by which a table is sorted, and whether in the reverse of its usual order."""

    heading: str
    is_reversed: bool = False


@dataclass(frozen=True)
class Table(Generic[R]):
    """The appearance of a table of rows of one kind.

    Attributes:
        columns: In order of importance. The first ones stay when the others are scrolled.
        sign: A row's state in one cell, at the beginning of its line.
        key: A row's identity, from one snapshot to the next.
        sorting: The default order.
        essential: How many columns are placed before names get more than their least width; the other columns
            come after that.
        is_late: Whether the row is drawn dim.
        fixed: How many columns stay when the others are scrolled.
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
        """The rows whose names contain the text, ignoring case, sorted; equal ones by name."""
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
    """The widths of the columns that fit, from the left, each followed by an empty cell."""
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
    """Widen columns to what they want, in order, while there is room; return the remaining room."""
    for index, width in enumerate(widths):
        extra = max(0, min(wanted[index] - width, room))
        widths[index] += extra
        room -= extra
    return room


class _Placed(NamedTuple):
    """A column and its place in cells."""

    column: Column[Any]
    width: int


@dataclass(frozen=True)
class Sheet(Generic[R]):
    """A table's arranged rows, laid out for a width; its lines are made on request.

    Attributes:
        table: The appearance of the rows.
        rows: The rows, in the order in which they are drawn.
        width: Cells of the window.
        moved: How many columns after the fixed ones are scrolled out on the left.
        sorting: The order shown by the heading.
    """

    table: Table[R]
    rows: Sequence[R]
    width: int
    moved: int = 0
    sorting: Sorting | None = None

    @cached_property
    def placed(self) -> tuple[_Placed, ...]:
        """The columns that fit, with their widths; names get the remaining room, in order."""
        table = self.table
        ordered = self._ordered
        columns = (*ordered[: table.fixed], *ordered[table.fixed + self.moved :])
        wanted = [self._wanted(column) for column in columns]
        room = self.width - _MARGIN + 1
        # Columns without known values, which come last, do not count as essential.
        essential = sum(column in ordered[: table.essential] for column in table.columns[: table.essential])
        widths = _fitting(columns, wanted, room, essential, table.fixed)
        if len(widths) < len(columns):
            # One cell is reserved for the arrow that indicates more.
            widths = _fitting(columns, wanted, room - 1, essential, table.fixed)
        return tuple(map(_Placed, columns, widths))

    @cached_property
    def _ordered(self) -> tuple[Column[R], ...]:
        """The columns, with those that have no known value after the others."""
        table = self.table
        fixed, others = table.columns[: table.fixed], table.columns[table.fixed :]
        unknown = {column.heading for column in others if self._is_unknown(column)} if self.rows else set[str]()
        return (
            *fixed,
            *(column for column in others if column.heading not in unknown),
            *(column for column in others if column.heading in unknown),
        )

    def _is_unknown(self, column: Column[R]) -> bool:
        """Whether no row has a value in the column; rows are examined until one has."""
        return not column.is_name and all(column.order(row) is None for row in self.rows)

    @property
    def hidden(self) -> int:
        """How many columns are out of sight on the right."""
        return len(self.table.columns) - self.moved - len(self.placed)

    def heading(self) -> Line:
        """The line of headings; ``▾`` or ``▴`` marks the sorted column, ``◂`` or ``▸`` further columns."""
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
        """The heading of the column at this cell of a line; ``None`` between columns."""
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
