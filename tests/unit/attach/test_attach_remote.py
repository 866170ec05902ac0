"""Attaching to a process that runs: the file that it is given, and what is said when that does not work.

The process here is another Python, which runs the file that it is told by a line of its input, as Python 3.14 runs
what ``sys.remote_exec`` names.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from poolhouse.attach import remote
from poolhouse.attach.remote import Refused, attach, problem_of, sentence, why_not

PROGRAM = """
import os, sys
for line in sys.stdin:
    exec(open(line.strip()).read())
    print([one.way for one in sys.meta_path if hasattr(one, "is_poolhouses")], os.environ.get("POOLHOUSE_REPORT"))
"""


@pytest.fixture
def target() -> Iterator["subprocess.Popen[str]"]:
    with subprocess.Popen(
        [sys.executable, "-W", "error", "-c", PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield process
        process.communicate()


def test_a_process_attaches_and_answers(target: "subprocess.Popen[str]") -> None:
    scripts: list[str] = []

    def run(pid: int, script: str) -> None:
        assert pid == target.pid
        assert Path(script).stat().st_mode & 0o077 == 0
        scripts.append(script)
        assert target.stdin is not None
        target.stdin.write(f"{script}\n")
        target.stdin.flush()

    told = attach(target.pid, "collectd://x/?program_name=it's", run, patience=30)
    assert told == f"process {target.pid} is attached; it has imported no library with pools yet"
    output, _ = target.communicate()
    assert output == "['poolhouse attach'] collectd://x/?program_name=it's\n"
    assert not Path(scripts[0]).exists()


def test_a_process_that_does_not_answer_is_said_to_be_busy(target: "subprocess.Popen[str]") -> None:
    with pytest.raises(Refused, match=r"has not answered within 0.01 s"):
        attach(target.pid, None, lambda pid, script: Path(script).unlink(), patience=0.01)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (PermissionError(1, "Operation not permitted"), "ptrace_scope"),
        (ProcessLookupError(3, "No such process"), "there is no process 7"),
        (RuntimeError("Remote debugging is not enabled in the remote process"), "PYTHON_DISABLE_REMOTE_DEBUG"),
    ],
)
def test_a_refusal_says_what_is_missing_and_leaves_no_file(error: Exception, words: str) -> None:
    scripts: list[str] = []

    def refuse(pid: int, script: str) -> None:
        scripts.append(script)
        raise error

    with pytest.raises(Refused, match=words):
        attach(7, None, refuse)
    assert not Path(scripts[0]).exists()
    assert words in why_not(7, error)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"", "ended its answer early"),
        (json.dumps({"error": "ImportError: no"}).encode(), "could not attach: ImportError: no"),
        (json.dumps({"way": None, "patched": None}).encode(), "POOLHOUSE_DISABLE"),
    ],
)
def test_an_answer_that_is_no_success_is_an_error(answer: bytes, words: str) -> None:
    with pytest.raises(Refused, match=words):
        sentence(7, answer)


@pytest.mark.parametrize(
    ("there", "here", "words"),
    [
        (None, (3, 14), "no Python that can be seen"),
        ((3, 11), (3, 14), "from Python 3.14 on, and 7 runs 3.11: start it by 'poolhouse run'"),
        ((3, 14), (3, 11), "use a poolhouse that is installed with Python 3.14"),
        ((3, 15), (3, 14), "runs Python 3.15, and this is 3.14"),
    ],
)
def test_versions_that_do_not_fit_are_named(
    there: tuple[int, int] | None, here: tuple[int, int], words: str
) -> None:
    assert words in (problem_of(7, there, here) or "")


def test_versions_that_fit_are_no_problem() -> None:
    assert problem_of(7, (3, 14), (3, 14)) is None


def test_processes_that_cannot_be_attached_to_are_sentences(target: "subprocess.Popen[str]") -> None:
    with pytest.raises(Refused, match="there is no process 99999999"):
        attach(99999999, None)
    if sys.version_info < remote.FIRST:
        with pytest.raises(Refused, match=r"from Python 3\.14 on"):
            attach(target.pid, None)
