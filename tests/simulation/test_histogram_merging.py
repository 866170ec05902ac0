"""A fleet's histogram, merged from many processes, against one that saw everything."""

import random

from poolhouse.meter.histogram import Histogram


def test_a_thousand_processes_merged_are_the_single_histogram_bit_for_bit():
    rng = random.Random(1)
    single, merged = Histogram(), Histogram()
    for _ in range(1000):
        values = [int(rng.lognormvariate(15, 2)) for _ in range(rng.randrange(30))]
        process = Histogram()
        process.record_all(values)
        single.record_all(values)
        merged.add(process)
    assert merged == single


def test_the_merged_quantile_sees_the_one_slow_process_that_a_mean_of_quantiles_hides():
    # 49 processes of 1 ms, one of 500 ms that does a tenth of the work: the fleet's p99 is 500 ms.
    fast, slow, fleet = Histogram(), Histogram(), Histogram()
    fast.record_all([1_000_000] * 184)
    slow.record_all([500_000_000] * 1000)
    for _ in range(49):
        fleet.add(fast)
    fleet.add(slow)
    assert 0.478 < (fleet.quantile(0.99) or 0) <= 0.5
