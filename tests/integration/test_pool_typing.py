"""What type checkers make of a pool of psycopg's connections."""

import subprocess
import sys

import pytest

from support.paths import TESTS

PAGE = TESTS / "typing" / "pools_of_psycopg.py"
CHECKERS = {
    "mypy": ("mypy", "--strict", "--no-error-summary"),
    "pyright": ("pyright", "--pythonpath", sys.executable),
}


KINDS = ("ConnectionPool", "AsyncNullConnectionPool")


@pytest.fixture(scope="module", params=CHECKERS)
def told(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """What a checker says of each file, by its name: the page, and one with a mistake for each test.

    It reads all of them at once: most of its time goes into poolhouse and psycopg.
    """
    folder = tmp_path_factory.mktemp("typing")
    mistakes = {kind: f"from poolhouse import {kind}\n\n{kind}(max_sise=4)\n" for kind in KINDS}
    mistakes["dicts"] = f"{PAGE.read_text()}\nnumber: int = dicts.getconn()\n"
    for name, text in mistakes.items():
        (folder / f"{name}.py").write_text(text)
    ended = subprocess.run(
        [sys.executable, "-m", *CHECKERS[request.param], str(PAGE), *map(str, folder.iterdir())],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=TESTS.parent,
    )
    assert ended.returncode == 1, ended
    lines = ended.stdout.splitlines()
    return {name: [line for line in lines if f"/{name}.py:" in line] for name in [PAGE.stem, *mistakes]}


@pytest.mark.parametrize("kind", KINDS)
def test_a_misspelt_parameter_is_found(told: dict[str, list[str]], kind: str) -> None:
    assert any("max_sise" in line for line in told[kind])


def test_a_pool_serves_the_class_of_connections_that_it_was_given(told: dict[str, list[str]]) -> None:
    assert told[PAGE.stem] == []
    assert any("Connection[dict[str, Any]]" in line or "Connection[DictRow]" in line for line in told["dicts"])
