"""Reports to try the wire with."""

from poolhouse.meter.histogram import Histogram, bucket_count
from poolhouse.meter.reading import Counters, Gauges, Limits, Mark, PoolReading
from poolhouse.meter.signs import PoolSigns, ProcessSigns, SiteReading
from poolhouse.wire.report import Report, ReportSums


def full_histogram(scale: int = 3) -> Histogram:
    histogram = Histogram(scale)
    histogram.counts = [2**58 + i for i in range(bucket_count(scale))]
    histogram.zero, histogram.sum_ns, histogram.max_ns = 2**63, 2**64 - 1, 2**63
    return histogram


def pool(**changes: object) -> PoolReading:
    reading = PoolReading(
        key=1,
        name="db1:5432/nova",
        kind="QueuePool",
        limits=Limits(15, 5, 0),
        gauges=Gauges(idle=3, used=4, detached=1, waiting=2),
        counters=Counters(*range(100, 110)),
        marks=(Mark(7, 5, 2, 8), Mark(6, 4, 0, 8)),
        peak=Mark(7, 9, 3, 12),
    )
    return reading._replace(**changes)


def report(*pools: PoolReading, **changes: object) -> Report:
    value = Report(
        host="web1",
        program="nova",
        token="4711:abcdef",
        number=7,
        sequence=13,
        uptime=12.25,
        wall_time=1700000000.5,
        interval=2.0,
        goodbye=False,
        sums=ReportSums(1, Gauges(3, 4, 1, 2), Limits(15, 5, 0), Counters(*range(100, 110))),
        pools=pools,
    )
    return value._replace(**changes)


#: The longest of everything at once: names that are not ASCII at their bounds, all counts beyond 32 bits.
WORST = report(
    *[
        pool(
            name="é" * 200,
            kind="ü" * 100,
            marks=(Mark(*[2**40] * 4),) * 9,
            wait=full_histogram(),
            use=full_histogram(),
            create=full_histogram(),
        )
    ]
    * 3,
    host="ß" * 32,
    program="日本" * 100,
    token="9" * 200,
    wall_time=2.0**70,
)


def many_sites(count: int) -> PoolSigns:
    """Signs of a pool whose lines have long names and use times of many buckets."""
    use = full_histogram(0)
    return PoolSigns(
        "é" * 200,
        "ü" * 200,
        dead=1,
        sites=tuple(
            SiteReading(f"{'ö' * 100}{n}", n, 1.0, 2**60, 3, 1e9, 1e9, idle_line="ä" * 100, use=use)
            for n in range(count)
        ),
    )


#: The longest report with signs in all the datagrams that they may take.
WORST_SIGNS = WORST._replace(
    pools=tuple(one._replace(signs=many_sites(64)) for one in WORST.pools),
    signs=ProcessSigns(1, stall_line="ß" * 100),
)
