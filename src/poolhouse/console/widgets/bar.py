"""A few fixed lines: the head and the foot of the window."""

from textual.strip import Strip
from textual.widget import Widget

from poolhouse.console.paint import strip
from poolhouse.views.line import Line


class Bar(Widget):
    """Lines over the full width of the window, as high as there are lines."""

    def __init__(self) -> None:
        super().__init__()
        self._lines: tuple[Line, ...] = ()

    def show(self, lines: tuple[Line, ...]) -> None:
        """Replace the lines."""
        if lines == self._lines:
            return
        if len(lines) != len(self._lines):
            self.styles.height = len(lines)
        self._lines = lines
        self.refresh()

    def render_line(self, y: int) -> Strip:
        """One line, for Textual's compositor."""
        return strip(self._lines[y] if y < len(self._lines) else (), self.size.width)
