"""Numbers for people: durations, counts, rates, shares and times of day.

Every function accepts ``None`` for "not known" and shows it as ``–``. It treats NaN and infinity alike, since a
stranger may send them.
"""

from datetime import datetime, tzinfo
from math import isfinite

from poolhouse.views.line import UNKNOWN

_SCALES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def known(number: float | None) -> bool:
    """Whether the number can be shown.

    >>> known(0), known(None), known(float("nan"))
    (True, False, False)
    """
    return number is not None and isfinite(number)


def duration(seconds: float | None) -> str:
    """A measured time in at most six cells, with two significant digits.

    >>> [duration(s) for s in (0.0, 2e-5, 2.1e-4, 9e-3, 0.24, 0.9996, 1.24, 41, 125, 8040, 273600, 1e9)]
    ['<1µs', '20µs', '0.2ms', '9.0ms', '240ms', '1.0s', '1.2s', '41s', '2m05s', '2h14m', '3d04h', '11574d']
    >>> duration(None)
    '–'
    """
    if seconds is None or not isfinite(seconds):
        return UNKNOWN
    if seconds < 1e-6:
        return "<1µs"
    if seconds < 9.95e-5:
        return f"{seconds * 1e6:.0f}µs"
    if seconds < 9.95e-3:
        return f"{seconds * 1e3:.1f}ms"
    if seconds < 0.9995:
        return f"{seconds * 1e3:.0f}ms"
    if seconds < 9.95:
        return f"{seconds:.1f}s"
    return elapsed(round(seconds))


def elapsed(seconds: float | None) -> str:
    """A running time, such as an uptime, in whole seconds and at most six cells.

    >>> [elapsed(s) for s in (0.9, 59.9, 60, 3599, 8040, 86400 * 99, 86400 * 100)]
    ['0s', '59s', '1m00s', '59m59s', '2h14m', '99d00h', '100d']
    """
    if seconds is None or not isfinite(seconds):
        return UNKNOWN
    whole = max(0, int(seconds))
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02}s"
    if whole < 86400:
        return f"{whole // 3600}h{whole % 3600 // 60:02}m"
    days, hours = whole // 86400, whole % 86400 // 3600
    return f"{days}d{hours:02}h" if days < 100 else f"{days}d"


def age(seconds: float | None) -> str:
    """The time since something happened, in at most three cells.

    >>> [age(s) for s in (None, -0.2, 1.9, 75, 7300, 200000)]
    ['–', '0s', '1s', '1m', '2h', '2d']
    """
    if seconds is None or not isfinite(seconds):
        return UNKNOWN
    for unit, name in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= unit:
            return f"{min(99, int(seconds // unit))}{name}"
    return f"{max(0, int(seconds))}s"


def count(number: float | None) -> str:
    """A number of things in at most five cells.

    >>> [count(n) for n in (0, 9999, 12345, 99960, 123456, 1234567, 10**12)]
    ['0', '9,999', '12.3k', '100k', '123k', '1.2M', '1.0T']
    """
    if number is None or not isfinite(number):
        return UNKNOWN
    return f"{round(number):,}" if abs(number) < 10_000 else _scaled(number)


def exact(number: float | None) -> str:
    """A number of things with all its digits.

    >>> exact(1234567), exact(None)
    ('1,234,567', '–')
    """
    return UNKNOWN if number is None or not isfinite(number) else f"{round(number):,}"


def short(number: float | None) -> str:
    """A number of things in at most four cells, for pairs such as ``61/240``.

    >>> [short(n) for n in (9999, 12345, 2_500_000)]
    ['9999', '12k', '2M']
    """
    if number is None or not isfinite(number):
        return UNKNOWN
    if abs(number) < 10_000:
        return f"{round(number)}"
    factor, name = next(scale for scale in _SCALES if abs(number) >= scale[0])
    return f"{int(number / factor)}{name}"


def rate(per_second: float | None) -> str:
    """Events per second in at most five cells; a negative rate (a total that fell) is shown as 0.

    >>> [rate(r) for r in (0, 0.01, 0.1, 9.96, 410.4, 1840, 12345, -3.0, None)]
    ['0', '<0.1', '0.1', '10', '410', '1,840', '12.3k', '0', '–']
    """
    if per_second is None or not isfinite(per_second):
        return UNKNOWN
    if per_second <= 0:
        return "0"
    if per_second < 0.05:
        return "<0.1"
    return f"{per_second:.1f}" if per_second < 9.95 else count(per_second)


def share(part: float | None, whole: float | None, digits: int = 0) -> str:
    """A part of a whole in per cent; ``–`` if there is no whole.

    >>> share(214, 480), share(1, 3, 1), share(0, 0)
    ('45%', '33.3%', '–')
    """
    if part is None or whole is None or not isfinite(part) or not isfinite(whole) or whole <= 0:
        return UNKNOWN
    return f"{100 * part / whole:.{digits}f}%"


def at_most(text: str, is_bound: bool) -> str:
    """The text with ``≤`` before it if it is an upper bound.

    >>> at_most("61/240", True), at_most("–", True)
    ('≤61/240', '–')
    """
    return f"≤{text}" if is_bound and not text.startswith(UNKNOWN) else text


def time_of_day(wall_time: float | None, zone: tzinfo | None = None) -> str:
    """The time of day in `zone`; ``None`` for this machine's.

    >>> from datetime import UTC
    >>> time_of_day(1700000000.5, UTC), time_of_day(1e300, UTC)
    ('22:13:20', '–')
    """
    if wall_time is None or not isfinite(wall_time):
        return UNKNOWN
    try:
        return datetime.fromtimestamp(wall_time, zone).strftime("%H:%M:%S")
    except (ValueError, OverflowError, OSError):
        return UNKNOWN


def _scaled(number: float) -> str:
    for factor, name in _SCALES:
        if abs(number) >= factor * 0.99995:
            scaled = number / factor
            digits = 1 if abs(scaled) < (99.95 if name == "k" else 9.95) else 0
            return f"{scaled:.{digits}f}{name}"
    return f"{number:.0f}"
