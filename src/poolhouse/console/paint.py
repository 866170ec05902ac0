"""Turns lines with tones into strips with styles.

The colours are the terminal's own sixteen, so the console looks right on light and dark backgrounds.
"""

from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from poolhouse.clean import clean
from poolhouse.views.line import Line, Tone

STYLES: dict[Tone, Style] = {
    "plain": Style(),
    "strong": Style(bold=True),
    "dim": Style(dim=True),
    "accent": Style(color="cyan"),
    "good": Style(color="green"),
    "bad": Style(color="red", bold=True),
}
#: The most characters of a span: more than a terminal's width, including marks that take no cell.
LONGEST_SPAN = 10_000
#: The row under the cursor, where only bad values keep a colour of their own. Reversed, so that the text has the
#: background's colour: if red is legible on the background, the background's colour is legible on red.
CURSOR = Style(color="cyan", reverse=True)
_BAD_UNDER_CURSOR = Style(color="red", bold=True, reverse=True)


def strip(line: Line, width: int, *, is_under_cursor: bool = False) -> Strip:
    """The line as exactly `width` cells, each span cleaned and in the style of its tone."""
    if not is_under_cursor:
        segments = [Segment(clean(span.text, LONGEST_SPAN), STYLES[span.tone]) for span in line]
        return Strip(segments).adjust_cell_length(width)
    styles = (_BAD_UNDER_CURSOR if span.tone == "bad" else CURSOR for span in line)
    segments = [Segment(clean(span.text, LONGEST_SPAN), style) for span, style in zip(line, styles, strict=True)]
    return Strip(segments).adjust_cell_length(width, CURSOR)
