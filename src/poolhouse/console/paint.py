"""From lines with tones to strips with styles.

The colours are the terminal's own sixteen, so that the console looks at home on a light and on a dark ground.
"""

from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from poolhouse.views.line import Line, Tone

STYLES: dict[Tone, Style] = {
    "plain": Style(),
    "strong": Style(bold=True),
    "dim": Style(dim=True),
    "accent": Style(color="cyan"),
    "good": Style(color="green"),
    "bad": Style(color="red", bold=True),
}
#: The row under the cursor: its signs say what its colours would.
CURSOR = Style(color="black", bgcolor="cyan")


def strip(line: Line, width: int, style: Style | None = None) -> Strip:
    """The line as exactly `width` cells; in one style if there is one, else each span in its tone's."""
    segments = [Segment(span.text, style or STYLES[span.tone]) for span in line]
    return Strip(segments).adjust_cell_length(width, style)
