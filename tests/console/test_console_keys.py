"""Every key, and the mouse."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC

import pytest
from textual.pilot import Pilot

from poolhouse.console.app import ConsoleApp
from poolhouse.console.keys import KEYS
from poolhouse.console.paint import CURSOR
from poolhouse.console.widgets.sheet_view import SheetView
from poolhouse.fleet.snapshot import ProcessRow, Snapshot
from support.console import LIVE, HandClock, HandFeed, screen_lines, screen_text, settle
from support.sample_fleet import PROGRAMS, SNAPSHOT, WALL_TIME, with_holders, with_processes


class Window:
    """A live window with the sample in it."""

    def __init__(self, app: ConsoleApp, feed: HandFeed, pilot: Pilot[None]) -> None:
        self.app, self.feed, self.pilot = app, feed, pilot

    async def press(self, *keys: str) -> None:
        for key in keys:
            await self.pilot.press(key)
            await settle(self.app, self.pilot)

    async def send(self, snapshot: Snapshot) -> None:
        self.feed.send(snapshot)
        await settle(self.app, self.pilot)

    @property
    def text(self) -> str:
        return screen_text(self.app)

    @property
    def rows(self) -> list[str]:
        """The first word of every row of the table."""
        lines = screen_lines(self.app)[5:-1]
        return [line.split()[1] for line in lines if line.strip()]

    @property
    def heading(self) -> str:
        return screen_lines(self.app)[4]

    @property
    def under_cursor(self) -> str:
        for strip in self.app.screen._compositor.render_strips():
            if any(segment.style is not None and segment.style == CURSOR for segment in strip):
                return "".join(segment.text for segment in strip).split()[1]
        return ""


def in_window(
    scenario: Callable[[Window], Awaitable[None]], size: tuple[int, int] = (80, 24), snapshot: Snapshot = SNAPSHOT
) -> None:
    async def run() -> None:
        feed = HandFeed()
        app = ConsoleApp(feed.make, "web1:25828", HandClock(), UTC)
        async with app.run_test(size=size) as pilot:
            window = Window(app, feed, pilot)
            feed.say(LIVE)
            await window.send(snapshot)
            await scenario(window)
        assert feed.is_closed

    asyncio.run(run())


def many(number: int) -> Snapshot:
    """A snapshot with many programs."""
    programs = tuple(PROGRAMS[0]._replace(name=f"p{index:05}", used=number - index) for index in range(number))
    return SNAPSHOT._replace(programs=programs)


def test_s_sorts_by_the_next_column_and_i_turns_it_round():
    async def scenario(window: Window) -> None:
        assert window.rows[0] == "checkout"
        await window.press("s")
        assert "▾PEAK" in window.heading
        await window.press("S", "S", "S")
        assert "PROGRAM▴" in window.heading
        assert window.rows == sorted(window.rows)
        await window.press("i")
        assert "PROGRAM▾" in window.heading
        assert window.rows == sorted(window.rows, reverse=True)

    in_window(scenario)


def test_a_click_on_a_heading_sorts_and_another_turns_it_round():
    async def scenario(window: Window) -> None:
        offset = (window.heading.index("IDLE"), 4)
        await window.pilot.click(offset=offset)
        await settle(window.app, window.pilot)
        assert window.rows[0] == "catalog"
        await window.pilot.click(offset=offset)
        await settle(window.app, window.pilot)
        assert "▴IDLE" in window.heading

    in_window(scenario)


def test_a_slash_filters_while_one_types_enter_keeps_it_and_escape_forgets_it():
    async def scenario(window: Window) -> None:
        await window.press("slash", "c", "a", "t")
        assert window.rows == ["catalog"]
        await window.press("enter")
        assert "1 of 5 contain “cat”" in window.text
        await window.press("escape")
        assert len(window.rows) == 5
        await window.press("slash", "q", "escape")
        assert len(window.rows) == 5
        assert "contain" not in window.text

    in_window(scenario)


def test_keys_do_nothing_but_text_while_the_filter_is_typed():
    async def scenario(window: Window) -> None:
        await window.press("slash", "h", "q", "space", "p")
        assert window.app.is_running
        assert window.app.session.arrangement.containing == "hq p"

    in_window(scenario)


def test_space_holds_the_window_still_and_goes_on_with_the_newest():
    async def scenario(window: Window) -> None:
        await window.press("space")
        await window.send(SNAPSHOT._replace(wall_time=WALL_TIME + 1, programs=PROGRAMS[:1]))
        await window.send(SNAPSHOT._replace(wall_time=WALL_TIME + 2, programs=PROGRAMS[:2]))
        assert len(window.rows) == 5
        assert "‖ paused 12:04:31" in window.text
        await window.press("space")
        assert len(window.rows) == 2
        assert "● live 12:04:33" in window.text

    in_window(scenario)


def test_a_program_opened_while_paused_shows_its_processes():
    async def scenario(window: Window) -> None:
        await window.press("space", "enter")
        await window.send(with_processes())
        assert "4121:9f3a2c" in window.text

    in_window(scenario)


def test_enter_leads_to_the_program_and_the_pool_and_escape_back():
    async def scenario(window: Window) -> None:
        await window.press("enter")
        assert "asking web1:25828 for the processes of checkout" in window.text
        assert window.feed.asked[-1] == "checkout"
        await window.send(with_processes())
        await window.press("enter")
        assert "peaks  used 10 (10)" in window.text
        await window.press("escape", "escape")
        assert "PROGRAM" in window.heading
        assert window.feed.asked[-1] is None

    in_window(scenario)


def test_the_foot_says_esc_where_it_leads_to_another_page():
    async def scenario(window: Window) -> None:
        assert "esc back" not in window.text
        await window.press("l")
        assert "esc back" not in window.text
        await window.press("p", "enter", "l")
        assert "esc back" in window.text

    in_window(scenario)


def test_a_pool_that_goes_while_one_looks_is_said_to_be_gone():
    async def scenario(window: Window) -> None:
        await window.press("enter")
        await window.send(with_processes())
        await window.press("enter")
        await window.send(with_processes()._replace(processes=()))
        assert "This pool is gone" in window.text

    in_window(scenario)


def test_a_program_that_goes_while_one_looks_is_said_to_be_gone():
    async def scenario(window: Window) -> None:
        await window.press("enter")
        await window.send(with_processes()._replace(programs=PROGRAMS[:1], processes=()))
        assert "No process of this program reports any more." in window.text

    in_window(scenario)


def test_the_cursor_follows_its_row_wherever_sorting_puts_it():
    async def scenario(window: Window) -> None:
        assert window.under_cursor == "checkout"
        await window.press("down")
        assert window.under_cursor == "catalog"
        await window.press("i")
        assert window.under_cursor == "catalog"
        assert window.rows.index("catalog") == 3

    in_window(scenario)


def test_on_the_first_row_the_cursor_stays_on_the_first_row():
    async def scenario(window: Window) -> None:
        await window.press("i")
        assert window.under_cursor == window.rows[0] == "migrate"

    in_window(scenario)


def test_the_cursor_stays_where_it_was_when_its_row_goes():
    async def scenario(window: Window) -> None:
        await window.press("end")
        assert window.under_cursor == "migrate"
        await window.send(SNAPSHOT._replace(wall_time=WALL_TIME + 1, programs=PROGRAMS[:2]))
        assert window.under_cursor == window.rows[-1]
        await window.send(SNAPSHOT._replace(wall_time=WALL_TIME + 2, programs=()))
        await window.press("down", "up", "enter", "end", "pagedown")
        assert window.rows == []

    in_window(scenario)


def test_every_row_can_be_reached_when_there_are_more_than_lines():
    """Trap 46."""

    async def scenario(window: Window) -> None:
        assert "10,000 rows" in window.text
        await window.press("end")
        assert window.rows[-1] == window.under_cursor == "p09999"
        await window.press("up")
        assert window.under_cursor == "p09998"
        await window.press("pageup")
        assert window.under_cursor == "p09980"
        assert "p09980" in window.rows
        await window.press("home")
        assert window.rows[0] == window.under_cursor == "p00000"
        await window.press(*["pagedown"] * 2)
        assert window.under_cursor == "p00036"

    in_window(scenario, snapshot=many(10_000))


def test_who_has_scrolled_away_with_the_wheel_is_not_brought_back():
    async def scenario(window: Window) -> None:
        view = window.app.query_one(SheetView)
        view.scroll_to(y=500, animate=False)
        await window.send(many(1_000)._replace(wall_time=WALL_TIME + 1))
        assert window.rows[0] == "p00500"
        await window.press("down")
        assert window.under_cursor == "p00001"

    in_window(scenario, snapshot=many(1_000))


def test_the_legend_over_a_program_leaves_its_processes_there():
    async def scenario(window: Window) -> None:
        await window.press("enter", "question_mark")
        assert window.feed.asked == ["checkout"]
        await window.send(with_processes())
        await window.press("escape")
        assert "4121:9f3a2c" in window.text

    in_window(scenario)


def test_every_page_of_text_begins_at_its_first_line():
    async def scenario(window: Window) -> None:
        await window.press("enter")
        await window.send(with_processes())
        await window.press("enter", "question_mark", "end", "escape")
        assert "peaks" in window.text

    in_window(scenario)


def test_only_lines_in_sight_are_made(monkeypatch):
    from poolhouse.views.column import Sheet

    made: list[int] = []
    line = Sheet.line
    monkeypatch.setattr(Sheet, "line", lambda self, index: made.append(index) or line(self, index))

    async def scenario(window: Window) -> None:
        assert set(made) == set(range(18))
        made.clear()
        await window.press("end")
        assert set(made) <= set(range(18)) | set(range(10_000 - 18, 10_000))

    in_window(scenario, snapshot=many(10_000))


def test_a_host_that_goes_leaves_the_table():
    """Trap 46."""

    async def scenario(window: Window) -> None:
        await window.press("h")
        assert window.rows == ["web1", "web2", "web3"]
        await window.send(SNAPSHOT._replace(wall_time=WALL_TIME + 1, hosts=SNAPSHOT.hosts[:1]))
        assert window.rows == ["web1"]

    in_window(scenario)


def test_right_and_left_bring_every_column_into_sight():
    async def scenario(window: Window) -> None:
        seen = set(window.heading.replace("▾", "").split())
        while "▸" in window.heading:
            await window.press("right")
            seen.update(window.heading.replace("▾", "").split())
        assert {column.heading for column in window.app.session.tables[0][1].columns} <= seen
        while "◂" in window.heading:
            await window.press("left")
        assert "PROGRAM  PROCS" in window.heading

    in_window(scenario)


def test_the_legend_scrolls_to_its_last_column_and_back():
    async def scenario(window: Window) -> None:
        await window.press("question_mark")
        assert "signs and colours" in window.text
        await window.press("end")
        assert "WHAT" in window.text
        await window.press("home", "down")
        assert "signs and colours" not in window.text
        await window.press("pagedown", "pageup", "up")
        assert "signs and colours" in window.text
        await window.press("question_mark")
        assert "PROGRAM" in window.heading

    in_window(scenario)


def test_enter_on_a_host_opens_its_programs_and_then_the_program():
    on_web1 = tuple(ProcessRow("web1", row.name, "", row._replace(name=""), None, 0, ()) for row in PROGRAMS[:2])
    of_web1 = SNAPSHOT._replace(program="\0web1", processes=on_web1)

    async def scenario(window: Window) -> None:
        await window.press("h", "enter")
        assert window.feed.asked[-1] == "\0web1"
        assert "asking web1:25828 for the programs on web1" in window.text
        await window.send(of_web1)
        assert " web1  17 procs  " in window.text
        assert window.rows == ["catalog", "billing"]
        await window.press("down", "enter")
        assert window.feed.asked[-1] == "billing"
        await window.press("escape")
        await window.send(of_web1)
        assert window.rows == ["catalog", "billing"]
        await window.press("escape")
        assert window.rows == [row.name for row in SNAPSHOT.hosts]
        assert window.feed.asked[-1] is None

    in_window(scenario)


def test_a_host_that_goes_while_one_looks_is_said_to_be_gone():
    async def scenario(window: Window) -> None:
        await window.press("h", "enter")
        await window.send(SNAPSHOT._replace(hosts=SNAPSHOT.hosts[1:]))
        assert "No process on this host reports any more." in window.text

    in_window(scenario)


def test_what_is_bad_can_be_read_under_the_cursor():
    """In the terminal's own ground on its own red: whoever can read red on that ground can read it."""

    async def scenario(window: Window) -> None:
        (row,) = [
            strip
            for strip in window.app.screen._compositor.render_strips()
            if "120/120" in "".join(segment.text for segment in strip)
        ]
        styles = {segment.text.strip(): segment.style for segment in row}
        assert styles["checkout"] == CURSOR
        assert str(styles["120/120 !"]) == "bold reverse red"

    in_window(scenario)


def test_a_double_click_opens_a_row():
    async def scenario(window: Window) -> None:
        await window.pilot.click(offset=(5, 6), times=2)
        await settle(window.app, window.pilot)
        assert window.app.session.place.program == "catalog"

    in_window(scenario)


def test_r_tries_to_connect_now():
    async def scenario(window: Window) -> None:
        await window.press("r")
        assert window.feed.retries == 1

    in_window(scenario)


@pytest.mark.parametrize("key", ["q", "ctrl+c"])
def test_q_ends_it(key):
    async def scenario(window: Window) -> None:
        await window.pilot.press(key)
        await window.pilot.pause()
        assert window.app._exit

    in_window(scenario)


@pytest.mark.parametrize("page", ["p", "h", "e", "enter", "question_mark"])
def test_every_key_works_on_every_page(page):
    async def scenario(window: Window) -> None:
        for key in [key for entry in KEYS if entry.action != "quit" for key in entry.keys.split(",")]:
            await window.pilot.press("escape", "p", page, key)
            await window.pilot.pause()
            assert window.app.is_running, key
            assert window.app._exception is None, key

    in_window(scenario)


def test_a_burst_of_snapshots_is_drawn_once():
    async def scenario(window: Window) -> None:
        received: list[float] = []
        receive = window.app.session.receive
        window.app.session.receive = lambda snapshot: received.append(snapshot.wall_time) or receive(snapshot)
        for second in range(1, 51):
            window.feed.send(SNAPSHOT._replace(wall_time=WALL_TIME + second))
        await settle(window.app, window.pilot)
        assert received[-1] == WALL_TIME + 50
        assert len(received) < 10

    in_window(scenario)


ALL_PROGRAMS = with_holders()._replace(program=None, processes=())


def test_up_from_the_first_row_leads_to_the_verdict_and_enter_tells_why():
    async def scenario(window: Window) -> None:
        assert window.text.splitlines()[0].endswith("   w why")
        await window.press("down", "up", "up")
        first, *_ = window.text.splitlines()
        assert first.endswith("   ↵ why")
        assert window.under_cursor == "leak", "nothing in the table is under the cursor too"
        await window.press("enter")
        assert "Return the connection on every path" in window.text
        await window.press("escape", "down")
        assert window.text.splitlines()[0].endswith("   w why")
        assert window.under_cursor == "checkout"
        for back in ("home", "end", "pagedown"):
            await window.press("home", "up", back)
            assert window.under_cursor in ("checkout", "migrate"), back
        await window.press("home", "up", "h")
        assert window.under_cursor == "web1", "each page begins in its table"

    in_window(scenario, snapshot=ALL_PROGRAMS)


def test_so_it_is_above_a_page_of_text():
    async def scenario(window: Window) -> None:
        await window.press("l", "enter", "up", "enter")
        assert "Return the connection on every path" in window.text

    in_window(scenario, snapshot=with_holders())


def test_a_click_on_the_verdict_tells_why_and_one_on_a_row_leaves_it():
    async def scenario(window: Window) -> None:
        await window.press("up")
        await window.pilot.click(offset=(5, 7))
        await settle(window.app, window.pilot)
        assert window.text.splitlines()[0].endswith("   w why")
        await window.pilot.click(offset=(5, 1))
        await settle(window.app, window.pilot)
        assert "PROGRAM" in window.text, "only the first line is the verdict"
        await window.pilot.click(offset=(5, 0))
        await settle(window.app, window.pilot)
        assert "Return the connection on every path" in window.text

    in_window(scenario, snapshot=ALL_PROGRAMS)


def test_without_a_verdict_up_stays_in_the_first_row():
    async def scenario(window: Window) -> None:
        await window.press("up", "up")
        assert window.under_cursor == "checkout"
        await window.press("down")
        assert window.under_cursor == "catalog"

    in_window(scenario, snapshot=ALL_PROGRAMS._replace(verdicts=()))
