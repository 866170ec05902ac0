"""How a process is attached, from what is seen of it."""

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from poolhouse.attach import finder
from poolhouse.attach.run import BOOTSTRAP
from poolhouse.doctor import attachment
from poolhouse.doctor.attachment import Process, judge, look_at_itself, look_at_process
from poolhouse.doctor.finding import Finding, Verdict

RUN = {"PYTHONPATH": f"{BOOTSTRAP}{os.pathsep}lib", "POOLHOUSE_REPORT": "collectd://x/"}


def judged(
    environment: dict[str, str],
    *options: str,
    version: tuple[int, int] | None = (3, 11),
    files: Sequence[Path] = (),
    sitecustomize: str = "",
) -> Finding:
    process = Process(7, environment, ["/usr/bin/python3", *options], version)
    return judge(process, lambda folder: folder == sitecustomize, lambda _: files)


@pytest.mark.parametrize(
    ("found", "verdict", "words"),
    [
        (judged(RUN, "shop.py", "-I"), Verdict.FINE, "process 7, by poolhouse run"),
        (judged(RUN, "-m", "shop", "-E"), Verdict.FINE, "process 7, by poolhouse run"),
        (judged(RUN, "-Es", "shop.py"), Verdict.WRONG, "keeps it from reading PYTHONPATH"),
        (judged(RUN, "-I"), Verdict.WRONG, "poolhouse attach --install"),
        (judged(RUN, "-S"), Verdict.WRONG, "from reading site-packages"),
        (judged({**RUN, "POOLHOUSE_DISABLE": "1"}), Verdict.WRONG, "was started with POOLHOUSE_DISABLE"),
        (judged(RUN, version=(3, 8)), Verdict.WRONG, "runs Python 3.8, which is too old"),
        (judged(RUN, version=None), Verdict.UNKNOWN, "no Python that can be seen"),
        (judged({}), Verdict.UNKNOWN, "start it by poolhouse run"),
        (
            judged({"PYTHONPATH": f"otel:{BOOTSTRAP}"}, sitecustomize="otel"),
            Verdict.UNKNOWN,
            "the sitecustomize of otel before that of poolhouse run",
        ),
        (judged({"PYTHONPATH": f"{BOOTSTRAP}:mine"}, sitecustomize="mine"), Verdict.FINE, "by poolhouse run"),
        (judged(RUN, "-I", files=[Path("a.pth")]), Verdict.FINE, "process 7, by a.pth"),
        (judged({}, files=[Path("a.pth")]), Verdict.WRONG, "has a.pth, but no POOLHOUSE_REPORT"),
    ],
)
def test_what_is_found(found: Finding, verdict: Verdict, words: str) -> None:
    assert (found.verdict, words in found.text) == (verdict, True), found


def test_an_installed_line_that_names_a_destination_needs_no_variable(tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    path.write_text("import os; exec(\"os.environ.setdefault('POOLHOUSE_REPORT', 'x')\")")
    assert judged({}, files=[path]).verdict is Verdict.FINE


def test_a_process_that_is_not_there_is_said_not_to_be() -> None:
    assert look_at_process(99999999).text == "there is no process 99999999"


def test_this_process_is_looked_at_from_outside_and_inside(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "nothing that is seen here" in look_at_process(os.getpid()).text
    monkeypatch.delenv("POOLHOUSE_DISABLE", raising=False)
    assert list(look_at_itself()) == []
    monkeypatch.setattr(attachment, "installed", lambda: finder.Finder({}, "poolhouse run"))
    (found,) = look_at_itself()
    assert found.verdict is Verdict.FINE
    assert found.text.startswith("by poolhouse run, to the pools of sqlalchemy, psycopg_pool")
    monkeypatch.setenv("POOLHOUSE_DISABLE", "1")
    (found,) = look_at_itself()
    assert found == Finding(Verdict.WRONG, "attached", "no: POOLHOUSE_DISABLE is set")
