"""What the pages about collectd show is what collectd takes, and what it writes."""

import re
from pathlib import Path

import pytest

from poolhouse.collectd_plugin.config import LOG_LEVELS, read_connmon, read_server
from poolhouse.export.collectd import (
    COUNTS,
    LEGACY_COUNTS,
    LEGACY_DERIVES,
    QUANTILES,
    TIMES,
    value_lists,
)
from poolhouse.fleet.snapshot import Row, Times, Totals
from poolhouse.meter.histogram import Histogram
from poolhouse.wire.layout import DERIVES
from poolhouse.wire.values import DERIVE, GAUGE
from support.collectd import SOURCES, Collectd, Namespace, send
from support.crafted import CraftedProcess
from support.fake_collectd import block

HOWTO = SOURCES.parent / "docs" / "howto"
COLLECTD = (HOWTO / "collectd.md").read_text()
COMING = (HOWTO / "coming-from-sqlalchemy-collectd.md").read_text()


def shown_configurations():
    return re.findall(r"^```apache\n(.*?)^```", COLLECTD + COMING, re.DOTALL | re.MULTILINE)


def expanded(cell):
    """The names in a table's cell: ``duration-wait-p50`` and ``-p95`` after it, or ``-…`` for every quantile."""
    first, *rest = re.findall(r"`([^`]+)`", cell)
    if first.endswith("-…"):
        return {first.replace("…", quantile) for quantile in QUANTILES}
    stem = first.rpartition("-")[0]
    return {first} | {stem + name if name.startswith("-") else name for name in rest}


@pytest.mark.parametrize("shown", shown_configurations())
def test_each_configuration_shown_loads_without_a_complaint(tmp_path, shown):
    more = f'LoadPlugin python\n<Plugin python>\nModulePath "{SOURCES}"\n</Plugin>\n{shown}'
    with Namespace() as namespace, Collectd(tmp_path, "", more=more, prefix=namespace.prefix) as daemon:
        if "server.plugin" in shown:
            with namespace.entered():
                send(CraftedProcess("nova").report(checkouts=5), 25827)
            daemon.wait_for_values({"web1/sqlalchemy-nova/derive-checkouts": 5})
        assert not re.search(r"\[(error|warning)\]", daemon.log()), daemon.log()


def test_the_table_of_values_names_every_value_and_no_other():
    table = COLLECTD.partition("## What is written")[2].partition("## Many hosts")[0]
    named = set().union(*(expanded(line.split("|")[1]) for line in table.splitlines() if line.startswith("| `")))
    written = {f"count-{name}" for name in COUNTS} | {f"derive-{name}" for name in DERIVES}
    written |= {f"duration-{name}-{quantile}" for name in TIMES for quantile in QUANTILES}
    written |= {f"total_time_in_ms-{name}" for name in TIMES}
    written |= {"count-open-LINE", "duration-oldest-LINE", "total_time_in_ms-held-LINE"}
    assert named == written


def test_the_values_that_stay_are_those_of_the_earlier_system():
    (row,) = [line for line in COMING.splitlines() if line.startswith("| values |")]
    new = {"derive-commits", "derive-rollbacks", "derive-transactions"}
    earlier = {f"count-{name}" for name in LEGACY_COUNTS} | {f"derive-{name}" for name in LEGACY_DERIVES}
    assert set(re.findall(r"`([^`]+)`", row)) == earlier - new


@pytest.mark.parametrize(("heading", "read"), [("server", read_server), ("connmon", read_connmon)])
def test_every_directive_in_the_tables_is_one(heading, read):
    section = COLLECTD.partition(f"### The {heading} plugin")[2].partition("##")[0]
    directives = re.findall(r"^\| `(\w+)", section, re.MULTILINE)
    _, (mistake,) = read(block(("no-such-directive",)))
    assert mistake.partition("there are ")[2].partition(";")[0].split(", ") == sorted(
        directives, key=mistake.index
    )


def test_every_level_in_the_table_is_one():
    (row,) = re.findall(r"^\| `loglevel.*`error`.*$", COLLECTD, re.MULTILINE)
    levels = set(re.findall(r"`(\w+)`", row))
    assert levels == set(LOG_LEVELS)


def test_every_type_is_a_standard_one_of_one_value_of_the_kind_we_send():
    types = Path("/usr/share/collectd/types.db").read_text()
    times = Times(*(filled() for _ in TIMES))
    row = Row("nova", processes=1, totals=Totals(checkouts=1), recent=times, since_start=times)
    told = list(value_lists("web1", "nova", row, 0.0))
    assert {one.identifier.type for one in told} == {"count", "derive", "duration", "total_time_in_ms"}
    for one in told:
        (definition,) = re.findall(rf"^{one.identifier.type}\s+(.*)$", types, re.MULTILINE)
        (source,) = definition.split(", ")
        assert source.split(":")[1] == {GAUGE: "GAUGE", DERIVE: "DERIVE"}[one.kinds[0]]


def filled():
    histogram = Histogram()
    histogram.record_all([5_000_000])
    return histogram
