"""One process at one instant, and its row for faces."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from poolhouse.errors import PacketError
from poolhouse.fleet import rows
from poolhouse.fleet.account import RatePoints
from poolhouse.fleet.distribution import NO_DISTRIBUTIONS, summed
from poolhouse.fleet.names import clean_name
from poolhouse.fleet.pool import PoolState
from poolhouse.fleet.signs import NO_SIGNS, Signs
from poolhouse.fleet.snapshot import Peaks, PoolRow, ProcessRow, Times
from poolhouse.meter.reading import Mark
from poolhouse.meter.signs import Finding, PoolSigns, ProcessSigns
from poolhouse.wire.signs_decode import decode_signs

NO_NAMES: Mapping[int, str] = {}


class ProcessState(NamedTuple):
    """One process at one instant, as immutable values: taken in microseconds, and converted by `row` later."""

    host: str
    program: str
    token: str
    gauges: int
    knows: int
    sent: int
    totals: int
    age: float
    interval: float
    uptime: float | None
    lost: int
    pools: list[PoolState]
    #: Of everything with rates: the pools, and the sums of an older client.
    points: list[RatePoints]
    signs: Signs
    #: The names sent by its program's processes.
    names: Mapping[int, str]
    user: bytes = b""
    password: int = 0

    def row(self, *, with_times: bool = True) -> ProcessRow:
        """The row for faces, with the rows of its pools; without durations, at a fraction of the cost."""
        (row,) = filter(None, self.row_steps(with_times))
        return row

    def row_steps(self, with_times: bool) -> Iterator[ProcessRow | None]:
        """The same in small steps: ``None`` after each, and finally the row."""
        newer, older = NO_DISTRIBUTIONS, NO_DISTRIBUTIONS
        found: list[PoolRow] = []
        for pool in self.pools:
            recent = pool.recent() if with_times else None
            if recent is not None:
                newer, older = summed(newer, recent[0]), summed(older, recent[1])
            if pool.is_shown and (row := pool.row(recent, self.knows)) is not None:
                found.append(row)
            yield None
        pools = tuple(sorted(found, key=lambda row: row.reading.key))
        signs: ProcessSigns | None = None
        findings: tuple[Finding, ...] = ()
        if self.signs is not NO_SIGNS:
            pools, signs, findings = self._with_signs(pools, with_times)
            yield None
        sums = rows.row(
            self.token,
            self.gauges,
            self.knows,
            self.age,
            self.interval,
            totals=rows.totals(self.totals, self.sent),
            rates=rows.summed_rates([points.rates() for points in self.points]),
            interval_peaks=_peaks([pool.interval_mark for pool in pools]),
            peaks=_peaks([pool.reading.peak for pool in pools]),
            recent=rows.recent_times(newer, older, self.knows) if with_times else Times(),
            since_start=rows.times(newer, self.knows) if with_times else Times(),
        )
        yield ProcessRow(
            self.host, self.program, self.token, sums, self.uptime, self.lost, pools, signs, findings,
            clean_name(self.user.decode(errors="backslashreplace")), self.password > 0,
        )  # fmt: skip

    def _with_signs(
        self, pools: tuple[PoolRow, ...], with_times: bool
    ) -> tuple[tuple[PoolRow, ...], ProcessSigns | None, tuple[Finding, ...]]:
        """The pools with their signs, and those of the process; unchanged if its payloads are malformed."""
        try:
            raw, names = decode_signs(self.signs.payloads), self.names
            found: list[PoolRow] = []
            for pool in pools:
                signs = raw.pool_signs(pool.reading.key, names)
                if signs is not None and not with_times:
                    signs = without_use(signs)
                found.append(pool._replace(reading=pool.reading._replace(signs=signs)))
            return tuple(found), raw.process_signs(names), raw.process_findings(names)
        except PacketError:
            return pools, None, ()


def without_use(signs: PoolSigns) -> PoolSigns:
    """The signs without the use times of their sites, which are most of their bytes."""
    return signs._replace(sites=tuple(site._replace(use=None) for site in signs.sites))


def _peaks(marks: list[Mark]) -> Peaks:
    """A process's peaks: the marks of its pool; of several pools only the sum, which is an upper bound."""
    bound = sum(mark.used for mark in marks)
    if len(marks) != 1:
        return Peaks(1, used_bound=bound)
    return Peaks(1, marks[0].connections, marks[0].used, marks[0].waiting, bound)
