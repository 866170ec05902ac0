"""The tutorial's program has the problem that it says, is shown as it says, and is well once it is mended."""

import json
import re
import signal
from pathlib import Path

from support.connmond import Watcher, program
from support.pages import ROOT, Reader, blocks, looks_like, session, under
from support.waiting import wait_until

TUTORIAL = ROOT / "docs" / "tutorial" / "first-steps.md"


def shown(heading: str, *languages: str) -> tuple[str, list[str]]:
    """The command of the console block under a heading, and the lines that it shows."""
    ((command, output),) = session(under(TUTORIAL, heading, *languages)[-1])
    return command, output.splitlines()


def test_every_example_of_the_tutorial_is_tried_below() -> None:
    assert [block.heading for block in blocks(TUTORIAL)] == [
        "Install", "Start the daemon", "A program with a problem", "A program with a problem", "See it", "See it",
        "Fix it", "Fix it", "Get told",
    ]  # fmt: skip


def test_a_reader_sees_the_problem_mends_it_and_sees_it_gone(tmp_path: Path) -> None:
    (daemon,) = under(TUTORIAL, "Start the daemon", "console")
    code, run = under(TUTORIAL, "A program with a problem", "python", "sh")
    (probe,) = under(TUTORIAL, "Get told", "sh")
    mended, _ = under(TUTORIAL, "Fix it", "python", "console")
    assert mended.count("\n") == 6
    with Reader(tmp_path) as reader:
        reader.start_as_shown(daemon)
        (tmp_path / "shop.py").write_text(code)
        shop = reader.start(run.strip())
        with reader.network.entered(), Watcher(25828) as watcher:
            watcher.wait_for(lambda seen: (row := program(seen, "shop")) and row.totals.checkouts >= 20)
        command, lines = shown("See it", "sh", "console")

        def is_as_shown() -> bool:
            printed = reader.read(command).splitlines()
            same_headings = lines[-2].split() == printed[-2].split()
            same = looks_like(units(lines[-1]), units(printed[-1])) and looks_like(bar(lines[1]), bar(printed[1]))
            # Of eight threads two have a connection, and two at most are between two customers.
            return same and same_headings and re.search(r" 2/2 !  +2  +0  +[456] ! ", printed[-1]) is not None

        wait_until(is_as_shown, what="the table of the page")
        (told,) = json.loads(reader.read("connmon connect --json"))["programs"]
        assert told["use_seconds_p99"] >= 0.5
        assert told["wait_seconds_p99"] > 0.5
        assert told["checkouts_per_second"] < 4.5
        assert reader.read(probe) == "a pool is saturated\n"

        shop.send_signal(signal.SIGINT)
        shop.communicate(timeout=30)
        before, after = code[: code.index("def serve")], code[code.index("\n\nfor ") :]
        (tmp_path / "shop.py").write_text(before + mended + after)
        reader.start(run.strip())
        with reader.network.entered(), Watcher(25828) as watcher:
            watcher.wait_for(
                lambda seen: (row := program(seen, "shop")) and row.rates.checkouts > 6 and not row.full_pools
            )
        command, lines = shown("Fix it", "python", "console")
        wait_until(lambda: looks_like(bar(lines[1]), bar(reader.read(command).splitlines()[1])))
        assert reader.read(probe) == ""


def bar(line: str) -> str:
    """A line whose bar, which has as many characters as its number says, is left out."""
    return re.sub(r"[█▏▎▍▌▋▊▉░]+", "", line)


def units(line: str) -> str:
    """A line whose durations are all of one unit."""
    return re.sub(r"(\d)(?:ms|s)\b", r"\1s", line)
