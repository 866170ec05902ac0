"""A page of text that scrolls, or a notice in the middle of the window."""

from collections.abc import Hashable

from textual.geometry import Size
from textual.scroll_view import ScrollView
from textual.strip import Strip

from poolhouse.console.paint import strip
from poolhouse.views.line import Line, Span, cells, dimmed


class LinesView(ScrollView, can_focus=True, inherit_bindings=False):
    """Draws lines."""

    def __init__(self) -> None:
        super().__init__()
        self._lines: tuple[Line, ...] = ()
        self._is_notice = False
        self._subject: Hashable = None

    def show(self, lines: tuple[Line, ...], subject: Hashable, *, is_notice: bool, is_dim: bool) -> None:
        """Draw these lines from now on.

        Args:
            lines: The lines.
            subject: Their subject; a new subject starts at its first line.
            is_notice: Whether they are in the middle of the window.
            is_dim: Whether they are out of date.
        """
        lines = tuple(map(dimmed, lines)) if is_dim else lines
        if subject != self._subject:
            self._subject = subject
            self.move_to_start()
        if lines == self._lines and is_notice == self._is_notice:
            return
        self._lines, self._is_notice = lines, is_notice
        self.virtual_size = Size(self.size.width, len(lines))
        self.refresh()

    def move(self, lines: int) -> None:
        """Scroll down by `lines`, or up if negative."""
        self.scroll_to(y=self.scroll_y + lines, animate=False)

    @property
    def is_at_start(self) -> bool:
        """Whether the first line is in sight."""
        return round(self.scroll_y) == 0

    def move_screenfuls(self, number: int) -> None:
        """Scroll by the height of the window."""
        self.move(number * self.size.height)

    def move_to_end(self) -> None:
        """Scroll to the last line."""
        self.scroll_to(y=len(self._lines), animate=False)

    def move_to_start(self) -> None:
        """Scroll to the first line."""
        self.scroll_to(y=0, animate=False)

    def render_line(self, y: int) -> Strip:
        """One line of the window, for Textual's compositor."""
        width = self.size.width
        if not self._is_notice:
            index = round(self.scroll_y) + y
            return strip(self._lines[index], width) if index < len(self._lines) else Strip.blank(width)
        index = y - max(0, (self.size.height - len(self._lines)) // 2)
        if not 0 <= index < len(self._lines):
            return Strip.blank(width)
        longest = max(sum(cells(span.text) for span in line) for line in self._lines)
        return strip((Span(" " * max(0, (width - longest) // 2)), *self._lines[index]), width)
