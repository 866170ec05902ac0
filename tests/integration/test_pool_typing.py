"""What type checkers make of a pool of psycopg's connections."""

import subprocess
import sys
from pathlib import Path

import pytest

from support.paths import TESTS

PAGE = TESTS / "typing" / "pools_of_psycopg.py"
CHECKERS = {
    "mypy": ("mypy", "--strict", "--no-error-summary"),
    "pyright": ("pyright", "--pythonpath", sys.executable),
}


def _checked(checker: str, page: Path) -> tuple[int, str]:
    ended = subprocess.run(
        [sys.executable, "-m", *CHECKERS[checker], str(page)],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=TESTS.parent,
    )
    return ended.returncode, ended.stdout


@pytest.mark.parametrize("checker", CHECKERS)
@pytest.mark.parametrize("kind", ["ConnectionPool", "AsyncNullConnectionPool"])
def test_a_misspelt_parameter_is_found(checker: str, kind: str, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.py"
    wrong.write_text(f"from poolhouse import {kind}\n\n{kind}(max_sise=4)\n")
    status, told = _checked(checker, wrong)
    assert status == 1
    assert "max_sise" in told


@pytest.mark.parametrize("checker", CHECKERS)
def test_a_pool_serves_the_class_of_connections_that_it_was_given(checker: str, tmp_path: Path) -> None:
    assert _checked(checker, PAGE)[0] == 0, _checked(checker, PAGE)[1]
    wrong = tmp_path / "wrong.py"
    wrong.write_text(f"{PAGE.read_text()}\nnumber: int = dicts.getconn()\n")
    status, told = _checked(checker, wrong)
    assert status == 1
    assert "Connection[dict[str, Any]]" in told or "Connection[DictRow]" in told
