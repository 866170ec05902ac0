"""A process as the aggregator sees it: what it does, and the datagrams in which it tells so."""

from poolhouse.meter.histogram import Histogram
from poolhouse.meter.reading import MARKS, Counters, Gauges, Limits, Mark, PoolReading
from poolhouse.meter.signs import Finding, PoolSigns, ProcessSigns
from poolhouse.report.telling import Teller
from poolhouse.wire.report import Report, ReportSums, encode_report


class ModelPool:
    """One pool: everything a reading tells."""

    def __init__(self, key: int) -> None:
        self.key = key
        self.limits = Limits(max_open=10, max_idle=5, min_idle=0)
        self.gauges = Gauges()
        self.counters = Counters()
        self.is_open = True
        #: Reports told since the end.
        self.told_closed = 0
        self.marks: list[Mark] = []
        self.peak = Mark()
        self.wait, self.use, self.create = Histogram(), Histogram(), Histogram()
        #: The most connections in use since the last report, if more than the gauges say.
        self.burst = 0
        self.is_bound = False
        self.signs: PoolSigns | None = None

    def count(self, **more: int) -> None:
        """Add to counters by name."""
        self.counters = self.counters._replace(
            **{name: (getattr(self.counters, name) or 0) + n for name, n in more.items()}
        )

    def work(self, checkouts: int = 1, seconds: float = 0.010) -> None:
        """Check out and in so many times, each for so long, after a wait of 1 ms."""
        self.count(checkouts=checkouts)
        self.wait.record_all([1_000_000] * checkouts)
        self.use.record_all([round(seconds * 1e9)] * checkouts)

    def close(self) -> None:
        """The pool is collected."""
        self.is_open = False
        self.gauges = Gauges()

    def read(self, number: int) -> PoolReading:
        """Close interval `number`."""
        used = max(self.burst, self.gauges.used)
        mark = Mark(number, used, self.gauges.waiting, max(used, self.gauges.connections))
        self.burst = 0
        self.marks = [mark, *self.marks][:MARKS]
        self.peak = Mark(number, *map(max, self.peak[1:], mark[1:]))
        if not self.is_open:
            self.told_closed += 1
        return PoolReading(
            self.key, "db1:5432/shop", "QueuePool", int(self.is_open), self.limits, self.gauges, self.counters,
            tuple(self.marks), self.peak, self.wait.copy(), self.use.copy(), self.create.copy(), self.is_bound,
            self.signs,
        )  # fmt: skip


class ModelProcess:
    """One process under one program name."""

    def __init__(
        self,
        token: str = "1:abcdef",
        program: str = "nova",
        host: str = "web1",
        interval: float = 2.0,
        born: float = 0.0,
        pools: int = 1,
    ) -> None:
        self.token, self.program, self.host, self.interval, self.born = token, program, host, interval, born
        self.number = 0
        self.sequence = 0
        #: Added to the wall time that it tells.
        self.clock_error = 0.0
        self.signs: ProcessSigns | None = None
        self.findings: tuple[Finding, ...] = ()
        #: What decides which signs have room; all of them if there is none.
        self.teller: Teller | None = None
        self.pools: list[ModelPool] = []
        self.keys = 0
        for _ in range(pools):
            self.open_pool()

    @property
    def pool(self) -> ModelPool:
        """The first pool."""
        return self.pools[0]

    def open_pool(self) -> ModelPool:
        """One more pool."""
        self.keys += 1
        pool = ModelPool(self.keys)
        self.pools.append(pool)
        return pool

    def sums(self) -> ReportSums:
        """What its pools sum up to."""
        living = [pool for pool in self.pools if pool.is_open]
        limits = [
            None if None in column else sum(column)
            for column in zip(*(pool.limits for pool in living), strict=True)
        ]
        return ReportSums(
            len(living),
            Gauges(*map(sum, zip(*(pool.gauges for pool in self.pools), strict=True))),
            Limits(*limits),
            Counters(
                *(
                    sum(n or 0 for n in column)
                    for column in zip(*(pool.counters for pool in self.pools), strict=True)
                )
            ),
        )

    def report(self, now: float, goodbye: bool = False, detail: str = "full") -> list[bytes]:
        """The datagrams of its next report at the aggregator's time `now`."""
        self.number += 1
        sums = self.sums()
        readings = tuple(pool.read(self.number) for pool in self.pools if pool.told_closed <= MARKS)
        report = Report(
            self.host, self.program, self.token, self.number, self.sequence, now - self.born,
            max(1.0, 1.7e9 + now + self.clock_error), self.interval, goodbye, sums, readings,
            self.signs, self.findings,
        )  # fmt: skip
        selection = None
        if self.teller is not None:
            selection = self.teller.select(report.signs, report.findings, report.pool_signs())
        datagrams = encode_report(report, detail, selection)
        if self.teller is not None and selection is not None:
            self.teller.note(selection)
        self.sequence += len(datagrams)
        return datagrams
