"""Where the filter is typed, in the place of the foot."""

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.message import Message
from textual.widgets import Input, Label


class FilterLine(Horizontal):
    """A slash and one line of text, which is applied while it is typed."""

    class Changed(Message):
        """The text is another."""

        def __init__(self, text: str) -> None:
            self.text = text
            super().__init__()

    class Left(Message):
        """The person has finished.

        Attributes:
            is_kept: Whether the filter is to stay.
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
        """The slash, and what is typed after it."""
        yield Label(" /")
        yield self._input

    def edit(self, text: str) -> None:
        """Appear, with this text to begin with."""
        self.display = True
        self._input.value = text
        self._input.focus()

    def on_input_changed(self, event: Input.Changed) -> None:
        """Tell what is typed."""
        event.stop()
        self.post_message(self.Changed(event.value))

    def action_leave(self, is_kept: bool) -> None:
        """Disappear, and give the keys back to the table."""
        self.display = False
        self.post_message(self.Left(is_kept=is_kept))
