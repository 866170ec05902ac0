"""The state of a row: reporting, late, or with waiting callers; the meaning of signs and colours."""

from math import isfinite

from poolhouse.fleet.snapshot import Row, Snapshot
from poolhouse.views.line import Span, Tone


def is_positive(number: float | None) -> bool:
    """Whether the number is above 0; false if it is not known.

    >>> is_positive(2), is_positive(0), is_positive(None), is_positive(float("nan"))
    (True, False, False, False)
    """
    return number is not None and isfinite(number) and number > 0


def reaches(used: float | None, most: float | None) -> bool:
    """Whether all connections that there may be are in use; false if there is no limit.

    >>> reaches(10, 10), reaches(9, 10), reaches(10, None), reaches(0, 0)
    (True, False, False, False)
    """
    return used is not None and most is not None and is_positive(most) and used >= most


def is_full(row: Row) -> bool:
    """Whether a pool in the row has all its connections in use."""
    return is_positive(row.full_pools) or reaches(row.used, row.max_open)


def is_in_trouble(is_full: bool, waiting: float | None) -> bool:
    """Whether a caller waits; if waits are not reported, whether a pool is at its maximum.

    A pool with all its connections in use and no caller waiting is doing its job.

    >>> is_in_trouble(True, 0), is_in_trouble(False, 1), is_in_trouble(True, None), is_in_trouble(False, None)
    (False, True, True, False)
    """
    return is_full if waiting is None else is_positive(waiting)


def why_red(is_late: bool, is_full: bool, waiting: float | None) -> str:
    """Why a row is red, in a word; empty if it is not.

    >>> why_red(False, True, 3), why_red(False, True, None), why_red(True, True, 0), why_red(False, True, 0)
    ('waiting', 'full', 'late', '')
    """
    if is_in_trouble(is_full, waiting):
        return "waiting" if is_positive(waiting) else "full"
    return "late" if is_late else ""


def is_saturated(snapshot: Snapshot) -> bool:
    """Whether a pool is at its maximum while a caller waits for one of its connections.

    If a source does not report its pools one by one, its rows are judged by their sums.
    """
    return any(is_row_saturated(row) for row in (*snapshot.programs, *snapshot.hosts))


def is_row_saturated(row: Row) -> bool:
    """The same for one row, which need not have durations."""
    if row.saturated_pools is not None:
        return is_positive(row.saturated_pools)
    return is_full(row) and is_positive(row.waiting)


def tone_of(is_bad: bool) -> Tone:
    """The tone of a number, by whether it is bad.

    >>> tone_of(True), tone_of(False)
    ('bad', 'plain')
    """
    return "bad" if is_bad else "plain"


def sign(*, is_late: bool, is_bad: bool) -> Span:
    """The sign at the beginning of a line: late, else bad, else reporting.

    >>> [sign(is_late=late, is_bad=bad).text for late, bad in ((False, False), (False, True), (True, True))]
    ['●', '!', '○']
    """
    if is_late:
        return Span("○", "bad")
    return Span("!", "bad") if is_bad else Span("●", "good")


def row_sign(row: Row) -> Span:
    """The sign of a program or a host."""
    return sign(is_late=row.is_stale, is_bad=is_in_trouble(is_full(row), row.waiting))
