"""A table as plain data, for faces that draw it themselves, such as the page.

A column is sent as `Column` describes it. A cell is as short as possible, because a fleet has many:

===================  ====================================================================
``null``             not known
``12``               a whole number, shown as it is and sorted by its value
``"web1"``           a name, sorted by itself
``["1.2s", 1.24]``   the shown text, and the number to sort by (``null``: last)
``[…, …, "bad"]``    the same with a tone
``[…, …, …, 0.75]``  the same with the share of a whole, for a bar
===================  ====================================================================
"""

import json
from collections.abc import Callable, Sequence
from math import isfinite
from typing import Any, NamedTuple, TypeVar

from poolhouse.views.column import Column, Sorting, Table
from poolhouse.views.line import UNKNOWN

R = TypeVar("R")

#: Significant digits of a sort key; larger ones, such as times, keep three decimals.
_DIGITS, _LARGE = 6, 1e5

Cell = None | int | str | list[Any]


class Shown(NamedTuple):
    """A table, and how a face shows it."""

    #: Its identity within the view, and its title.
    name: str
    title: str
    table: Table[Any]
    #: How many columns are sent, from the first one.
    columns: int
    #: The column whose text links to the view behind a row.
    linked: int = 0
    #: The path of that view; empty for none.
    link: Callable[[Any], str] = lambda _: ""

    @property
    def told(self) -> tuple[Column[Any], ...]:
        """The columns that are sent."""
        return self.table.columns[: self.columns]

    @property
    def all_columns(self) -> "Shown":
        """The same with every column."""
        return self._replace(columns=len(self.table.columns))


def heading(shown: Shown, sorting: Sorting | None = None) -> dict[str, Any]:
    """The part of a table before its rows: its name, its columns, and its order."""
    heading, is_reversed = sorting or shown.table.sorting
    return {
        "name": shown.name,
        "title": shown.title,
        "columns": [column_data(column) for column in shown.told],
        "linked": shown.linked,
        "more_columns": len(shown.table.columns) - len(shown.told),
        "sorted_by": heading,
        "is_reversed": is_reversed,
    }


def column_data(column: Column[Any]) -> dict[str, Any]:
    """A column: its heading, meaning, kind of content, and width in characters."""
    return {
        "heading": column.heading,
        "meaning": column.meaning,
        "is_name": column.is_name,
        "is_text": column.is_name or column.is_text,
        "has_sign": column.has_sign,
        "width": column.width + 2 * column.has_sign,
        "widest": max(column.widest, column.width),
        "keeps_end": column.keeps_end,
    }


def row_text(shown: Shown, row: Any) -> str:
    """One row as JSON: its sign and tone, the path behind it, whether it is late, and its cells."""
    sign = shown.table.sign(row)
    told: dict[str, Any] = {"sign": sign.text, "tone": sign.tone}
    if link := shown.link(row):
        told["to"] = link
    if shown.table.is_late(row):
        told["is_late"] = True
    told["cells"] = [cell(column, row) for column in shown.told]
    return compact(told)


#: A value as JSON in one line, in ASCII and without NaN.
compact: Callable[[Any], str] = json.JSONEncoder(allow_nan=False, separators=(",", ":")).encode


def cell(column: Column[R], row: R) -> Cell:
    """The content of a row in a column.

    >>> waits = Column[float | None]("WAIT", "", lambda n: "–" if n is None else f"{n:g}s", lambda n: n, 6,
    ...                             tone=lambda n: "bad" if n else "plain", has_sign=True)
    >>> cell(waits, 1.25), cell(waits, None), cell(waits, 0)
    (['1.25s !', 1.25, 'bad'], None, ['0s', 0])
    """
    if column.shown is not None:
        value = column.order(row)
        return _plain_cell(column.shown(value), _number(value))
    span = column.span(row)
    text = span.text.rstrip(" ")
    if column.is_name:
        return text if span.tone == "plain" else [text, None, span.tone]
    order = _number(column.order(row))
    part = None if column.part is None else column.part(row)
    if part is not None and isfinite(part):
        return [text, order, span.tone, round(min(1.0, max(0.0, part)), 3)]
    return _plain_cell(text, order) if span.tone == "plain" else [text, order, span.tone]


def _plain_cell(text: str, order: float | None) -> Cell:
    if order is None:
        return None if text == UNKNOWN else [text, None]
    return order if isinstance(order, int) and text == str(order) else [text, order]


def _number(value: Any) -> int | float | None:
    """A number that JSON has; ``None``, which sorts last, for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        return None
    if isinstance(value, int):
        return value
    if value.is_integer() and abs(value) < 1e15:
        return int(value)
    return round(value, 3) if abs(value) >= _LARGE else float(f"{value:.{_DIGITS}g}")


def arranged(
    shown: Shown, rows: Sequence[Any], sorting: Sorting | None, containing: str, most: int
) -> tuple[list[Any], int]:
    """The first rows in the table's order, and how many rows there are in all.

    Args:
        shown: The table.
        rows: All rows.
        sorting: The order; ``None`` for the table's default.
        containing: Only rows whose names contain this.
        most: The most rows to return.
    """
    found = shown.table.arranged(rows, sorting, containing)
    return found[:most], len(found)


def sorting_of(shown: Shown, text: str) -> Sorting | None:
    """The order that a text names: a heading, after ``-`` reversed; ``None`` if there is no such column.

    >>> from poolhouse.views.event_table import event_table
    >>> shown = Shown("events", "Events", event_table(), 5)
    >>> sorting_of(shown, "host"), sorting_of(shown, "-TIME"), sorting_of(shown, "x")
    (Sorting(heading='HOST', is_reversed=False), Sorting(heading='TIME', is_reversed=True), None)
    """
    is_reversed = text.startswith("-")
    wanted = text.removeprefix("-").casefold()
    for column in shown.table.columns:
        if column.heading.casefold() == wanted:
            return Sorting(column.heading, is_reversed)
    return None
