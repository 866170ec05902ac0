"""A few fixed lines: the head and the foot of the window."""

from textual.events import Click
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from poolhouse.console.paint import strip
from poolhouse.views.line import Line


class Bar(Widget):
    """Lines over the full width of the window, as high as there are lines."""

    class Clicked(Message):
        """The person clicked one of the lines."""

        def __init__(self, bar: "Bar", line: int) -> None:
            self.bar, self.line = bar, line
            super().__init__()

    def __init__(self) -> None:
        super().__init__()
        self._lines: tuple[Line, ...] = ()
        self._has_cursor = False

    def show(self, lines: tuple[Line, ...], *, has_cursor: bool = False) -> None:
        """Replace the lines; the first of them may be under the cursor."""
        if lines == self._lines and has_cursor == self._has_cursor:
            return
        self._has_cursor = has_cursor
        if len(lines) != len(self._lines):
            self.styles.height = len(lines)
        self._lines = lines
        self.refresh()

    def render_line(self, y: int) -> Strip:
        """One line, for Textual's compositor."""
        line = self._lines[y] if y < len(self._lines) else ()
        return strip(line, self.size.width, is_under_cursor=self._has_cursor and y == 0)

    def on_click(self, event: Click) -> None:
        """Tell which line was clicked."""
        self.post_message(self.Clicked(self, event.y))
