"""The legend: a sentence for each column, the meanings of signs and colours, and the keys."""

from collections.abc import Iterable, Sequence
from textwrap import wrap
from typing import Any

from poolhouse.views.column import Column, Table
from poolhouse.views.line import Line, Span, beside, left

#: From this width on, the columns are explained beside the rest.
_WIDE = 150
_SIGNS: tuple[tuple[Span, str], ...] = (
    (Span("●", "good"), "reporting"),
    (Span("!", "bad"), "beside a red number: callers wait, or reports are late"),
    (Span("○", "bad"), "late: no report for two intervals; the row is dim, and gone after five"),
    (Span("–"), "not known: the source does not send it"),
    (Span("≤"), "at most this: the source knows an upper bound only"),
    (Span("▾▴"), "the column that the table is sorted by: largest first, smallest first"),
    (Span("◂▸"), "more columns at this side of the window"),
)


def legend(
    tables: Sequence[tuple[str, Table[Any]]], keys: Iterable[tuple[str, str]], width: int
) -> tuple[Line, ...]:
    """The legend's lines.

    Args:
        tables: Titles and tables; each column is explained where it first appears.
        keys: Keys, and what each does.
        width: The window's width in cells; long sentences wrap.
    """
    if width >= _WIDE:
        half = (width - 1) // 2
        return tuple(beside([_signs_and_keys(keys, half), _columns(tables, half)], half, gap=1))
    return (*_signs_and_keys(keys, width), (), *_columns(tables, width))


def _signs_and_keys(keys: Iterable[tuple[str, str]], width: int) -> list[Line]:
    lines: list[Line] = [(Span(" signs and colours", "strong"),)]
    for sign, meaning in _SIGNS:
        lines += _entry(sign, meaning, width)
    lines += [(), (Span(" keys", "strong"),)]
    for key, action in keys:
        lines += _entry(Span(key, "accent"), action, width)
    return lines


def _columns(tables: Sequence[tuple[str, Table[Any]]], width: int) -> list[Line]:
    lines: list[Line] = []
    explained: set[str] = set()
    for title, table in tables:
        columns: list[Column[Any]] = [column for column in table.columns if column.heading not in explained]
        explained.update(column.heading for column in columns)
        lines += [*([()] if lines else []), (Span(f" {title}", "strong"),)]
        for column in columns:
            lines += _entry(Span(column.heading, "accent"), column.meaning, width)
    return lines


def _entry(name: Span, sentence: str, width: int) -> list[Line]:
    first, *following = wrap(sentence, max(20, width - 14)) or [""]
    return [
        (Span("  "), Span(left(name.text, 11), name.tone), Span(first)),
        *((Span(" " * 13 + text),) for text in following),
    ]
