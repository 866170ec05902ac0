"""Every example of the page for those who come from connmon, done word for word."""

import json
import re
import signal
from pathlib import Path

from poolhouse.configuration.service import CSV_COLUMNS
from support.pages import ROOT, Reader, blocks, session, under
from support.terminal import Terminal
from support.waiting import wait_until

PAGE = ROOT / "docs" / "howto" / "coming-from-connmon.md"


def test_every_example_of_the_page_is_tried_below() -> None:
    assert [(block.heading, block.language) for block in blocks(PAGE)] == [
        *(("Change over", language) for language in ("ini", "console", "python", "sh")),
        ("The CSV file", "text"),
    ]


def test_a_file_a_url_and_the_commands_of_connmon_do_what_the_page_says(tmp_path: Path) -> None:
    file, daemon, code, commands = under(PAGE, "Change over", "ini", "console", "python", "sh")
    (tmp_path / "connmon.cfg").write_text(file)
    (check, _), _ = session(daemon)
    shown_check, shown_daemon = daemon[: daemon.rindex("$ ")], daemon[daemon.rindex("$ ") :]
    with Reader(tmp_path) as reader:
        assert without_buffer(f"$ {check}\n{reader.read(check)}") == without_buffer(shown_check)
        reader.start_as_shown(shown_daemon)
        (tmp_path / "shop.py").write_text(f"{code}\nimport time\ntime.sleep(300)\n")
        reader.start("python -W error shop.py")
        window, named, direct, dump, once = (line.partition("#")[0].strip() for line in commands.splitlines())
        wait_until(lambda: " shop.py " in reader.run(once).stdout, what="the program")
        for command in (window, named, direct):
            with Terminal(reader.window(f"env -C {tmp_path} {command}"), 100, 30) as terminal:
                terminal.wait_for("default:node1", "● live", "shop.py")
                terminal.type("q")
                assert terminal.end() == 0
        dumping = reader.start(dump)
        assert dumping.stdout is not None
        (program,) = json.loads(dumping.stdout.readline())["programs"]
        assert (program["name"], program["checkouts_total"]) == ("shop.py", 1)
        dumping.send_signal(signal.SIGINT)
        assert dumping.wait(30) == 130
        assert_rows_look_like_those_shown((tmp_path / "connmon.csv").read_text().splitlines())


def without_buffer(text: str) -> list[str]:
    """The lines but for the one that depends on the machine's kernel."""
    lines = text.splitlines()
    assert any(line.startswith("buffer ") for line in lines)
    return [line for line in lines if not line.startswith("buffer ")]


def assert_rows_look_like_those_shown(lines: list[str]) -> None:
    (shown,) = under(PAGE, "The CSV file", "text")
    header, row = shown.splitlines()
    assert lines[0] == header == ",".join(CSV_COLUMNS)

    def form(text: str) -> str:
        return re.sub(r"^[\d: -]+,connmon,[^,]+,", "WHEN,connmon,WHERE,", text)

    assert form(row) in {form(line) for line in lines[1:]}


def test_each_option_of_the_page_is_one_of_the_command(tmp_path: Path) -> None:
    named = {"-c", "-s", "-n", "-H", "-u", "-p", "--password-file", "--dump-only", "--once"}
    assert named <= set(re.findall(r"(?<![\w-])--?\w[\w-]*", PAGE.read_text()))
    with Reader(tmp_path) as reader:
        assert named <= set(re.findall(r"(?<![\w-])--?\w[\w-]*", reader.read("COLUMNS=200 connmon --help")))
