"""A table with a fixed heading, scrolling rows, and a cursor on one of them.

Only visible rows are rendered, so ten thousand rows draw as quickly as ten.
"""

from collections.abc import Hashable
from typing import Any

from textual.events import Click
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from poolhouse.console.paint import strip
from poolhouse.views.column import Sheet
from poolhouse.views.line import dimmed


class SheetView(ScrollView, can_focus=True, inherit_bindings=False):
    """Draws a `Sheet` and moves a cursor over it.

    The cursor follows its row as sorting and new snapshots move it; on the first row it stays at the top.
    """

    class Opened(Message):
        """The user wants to see more of a row."""

        def __init__(self, key: Hashable) -> None:
            self.key = key
            super().__init__()

    class RowClicked(Message):
        """The cursor has gone to the row that the person clicked."""

    class HeadingClicked(Message):
        """The user wants to sort by a column."""

        def __init__(self, heading: str) -> None:
            self.heading = heading
            super().__init__()

    def __init__(self) -> None:
        super().__init__()
        self._sheet: Sheet[Any] | None = None
        self._is_dim = False
        self._has_cursor = True
        self._cursor = 0
        self._key: Hashable | None = None

    def show(self, sheet: Sheet[Any], *, is_dim: bool, has_cursor: bool = True) -> None:
        """Draw this sheet from now on; without the cursor if it is elsewhere."""
        if has_cursor != self._has_cursor:
            self._has_cursor = has_cursor
            self.refresh()
        if sheet is self._sheet and is_dim == self._is_dim:
            return
        is_other_table = self._sheet is None or sheet.table is not self._sheet.table
        self._sheet, self._is_dim = sheet, is_dim
        if is_other_table:
            self._key = None
        was_in_sight = self._first_in_sight <= self._cursor < self._first_in_sight + self._rows_in_sight
        self.virtual_size = Size(sheet.width, len(sheet.rows) + 1)
        # A new snapshot does not scroll back a user who has scrolled away with the mouse.
        self._place_cursor(self._index_of_key(), is_followed=was_in_sight)

    def move(self, rows: int) -> None:
        """Move the cursor down by `rows`, or up if negative, within the table."""
        self._place_cursor(self._cursor + rows)

    @property
    def is_at_start(self) -> bool:
        """Whether no row is above the cursor."""
        return self._cursor == 0

    def move_screenfuls(self, number: int) -> None:
        """Move the cursor by the number of visible rows."""
        self.move(number * self._rows_in_sight)

    def move_to_end(self) -> None:
        """Move the cursor to the last row."""
        self._place_cursor(len(self._sheet.rows) - 1 if self._sheet else 0)

    def move_to_start(self) -> None:
        """Move the cursor to the first row."""
        self._place_cursor(0)

    def open(self) -> None:
        """Post `Opened` for the row under the cursor."""
        if self._sheet is not None and self._sheet.rows:
            self.post_message(self.Opened(self._sheet.table.key(self._sheet.rows[self._cursor])))

    def render_line(self, y: int) -> Strip:
        """One line of the window, for Textual's compositor."""
        sheet, width = self._sheet, self.size.width
        if sheet is None:
            return Strip.blank(width)
        if y == 0:
            return strip(sheet.heading(), width)
        index = self._first_in_sight + y - 1
        if index >= len(sheet.rows):
            return Strip.blank(width)
        line = dimmed(sheet.line(index)) if self._is_dim else sheet.line(index)
        return strip(line, width, is_under_cursor=self._has_cursor and index == self._cursor)

    def on_click(self, event: Click) -> None:
        """Sort by a heading, or move the cursor to a row; a second click opens it."""
        if self._sheet is None:
            return
        if event.y == 0:
            if (heading := self._sheet.heading_at(event.x)) is not None:
                self.post_message(self.HeadingClicked(heading))
            return
        index = self._first_in_sight + event.y - 1
        if index < len(self._sheet.rows):
            self._place_cursor(index)
            self.post_message(self.RowClicked())
            if event.chain == 2:
                self.open()

    @property
    def _first_in_sight(self) -> int:
        return round(self.scroll_y)

    @property
    def _rows_in_sight(self) -> int:
        return max(1, self.size.height - 1)

    def _index_of_key(self) -> int:
        assert self._sheet is not None
        if self._key is None:
            return 0
        key_of = self._sheet.table.key
        # If the row is gone, the cursor stays where it was.
        return next(
            (index for index, row in enumerate(self._sheet.rows) if key_of(row) == self._key), self._cursor
        )

    def _place_cursor(self, index: int, *, is_followed: bool = True) -> None:
        rows = self._sheet.rows if self._sheet is not None else ()
        self._cursor = max(0, min(index, len(rows) - 1))
        self._key = self._sheet.table.key(rows[self._cursor]) if self._sheet is not None and self._cursor else None
        last = self._first_in_sight + self._rows_in_sight - 1
        if is_followed and self._cursor < self._first_in_sight:
            self.scroll_to(y=self._cursor, animate=False)
        elif is_followed and self._cursor > last:
            self.scroll_to(y=self._cursor - self._rows_in_sight + 1, animate=False)
        self.refresh()
