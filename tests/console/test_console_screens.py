"""The window as documents: every page in a small and in a large window, from one fixed fleet."""

import asyncio
from datetime import UTC
from pathlib import Path

import pytest

from poolhouse.console.app import ConsoleApp
from support.console import LIVE, HandClock, HandFeed, screen_text, settle
from support.documents import assert_document
from support.sample_fleet import SNAPSHOT, moment, with_processes

DOCUMENTS = Path(__file__).parent / "documents"
SIZES = [(80, 24), (200, 60)]
#: The keys that lead to each page.
PAGES = {
    "programs": "",
    "hosts": "h",
    "events": "e",
    "program": "enter",
    "pool": "enter enter",
    "legend": "question_mark",
    "columns": "right right right right",
    "by name": "S",
}


async def screen(size: tuple[int, int], keys: str) -> str:
    feed = HandFeed()
    app = ConsoleApp(feed.make, "web1:25828", HandClock(), UTC)
    async with app.run_test(size=size) as pilot:
        feed.say(LIVE)
        for second in range(-39, 0):
            app.session.receive(moment(second, 180 + 3 * second, max(0, second + 12), 1840 + 20 * second))
        feed.send(SNAPSHOT)
        await settle(app, pilot)
        for key in keys.split():
            await pilot.press(key)
            await settle(app, pilot)
            feed.send(with_processes())
            await settle(app, pilot)
        return screen_text(app)


@pytest.mark.parametrize("size", SIZES, ids="{0[0]}x{0[1]}".format)
@pytest.mark.parametrize("page", PAGES)
def test_page(page, size):
    text = asyncio.run(screen(size, PAGES[page]))
    lines = text.splitlines()
    assert len(lines) == size[1]
    assert max(map(len, lines)) <= size[0]
    assert_document(DOCUMENTS / f"{page.replace(' ', '-')}-{size[0]}x{size[1]}.txt", text)
