"""The input line of the filter, shown in place of the foot."""

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.message import Message
from textual.widgets import Input, Label


class FilterLine(Horizontal):
    """A slash and one line of text, applied while the user types."""

    class Changed(Message):
        """The text has changed."""

        def __init__(self, text: str) -> None:
            self.text = text
            super().__init__()

    class Left(Message):
        """The user has finished.

        Attributes:
            is_kept: Whether the filter stays.
        """

        def __init__(self, *, is_kept: bool) -> None:
            self.is_kept = is_kept
            super().__init__()

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave(False)", "forget the filter"),
        Binding("enter", "leave(True)", "keep the filter", priority=True),
    ]

    def __init__(self) -> None:
        super().__init__()
        self.display = False
        self._input = Input(placeholder="part of a name; ↵ keeps the filter, esc forgets it", compact=True)

    def compose(self) -> ComposeResult:
        """The slash, and the input after it."""
        yield Label(" /")
        yield self._input

    def edit(self, text: str) -> None:
        """Show the line with an initial text."""
        self.display = True
        self._input.value = text
        self._input.focus()

    def on_input_changed(self, event: Input.Changed) -> None:
        """Post the text as typed so far."""
        event.stop()
        self.post_message(self.Changed(event.value))

    def action_leave(self, is_kept: bool) -> None:
        """Hide the line, and return the keys to the table."""
        self.display = False
        self.post_message(self.Left(is_kept=is_kept))
