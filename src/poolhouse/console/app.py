"""The application: it passes messages and keys to the session, and the session's contents to the window."""

from datetime import tzinfo
from typing import ClassVar

from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.events import Resize

from poolhouse.clock import Clock, SystemClock
from poolhouse.console.feed import FeedFactory
from poolhouse.console.keys import KEYS
from poolhouse.console.messages import LinkChanged, SnapshotArrived, TerminalGone
from poolhouse.console.picture import picture
from poolhouse.console.session import Hint, Page, Session
from poolhouse.console.widgets.bar import Bar
from poolhouse.console.widgets.filter_line import FilterLine
from poolhouse.console.widgets.lines_view import LinesView
from poolhouse.console.widgets.sheet_view import SheetView
from poolhouse.errors import SettingError
from poolhouse.feed.link import Link

#: Seconds between two clock ticks: for ages of silence, the next attempt, the spinner.
_TICK = 0.25


class ConsoleApp(App[None]):
    """connmon's window.

    Args:
        make_feed: Makes the source of the snapshots.
        address: The source's name, as the user would write it.
        clock: The source of "now".
        zone: The time zone for times of day; ``None`` for this machine's.
        seconds: When the application ends by itself; ``None`` for when the user quits.
        program: The program whose page is shown first; ``None`` for the page of all programs.
        hint: The line above the foot of each page; ``None`` for none.
        can_ask: Whether to end if a login is demanded or refused before anything was shown.
    """

    TITLE = "connmon"
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(key.keys, key.action, key.meaning, show=False) for key in KEYS
    ]
    CSS = """
    Screen, Bar, SheetView, LinesView, FilterLine, Label, Input { background: ansi_default; color: ansi_default; }
    SheetView, LinesView { height: 1fr; scrollbar-size: 0 0; }
    FilterLine { height: 1; }
    Input, Input:focus { width: 1fr; border: none; padding: 0; }
    """

    def __init__(
        self,
        make_feed: FeedFactory,
        address: str,
        clock: Clock | None = None,
        zone: tzinfo | None = None,
        seconds: float | None = None,
        program: str | None = None,
        hint: Hint | None = None,
        can_ask: bool = False,
    ) -> None:
        super().__init__(ansi_color=True)
        self._clock = clock or SystemClock()
        self._zone = zone
        self._seconds = seconds
        self.session = Session(Link("connecting", address), zone, hint)
        if program is not None:
            self.session.open(program)
        self._feed = make_feed(
            lambda snapshot: self._hand_over(SnapshotArrived(snapshot)),
            lambda link: self._hand_over(LinkChanged(link)),
        )
        self._asked: str | None = None
        #: Why the feed could not start, if the application ended for that.
        self.failure: SettingError | None = None
        #: The link that demands another login, if the application ended for that.
        self.refusal: Link | None = None
        self._can_ask = can_ask
        self._head = Bar()
        self._sheet_view = SheetView()
        self._lines_view = LinesView()
        self._foot = Bar()
        self._filter_line = FilterLine()

    def compose(self) -> ComposeResult:
        """The parts of the window, from top to bottom; of two bodies and two feet, one is shown at a time."""
        yield self._head
        yield self._sheet_view
        yield self._lines_view
        yield self._foot
        yield self._filter_line

    def on_mount(self) -> None:
        """Start the feed."""
        self.redraw()
        self.set_interval(_TICK, self.redraw)
        if self._seconds is not None:
            self.set_timer(self._seconds, self.exit)
        try:
            self._feed.start()
        except SettingError as error:
            self.failure = error
            self.exit()

    def on_unmount(self) -> None:
        """Close the feed."""
        self._feed.close()

    def on_resize(self, event: Resize) -> None:
        """Lay everything out again."""
        self.redraw()

    def on_snapshot_arrived(self, message: SnapshotArrived) -> None:
        """Show the snapshot."""
        self.session.receive(message.snapshot)
        self.redraw()

    def on_link_changed(self, message: LinkChanged) -> None:
        """Show the state of the connection."""
        self.session.link = message.link
        if message.link.login and self._can_ask and self.session.snapshot is None:
            self.refusal = message.link
            self.exit()
        self.redraw()

    def redraw(self) -> None:
        """Bring the window up to date with the session; unchanged parts are not drawn again."""
        if not self.is_running:
            return
        if (asked := self.session.place.asked) != self._asked:
            self._asked = asked
            self._feed.ask(asked)
        keys = [(key.shown, key.meaning) for key in KEYS]
        width, height = self.size
        shown = picture(self.session, width, height, self._clock.monotonic(), self._zone, keys)
        self._head.display = bool(shown.head)
        self._head.show(shown.head, has_cursor=self.session.is_at_verdict)
        self._sheet_view.display = shown.sheet is not None
        self._lines_view.display = shown.sheet is None
        if shown.sheet is not None:
            self._sheet_view.show(shown.sheet, is_dim=shown.is_dim, has_cursor=not self.session.is_at_verdict)
        else:
            self._lines_view.show(shown.lines, self.session.place, is_notice=shown.is_notice, is_dim=shown.is_dim)
        self._foot.display = bool(shown.foot) and not self._filter_line.display
        self._foot.show(tuple(line for line in (shown.hint, shown.foot) if line))

    def leave(self) -> None:
        """Quit. Any thread may call this."""
        self.post_message(TerminalGone())

    def on_terminal_gone(self, message: TerminalGone) -> None:
        """Quit: nobody can see the window any more."""
        self.exit()

    def action_go(self, page: Page) -> None:
        """Open a page."""
        self.session.go(page)
        self.redraw()

    def action_row(self, rows: int) -> None:
        """Move by rows; above the first one is the verdict."""
        if rows < 0 and self._body.is_at_start:
            self.session.go_to_verdict()
        elif self.session.is_at_verdict:
            self.session.leave_verdict()
        else:
            self._body.move(rows)
        self.redraw()

    def action_screenful(self, number: int) -> None:
        """Move by the height of the window."""
        self._leave_verdict()
        self._body.move_screenfuls(number)

    def action_first(self) -> None:
        """Move to the start."""
        self._leave_verdict()
        self._body.move_to_start()

    def action_last(self) -> None:
        """Move to the end."""
        self._leave_verdict()
        self._body.move_to_end()

    def action_move(self, columns: int) -> None:
        """Scroll to other columns."""
        self.session.move(columns, self.size.width)
        self.redraw()

    def action_open(self) -> None:
        """Open what is under the cursor: a row, or the verdict."""
        if self.session.is_at_verdict:
            self.action_why()
        elif self._sheet_view.display:
            self._sheet_view.open()

    async def action_back(self) -> None:
        """Return to the page before."""
        self.session.back()
        self.redraw()

    def action_filter(self) -> None:
        """Let the user type a filter."""
        if self.session.table is None:
            return
        self._filter_line.edit(self.session.arrangement.containing)
        self.redraw()

    def action_sort(self, step: int) -> None:
        """Sort by another column."""
        self.session.sort_by_next(step, self.size.width)
        self.redraw()

    def action_reverse(self) -> None:
        """Reverse the order."""
        self.session.reverse()
        self.redraw()

    def action_pause(self) -> None:
        """Pause, or resume."""
        self.session.toggle_pause()
        self.redraw()

    def action_retry(self) -> None:
        """Connect now."""
        self._feed.retry()

    def action_lines(self) -> None:
        """Open the lines that hold connections."""
        self.session.show_lines()
        self.redraw()

    def action_why(self) -> None:
        """Open or leave the page of the verdicts."""
        self.session.show_verdicts()
        self.redraw()

    def action_explain(self) -> None:
        """Open or leave the legend."""
        self.session.explain()
        self.redraw()

    def on_filter_line_changed(self, message: FilterLine.Changed) -> None:
        """Apply the filter while the user types."""
        self.session.filter(message.text)
        self.redraw()

    def on_filter_line_left(self, message: FilterLine.Left) -> None:
        """Go back to the table, with or without the filter."""
        if not message.is_kept:
            self.session.filter("")
        self._body.focus()
        self.redraw()

    def on_sheet_view_opened(self, message: SheetView.Opened) -> None:
        """Open a row's page."""
        self.session.open(message.key)
        self.redraw()

    def on_bar_clicked(self, message: Bar.Clicked) -> None:
        """Explain the verdict, which is the first line if there is one."""
        if message.bar is self._head and message.line == 0 and self.session.has_verdict:
            self.action_why()

    def on_sheet_view_row_clicked(self, message: SheetView.RowClicked) -> None:
        """Take the cursor into the table, if it was at the verdict."""
        self._leave_verdict()

    def on_sheet_view_heading_clicked(self, message: SheetView.HeadingClicked) -> None:
        """Sort by a column."""
        self.session.sort(message.heading)
        self.redraw()

    def _leave_verdict(self) -> None:
        self.session.leave_verdict()
        self.redraw()

    @property
    def _body(self) -> SheetView | LinesView:
        return self._sheet_view if self._sheet_view.display else self._lines_view

    def _hand_over(self, message: SnapshotArrived | LinkChanged) -> None:
        """Pass a message from the feed's thread to the application; after its end, messages are dropped."""
        if self.is_running:
            self.post_message(message)
