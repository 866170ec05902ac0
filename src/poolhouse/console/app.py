"""The application: messages and keys go to the session, and what the session says goes to the window."""

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

#: Seconds between two looks at the clock: ages of silence, the next try, the spinner.
_TICK = 0.25


class ConsoleApp(App[None]):
    """connmon's window.

    Args:
        make_feed: Makes the source of the snapshots.
        address: Where they come from, as the user would say it.
        clock: Where "now" comes from.
        zone: Where times of the day are told for; ``None`` is where this machine is.
        seconds: When the application ends by itself; ``None`` is when the person quits.
        program: The program whose page is shown first; ``None`` for the page of all programs.
        hint: What stands above the foot of each page, if anything.
        can_ask: Whether to end where a login is demanded, or refused, before anything was shown.
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
        #: Why the feed could not begin, once the application has ended for that.
        self.failure: SettingError | None = None
        #: The link that demands another login, once the application has ended for that.
        self.refusal: Link | None = None
        self._can_ask = can_ask
        self._head = Bar()
        self._sheet_view = SheetView()
        self._lines_view = LinesView()
        self._foot = Bar()
        self._filter_line = FilterLine()

    def compose(self) -> ComposeResult:
        """The window's parts, from top to bottom; of body and foot one of two is shown at a time."""
        yield self._head
        yield self._sheet_view
        yield self._lines_view
        yield self._foot
        yield self._filter_line

    def on_mount(self) -> None:
        """Begin to listen."""
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
        """End what was begun."""
        self._feed.close()

    def on_resize(self, event: Resize) -> None:
        """Lay everything out anew."""
        self.redraw()

    def on_snapshot_arrived(self, message: SnapshotArrived) -> None:
        """Show what came."""
        self.session.receive(message.snapshot)
        self.redraw()

    def on_link_changed(self, message: LinkChanged) -> None:
        """Say how it stands with the aggregator."""
        self.session.link = message.link
        if message.link.login and self._can_ask and self.session.snapshot is None:
            self.refusal = message.link
            self.exit()
        self.redraw()

    def redraw(self) -> None:
        """Bring the window to what the session says; parts that have not changed are not drawn again."""
        if not self.is_running:
            return
        if (asked := self.session.place.asked) != self._asked:
            self._asked = asked
            self._feed.ask(asked)
        keys = [(key.shown, key.meaning) for key in KEYS]
        width, height = self.size
        shown = picture(self.session, width, height, self._clock.monotonic(), self._zone, keys)
        self._head.display = bool(shown.head)
        self._head.show(shown.head)
        self._sheet_view.display = shown.sheet is not None
        self._lines_view.display = shown.sheet is None
        if shown.sheet is not None:
            self._sheet_view.show(shown.sheet, is_dim=shown.is_dim)
        else:
            self._lines_view.show(shown.lines, self.session.place, is_notice=shown.is_notice, is_dim=shown.is_dim)
        self._foot.display = bool(shown.foot) and not self._filter_line.display
        self._foot.show(tuple(line for line in (shown.hint, shown.foot) if line))

    def leave(self) -> None:
        """End; may be called from any thread."""
        self.post_message(TerminalGone())

    def on_terminal_gone(self, message: TerminalGone) -> None:
        """End: nobody sees the window any more."""
        self.exit()

    def action_go(self, page: Page) -> None:
        """Open a page."""
        self.session.go(page)
        self.redraw()

    def action_row(self, rows: int) -> None:
        """Move by rows."""
        self._body.move(rows)

    def action_screenful(self, number: int) -> None:
        """Move by what is in sight at once."""
        self._body.move_screenfuls(number)

    def action_first(self) -> None:
        """Move to the start."""
        self._body.move_to_start()

    def action_last(self) -> None:
        """Move to the end."""
        self._body.move_to_end()

    def action_move(self, columns: int) -> None:
        """Bring other columns into sight."""
        self.session.move(columns, self.size.width)
        self.redraw()

    def action_open(self) -> None:
        """Open the row under the cursor."""
        if self._sheet_view.display:
            self._sheet_view.open()

    async def action_back(self) -> None:
        """Return to the page before."""
        self.session.back()
        self.redraw()

    def action_filter(self) -> None:
        """Let a filter be typed."""
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
        """Apply the filter while it is typed."""
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

    def on_sheet_view_heading_clicked(self, message: SheetView.HeadingClicked) -> None:
        """Sort by a column."""
        self.session.sort(message.heading)
        self.redraw()

    @property
    def _body(self) -> SheetView | LinesView:
        return self._sheet_view if self._sheet_view.display else self._lines_view

    def _hand_over(self, message: SnapshotArrived | LinkChanged) -> None:
        """Bring a message from the feed's thread into the application; what comes after its end is dropped."""
        if self.is_running:
            self.post_message(message)
