"""A new counter is one entry in `PerCounter`; its way from a report to every face follows from that."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import poolhouse
from poolhouse.errors import PacketError
from poolhouse.feed.protocol.plain import decoder, encoder
from poolhouse.fleet.snapshot import Rates, Totals
from poolhouse.fleet.vectors import COUNT_SHIFT
from poolhouse.meter.reading import Counters, PerCounter
from poolhouse.wire.layout import DERIVES

#: Where the list ends, and a counter that poolhouse does not have.
LAST = "    connect_errors: T | None = None\n"
ONE_MORE = "    resets_by_peer: T | None = None\n"

#: Reports 5 and then 7 of that counter a second apart, whole and as earlier lists, and prints every form's total.
PROGRAM = """
from poolhouse.export.collectd import value_lists
from poolhouse.feed.protocol.chunks import unpack
from poolhouse.feed.protocol.frame import Frame, Server, decode_frame, encode_frame
from poolhouse.feed.protocol.values import PartialFleet
from poolhouse.fleet.fleet import Fleet
from poolhouse.fleet.limits import FleetLimits
from poolhouse.meter.reading import Counters, PoolReading
from poolhouse.views.as_json import as_json
from poolhouse.wire.report import Report, ReportSums, encode_report

for detail in ("full", "plain"):
    fleet = Fleet(FleetLimits(), 0.0)
    partial = PartialFleet(0.0)
    for number, count in ((1, 5), (2, 7)):
        counters = Counters(checkouts=count, resets_by_peer=count)
        pools = (PoolReading(1, "db", "QueuePool", counters=counters),)
        sums = ReportSums(1, counters=counters)
        report = Report("web1", "shop", "1:abcdef", number, 2 * number, 0.0, number, 1.0, False, sums, pools)
        for datagram in encode_report(report, detail):
            assert fleet.receive(datagram, float(number), float(number)) is None
        row = fleet.snapshot(float(number), 0.0).fleet
        assert row.rates.resets_by_peer == row.rates.checkouts
        for values in value_lists("web1", "shop", row, float(number)):
            partial.receive(values._replace(interval=1.0), float(number))
    snapshot = fleet.snapshot(2.0, 0.0, "shop")
    shown = decode_frame(unpack(b"".join(encode_frame(Frame(Server("connmond"), snapshot))))).snapshot
    for one in (snapshot, shown, partial.snapshot(2.0, 0.0)):
        print(detail, one.fleet.totals.resets_by_peer)
        assert one.fleet.rates.resets_by_peer == one.fleet.rates.checkouts is not None
    print([pool.reading.counters.resets_by_peer for pool in shown.processes[0].pools])
    print(as_json(shown)["fleet"]["resets_by_peer_total"])
"""


def test_a_new_counter_is_one_entry(tmp_path: Path) -> None:
    package = tmp_path / "poolhouse"
    shutil.copytree(Path(poolhouse.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    reading = package / "meter/reading.py"
    text = reading.read_text()
    assert text.count(LAST) == 1
    reading.write_text(text.replace(LAST, LAST + ONE_MORE))
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert run.stderr == ""
    # Earlier lists say only by how much a process that the fleet did not see begin has counted on.
    assert run.stdout.splitlines() == [*["full 7"] * 3, "[7]", "7", *["plain 2"] * 3, "[]", "2"]


@pytest.mark.parametrize("names", [Counters._fields, Totals._fields, Rates._fields, COUNT_SHIFT, DERIVES.values()])
def test_counters_stand_in_one_order_everywhere(names: tuple[str, ...]) -> None:
    assert tuple(names) == PerCounter._fields


def test_a_counter_that_is_not_given_is_0_and_a_total_that_is_not_given_is_not_known() -> None:
    count = len(PerCounter._fields)
    assert Counters() == (0,) * count
    assert Counters(7, timeouts=None)._replace(connects=2) == (7, 2, 0, 0, 0, 0, 0, None, 0, 0)
    assert Totals() == Rates() == (None,) * count
    for wrong in ({"checkout": 1}, {"checkouts": 1}):
        with pytest.raises(TypeError):
            Counters(7, **wrong)


def test_counts_are_whole_numbers_and_rates_need_not_be() -> None:
    halves = Rates(checkouts=2.5)
    assert decoder(Rates)(encoder(Rates)(halves)) == halves
    for kind in (Counters, Totals):
        with pytest.raises(PacketError):
            decoder(kind)(list(halves))
