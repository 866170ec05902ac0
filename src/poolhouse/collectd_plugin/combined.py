"""Combines the programs that report to this collectd with those that another collectd forwards.

If one side does not know a value, the sum is the other side's value: otherwise a single old server that forwards
its values would turn most cells of the table into ``–``. Limits are the exception: if either side's limit is
unknown, the sum has no limit.
"""

from collections.abc import Callable, Iterable, Sequence
from operator import add
from typing import Any, TypeVar

from poolhouse.fleet.snapshot import Peaks, Rates, Row, Snapshot, Totals

Counts = TypeVar("Counts", Totals, Rates)

_SUMMED = ("processes", "pools", "idle", "used", "detached", "waiting", "full_pools", "interval_checkouts")
_LIMITS = ("max_open", "max_idle", "min_idle")


def combined(reported: Snapshot, forwarded: Snapshot) -> Snapshot:
    """Both snapshots combined: rows of the same name are added, everything else is from `reported`."""
    if not forwarded.programs and not forwarded.hosts:
        return reported
    return reported._replace(
        fleet=_sum(reported.fleet, forwarded.fleet) if reported.programs else forwarded.fleet,
        programs=_joined(reported.programs, forwarded.programs),
        hosts=_joined(reported.hosts, forwarded.hosts),
    )


def _joined(ours: Iterable[Row], theirs: Iterable[Row]) -> tuple[Row, ...]:
    rows = {row.name: row for row in ours}
    for row in theirs:
        rows[row.name] = _sum(rows[row.name], row) if row.name in rows else row
    return tuple(rows[name] for name in sorted(rows))


def _sum(ours: Row, theirs: Row) -> Row:
    """The sum of both rows; the distributions of times are ours, because forwarded values have none."""
    sums: dict[str, Any] = {name: _known(add, getattr(ours, name), getattr(theirs, name)) for name in _SUMMED}
    for name in _LIMITS:
        sums[name] = _all_known((getattr(ours, name), getattr(theirs, name)))
    row = ours._replace(
        **sums,
        is_bound=ours.is_bound or theirs.is_bound,
        totals=_counts(ours.totals, theirs.totals),
        rates=_counts(ours.rates, theirs.rates),
        age=_known(min, ours.age, theirs.age),
        interval=_known(max, ours.interval, theirs.interval),
        is_stale=ours.is_stale and theirs.is_stale,
    )
    return row._replace(
        interval_peaks=_peaks(ours.interval_peaks, theirs.interval_peaks, row),
        peaks=_peaks(ours.peaks, theirs.peaks, row),
    )


def _counts(ours: Counts, theirs: Counts) -> Counts:
    return type(ours)(*(_known(add, *pair) for pair in zip(ours, theirs, strict=True)))


def _peaks(ours: Peaks, theirs: Peaks, row: Row) -> Peaks:
    """The largest value that is certain: either side's own maximum, or the present sum."""
    now = Peaks(row.processes, row.connections, row.used, row.waiting, None, row.interval_checkouts)
    certain = (_known(max, _known(max, *pair), least) for *pair, least in zip(ours, theirs, now, strict=True))
    # An upper bound is only known if both sides have one.
    bounds = (ours.used_bound, theirs.used_bound)
    return Peaks(*certain)._replace(used_bound=_all_known(bounds))


def _known(join: Callable[[Any, Any], Any], ours: Any, theirs: Any) -> Any:
    """Both joined if both are known; otherwise the known one."""
    if ours is None or theirs is None:
        return theirs if ours is None else ours
    return join(ours, theirs)


def _all_known(numbers: Sequence[int | None]) -> int | None:
    known = [number for number in numbers if number is not None]
    return sum(known) if len(known) == len(numbers) else None
