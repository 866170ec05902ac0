"""A row of the fleet as exporters read it, and the pages of the reference that have the table of all metrics."""

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from poolhouse.export.families import Family, LineNumber, RowNumber, RowTimes, VerdictNumber
from poolhouse.fleet.distribution import distribution_of
from poolhouse.fleet.rows import Counted
from poolhouse.fleet.snapshot import Row, Totals
from poolhouse.meter.histogram import Histogram

ROW = Row(
    "shop",
    processes=2,
    pools=3,
    idle=1,
    used=4,
    detached=0,
    waiting=5,
    max_open=10,
    max_idle=5,
    min_idle=2,
    full_pools=1,
    saturated_pools=1,
    totals=Totals(1_000_000_007, 2, 3, 4, 5, 6, 7, 8, 9, 10),
    age=1.25,
)


def durations(*nanoseconds: int, scale: int = 3) -> Histogram:
    histogram = Histogram()
    histogram.record_all(nanoseconds)
    histogram.downscale(scale)
    return histogram


def counted(row: Row = ROW, pool: str | None = "db1:5432/shop", wait: Histogram | None = None) -> Counted:
    return Counted(row, pool, None if wait is None else distribution_of(wait), None, None)


def labels_in_words(family: Family) -> str:
    """What tells a family's values apart, beside the program and the host."""
    if isinstance(family, RowTimes):
        return "pool name"
    if isinstance(family, RowNumber):
        return ", ".join(["pool name"] * family.of_pools + ["state"] * (len(family.sources) > 1)) or "–"
    if isinstance(family, LineNumber):
        return "`code_line`"
    if isinstance(family, VerdictNumber):
        return "`cause`, `severity`, pool name, `code_line`"
    return {
        "poolhouse_build_info": "`version`",
        "poolhouse_over_limit": "`limit`",
        "poolhouse_refusals": "`reason`",
        "poolhouse_http_refused": "`reason`",
        "poolhouse_clients_refused": "`reason`",
        "poolhouse_consoles_refused": "`reason`",
        "poolhouse_old_password_datagrams": "`user`",
        "poolhouse_node_missing_seconds": "`node`",
    }.get(family.name, "–")


def assert_tables(
    page: Path, sections: Mapping[str, Iterable[Family]], table: Callable[[Iterable[Family]], str]
) -> None:
    """Each section of a page ends with the table of its families."""
    text = page.read_text(encoding="utf-8")
    for heading, families in sections.items():
        before, _, after = text.partition(f"## {heading}\n")
        section, _, rest = after.partition("\n## ")
        start = section.index("| metric |")
        if os.environ.get("POOLHOUSE_REWRITE_DOCUMENTS"):
            section = section[:start] + table(families)
            text = f"{before}## {heading}\n{section}" + (f"\n## {rest}" if rest else "")
            page.write_text(text, encoding="utf-8")
        assert section[start:] == table(families), f"POOLHOUSE_REWRITE_DOCUMENTS=1 writes {heading} anew"
