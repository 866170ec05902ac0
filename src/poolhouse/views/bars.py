"""A distribution of durations as bars over a logarithmic axis, with its quantiles marked."""

from collections.abc import Iterator
from math import ceil, log2
from typing import NamedTuple

from poolhouse.meter.histogram import ZERO_EXPONENT, Histogram
from poolhouse.views.line import UNKNOWN, Line, Span, cells
from poolhouse.views.units import at_most, duration, exact

_EIGHTHS = " ▁▂▃▄▅▆▇█"
_UNITS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns"))
_MARKS = (("p99", 0.99), ("p90", 0.9), ("p50", 0.5))
#: The axis spans at least a decade, so that a narrow distribution looks narrow.
_LEAST_SPAN = log2(10)


def quantile_values(times: Histogram | None) -> list[tuple[str, float | None]]:
    """The three quantiles and the maximum, with their names, in seconds; ``None`` if not known."""
    longest = times.max_ns / 1e9 if times is not None and times.max_ns else None
    values = [None] * len(_MARKS) if times is None else times.quantiles([q for _, q in reversed(_MARKS)])
    return [*zip((name for name, _ in reversed(_MARKS)), values, strict=True), ("max", longest)]


def quantile_texts(times: Histogram | None) -> list[tuple[str, str]]:
    """The same in words; if the maximum is not known, its upper bound.

    >>> earlier = Histogram(); earlier.record_all([3_000_000_000])
    >>> times = earlier.copy(); times.record_all([2_000_000]); times.subtract(earlier); times.max_ns = 0
    >>> quantile_texts(times)
    [('p50', '2.0ms'), ('p90', '2.0ms'), ('p99', '2.0ms'), ('max', '≤2.1ms')]
    """
    *values, (_, longest) = quantile_values(times)
    bound = times.longest_bound() if times is not None and longest is None else None
    most = duration(longest) if bound is None else at_most(duration(bound), is_bound=True)
    return [*((name, duration(value)) for name, value in values), ("max", most)]


def quantiles(times: Histogram | None) -> Line:
    """The three quantiles and the maximum, as a line.

    >>> from poolhouse.views.line import text_of
    >>> times = Histogram(); times.record_all([2_000_000] * 90 + [300_000_000] * 10)
    >>> text_of(quantiles(times))
    'p50 2.0ms  p90 2.0ms  p99 300ms  max 300ms'
    >>> text_of(quantiles(None))
    'p50 –      p90 –      p99 –      max –'
    """
    *values, (_, longest) = quantile_texts(times)
    spans: list[Span] = []
    for name, value in values:
        spans += [Span(f"{name} ", "dim"), Span(f"{value:<6} ")]
    return (*spans, Span("max ", "dim"), Span(longest))


def bars(times: Histogram | None, width: int, height: int) -> tuple[Line, ...]:
    """The distribution: `height` lines of bars, the axis with its marks, and the labels of the axis.

    A cell's bar shows how many durations fell into its part of the axis; even a single one is visible.

    >>> from poolhouse.views.line import text_of
    >>> times = Histogram(); times.record_all([2_000_000] * 70 + [9_000_000] * 25 + [300_000_000] * 5)
    >>> for line in bars(times, 44, 2): print(text_of(line).rstrip())
    █
    █           ▃▄                             ▂
    ▲p50─────────▲p90───────────────────────p99▲
                  10ms               100ms
    """
    if times is None or not times.count:
        return ((Span("nothing recorded" if times is not None else UNKNOWN, "dim"),),)
    low, high = _span(times)
    density = _densities(times, low, high, width)
    top = max(density)
    eighths = [ceil(8 * height * value / top) if value else 0 for value in density]
    lines = [
        (Span("".join(_EIGHTHS[min(8, max(0, filled - 8 * row))] for filled in eighths), "accent"),)
        for row in reversed(range(height))
    ]
    return (*lines, _axis(times, low, high, width), _scale(low, high, width))


class Shape(NamedTuple):
    """A distribution for a face that draws it itself; places on the axis range from 0 to 1."""

    #: The height of each part of the axis, the highest being 1.
    bars: list[float]
    #: Quantiles by name, with their places; then decades by name, with theirs.
    marks: list[tuple[str, float]]
    ticks: list[tuple[str, float]]


def distribution(times: Histogram, parts: int) -> Shape:
    """The shape of a distribution that is not empty, over an axis of `parts` parts.

    >>> times = Histogram(); times.record_all([2_000_000] * 90 + [300_000_000] * 10)
    >>> shape = distribution(times, 8)
    >>> shape.bars, [name for name, _ in shape.ticks]
    ([1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.111], ['10ms', '100ms'])
    """
    low, high = _span(times)
    density = _densities(times, low, high, parts)
    top = max(density)

    def place(exponent: float) -> float:
        return round(min(1.0, max(0.0, (exponent - low) / (high - low))), 4)

    marks = [
        (name, place(log2(value) if value > 0 else low))
        for name, value in quantile_values(times)[: len(_MARKS)]
        if value is not None
    ]
    ticks = [(label, place(log2(seconds))) for seconds, label in _ticks(low, high)]
    return Shape([round(value / top, 3) for value in density], marks, ticks)


def summary(title: str, times: Histogram | None, since: str, width: int) -> tuple[Line, ...]:
    """The headline of a distribution: its title, how many durations since when, and its quantiles.

    If `width` is too small for all of that, the quantiles are on a line of their own.
    """
    number = exact(times.count) if times is not None else UNKNOWN
    headline = (Span(f"{title}  ", "strong"), Span(f"{number} {since}", "dim"))
    if width < 75:
        return headline, quantiles(times)
    return ((*headline, Span("  "), *quantiles(times)),)


def _span(times: Histogram) -> tuple[float, float]:
    """The ends of the axis, as base-2 logarithms of seconds."""
    width = 2.0**-times.scale
    filled = [index for index, count in enumerate(times.counts) if count > 0]
    low = ZERO_EXPONENT + (filled[0] * width if filled else 0.0)
    high = ZERO_EXPONENT + ((filled[-1] + 1) * width if filled else 0.0)
    if times.zero:
        low = ZERO_EXPONENT - width
    missing = max(0.0, _LEAST_SPAN - (high - low)) / 2
    return low - missing, high + missing


def _densities(times: Histogram, low: float, high: float, width: int) -> list[float]:
    """How many durations fell into each cell; a bucket's are spread evenly over the part of the axis it covers.

    Whole buckets would not do: cells that hold now one bucket and now two turn a smooth distribution into a comb.
    """
    density = [0.0] * width
    per_cell = (high - low) / width
    bucket = 2.0**-times.scale
    counts = [(ZERO_EXPONENT + index * bucket, count) for index, count in enumerate(times.counts) if count > 0]
    if times.zero:
        counts.append((ZERO_EXPONENT - bucket, times.zero))
    for exponent, count in counts:
        begin, end = (exponent - low) / per_cell, (exponent + bucket - low) / per_cell
        for cell in range(int(begin), min(width, ceil(end))):
            overlap = min(end, cell + 1) - max(begin, cell)
            # Rounding leaves slivers in the next cell, which would show durations where there were none.
            if overlap > 1e-6:
                density[cell] += count * overlap / (end - begin)
    return density


def _axis(times: Histogram, low: float, high: float, width: int) -> Line:
    """The axis with an arrow below each quantile; if names would collide, the higher quantile's is kept."""
    axis = ["─"] * width
    for name, q in _MARKS:
        value = times.quantile(q)
        if value is None:
            continue
        at = _cell(log2(value) if value > 0 else low, low, high, width)
        if axis[at] == "─":
            axis[at] = "▲"
            # On its right, or else on its left, separated by a cell of axis from another quantile's arrow.
            if axis[at + 1 : at + 1 + len(name)] == ["─"] * len(name):
                axis[at + 1 : at + 1 + len(name)] = name
            elif at > len(name) and axis[at - len(name) - 1 : at] == ["─"] * (len(name) + 1):
                axis[at - len(name) : at] = name
    return (Span("".join(axis), "dim"),)


def _scale(low: float, high: float, width: int) -> Line:
    text = ""
    for seconds, label in _ticks(low, high):
        at = _cell(log2(seconds), low, high, width)
        if (not text or at > cells(text)) and at + cells(label) <= width:
            text += " " * (at - cells(text)) + label
    return (Span(text, "dim"),)


def _ticks(low: float, high: float) -> Iterator[tuple[float, str]]:
    """The decades on the axis with their names, and 2 and 5 between them if there are only one or two."""
    steps = (1, 2, 5) if high - low < 2.2 * _LEAST_SPAN else (1,)
    for decade in range(-7, 4):
        for step in steps:
            seconds = step * 10.0**decade
            if low <= log2(seconds) <= high:
                unit, name = next(pair for pair in _UNITS if seconds >= 0.99 * pair[0])
                yield seconds, f"{seconds / unit:.0f}{name}"


def _cell(exponent: float, low: float, high: float, width: int) -> int:
    return min(width - 1, max(0, int((exponent - low) / (high - low) * width)))
