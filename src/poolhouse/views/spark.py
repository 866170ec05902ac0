"""A series as a line of small columns, and a share as a bar."""

from collections.abc import Sequence
from math import ceil, isfinite

from poolhouse.views.line import Span, Tone

_LEVELS = "▁▂▃▄▅▆▇█"
#: Where nothing is known of that moment.
_GAP = " "


def sparkline(values: Sequence[float | None], width: int, top: float | None = None) -> str:
    """The series in `width` cells, newest at the right; each cell shows the largest value of its moments.

    Args:
        values: Oldest first; ``None`` where nothing is known. What is left over for whole cells is not shown.
        width: Cells; a shorter series is filled up with blanks at the left.
        top: What fills a cell; the largest value if ``None``. A value of 0 is the lowest column.

    >>> sparkline([0, 1, 2, 4, 8], 5), sparkline([1, 8, 1, 1], 2), sparkline([1], 3), sparkline([None, 3], 2)
    ('▁▁▂▄█', '█▁', '  █', ' █')
    >>> sparkline([30, 60], 2, top=120), sparkline([], 2), sparkline([0, 0], 2)
    ('▂▄', '  ', '▁▁')
    """
    moments = [value if value is not None and isfinite(value) else None for value in values]
    if width <= 0:
        return ""
    # Whole cells only, so that the line is full as soon as there is a moment for each cell.
    per_cell = max(1, len(moments) // width)
    moments = moments[-per_cell * width :]
    # Counted from the newest, so that a cell keeps its moments while it wanders to the left.
    cells: list[float | None] = []
    for end in range(len(moments), 0, -per_cell):
        seen = [value for value in moments[max(0, end - per_cell) : end] if value is not None]
        cells.append(max(seen) if seen else None)
    cells.reverse()
    full = top if top is not None and top > 0 else max((c for c in cells if c is not None), default=0)
    return "".join(_level(cell, full) for cell in cells).rjust(width, _GAP)


def meter(part: float | None, whole: float | None, width: int, tone: Tone = "good") -> tuple[Span, Span]:
    """A bar of `width` cells, filled in the share that `part` has of `whole`.

    Something is never shown as nothing, and not everything never as everything.

    >>> [span.text for span in meter(61, 240, 12)], [span.text for span in meter(239, 240, 4)]
    (['███', '░░░░░░░░░'], ['███', '░'])
    >>> [span.text for span in meter(1, 480, 4)], [span.text for span in meter(None, 480, 4)]
    (['█', '░░░'], ['', '░░░░'])
    """
    filled = 0
    if part is not None and whole is not None and isfinite(part) and isfinite(whole) and part > 0 and whole > 0:
        filled = width if part >= whole else min(width - 1, max(1, round(width * part / whole)))
    return Span("█" * filled, tone), Span("░" * (width - filled), "dim")


def _level(value: float | None, full: float) -> str:
    if value is None:
        return _GAP
    if value <= 0 or full <= 0:
        return _LEVELS[0]
    return _LEVELS[min(7, max(0, ceil(8 * value / full) - 1))]
