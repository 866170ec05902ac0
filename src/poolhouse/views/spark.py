"""A series as a row of small columns, and a share as a bar."""

from collections.abc import Sequence
from math import ceil, isfinite

from poolhouse.views.line import Span, Tone

_LEVELS = "▁▂▃▄▅▆▇█"
#: Shown for a moment without a known value.
_GAP = " "


def sparkline(values: Sequence[float | None], width: int, top: float | None = None) -> str:
    """The series in `width` cells, the newest on the right; each cell shows the largest value of its moments.

    Args:
        values: Oldest first; ``None`` if not known. Moments that do not fill a whole cell are not shown.
        width: Cells; a shorter series is padded with spaces on the left.
        top: The value that fills a cell; ``None`` for the largest. 0 is shown as the lowest column.

    >>> sparkline([0, 1, 2, 4, 8], 5), sparkline([1, 8, 1, 1], 2), sparkline([1], 3), sparkline([None, 3], 2)
    ('▁▁▂▄█', '█▁', '  █', ' █')
    >>> sparkline([30, 60], 2, top=120), sparkline([], 2), sparkline([0, 0], 2)
    ('▂▄', '  ', '▁▁')
    """
    moments = [value if value is not None and isfinite(value) else None for value in values]
    if width <= 0:
        return ""
    # Whole cells only, so that the line is full as soon as there is one moment for each cell.
    per_cell = max(1, len(moments) // width)
    moments = moments[-per_cell * width :]
    # Counted from the newest, so that a cell keeps its moments as it moves to the left.
    cells: list[float | None] = []
    for end in range(len(moments), 0, -per_cell):
        seen = [value for value in moments[max(0, end - per_cell) : end] if value is not None]
        cells.append(max(seen) if seen else None)
    cells.reverse()
    full = top if top is not None and top > 0 else max((c for c in cells if c is not None), default=0)
    return "".join(_level(cell, full) for cell in cells).rjust(width, _GAP)


def meter(part: float | None, whole: float | None, width: int, tone: Tone = "good") -> tuple[Span, Span]:
    """A bar of `width` cells, filled by the share that `part` is of `whole`.

    A share above 0 never looks empty, and one below 1 never looks full.

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
