"""A console in a window of any size, fed by hand, and what it shows as text."""

import asyncio
from collections.abc import Callable
from datetime import UTC

from textual.pilot import Pilot

from poolhouse.console.app import ConsoleApp
from poolhouse.feed.link import Link
from poolhouse.fleet.snapshot import Snapshot


class HandFeed:
    """A feed that sends what the test tells it to, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str | None] = []
        self.retries = 0
        self.is_closed = False
        self.send: Callable[[Snapshot], None]
        self.say: Callable[[Link], None]

    def make(self, on_snapshot: Callable[[Snapshot], None], on_link: Callable[[Link], None]) -> "HandFeed":
        """What the application calls to have its feed."""
        self.send, self.say = on_snapshot, on_link
        return self

    def start(self) -> None:
        """Nothing comes by itself."""

    def ask(self, program: str | None) -> None:
        """Remember for whose processes the console asked."""
        self.asked.append(program)

    def retry(self) -> None:
        """Remember that the console wants to connect now."""
        self.retries += 1

    def close(self) -> None:
        """Remember that the console has ended."""
        self.is_closed = True


class HandClock:
    """A clock that stands still until it is told."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def monotonic(self) -> float:
        """Seconds."""
        return self.now

    def wall_time(self) -> float:
        """Seconds since the epoch."""
        return 1_700_000_000 + self.now


def screen_lines(app: ConsoleApp) -> list[str]:
    """What the terminal shows, line by line, from the compositor."""
    strips = app.screen._compositor.render_strips()
    return ["".join(segment.text for segment in strip) for strip in strips]


def screen_text(app: ConsoleApp) -> str:
    """The same as one text without blanks at the ends of lines."""
    return "\n".join(line.rstrip() for line in screen_lines(app)) + "\n"


#: A daemon that was heard just now.
LIVE = Link(
    "connected", "web1:25828", server="connmond 0.1.0", reports="web1:25827", heard_at=1000.0, patience=5.0
)


async def settle(app: ConsoleApp, pilot: Pilot[None]) -> None:
    """Let everything that has been sent and pressed reach the screen."""
    await pilot.pause()
    app.redraw()
    await pilot.pause()


def shown(*steps: Link | Snapshot | str | float, size: tuple[int, int] = (80, 24)) -> str:
    """The screen after links, snapshots, keys, and seconds that passed."""

    async def run() -> str:
        feed, clock = HandFeed(), HandClock()
        app = ConsoleApp(feed.make, "web1:25828", clock, UTC)
        async with app.run_test(size=size) as pilot:
            for step in steps:
                if isinstance(step, Link):
                    feed.say(step)
                elif isinstance(step, Snapshot):
                    feed.send(step)
                elif isinstance(step, str):
                    await pilot.press(step)
                else:
                    clock.now += step
                await settle(app, pilot)
            assert len(screen_lines(app)) == size[1]
            return screen_text(app)

    return asyncio.run(run())
