"""``poolhouse attach``: every start of a Python, also of one that does not read ``PYTHONPATH``."""

import subprocess
import sys
from pathlib import Path

import pytest

from support.attached import (
    COMMANDS,
    SHOP,
    Case,
    checkouts,
    environment_with_sqlalchemy,
    expected,
    plain_environment,
    run_all,
    write,
)
from support.pages import ROOT, Reader, under
from support.receiver import Receiver


@pytest.fixture
def environment(tmp_path: Path) -> Path:
    return environment_with_sqlalchemy(tmp_path)


def command(*arguments: str) -> tuple[int, str, str]:
    """The status, output and complaints of ``poolhouse attach``."""
    done = subprocess.run(
        [COMMANDS / "poolhouse", "attach", *arguments],
        env=plain_environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def test_pythons_that_read_no_pythonpath_are_attached_once_that_is_installed(
    environment: Path, tmp_path: Path
) -> None:
    python = str(environment / "bin" / "python")
    write(tmp_path, shop=SHOP)
    said = "does not read PYTHONPATH: only poolhouse attach --install gets in there"
    options = {"I": "-I", "E": "-E"}
    bare = {name: Case([python, option, "shop.py"], [], errors=said) for name, option in options.items()}
    assert run_all(bare, tmp_path) == expected(bare)
    status, output, errors = command("--install", str(environment))
    assert (status, errors) == (0, "")
    assert "reports to where POOLHOUSE_REPORT says" in output
    cases = {
        "isolated": Case([python, "-I", "shop.py"], errors=said),
        "without-environment": Case([python, "-E", "-W", "error", "shop.py"], errors=said),
        "plain": Case([python, "shop.py"]),
        "without-run": Case([python, "-I", "shop.py"], launcher=[]),
        "disabled": Case([python, "-I", "shop.py"], [], launcher=[], variables={"POOLHOUSE_DISABLE": "1"}),
        "nowhere": Case([python, "-I", "shop.py"], [], launcher=[], variables={"POOLHOUSE_REPORT": ""}),
    }
    assert run_all(cases, tmp_path) == expected(cases)
    assert command("--remove", python)[0] == 0
    assert run_all(bare, tmp_path) == expected(bare)
    assert command("--remove", python)[1].startswith("nothing to remove in ")


def test_what_cannot_be_done_is_a_sentence(tmp_path: Path) -> None:
    assert command("--install", str(tmp_path)) == (
        1,
        "",
        f"poolhouse attach: {tmp_path}/bin/python does not answer as a Python does\n",
    )
    assert command() == (
        2,
        "",
        "poolhouse attach: expected the number of a process, --install or --remove\n",
    )
    status, _, errors = command("--install", "--report", "http://x", sys.executable)
    assert status == 2
    assert errors.startswith("poolhouse attach: --report: url: expected collectd://")


def test_each_example_of_the_how_to_page_attaches_a_program_that_says_nothing(tmp_path: Path) -> None:
    page = ROOT / "docs" / "howto" / "run.md"
    (run,) = under(page, "See pools without a line of code", "sh")
    (line,) = under(page, "Where it does not reach", "sh")
    (one,) = under(page, "One line instead", "python")
    with Reader(tmp_path) as reader:
        write(tmp_path, shop=SHOP)
        write(tmp_path, late=SHOP + f"    {one}")
        with reader.network.entered():
            receiver = Receiver(port=25827)
        with receiver:
            assert reader.read(run) == "sold\n"
            environment_with_sqlalchemy(tmp_path)
            reader.read(line)
            assert reader.read("environment/bin/python -I shop.py") == "sold\n"
            reader.read(line.replace("--install", "--remove").replace("--report collectd://localhost/", ""))
            assert reader.read("python late.py") == "sold\n"
            assert checkouts(receiver, {}) == {"shop": [2, 2], "late.py": [0]}
