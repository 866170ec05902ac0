"""The reference page of OpenTelemetry's metrics has the table from which they are made."""

from collections.abc import Iterable
from pathlib import Path

from poolhouse.export.families import BEYOND, CONVENTION, LINES, OWN, VERDICTS, Family, RowNumber
from poolhouse.export.otlp import LEFT_OUT, attributes_of, instrument_of, open_name
from support.exported import assert_tables, labels_in_words

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "opentelemetry.md"
#: The sections that are made from the table, and what each has.
SECTIONS: dict[str, tuple[Family, ...]] = {
    "The nine metrics of the convention": CONVENTION,
    "What poolhouse knows beyond them": BEYOND,
    "The lines that hold connections": LINES,
    "What is wrong": VERDICTS,
    "The daemon itself": tuple(family for family in OWN if family.name not in LEFT_OUT),
}


def table(families: Iterable[Family]) -> str:
    """The families as a table in Markdown."""
    rows = []
    for family in families:
        name, unit = open_name(family)
        shown = f"`{unit}`" if unit else "–"
        rows.append(
            f"| `{name}` | {instrument_of(family)} | {shown} | {labels_in_words(family)} | {family.description} |"
        )
    return "\n".join(["| metric | kind | unit | attributes | meaning |", "|---|---|---|---|---|", *rows]) + "\n"


def test_the_page_has_every_metric_with_kind_unit_attributes_and_meaning() -> None:
    assert_tables(PAGE, SECTIONS, table)


def test_the_attributes_of_states_are_those_that_the_page_explains() -> None:
    states = [more for family in CONVENTION if isinstance(family, RowNumber) for more, _ in family.sources if more]
    assert [attributes_of(more)[0][1] for more in states] == ["idle", "used", "detached"]
    assert {attributes_of(more)[0][0] for more in states} == {"db.client.connection.state"}
