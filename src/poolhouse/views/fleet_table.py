"""The tables of programs and of hosts."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from poolhouse.fleet.aggregate import Aggregate
from poolhouse.fleet.snapshot import Row
from poolhouse.meter.histogram import Histogram
from poolhouse.verdicts.causes import rank_of
from poolhouse.verdicts.verdict import Verdict
from poolhouse.views.column import Column, Sorting, Table
from poolhouse.views.history import History
from poolhouse.views.line import UNKNOWN
from poolhouse.views.spark import sparkline
from poolhouse.views.standing import is_full, is_in_trouble, is_positive, row_sign, tone_of, why_red
from poolhouse.views.units import age, at_most, count, duration, rate, short

_TREND_CELLS = 12


def causes_of(verdicts: Sequence[Verdict], kind: str, rows: Iterable[Row] = ()) -> dict[str, str]:
    """The main cause of trouble of each program or host; `kind` is ``program`` or ``host``.

    Of `rows`, those that are red without a verdict get a word too.
    """
    causes: dict[str, str] = {}
    for verdict in verdicts:
        for name in (verdict.program,) if kind == "program" else verdict.hosts:
            causes.setdefault(name, verdict.cause)
    for row in rows:
        causes.setdefault(row.name, why_red(row.is_stale, is_full(row), row.waiting))
    return causes


#: What `why_column` tells of programs, hosts and pools.
_WHY = "Why the row is red: the cause of a verdict, which poolhouse explain explains; or waiting, full, late."


def why_column(cause: Callable[[Any], str], meaning: str = _WHY, width: int = 18) -> Column[Any]:
    """The column that says why a row is red; `cause` returns the word, empty for none."""
    return Column(
        "WHY",
        meaning,
        lambda row: cause(row) or UNKNOWN,
        lambda row: -rank_of(cause(row))[1] if cause(row) else None,
        width=width,
        tone=lambda row: tone_of(bool(cause(row))),
        is_text=True,
    )


def fleet_table(kind: str, history: History | None = None, causes: Mapping[str, str] | None = None) -> Table[Row]:
    """The table of programs or of hosts.

    Args:
        kind: ``program`` or ``host``.
        history: The source of the sparklines; ``None`` leaves their column out.
        causes: The trouble of each row, by name; may change from one snapshot to the next.
    """
    known: Mapping[str, str] = {} if causes is None else causes
    columns = (
        Column[Row](
            kind.upper(),
            f"The {kind}'s name; ● reporting, ! callers wait, ○ late.",
            lambda row: row.name,
            lambda row: row.name,
            width=12,
            widest=32,
        ),
        why_column(lambda row: known.get(row.name, "")),
        *_ROW_COLUMNS,
        *(_trend(kind, history) if history is not None else ()),
        *_FURTHER_ROW_COLUMNS,
    )
    return Table(
        columns,
        sign=row_sign,
        key=lambda row: row.name,
        sorting=Sorting("USED/MAX"),
        essential=2 + len(_ROW_COLUMNS),
        is_late=lambda row: row.is_stale,
    )


def busiest(sums: Sequence[Aggregate], most: int, containing: str = "") -> tuple[list[Aggregate], int]:
    """The rows that a table shows first in its default order, most in use, chosen before they are made.

    Args:
        sums: The sums of every program, or of every host, by name.
        most: The most rows to return.
        containing: Only rows whose names contain this.

    Returns:
        Those rows, and how many there are in all.
    """
    wanted = containing.casefold()
    found = [one for one in sums if wanted in (one.key[1] or one.key[0]).casefold()] if wanted else list(sums)
    found.sort(key=_used, reverse=True)
    return found[:most], len(found)


def _used(sums: Aggregate) -> int:
    return sums.used


def _trend(kind: str, history: History) -> tuple[Column[Row]]:
    return (
        Column(
            "TREND",
            "Connections in use over the last minute; the full height is the pools' maximum, where there is one.",
            lambda row: sparkline(history.of(kind, row.name).used[-60:], _TREND_CELLS, row.max_open),
            lambda row: row.used,
            width=_TREND_CELLS,
            tone=lambda _: "accent",
        ),
    )


def p99(times: Histogram | None) -> float | None:
    """The time in seconds that 99 of 100 do not exceed; ``None`` if there is none."""
    return times.quantile(0.99) if times is not None else None


def used_of_max(used: float | None, most: float | None, is_bound: bool) -> str:
    """Connections in use out of the maximum.

    >>> used_of_max(61, 240, False), used_of_max(61, None, True), used_of_max(None, None, False)
    ('61/240', '≤61/–', '–')
    """
    if used is None and most is None:
        return UNKNOWN
    return at_most(f"{short(used)}/{short(most)}", is_bound)


def part_of(used: float | None, most: float | None) -> float | None:
    """The share of a maximum that is in use; ``None`` if either is not known, or there is no maximum.

    >>> part_of(30, 40), part_of(3, None), part_of(3, 0)
    (0.75, None, None)
    """
    return used / most if used is not None and most else None


def summed(*numbers: int | None) -> int | None:
    """The sum of the known numbers; ``None`` if none is known.

    >>> summed(1, None, 2), summed(None, None)
    (3, None)
    """
    known = [number for number in numbers if number is not None]
    return sum(known) if known else None


def _number(
    heading: str,
    meaning: str,
    value: Callable[[Row], float | None],
    text: Callable[[float | None], str] = count,
    width: int = 5,
) -> Column[Row]:
    return Column(heading, meaning, lambda row: text(value(row)), value, max(width, len(heading)), shown=text)


_ROW_COLUMNS: tuple[Column[Row], ...] = (
    _number("PROCS", "Processes that report.", lambda row: row.processes),
    Column(
        "USED/MAX",
        "Connections in use, of those the pools may open; red with ! at the maximum while callers wait.",
        lambda row: used_of_max(row.used, row.max_open, row.is_bound),
        lambda row: row.used,
        width=11,
        tone=lambda row: tone_of(is_full(row) and is_in_trouble(True, row.waiting)),
        has_sign=True,
        part=lambda row: part_of(row.used, row.max_open),
    ),
    _number(
        "PEAK",
        "The most connections in use at once within the last interval.",
        lambda row: row.interval_peaks.used,
    ),
    _number("IDLE", "Open connections that nobody uses.", lambda row: row.idle),
    Column(
        "WAIT",
        "Callers that wait for a connection; red with ! where there is one.",
        lambda row: at_most(count(row.waiting), row.is_bound and is_positive(row.waiting)),
        lambda row: row.waiting,
        width=6,
        tone=lambda row: tone_of(is_positive(row.waiting)),
        has_sign=True,
    ),
    _number("OUT/S", "Checkouts per second.", lambda row: row.rates.checkouts, rate),
    _number(
        "WAIT99",
        "99 % of the callers of the last minute got a connection within this time.",
        lambda row: p99(row.recent.wait),
        duration,
    ),
    _number(
        "HOLD99",
        "99 % of the uses that ended in the last minute were no longer than this.",
        lambda row: p99(row.recent.use),
        duration,
    ),
    Column(
        "AGE",
        "Time since the last report; green while reports arrive, red with ! after two intervals without one.",
        lambda row: age(row.age),
        lambda row: row.age,
        width=5,
        tone=lambda row: "bad" if row.is_stale else "good",
        has_sign=True,
    ),
)

_FURTHER_ROW_COLUMNS: tuple[Column[Row], ...] = (
    _number("EVERY", "Time between two reports, as the sender says.", lambda row: row.interval, duration),
    _number("CONNS", "Open connections: idle, in use and detached.", lambda row: row.connections),
    _number(
        "CONNINT",
        "The most connections open at once within the last interval.",
        lambda row: row.interval_peaks.connections,
    ),
    _number("CONNMAX", "The most connections ever open at once.", lambda row: row.peaks.connections),
    Column(
        "PEAK≤",
        "The sum of the pools' own peaks in the last interval: the true peak is at most this.",
        lambda row: at_most(count(row.interval_peaks.used_bound), True),
        lambda row: row.interval_peaks.used_bound,
        width=6,
    ),
    _number("USEDMAX", "The most connections ever in use at once.", lambda row: row.peaks.used),
    _number("PROCMAX", "The most processes ever reporting at once.", lambda row: row.peaks.processes),
    _number("OUTINT", "Checkouts in the last interval.", lambda row: row.interval_checkouts),
    _number("OUTMAX", "The most checkouts in one interval.", lambda row: row.peaks.checkouts),
    _number(
        "TMOUTS",
        "Callers that timed out waiting for a connection, so far.",
        lambda row: row.totals.timeouts,
    ),
    _number(
        "ERRORS",
        "Callers that got another error, and connects that failed, so far.",
        lambda row: summed(row.totals.acquire_errors, row.totals.connect_errors),
    ),
    _number("POOLS", "Pools in use.", lambda row: row.pools),
    _number("CONN/S", "Connections opened per second.", lambda row: row.rates.connects, rate),
    _number("COMMIT/S", "Commits per second.", lambda row: row.rates.commits, rate),
    _number("ROLLB/S", "Rollbacks per second.", lambda row: row.rates.rollbacks, rate),
    _number(
        "CONN99",
        "99 % of the connects of the last minute took no longer than this.",
        lambda row: p99(row.recent.create),
        duration,
    ),
    _number("TRANS/S", "Transactions begun per second.", lambda row: row.rates.transactions, rate),
    _number("DISC/S", "Connections closed per second.", lambda row: row.rates.disconnects, rate),
    _number("INVAL/S", "Connections invalidated per second.", lambda row: row.rates.invalidated, rate),
    _number("DETACHED", "Connections taken out of their pool and still open.", lambda row: row.detached),
    _number("WAITMAX", "The most callers ever waiting at once.", lambda row: row.peaks.waiting),
)
