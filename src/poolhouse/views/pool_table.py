"""The table on a program's page: its processes, with one line for each of their pools."""

from collections.abc import Callable
from typing import NamedTuple

from poolhouse.fleet.snapshot import PoolRow, ProcessRow, Rates, Snapshot, Times
from poolhouse.meter.reading import REST
from poolhouse.views.column import Column, Sorting, Table
from poolhouse.views.fleet_table import p99, part_of, summed, used_of_max, why_column
from poolhouse.views.line import UNKNOWN
from poolhouse.views.standing import is_in_trouble, is_positive, reaches, sign, tone_of, why_red
from poolhouse.views.units import age, at_most, count, duration, elapsed, rate

#: The identity of a pool: host, process token, and the pool's key within its process.
PoolKey = tuple[str, str, int]
#: The key of the line of a process that reports no pool.
NO_POOL = -1


class PoolEntry(NamedTuple):
    """One line: a process and one of its pools, or the process's sums if it reports none."""

    process: ProcessRow
    #: The pool's own row; ``None`` if only the process's sums are known.
    pool: PoolRow | None
    key: PoolKey
    name: str
    kind: str
    used: int | None
    max_open: int | None
    idle: int | None
    waiting: int | None
    is_bound: bool
    peak: int | None
    timeouts: int | None
    errors: int | None
    rates: Rates
    recent: Times
    is_full: bool


def pool_entries(snapshot: Snapshot) -> list[PoolEntry]:
    """Every pool of every process of the requested program, without pools that are gone."""
    return [entry for process in snapshot.processes for entry in pools_of(process)]


def find_pool(snapshot: Snapshot, key: PoolKey) -> PoolEntry | None:
    """The pool with this key, or the sums of its process if that is `NO_POOL`; ``None`` if it is gone."""
    processes = (process for process in snapshot.processes if (process.host, process.token) == key[:2])
    entries = (
        entry
        for process in processes
        for entry in ([_of_process(process)] if key[2] == NO_POOL else pools_of(process))
    )
    return next((entry for entry in entries if entry.key == key), None)


def pools_of(process: ProcessRow) -> list[PoolEntry]:
    """The lines of one process."""
    return [_of_pool(process, pool) for pool in process.pools if pool.reading.pools] or [_of_process(process)]


def _of_pool(process: ProcessRow, pool: PoolRow) -> PoolEntry:
    reading = pool.reading
    gauges, counters = reading.gauges, reading.counters
    return PoolEntry(
        process=process,
        pool=pool,
        key=(process.host, process.token, reading.key),
        name=f"{reading.pools} others" if reading.key == REST else reading.name or reading.kind,
        kind=reading.kind,
        used=gauges.used,
        max_open=reading.limits.max_open,
        idle=gauges.idle,
        waiting=gauges.waiting,
        is_bound=reading.is_bound,
        peak=pool.interval_mark.used if reading.marks else None,
        timeouts=counters.timeouts,
        errors=summed(counters.acquire_errors, counters.connect_errors),
        rates=pool.rates,
        recent=pool.recent,
        is_full=reaches(gauges.used, reading.limits.max_open),
    )


def _of_process(process: ProcessRow) -> PoolEntry:
    sums = process.sums
    pools = [pool for pool in process.pools if pool.reading.pools]
    return PoolEntry(
        process=process,
        pool=None,
        key=(process.host, process.token, NO_POOL),
        name=f"{len(pools)} pool{'s' * (len(pools) != 1)}" if pools else UNKNOWN,
        kind=UNKNOWN,
        used=sums.used,
        max_open=sums.max_open,
        idle=sums.idle,
        waiting=sums.waiting,
        is_bound=sums.is_bound,
        peak=sums.interval_peaks.used,
        timeouts=sums.totals.timeouts,
        errors=summed(sums.totals.acquire_errors, sums.totals.connect_errors),
        rates=sums.rates,
        recent=sums.recent,
        is_full=bool(sums.full_pools) or reaches(sums.used, sums.max_open),
    )


def _name(
    heading: str, meaning: str, text: Callable[[PoolEntry], str], width: int, widest: int
) -> Column[PoolEntry]:
    return Column(heading, meaning, text, text, width, widest)


def _number(
    heading: str,
    meaning: str,
    value: Callable[[PoolEntry], float | None],
    text: Callable[[float | None], str] = count,
    width: int = 5,
) -> Column[PoolEntry]:
    return Column(heading, meaning, lambda entry: text(value(entry)), value, max(width, len(heading)), shown=text)


def _cause(entry: PoolEntry) -> str:
    """The trouble that the process found in the pool, or in itself; else why the row is red."""
    process, keys = entry.process, (entry.key[2], REST)
    if process.signs is None:
        return ""  # It reports too little for a verdict.
    found = next((finding.cause for finding in process.findings if finding.pool in keys), "")
    return found or why_red(process.sums.is_stale, entry.is_full, entry.waiting)


POOL_TABLE: Table[PoolEntry] = Table(
    (
        _name("HOST", "The host of the process.", lambda entry: entry.process.host, 8, 24),
        _name(
            "PROCESS", "The process: its id, and a token of its own.", lambda entry: entry.process.token, 11, 18
        ),
        Column(
            "POOL",
            "The pool: server, port and database.",
            lambda entry: entry.name,
            lambda entry: entry.name,
            width=13,
            widest=40,
            keeps_end=True,
        ),
        why_column(_cause),
        Column(
            "USED/MAX",
            "Connections in use, of those the pool may open; red with ! at the maximum while callers wait.",
            lambda entry: used_of_max(entry.used, entry.max_open, entry.is_bound),
            lambda entry: entry.used,
            width=10,
            tone=lambda entry: tone_of(entry.is_full and is_in_trouble(True, entry.waiting)),
            has_sign=True,
            part=lambda entry: part_of(entry.used, entry.max_open),
        ),
        Column(
            "WAIT",
            "Callers that wait for a connection; red with ! where there is one.",
            lambda entry: at_most(count(entry.waiting), entry.is_bound and is_positive(entry.waiting)),
            lambda entry: entry.waiting,
            width=6,
            tone=lambda entry: tone_of(is_positive(entry.waiting)),
            has_sign=True,
        ),
        _number("OUT/S", "Checkouts per second.", lambda entry: entry.rates.checkouts, rate),
        _number(
            "WAIT99",
            "99 % of the callers of the last minute got a connection within this time.",
            lambda entry: p99(entry.recent.wait),
            duration,
        ),
        _number(
            "HOLD99",
            "99 % of the uses that ended in the last minute were no longer than this.",
            lambda entry: p99(entry.recent.use),
            duration,
        ),
        Column(
            "AGE",
            "Time since the last report; green while reports arrive, red with ! after two intervals without one.",
            lambda entry: age(entry.process.sums.age),
            lambda entry: entry.process.sums.age,
            width=5,
            tone=lambda entry: "bad" if entry.process.sums.is_stale else "good",
            has_sign=True,
        ),
        _number("IDLE", "Open connections that nobody uses.", lambda entry: entry.idle),
        _number("PEAK", "The most connections in use at once within the last interval.", lambda entry: entry.peak),
        _number("UP", "Time since the process or its fork began.", lambda entry: entry.process.uptime, elapsed, 6),
        _number("CONN/S", "Connections opened per second.", lambda entry: entry.rates.connects, rate),
        _number("COMMIT/S", "Commits per second.", lambda entry: entry.rates.commits, rate),
        _number("ROLLB/S", "Rollbacks per second.", lambda entry: entry.rates.rollbacks, rate),
        _number(
            "TMOUTS",
            "Callers that timed out waiting for a connection, so far.",
            lambda entry: entry.timeouts,
        ),
        _number(
            "ERRORS",
            "Callers that got another error, and connects that failed, so far.",
            lambda entry: entry.errors,
        ),
        _number("LOST", "Datagrams of the process that were lost.", lambda entry: entry.process.lost),
        _name("KIND", "The pool's class.", lambda entry: entry.kind, 8, 26),
    ),
    sign=lambda entry: sign(
        is_late=entry.process.sums.is_stale, is_bad=is_in_trouble(entry.is_full, entry.waiting)
    ),
    key=lambda entry: entry.key,
    sorting=Sorting("USED/MAX"),
    essential=10,
    is_late=lambda entry: entry.process.sums.is_stale,
    fixed=3,
)
