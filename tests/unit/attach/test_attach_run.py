"""What ``poolhouse run`` makes of its arguments."""

import argparse
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

import poolhouse
from poolhouse.attach.run import (
    BOOTSTRAP,
    add_arguments,
    advice_on,
    become,
    environment,
    interpreter,
    report_url,
    run,
)
from poolhouse.errors import SettingError
from poolhouse.report.destination import Destination


@pytest.fixture(autouse=True)
def _signals_stay() -> Iterator[None]:
    """No command begins here, so this process goes on ignoring what a command must not."""
    before = {number: signal.getsignal(number) for number in (signal.SIGPIPE, signal.SIGXFSZ)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def parsed(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return parser.parse_args(arguments)


@pytest.mark.parametrize("dashes", [["--"], []])
def test_the_commands_own_options_are_not_ours(dashes: list[str]) -> None:
    found = parsed("--program", "shop", *dashes, "gunicorn", "--report", "x", "-w", "4", "--", "app")
    assert found.program == "shop"
    assert found.report is None
    assert found.command[len(dashes) :] == ["gunicorn", "--report", "x", "-w", "4", "--", "app"]


@pytest.mark.parametrize(
    ("report", "program", "variables", "program_name", "address"),
    [
        ("collectd://[::1]", "a&b=c", {}, "a&b=c", "[::1]:25827"),
        ("collectd://x:1?interval=5", "é", {}, "é", "x:1"),
        ("collectd://x:1/?", "shop", {}, "shop", "x:1"),
        ("x:1", "shop", {"POOLHOUSE_REPORT": "collectd://y/"}, "shop", "x:1"),
        (None, "shop", {"POOLHOUSE_REPORT": "collectd://y:2/?interval=5"}, "shop", "y:2"),
        (None, "shop", {"POOLHOUSE_REPORT": ""}, "shop", "localhost:25827"),
        (None, "shop", {"POOLHOUSE_REPORT": "collectd://u:p@x/?security=sign"}, "shop", "x:25827"),
    ],
)
def test_a_programs_name_is_added_to_where_reports_go(
    report: str | None, program: str, variables: Mapping[str, str], program_name: str, address: str
) -> None:
    found = Destination.from_url(report_url(report, program, variables))
    assert (found.program_name, found.address) == (program_name, address)


@pytest.mark.parametrize(
    ("report", "program", "variables", "message"),
    [
        ("http://x", None, {}, "^--report: url: expected collectd://"),
        ("collectd://x/?program_name=a", "b", {}, "^--report: program_name: given twice"),
        (None, "", {}, "^--program: expected a text, not ''$"),
        (None, None, {"POOLHOUSE_REPORT": "x:port"}, "^POOLHOUSE_REPORT: port: "),
    ],
)
def test_a_wrong_setting_is_named(
    report: str | None, program: str | None, variables: Mapping[str, str], message: str
) -> None:
    with pytest.raises(SettingError, match=message):
        report_url(report, program, variables)


@pytest.mark.parametrize(
    ("report", "variables", "is_inherited", "setting"),
    [
        ("collectd://u:Zq7secret@x/?security=sign", {}, True, "--report"),
        ("x/?security=sign&username=u&password=Zq7secret", {}, True, "--report"),
        (None, {"POOLHOUSE_REPORT": "collectd://u:Zq7secret@x/?security=sign"}, False, "POOLHOUSE_REPORT"),
    ],
)
def test_no_password_is_passed_on_that_the_command_does_not_inherit(
    report: str | None, variables: Mapping[str, str], is_inherited: bool, setting: str
) -> None:
    with pytest.raises(SettingError, match=f"^{setting}: others could read the password") as caught:
        report_url(report, "shop", variables, is_inherited=is_inherited)
    assert "Zq7secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, [BOOTSTRAP]),
        ({"PYTHONPATH": ""}, [BOOTSTRAP]),
        ({"PYTHONPATH": "a:b"}, [BOOTSTRAP, "a", "b"]),
        ({"PYTHONPATH": f"a:{BOOTSTRAP}:b"}, [BOOTSTRAP, "a", "b"]),
        ({"PYTHONPATH": BOOTSTRAP}, [BOOTSTRAP]),
    ],
)
def test_our_folder_is_the_first_and_once_there(before: dict[str, str], after: list[str]) -> None:
    assert environment(before, "x")["PYTHONPATH"].split(os.pathsep) == after


def test_without_a_command_it_says_what_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(parsed("--")) == 2
    assert "which command?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (FileNotFoundError(2, "No such file"), 127, "there is no command no-such"),
        (PermissionError(13, "Permission denied"), 126, "no-such cannot be run: Permission denied"),
        (ValueError("embedded null byte"), 2, "embedded null byte"),
    ],
)
def test_a_command_that_cannot_be_run_is_a_sentence(
    error: Exception, status: int, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object) -> None:
        raise error

    assert become(["no-such"], {}, refuse) == status
    assert words in capsys.readouterr().err


def test_a_script_whose_interpreter_is_not_there_is_told_from_a_command_that_is_not_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script = tmp_path / "shop"
    script.write_text("#!/nowhere/python3\n")
    script.chmod(0o700)

    def refuse(*_: object) -> None:
        raise FileNotFoundError(2, "No such file")

    assert become([str(script)], {}, refuse) == 126
    assert capsys.readouterr().err == (
        f"poolhouse run: {script} cannot be run: its first line names an interpreter that is not there\n"
    )


def test_what_only_a_command_that_fails_needs_is_not_imported() -> None:
    source = str(Path(poolhouse.__file__).parents[1])
    code = (
        f"import sys; sys.path.insert(0, {source!r}); import poolhouse.attach.run; print('shutil' in sys.modules)"
    )
    result = subprocess.run(
        [sys.executable, "-S", "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert result.stdout == "False\n"


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (["sudo", "-u", "app", "gunicorn"], "sudo poolhouse run …"),
        (["/usr/bin/python3.11", "-uIc", "pass"], "python3.11 -I does not read PYTHONPATH: only poolhouse attach"),
        (["python", "-IS", "shop.py"], "python -S does not read site-packages and sitecustomize: only import"),
        (["python", "-m", "shop", "-E"], None),
        (["gunicorn", "-E"], None),
        ([], None),
    ],
)
def test_a_command_that_poolhouse_does_not_get_into_is_named(command: list[str], words: str | None) -> None:
    found = advice_on(command)
    assert found is None if words is None else words in (found or "")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"#!/usr/bin/python3 -Es\nimport sys\n", ["/usr/bin/python3", "-Es"]),
        (b"#!\xff", ["\ufffd"]),
        (b"#!", []),
        (b"import sys\n", []),
        (b"", []),
    ],
)
def test_a_script_names_its_interpreter(text: bytes, words: list[str], tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_bytes(text)
    script.chmod(0o755)
    assert interpreter([str(script)]) == words


@pytest.mark.parametrize("name", ["no-such", ""])
def test_what_is_not_there_names_no_interpreter(name: str, tmp_path: Path) -> None:
    assert interpreter([str(tmp_path / name)]) == []
