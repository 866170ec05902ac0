"""What a report costs on its way: `python benchmarks/wire.py`.

Each line is the best of five runs, in the process's CPU time, beside the size it concerns.
"""

import platform
import random
import sys
import time
from collections.abc import Callable

from poolhouse.meter.histogram import Histogram
from poolhouse.meter.reading import Counters, Gauges, Limits, Mark, PoolReading
from poolhouse.wire.decode import decode_packet
from poolhouse.wire.encode import encode_packets
from poolhouse.wire.histogram import decode_histogram, encode_histogram, histogram_runs
from poolhouse.wire.message import ReportDatagram, decode_message
from poolhouse.wire.report import Report, ReportSums, encode_report
from poolhouse.wire.values import GAUGE, Identifier, ValueList

RECORDS = 200_000


def durations(mean: float, sigma: float, rng: random.Random) -> Histogram:
    """A histogram of log-normal durations around `mean` seconds."""
    histogram = Histogram()
    histogram.record_all([int(mean * 1e9 * rng.lognormvariate(0, sigma)) for _ in range(RECORDS)])
    return histogram


def sample_report() -> Report:
    """A process with one busy pool: waits of 3 µs, uses of 8 ms, connects of 6 ms."""
    rng = random.Random(1)
    pool = PoolReading(
        key=1,
        name="db.example.com:5432/inventory",
        kind="QueuePool",
        limits=Limits(15, 5, 0),
        gauges=Gauges(3, 4, 0, 1),
        counters=Counters(*range(100_000, 100_010)),
        marks=tuple(Mark(number, 5, 1, 8) for number in range(9, 4, -1)),
        peak=Mark(9, 8, 4, 9),
        wait=durations(3e-6, 1.5, rng),
        use=durations(8e-3, 1.3, rng),
        create=durations(6e-3, 0.5, rng),
    )
    sums = ReportSums(1, pool.gauges, pool.limits, pool.counters)
    return Report("app-1.example.com", "inventory", "12345:abcdef", 9, 17, 20.5, 1.7e9, 2.0, False, sums, (pool,))


def cost_ns(call: Callable[[], object], runs: int = 5) -> float:
    """Nanoseconds of CPU time a call takes, at best."""
    number = 1
    while True:
        start = time.process_time_ns()
        for _ in range(number):
            call()
        if time.process_time_ns() - start > 20_000_000:
            break
        number *= 2
    best = float("inf")
    for _ in range(runs):
        start = time.process_time_ns()
        for _ in range(number):
            call()
        best = min(best, (time.process_time_ns() - start) / number)
    return best


def main() -> None:
    """Print the table."""
    report = sample_report()
    first, second = encode_report(report)
    pool_list, totals_list = encode_report(report, "plain")
    message = decode_message(first)
    assert isinstance(message, ReportDatagram)
    assert message.pool is not None
    wait = message.pool.wait
    identifiers = [Identifier("web1", "sqlalchemy", "nova", "count", f"value{n}") for n in range(45)]
    (packet,) = encode_packets([ValueList(name, 1.7e9, 10.0, bytes([GAUGE]), (5.0,)) for name in identifiers])
    values = [item for item in decode_packet(packet) if isinstance(item, ValueList)]
    rows: list[tuple[str, int, Callable[[], object]]] = [
        ("decode a report's first datagram, three histograms", len(first), lambda: decode_message(first)),
        ("decode its second datagram, no pool", len(second), lambda: decode_message(second)),
        ("decode an earlier pool list", len(pool_list), lambda: decode_message(pool_list)),
        ("decode an earlier totals list", len(totals_list), lambda: decode_message(totals_list)),
        ("decode a histogram", len(wait), lambda: decode_histogram(wait)),
        ("look at a histogram's runs", len(wait), lambda: histogram_runs(wait)),
        ("encode a histogram", len(wait), lambda: encode_histogram(report.pools[0].wait or Histogram())),
        ("encode the report", len(first) + len(second), lambda: encode_report(report)),
        ("decode a packet of 45 value lists", len(packet), lambda: decode_packet(packet)),
        ("encode a packet of 45 value lists", len(packet), lambda: encode_packets(values)),
    ]
    print(f"{platform.python_implementation()} {sys.version.split()[0]}, {platform.machine()}")
    print(f"{'':<52}{'bytes':>6}{'ns':>10}{'per second':>12}")
    for name, size, call in rows:
        cost = cost_ns(call)
        print(f"{name:<52}{size:>6}{cost:>10,.0f}{1e9 / cost:>12,.0f}")


if __name__ == "__main__":
    main()
