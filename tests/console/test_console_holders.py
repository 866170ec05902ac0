"""The lines that hold connections, and the verdicts, in the window."""

from pathlib import Path

import pytest

from poolhouse.fleet.snapshot import Snapshot
from support.console import LIVE, shown
from support.documents import assert_document
from support.sample_fleet import SNAPSHOT, with_holders

DOCUMENTS = Path(__file__).parent / "documents"
SIZES = [(80, 24), (200, 60)]
#: The keys that lead to each page.
PAGES = {
    "verdict and programs": "",
    "lines": "l",
    "lines of a program": "enter l",
    "line": "enter l enter",
    "lines of a pool": "enter enter l",
    "pool with lines": "enter enter",
    "program with a cause": "enter",
    "verdicts": "w",
}


def screen(size: tuple[int, int], keys: str) -> str:
    steps = [step for key in keys.split() for step in (key, with_holders())]
    return shown(LIVE, with_holders()._replace(program=None, processes=()), *steps, size=size)


@pytest.mark.parametrize("size", SIZES, ids="{0[0]}x{0[1]}".format)
@pytest.mark.parametrize("page", PAGES)
def test_page(page, size):
    text = screen(size, PAGES[page])
    lines = text.splitlines()
    assert len(lines) == size[1]
    assert max(map(len, lines)) <= size[0]
    assert_document(DOCUMENTS / f"{page.replace(' ', '-')}-{size[0]}x{size[1]}.txt", text)


def test_the_first_line_is_the_verdict_and_names_the_culprit():
    first, *_ = shown(LIVE, with_holders()).splitlines()
    assert first.startswith("✗ leak  checkout on web1, 2 of 12 processes: shop/export.py:88 in rows")


def test_without_trouble_the_first_line_says_so():
    first, *_ = shown(LIVE, with_holders()._replace(verdicts=())).splitlines()
    assert first.startswith("✓ nothing is wrong: 53 pools")


def test_where_nobody_tells_who_holds_nothing_is_claimed():
    text = shown(LIVE, SNAPSHOT)
    assert "nothing is wrong" not in text
    assert "No process reports which lines" in shown(LIVE, SNAPSHOT, "l")
    assert "for a verdict" in shown(LIVE, SNAPSHOT, "w")


def test_a_red_row_says_in_a_word_why():
    text = shown(LIVE, with_holders()._replace(program=None, processes=()))
    (row,) = [line for line in text.splitlines() if " checkout " in line and "leak" in line and "✗" not in line]
    assert row.split()[:3] == ["!", "checkout", "leak"]
    assert "○ migrate                late" in text
    assert "WHY" not in shown(LIVE, SNAPSHOT), "no process reports enough for a verdict"


def test_a_red_row_has_a_word_before_there_is_a_verdict():
    text = shown(LIVE, with_holders()._replace(program=None, processes=(), verdicts=()))
    assert "! checkout            waiting" in text
    (row,) = rows_of_line(with_holders()._replace(verdicts=()), "shop/export.py:88 in rows  ")
    assert row.split()[:6] == ["!", "checkout", "shop/export.py:88", "in", "rows", "ended"]


def test_a_line_that_a_verdict_names_says_which_cause_it_is_blamed_for():
    told = with_holders()
    (row,) = rows_of_line(told, "shop/export.py:88 in rows  ")
    assert row.split()[:6] == ["!", "checkout", "shop/export.py:88", "in", "rows", "leak"]
    others = [line for line in shown(LIVE, told, "l").splitlines() if "leak" in line and "✗" not in line]
    assert others == [row]
    elsewhere = [verdict._replace(program="billing") for verdict in told.verdicts]
    assert not [
        row for row in rows_of_line(told._replace(verdicts=tuple(elsewhere)), "export.py:88") if "leak" in row
    ]


def rows_of_line(snapshot: Snapshot, line: str) -> list[str]:
    """The rows of this line in the table of all lines."""
    return [row for row in shown(LIVE, snapshot, "l").splitlines() if line in row and "✗" not in row]


def test_l_leads_from_a_pools_lines_to_those_of_its_process_its_program_and_all():
    sick, *others = with_holders().processes
    (pool,) = [one for one in sick.pools if one.reading.signs is not None and one.reading.signs.sites][:1]
    second = pool._replace(reading=pool.reading._replace(key=7, name="db2:5432/audit"))
    process = sick._replace(pools=(pool, second))
    snapshot = with_holders()._replace(processes=(process, *others))

    def found(*keys: str) -> list[list[str]]:
        steps = [step for key in keys for step in (key, snapshot)]
        text = shown(LIVE, snapshot, *steps, size=(200, 30))
        return [line.split() for line in text.splitlines() if " in " in line and line[1] in "!●"]

    to_pool = ("enter", "enter", "l")
    (kept, *_), *_ = [row[row.index("rows") + 2 :] for row in found(*to_pool) if "rows" in row]
    assert kept == "8"
    (kept, *_), *_ = [row[row.index("rows") + 2 :] for row in found(*to_pool, "l") if "rows" in row]
    assert kept == "16", "of both pools"
    assert "2 pools  checkout  on web1" in shown(
        LIVE, snapshot, "enter", snapshot, "enter", snapshot, "l", "l", size=(200, 30)
    )
    assert [row[1] for row in found(*to_pool, "l", "l")] == ["checkout"] * 3
    assert [row[1] for row in found(*to_pool, "l", "l", "l")] == ["checkout"] * 2 + ["nightly", "checkout"]


def test_why_opens_and_leaves_the_page_of_the_verdicts():
    text = shown(LIVE, with_holders(), "w")
    assert "Return the connection on every path" in text
    assert "poolhouse explain leak" in text
    assert "PROGRAM" in shown(LIVE, with_holders(), "w", "w")
    assert "PROGRAM" in shown(LIVE, with_holders(), "w", "escape")


def test_a_line_that_nobody_tells_of_any_more_says_so():
    assert "any more" in shown(
        LIVE, with_holders(), "l", "enter", with_holders()._replace(holders=(), processes=())
    )


def test_a_verdict_of_an_earlier_time_says_which_and_holds_no_longer():
    silent = (LIVE, with_holders()._replace(verdicts=()), 60)
    first, *_ = shown(*silent).splitlines()
    assert first.startswith("12:04:31 ✓ nothing is wrong")
