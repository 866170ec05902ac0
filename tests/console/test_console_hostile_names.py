"""One hostile name, walked through every place where the name of another program or server is shown."""

import asyncio
import json
from collections.abc import Callable
from datetime import UTC

import pytest
from click.testing import CliRunner

from poolhouse.collectd_plugin.log import Log
from poolhouse.console import command
from poolhouse.console.app import ConsoleApp
from poolhouse.console.once import why_nothing
from poolhouse.doctor.finding import Finding, Verdict
from poolhouse.feed.link import Link
from poolhouse.views import plain
from support.console import LIVE, HandClock, HandFeed, screen_lines, settle
from support.fake_collectd import FakeCollectd
from support.hostile import EVIL, hostile
from support.sample_fleet import SNAPSHOT, with_processes

FLEET = hostile(with_processes())._replace(program=hostile("checkout"))
#: The pages of the window, by the keys that lead there; after each key the snapshot comes again.
PAGES = ("", "h", "e", "enter", "enter enter", "question_mark", "slash " + "x enter")
LINKS = (
    LIVE._replace(address=hostile("web1:25828"), server=hostile("connmond 0.1.0"), reports=hostile("web1:25827")),
    Link("connecting", hostile("web1:25828")),
    Link("refused", hostile("web1:25828"), error=hostile("not you")),
    Link("unresolved", hostile("web1:25828"), error=hostile("not known")),
    Link("listening", hostile("web1:25828")),
)


def is_clean(text: str) -> bool:
    """Whether every line of it is printable."""
    return all(line.isprintable() for line in text.split("\n"))


async def window(link: Link, keys: str, *, has_snapshot: bool = True) -> list[str]:
    feed = HandFeed()
    app = ConsoleApp(feed.make, link.address, HandClock(), UTC)
    async with app.run_test(size=(200, 60)) as pilot:
        feed.say(link)
        if has_snapshot:
            feed.send(FLEET)
        await settle(app, pilot)
        for key in keys.split():
            await pilot.press(key)
            feed.send(FLEET)
            await settle(app, pilot)
        return screen_lines(app)


def once(form: str, monkeypatch: pytest.MonkeyPatch) -> str:
    class Feed(HandFeed):
        def start(self) -> None:
            self.say(LINKS[0])
            self.send(FLEET)

    monkeypatch.setattr(command, "feed_of", lambda *_: Feed().make)
    return CliRunner().invoke(command.connmon, [form]).stdout


@pytest.mark.parametrize("keys", PAGES)
def test_no_page_of_the_window_lets_a_name_through(keys):
    lines = asyncio.run(window(LINKS[0], keys))
    assert all(map(str.isprintable, lines))
    assert any("owned" in line for line in lines) is (keys != "question_mark" and "x" not in keys)


@pytest.mark.parametrize("keys", ["", "enter"])
@pytest.mark.parametrize("link", LINKS, ids=lambda link: link.phase)
@pytest.mark.parametrize("has_snapshot", [True, False])
def test_no_notice_lets_the_words_of_a_server_through(link, keys, has_snapshot):
    asked = link._replace(server=None) if keys else link
    lines = asyncio.run(window(asked, keys, has_snapshot=has_snapshot))
    assert all(map(str.isprintable, lines))


@pytest.mark.parametrize("link", LINKS, ids=lambda link: link.phase)
def test_why_nothing_came_lets_no_word_of_a_server_through(link):
    assert is_clean(why_nothing(link, 1.0))


def test_once_and_the_table_of_the_demo_let_no_name_through(monkeypatch):
    printed = once("--once", monkeypatch)
    assert "owned" in printed
    assert is_clean(printed)
    assert is_clean(plain.text(FLEET, 200, UTC))


def test_json_lets_no_name_through_once_it_is_read(monkeypatch):
    seen: list[str] = []

    def walk(value):
        if isinstance(value, dict):
            seen.extend(value)
            walk(list(value.values()))
        elif isinstance(value, list):
            for item in value:
                walk(item)
        elif isinstance(value, str):
            seen.append(value)

    walk(json.loads(once("--json", monkeypatch)))
    assert sum("owned" in text for text in seen) > len(SNAPSHOT.programs)
    assert all(map(str.isprintable, seen))


def test_the_doctor_and_the_log_of_the_plugin_let_no_text_through():
    finding = str(Finding(Verdict.WRONG, "report", f"{hostile('connmond')} says\n{hostile('no')}"))
    assert is_clean(finding)
    collectd = FakeCollectd()
    log = Log(collectd, "poolhouse server", HandClock())
    log.level = "debug"
    says: list[Callable[[str], None]] = [log.error, log.warning, log.info, log.debug]
    says.append(lambda text: log.seldom("kind", text))
    for say in says:
        say(EVIL)
    assert len(collectd.lines) == len(says)
    assert all(line.isprintable() for _, line in collectd.lines)
