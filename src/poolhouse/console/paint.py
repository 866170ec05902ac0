"""From lines with tones to strips with styles.

The colours are the terminal's own sixteen, so that the console looks at home on a light and on a dark ground.
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
#: Characters of a span: more than a terminal is wide, marks that take no cell included.
LONGEST_SPAN = 10_000
#: The row under the cursor, where only what is bad keeps a colour of its own. Reversed, so that the text has the
#: colour of the ground: a terminal in which red can be read has its ground read on red.
CURSOR = Style(color="cyan", reverse=True)
_BAD_UNDER_CURSOR = Style(color="red", bold=True, reverse=True)


def strip(line: Line, width: int, *, is_under_cursor: bool = False) -> Strip:
    """The line as exactly `width` cells, each span clean and in the style of its tone."""
    if not is_under_cursor:
        segments = [Segment(clean(span.text, LONGEST_SPAN), STYLES[span.tone]) for span in line]
        return Strip(segments).adjust_cell_length(width)
    styles = (_BAD_UNDER_CURSOR if span.tone == "bad" else CURSOR for span in line)
    segments = [Segment(clean(span.text, LONGEST_SPAN), style) for span, style in zip(line, styles, strict=True)]
    return Strip(segments).adjust_cell_length(width, CURSOR)
