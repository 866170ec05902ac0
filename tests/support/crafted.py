"""Reports as a process would send them, with chosen numbers."""

from dataclasses import dataclass, field
from typing import Any, Literal

from poolhouse.meter.histogram import Histogram
from poolhouse.meter.reading import Counters, Gauges, Limits, PoolReading
from poolhouse.wire.report import Report, ReportSums, encode_report


@dataclass
class CraftedProcess:
    """One process with one pool, whose numbers the test sets before each report."""

    program: str
    host: str = "web1"
    token: str = "100:abcdef"
    #: Seconds; younger than any aggregator, unless the test says otherwise.
    uptime: float = 0.0
    interval: float = 1.0
    gauges: Gauges = field(default_factory=Gauges)
    counters: Counters = field(default_factory=Counters)
    limits: Limits = field(default_factory=lambda: Limits(15, 5, 0))
    waits: Histogram = field(default_factory=Histogram)
    number: int = 0
    sequence: int = 0
    #: The time of its report 0, in seconds since the epoch.
    epoch: float = 1_700_000_000.0

    def report(
        self, detail: Literal["full", "plain"] = "full", goodbye: bool = False, **counters: Any
    ) -> list[bytes]:
        """The datagrams of the next report, after these `counters` have been set."""
        self.counters = self.counters._replace(**counters)
        self.number += 1
        pool = PoolReading(
            key=1,
            name="db:5432/shop",
            kind="QueuePool",
            limits=self.limits,
            gauges=self.gauges,
            counters=self.counters,
            wait=self.waits,
            use=Histogram(),
            create=Histogram(),
        )
        gauges = Gauges() if goodbye else self.gauges
        datagrams = encode_report(
            Report(
                host=self.host,
                program=self.program,
                token=self.token,
                number=self.number,
                sequence=self.sequence,
                uptime=self.uptime,
                wall_time=self.epoch + self.number,
                interval=self.interval,
                goodbye=goodbye,
                sums=ReportSums(0 if goodbye else 1, gauges, self.limits, self.counters),
                pools=(pool,),
            ),
            detail,
        )
        self.sequence += len(datagrams)
        return datagrams
