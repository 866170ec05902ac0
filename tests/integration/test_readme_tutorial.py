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
    folder = tmp_path / "shop"  # It is part of the names of lines.
    folder.mkdir()
    with Reader(folder) as reader:
        reader.start_as_shown(daemon)
        (folder / "shop.py").write_text(code)
        shop = reader.start(run.strip())
        with reader.network.entered(), Watcher(25828) as watcher:
            watcher.wait_for(lambda seen: (row := program(seen, "shop")) and row.totals.checkouts >= 20)
        command, lines = shown("See it", "sh", "console")
        lines = with_one_verdict(lines)

        def is_as_shown() -> bool:
            printed = with_one_verdict(reader.read(command).splitlines())
            if len(printed) < len(lines):
                return False
            # The verdict, the header, the programs, the lines that hold; empty lines between.
            same_headings = [lines[at].split() == printed[at].split() for at in (5, 8)]
            same_figures = [looks_like(units(lines[at]), units(printed[at])) for at in (6, 9)]
            same_verdict = looks_like(lines[0], printed[0])
            # Of eight threads two have a connection, and two at most are between two customers.
            are_waiting = re.search(r" 2/2 !  +2  +0  +[456] ! ", printed[6]) is not None
            same_bar = looks_like(bar(lines[2]), bar(printed[2]))
            return all((*same_headings, *same_figures, same_verdict, are_waiting, same_bar))

        wait_until(is_as_shown, what="the table of the page")
        (told,) = json.loads(reader.read("connmon connect --json"))["programs"]
        assert told["use_seconds_p99"] >= 0.5
        assert told["wait_seconds_p99"] > 0.5
        assert told["checkouts_per_second"] < 4.5
        assert reader.read(probe) == "a pool is saturated\n"

        shop.send_signal(signal.SIGINT)
        shop.communicate(timeout=30)
        before, after = code[: code.index("def serve")], code[code.index("\n\nfor ") :]
        (folder / "shop.py").write_text(before + mended + after)
        reader.start(run.strip())
        with reader.network.entered(), Watcher(25828) as watcher:
            watcher.wait_for(
                lambda seen: (row := program(seen, "shop")) and row.rates.checkouts > 6 and not row.full_pools
            )
        command, lines = shown("Fix it", "python", "console")
        wait_until(lambda: looks_like(bar(lines[2]), bar(reader.read(command).splitlines()[2])))
        assert reader.read(probe) == ""


def bar(line: str) -> str:
    """A line whose bar, which has as many characters as its number says, is left out."""
    return re.sub(r"[█▏▎▍▌▋▊▉░]+", "", line)


def with_one_verdict(lines: list[str]) -> list[str]:
    """The lines with those of the verdict as one, without the name of its host, which may be long."""
    header = next((at for at, line in enumerate(lines) if line.startswith(" poolhouse ")), len(lines))
    return [re.sub(r" on \S+:", ":", " ".join(lines[:header])), *lines[header:]]


def units(line: str) -> str:
    """A line whose durations are all of one unit."""
    return re.sub(r"(\d)(?:ms|s)\b", r"\1s", line)
