"""Every list of counters names the same ones in the same order: what is summed by place must be in its place."""

import pytest

from poolhouse.export.collectd import DERIVES
from poolhouse.feed.protocol.values import COUNTERS
from poolhouse.fleet.snapshot import Rates, Totals
from poolhouse.fleet.vectors import COUNT_SHIFT
from poolhouse.meter.reading import Counters


@pytest.mark.parametrize(
    "names", [Totals._fields, Rates._fields, tuple(COUNT_SHIFT), tuple(DERIVES.values()), tuple(COUNTERS.values())]
)
def test_counters_stand_in_one_order_everywhere(names):
    assert tuple(names) == Counters._fields
