"""docs/reference/wire.md against the code."""

import re
from pathlib import Path

import pytest

from poolhouse.meter.histogram import Histogram
from poolhouse.meter.reading import Counters, Limits
from poolhouse.meter.signs import ProcessSigns
from poolhouse.wire import signs
from poolhouse.wire.message import ReportDatagram, decode_message
from poolhouse.wire.parts import PRIVATE, SIGNS
from poolhouse.wire.report import HEAD, POOL, Report, ReportSums, encode_report
from support.wire_parts import parts_of
from support.wire_samples import WORST, pool, report

REFERENCE = Path(__file__).parents[3] / "docs" / "reference" / "wire.md"


@pytest.fixture(scope="module")
def reference() -> str:
    return REFERENCE.read_text()


def worked_report() -> Report:
    """The report of the worked example."""
    wait = Histogram()
    wait.record_all([0, 3_000, 3_100, 250_000_000])
    told = pool(limits=Limits(15, None, 0), counters=Counters(100, 10, 2, 0, 90, 8, 98, 1, 0, None), wait=wait)
    return report(told, program="café", sums=ReportSums(1, told.gauges, told.limits, told.counters))


def test_the_worked_example_is_what_is_sent(reference: str):
    rows = re.findall(r"^\| (\d+) \| `([0-9a-f]+)` \|", reference.partition("## Worked example")[2], re.MULTILINE)
    datagram = b""
    for offset, data in rows:
        assert int(offset) == len(datagram)
        datagram += bytes.fromhex(data)
    first, _ = encode_report(worked_report())
    assert datagram == first
    message = decode_message(datagram)
    assert isinstance(message, ReportDatagram)
    assert message.pool is not None
    assert message.pool.reading() == worked_report().pools[0]


def test_the_tables_offsets_follow_one_another(reference: str):
    section = reference.partition("### The private part")[2].partition("### Histograms")[0]
    rows = re.findall(r"^\| (\d+) \| (?:(\d+) × )?(\d+) \|", section, re.MULTILINE)
    offset = 0
    for at, times, size in rows:
        assert int(at) == offset
        offset += int(times or 1) * int(size)
    assert offset == 4 + HEAD.size + POOL.size


def test_the_limits_of_the_reference_are_true(reference: str):
    longest = max(dict(parts_of(datagram))[PRIVATE] for datagram in encode_report(WORST))
    assert f"at most {longest} bytes" in reference


def test_the_signs_tables_are_what_is_sent(reference: str):
    section = reference.partition("### The signs")[2].partition("## Worked example")[0]
    for tag, name, size in (
        (1, "process", signs.PROCESS_NUMBERS.size),
        (2, "pool", signs.POOL_NUMBERS.size),
        (6, "trouble", signs.TROUBLE_NUMBERS.size),
    ):
        assert f"| {tag} | {name}, {size} bytes |" in section
    sites = section.partition("Each site in section 3")[2]
    offset = 0
    for at, times, size in re.findall(r"^\| (\d+) \| (?:(\d+) × )?(\d+) \|", sites, re.MULTILINE):
        assert int(at) == offset
        offset += int(times or 1) * int(size)
    assert offset == signs.SITE_NUMBERS.size + signs.SITE_TROUBLE.size
    assert f"each site, {signs.SITE_NUMBERS.size} or {offset} bytes" in section
    assert f"at most {signs.NAME_BYTES} bytes" in section


def test_the_header_of_the_signs_is_where_the_reference_says(reference: str):
    told = WORST._replace(signs=ProcessSigns(), program="é" * 32)
    last = dict(parts_of(encode_report(told)[-1]))[SIGNS]
    assert f"at most {last} bytes from the datagram's start" in reference
