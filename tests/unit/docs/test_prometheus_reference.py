"""The reference page of Prometheus' metrics has the table from which they are made."""

from collections.abc import Iterable
from pathlib import Path

from poolhouse.export.families import (
    BEYOND,
    CONVENTION,
    LINES,
    OWN,
    VERDICTS,
    Family,
    sample_name,
)
from support.exported import assert_tables, labels_in_words

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "prometheus.md"
#: The sections that are made from the table, and what each has.
SECTIONS: dict[str, tuple[Family, ...]] = {
    "The nine metrics of OpenTelemetry": CONVENTION,
    "What poolhouse knows beyond them": BEYOND,
    "The lines that hold connections": LINES,
    "What is wrong": VERDICTS,
    "The daemon itself": OWN,
}


def table(families: Iterable[Family]) -> str:
    """The families as a table in Markdown."""
    rows = [
        f"| `{sample_name(family)}` | {family.kind} | {labels_in_words(family)} | {family.description} |"
        for family in families
    ]
    return "\n".join(["| metric | type | labels | meaning |", "|---|---|---|---|", *rows]) + "\n"


def test_the_page_has_every_metric_with_type_labels_and_meaning() -> None:
    assert_tables(PAGE, SECTIONS, table)
