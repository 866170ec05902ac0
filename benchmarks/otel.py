"""What poolhouse.otel costs an application: durations recorded by the SDK, and a collection without new ones.

    python benchmarks/otel.py [DURATIONS ROUNDS]

A pool has done so many checkouts between two collections. Measured are the CPU time of the collection for each
duration, beside that of ``Histogram.record`` alone, which an instrumentation would call at each checkout instead;
and the CPU time of a collection in which nothing is new, for 1 and for 50 pools.
"""

import json
import os
import platform
import statistics
import sys
import time
from random import Random

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from poolhouse.export.convention import POOL_NAME, WAIT_TIME
from poolhouse.meter.histogram import Histogram
from poolhouse.meter.reading import Counters, Gauges, Limits, PoolReading
from poolhouse.otel import instruments
from poolhouse.otel.instruments import BOUNDS, Instruments
from poolhouse.report.unsent import UNSENT

DURATIONS, ROUNDS = 20_000, 7


class Pool:
    """A source of reports that counts what the benchmark says."""

    def __init__(self, name: str) -> None:
        self._name = name
        self.wait, self.use, self.create = Histogram(), Histogram(), Histogram()

    def is_gone(self) -> bool:
        return False

    def read(self, number: int) -> PoolReading:
        return PoolReading(
            0,
            self._name,
            "QueuePool",
            limits=Limits(15, 5, 0),
            gauges=Gauges(3, 2),
            counters=Counters(),
            wait=self.wait,
            use=self.use,
            create=self.create,
        )

    def after_fork(self) -> None:
        pass

    def grow(self, durations: list[int]) -> None:
        self.wait = self.wait.copy()
        self.wait.record_all(durations)


def reader_of() -> InMemoryMetricReader:
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], shutdown_on_exit=False)
    Instruments(provider.get_meter("poolhouse"))
    return reader


def collection(reader: InMemoryMetricReader) -> float:
    begin = time.thread_time()
    reader.get_metrics_data()
    return time.thread_time() - begin


def direct(durations: list[int]) -> float:
    """Seconds of CPU for each duration that is recorded where it happens."""
    provider = MeterProvider([InMemoryMetricReader()], shutdown_on_exit=False)
    histogram = provider.get_meter("direct").create_histogram(
        WAIT_TIME.name, WAIT_TIME.unit, explicit_bucket_boundaries_advisory=BOUNDS
    )
    attributes = {POOL_NAME: "db1:5432/shop"}
    begin = time.thread_time()
    for nanoseconds in durations:
        histogram.record(nanoseconds / 1e9, attributes)
    return (time.thread_time() - begin) / len(durations)


def main() -> None:
    number, rounds = (int(one) for one in sys.argv[1:3]) if len(sys.argv) > 2 else (DURATIONS, ROUNDS)
    chance = Random(1)
    durations = [int(chance.lognormvariate(-6, 2) * 1e9) for _ in range(number)]
    print(f"CPython {platform.python_version()}, {os.cpu_count()} cores, {number:,} durations a collection")
    quiet: dict[int, float] = {}
    for pools in (1, 50):
        UNSENT.after_fork()
        made = [Pool(f"db{place}") for place in range(pools)]
        for pool in made:
            pool.grow([10**6])
            UNSENT.add(pool)
        reader = reader_of()
        collection(reader)
        quiet[pools] = statistics.median(collection(reader) for _ in range(10 * rounds))
        print(f"nothing new, {pools} pools: {quiet[pools] * 1e6:,.0f} µs of CPU a collection")
    UNSENT.after_fork()
    pool = Pool("db1:5432/shop")
    UNSENT.add(pool)
    reader = reader_of()
    collection(reader)
    each: list[float] = []
    alone: list[float] = []
    instruments.LEAST_S = instruments.MOST_S = 60.0  # All of them in one collection, on a busy machine too.
    for _ in range(rounds):
        pool.grow(durations)
        each.append(collection(reader) / number)
        alone.append(direct(durations))
    print(
        f"recorded at a collection: {statistics.median(each) * 1e6:.2f} µs each; "
        f"by Histogram.record at each checkout: {statistics.median(alone) * 1e6:.2f} µs"
    )
    print(json.dumps({"each_us": statistics.median(each) * 1e6, "direct_us": statistics.median(alone) * 1e6}))


if __name__ == "__main__":
    main()
