"""The pages of the documentation about causes say what the table says."""

import ast
import os
import re
from pathlib import Path

import pytest

from poolhouse.verdicts.causes import CAUSES, RULES, Cause
from poolhouse.verdicts.explain import MESSAGES, threshold_text

ROOT = Path(__file__).parents[3]
DOCS = ROOT / "docs"
RULE_FILES = (*(ROOT / "src/poolhouse/verdicts").glob("*.py"), ROOT / "src/poolhouse/fleet/slow_hosts.py")
REFERENCE = DOCS / "reference" / "causes.md"
BEGIN, END = "<!-- Drawn from poolhouse/verdicts/causes.py; a test compares. -->\n", "<!-- End -->\n"
SECTIONS = ("What it looks like", "Why it happens", "How to be sure", "How to fix it")


def drawn() -> str:
    """The part of the reference page that is drawn from the table."""
    lines = ["## When a verdict is made\n"]
    lines += [f"- {threshold_text(rule)}" for rule in RULES]
    for cause in CAUSES:
        lines += [
            f"\n## {cause.name}\n",
            f"*{cause.severity}*. {cause.evidence} [More](../causes/{cause.name}.md)\n",
            *[f"- {threshold_text(threshold)}" for threshold in cause.thresholds],
            f"\nNumbers: {', '.join(f'`{number}`' for number in cause.numbers)}.",
        ]
    return "\n".join(lines) + "\n"


def test_the_reference_page_has_the_thresholds_of_the_table() -> None:
    text = REFERENCE.read_text()
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    if os.environ.get("POOLHOUSE_REWRITE_DOCUMENTS"):
        REFERENCE.write_text(f"{before}{BEGIN}\n{drawn()}\n{END}{after}")
    assert f"{BEGIN}\n{drawn()}\n{END}" in REFERENCE.read_text()


def read_by_rules() -> set[tuple[str, str]]:
    """What the rules look up in the table: ``LEAK["open"]``, ``_rules["window"]``."""
    return {
        (node.value.id, node.slice.value)
        for path in RULE_FILES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Subscript)
        and isinstance(node.value, ast.Name)
        and isinstance(node.slice, ast.Constant)
    }


@pytest.mark.parametrize("cause", CAUSES, ids=lambda cause: cause.name)
def test_each_threshold_of_a_cause_decides_something(cause: Cause) -> None:
    used = read_by_rules()
    assert [one.name for one in cause.thresholds if (cause.name.upper(), one.name) not in used] == []


def test_each_rule_decides_something() -> None:
    used = read_by_rules()
    assert [one.name for one in RULES if ("_rules", one.name) not in used] == []


def test_the_list_of_causes_names_all_by_rank() -> None:
    rows = [line for line in (DOCS / "causes" / "README.md").read_text().splitlines() if line.startswith("| [")]
    assert [row.split("]")[0].removeprefix("| [") for row in rows] == [cause.name for cause in CAUSES]


@pytest.mark.parametrize("cause", CAUSES, ids=lambda cause: cause.name)
def test_each_cause_has_a_page_with_its_messages(cause: Cause) -> None:
    text = (DOCS / "causes" / f"{cause.name}.md").read_text()
    assert text.startswith(f"# {cause.name}: ")
    headings = [line.removeprefix("## ") for line in text.splitlines() if line.startswith("## ")]
    assert headings == list(SECTIONS)
    plain = " ".join(text.lower().split())
    for message, names in MESSAGES:
        if cause.name in names:
            assert message in plain, f"the page does not quote {message!r}"


@pytest.mark.parametrize("cause", CAUSES, ids=lambda cause: cause.name)
def test_each_page_has_the_programs_that_show_its_cause(cause: Cause) -> None:
    """Those that `tests/causes` runs: with the fault they have this verdict, and mended they have none."""
    text = (DOCS / "causes" / f"{cause.name}.md").read_text()
    linked = set(re.findall(r"\(\.\./\.\./tests/causes/programs/(\w+)\.py\)", text))
    cases = (ROOT / "tests/causes/test_causes.py").read_text()
    assert linked == set(re.findall(rf'Case\(\s*"{cause.name}",\s*Part\("(\w+)"', cases))
