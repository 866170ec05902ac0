"""Draw docs/images/console*.svg: the console as it looks with a fixed fleet, from the console itself."""

import asyncio
import io
import sys
from datetime import UTC
from math import sin
from pathlib import Path

from rich.console import Console
from rich.segment import Segment, Segments
from rich.terminal_theme import TerminalTheme

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from poolhouse.console.app import ConsoleApp  # noqa: E402
from poolhouse.fleet.snapshot import Row, Snapshot  # noqa: E402
from support.console import LIVE, HandClock, HandFeed, settle  # noqa: E402
from support.sample_fleet import SNAPSHOT, moment, with_processes  # noqa: E402

IMAGES = ROOT / "docs" / "images"
#: Each picture: the keys that lead to its page, and its size in cells.
PICTURES = {"console": ("", (104, 13)), "console-pool": ("enter enter", (104, 40))}
BLACK, RED, GREEN, YELLOW = (20, 22, 26), (224, 82, 82), (104, 178, 96), (210, 170, 80)
BLUE, MAGENTA, CYAN, WHITE = (90, 140, 220), (180, 120, 200), (86, 172, 190), (240, 240, 240)
#: A dark terminal's colours.
COLOURS = TerminalTheme(BLACK, (214, 216, 220), [BLACK, RED, GREEN, YELLOW, BLUE, MAGENTA, CYAN, WHITE])
#: Rich's own form, less the fonts that it would fetch from the network.
FORM = """\
<svg viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{ font-family: "DejaVu Sans Mono", Menlo, Consolas, monospace;
  font-size: {char_height}px; line-height: {line_height}px; white-space: pre; }}
.{unique_id}-title {{ font-size: 18px; font-weight: bold; font-family: sans-serif; }}
{styles}
</style>
<defs><clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}"/>
</clipPath>{lines}</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">{backgrounds}
<g class="{unique_id}-matrix">{matrix}</g></g>
</svg>
"""


def past(second: int) -> Snapshot:
    """The fleet so many seconds before: every program comes and goes a little, and checkout fills up."""
    filled = max(0, second + 26)
    snapshot = moment(second, 150 + filled * 2, max(0, second + 14), 1500 + 200 * sin(second / 4) + filled * 15)

    def use(index: int, row: Row) -> Row:
        if row.name == "checkout":
            return row._replace(used=min(120, 50 + round(20 * sin(second / 5)) + filled * 3))
        return row._replace(used=round((row.used or 0) * (1 + 0.5 * sin(second / (4 + index)))))

    return snapshot._replace(programs=tuple(use(index, row) for index, row in enumerate(snapshot.programs)))


async def draw(keys: str, size: tuple[int, int]) -> str:
    """The picture of one page."""
    feed = HandFeed()
    app = ConsoleApp(feed.make, "web1:25828", HandClock(), UTC)
    async with app.run_test(size=size) as pilot:
        feed.say(LIVE)
        for second in range(-59, 0):
            feed.send(past(second))
            await settle(app, pilot)
        feed.send(SNAPSHOT)
        await settle(app, pilot)
        for key in keys.split():
            await pilot.press(key)
            feed.send(with_processes())
            await settle(app, pilot)
        strips = app.screen._compositor.render_strips()
    console = Console(
        file=io.StringIO(), record=True, width=size[0], force_terminal=True, color_system="truecolor"
    )
    segments = [Segment("\n") if segment is None else segment for strip in strips for segment in (*strip, None)]
    console.print(Segments(segments), end="")
    return console.export_svg(title="connmon", theme=COLOURS, code_format=FORM, unique_id="connmon")


def main() -> None:
    """Write the pictures."""
    for name, (keys, size) in PICTURES.items():
        (IMAGES / f"{name}.svg").write_text(asyncio.run(draw(keys, size)), encoding="utf-8")


if __name__ == "__main__":
    main()
