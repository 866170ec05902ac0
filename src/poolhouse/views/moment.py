"""A moment of the last hour as JSON: raw numbers, with units in the keys' names."""

from datetime import datetime, time, timedelta, tzinfo
from math import isfinite
from typing import Any

from poolhouse.clean import clean
from poolhouse.fleet.timelines import STEP, Moment


def time_of(text: str, now: float, zone: tzinfo | None = None) -> float | None:
    """The time that a text names, in seconds since the epoch; ``None`` if it is not a time.

    Args:
        text: Seconds since the epoch, a date with a time (ISO 8601), or a time of day, which means the latest such
            time that is not in the future.
        now: The time now, in seconds since the epoch.
        zone: The time zone of texts without one; ``None`` for this machine's.

    >>> from datetime import UTC
    >>> told = ("1700000000", "2023-11-14T22:13:20Z", "22:13:20", "23:00", "25:00", "x")
    >>> [time_of(one, 1700000000.0, UTC) for one in told]
    [1700000000.0, 1700000000.0, 1700000000.0, 1699916400.0, None, None]
    """
    try:
        seconds = float(text)
    except ValueError:
        return _named_time(text, now, zone)
    return seconds if isfinite(seconds) else None


def _named_time(text: str, now: float, zone: tzinfo | None) -> float | None:
    try:
        if len(text) > len("00:00:00"):
            told = datetime.fromisoformat(text)
            return (told if told.tzinfo is not None or zone is None else told.replace(tzinfo=zone)).timestamp()
        today = datetime.fromtimestamp(now, zone)
        told = datetime.combine(today.date(), time.fromisoformat(text), zone)
        if told.timestamp() > now + STEP:
            told -= timedelta(days=1)
        return told.timestamp()
    except (ValueError, OverflowError, OSError):
        return None


def moment_data(moment: Moment) -> dict[str, Any]:
    """The state of the fleet, or of a program, in the `STEP` seconds up to a sample."""
    return {
        "used_connections": moment.used,
        "max_open_connections": moment.max_open,
        "waiting_callers": moment.waiting,
        "checkouts_per_second": moment.checkouts_per_second,
        "timeouts": moment.timeouts,
        "wait_seconds_p99": moment.wait_p99_seconds,
    }


def program_data(name: str, moment: Moment) -> dict[str, Any]:
    """The same for a program, with its name."""
    return {"name": clean(name), **moment_data(moment)}
