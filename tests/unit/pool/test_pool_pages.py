"""The code of the pool's pages runs as it stands there, and their tables tell the truth."""

import inspect
import io
import re
from contextlib import redirect_stdout
from pathlib import Path

import pytest

from poolhouse.pool import AsyncConnectionPool, ConnectionPool
from poolhouse.pool.slot import TRANSITIONS

DOCS = Path(__file__).parents[3] / "docs"
REFERENCE = DOCS / "reference" / "pool.md"


def _rows(heading: str) -> list[list[str]]:
    """The cells of the table under a heading of the reference."""
    section = REFERENCE.read_text().split(f"## {heading}\n")[1].split("\n## ")[0]
    rows = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in row] for row in rows[1:] if not set(row[0]) <= {"-"}]


@pytest.mark.parametrize(
    ("page", "printed"),
    [
        ("reference/pool.md", ["('hello',)"]),
    ],
)
def test_the_code_of_a_page_runs(
    page: str, printed: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    output = io.StringIO()
    for block in re.findall(r"^```python\n(.*?)^```$", (DOCS / page).read_text(), re.DOTALL | re.MULTILINE):
        with redirect_stdout(output):
            exec(compile(block, page, "exec"), {"__name__": "page"})
    for text in printed:
        assert text in output.getvalue()


@pytest.mark.parametrize("kind", [ConnectionPool, AsyncConnectionPool])
def test_the_reference_names_every_parameter(kind: type) -> None:
    named = {cells[0].strip("`") for cells in _rows("Parameters")}
    for_tests = {"self", "clock", "threads"}
    assert set(inspect.signature(kind.__init__).parameters) - for_tests == named


def test_both_pools_have_the_same_parameters_with_the_same_defaults_and_the_same_methods() -> None:
    sync, aio = (inspect.signature(kind.__init__).parameters for kind in (ConnectionPool, AsyncConnectionPool))
    assert {name: each.default for name, each in sync.items() if name != "threads"} == {
        name: each.default for name, each in aio.items()
    }
    public = [
        {name for name in dir(kind) if not name.startswith("_")} for kind in (ConnectionPool, AsyncConnectionPool)
    ]
    assert public[0] == public[1]


def test_the_table_of_states_is_the_law_that_the_simulation_checks() -> None:
    told = {cells[0]: cells[1] if len(cells) > 1 else "" for cells in _rows("States of a connection")}
    assert told == {
        state.value: ", ".join(sorted(following.value for following in allowed))
        for state, allowed in TRANSITIONS.items()
    }
