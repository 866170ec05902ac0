"""Converts vectors to the rows that faces read."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from poolhouse.defaults import STALE_INTERVALS
from poolhouse.fleet.distribution import Distribution, Distributions
from poolhouse.fleet.snapshot import Peaks, Rates, Row, Times, Totals
from poolhouse.fleet.vectors import ALL_SENT, COUNTS, GAUGES, Knows

#: The share of an interval after which a report may close it, since reports can be a little early.
INTERVAL_SHARE = 0.9


class Counted(NamedTuple):
    """A row for exporters: its gauges and everything it has counted, at a tenth of the cost of a `Row`."""

    #: Without rates, peaks and durations.
    row: Row
    #: The name that all of its pools share; ``None`` if they have several, or if none is known.
    pool: str | None
    #: Since the aggregator first heard of the row; ``None`` if no source sends them.
    wait: Distribution | None
    use: Distribution | None
    create: Distribution | None


def row(name: str, vector: int, knows: int, age: float, interval: float, **more: Any) -> Row:
    """The row with these gauges; a value that no source has ever sent is ``None``.

    Args:
        name: The row's name.
        vector: The gauges (`vectors.GAUGES`).
        knows: The bits of `Knows` for the row's sources.
        age: Seconds since the newest report.
        interval: Seconds between reports.
        more: Further fields of `Row`.
    """
    (
        processes, _, used, waiting, _, checkouts, idle, detached, pools,
        max_open, max_idle, min_idle, full_pools, saturated_pools,
        no_max_open, no_max_idle, no_min_idle, bounds, _,
    ) = GAUGES.unpack(vector)  # fmt: skip
    has_sums = bool(knows & Knows.SUMS)
    return Row(
        name,
        processes,
        pools if has_sums else None,
        idle if has_sums else None,
        used if has_sums else None,
        detached if has_sums else None,
        waiting if knows & Knows.WAITING else None,
        max_open if has_sums and not no_max_open else None,
        max_idle if has_sums and not no_max_idle else None,
        min_idle if has_sums and not no_min_idle else None,
        full_pools if knows & Knows.POOLS else None,
        bounds > 0,
        interval_checkouts=checkouts if knows & Knows.CHECKOUTS else None,
        age=age,
        interval=interval,
        is_stale=age >= STALE_INTERVALS * interval,
        saturated_pools=saturated_pools if knows & Knows.POOLS else None,
        **more,
    )


def peaks(largest: Sequence[int], knows: int) -> Peaks:
    """The largest sums (`vectors.PEAKS`); ``None`` where no source sends the value."""
    processes, connections, used, waiting, bound, checkouts = largest
    has_sums = bool(knows & Knows.SUMS)
    return Peaks(
        processes,
        connections if has_sums else None,
        used if has_sums else None,
        waiting if knows & Knows.WAITING else None,
        bound if knows & Knows.POOLS and not knows & Knows.UNMARKED else None,
        checkouts if knows & Knows.CHECKOUTS else None,
    )


def totals(vector: int, sent: int) -> Totals:
    """The counts (`vectors.COUNTS`) that any source sends: `sent` has a bit for each of them."""
    if sent == ALL_SENT:
        return Totals(*COUNTS.unpack(vector))
    return Totals(*(count if sent >> place & 1 else None for place, count in enumerate(COUNTS.unpack(vector))))


def rates(newer: int, older: int, seconds: float, sent: int) -> Rates:
    """Counts per second between two readings; all ``None`` if no time passed between them."""
    if seconds <= 0:
        return Rates()
    grown = COUNTS.unpack(COUNTS.rise(newer, older))
    return Rates(*(count / seconds if sent >> place & 1 else None for place, count in enumerate(grown)))


def times(distributions: Distributions, knows: int) -> Times:
    """The durations that any source sends."""
    wait, use, create = distributions
    return Times(
        wait.histogram() if knows & Knows.WAIT_TIMES else None,
        use.histogram() if knows & Knows.USE_TIMES else None,
        create.histogram() if knows & Knows.CREATE_TIMES else None,
    )


def counted(row: Row, pool: str | None, distributions: Distributions, knows: int) -> Counted:
    """The row and the durations that any source sends."""
    wait, use, create = distributions
    return Counted(
        row,
        pool,
        wait if knows & Knows.WAIT_TIMES else None,
        use if knows & Knows.USE_TIMES else None,
        create if knows & Knows.CREATE_TIMES else None,
    )


def recent_times(newer: Distributions, older: Distributions, knows: int) -> Times:
    """The durations recorded between two states."""
    wait, use, create = (now.latest(then) for now, then in zip(newer, older, strict=True))
    return Times(
        wait if knows & Knows.WAIT_TIMES else None,
        use if knows & Knows.USE_TIMES else None,
        create if knows & Knows.CREATE_TIMES else None,
    )


def summed_rates(several: list[Rates]) -> Rates:
    """The sum of rates; ``None`` where none is known."""
    columns = ([rate for rate in column if rate is not None] for column in zip(*several, strict=True))
    return Rates(*(sum(column) if column else None for column in columns))
