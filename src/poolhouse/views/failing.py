"""The conditions of ``connmon --fail-on``, and whether they hold for as long as required.

::

    leak                a verdict of this cause stands           leak:30s  … for 30 seconds
    alarm, notice       a verdict of this severity, or worse
    saturated           a pool is at its maximum, and somebody waits
    used>90%            more than 90 % of what a program may open is in use
    used>90%:30s        … in every snapshot for 30 seconds
    oldest>60s          a connection has been out for more than a minute
    waiting>5, timeouts>0, connect_errors>0
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

from poolhouse.fleet.snapshot import Row, Snapshot
from poolhouse.verdicts.causes import BY_NAME, CAUSES
from poolhouse.views.standing import is_saturated

#: The numbers that can be compared: connections in use and idle, callers waiting, the age of the oldest hold in
#: seconds; timeouts and failed connects per second, over the last intervals.
NUMBERS = ("used", "idle", "waiting", "oldest", "timeouts", "connect_errors")
_SEVERITIES = ("alarm", "notice")
_UNITS = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|min|h)")
_COMPARISON = re.compile(r"([a-z_]+)(>=|>)(\d+(?:\.\d+)?)(%|ms|s|m|min|h)?")


class Condition(NamedTuple):
    """One condition."""

    #: The condition as the user typed it.
    text: str
    #: ``saturated``, a severity, a cause, or one of `NUMBERS`.
    name: str
    #: For a number: its bound (a share if `is_share`, seconds for an age), and whether it may equal the bound.
    bound: float = 0.0
    is_share: bool = False
    may_reach: bool = False
    #: How long it must hold, in seconds.
    seconds: float = 0.0

    def since(self, snapshot: Snapshot, program: str | None) -> float | None:
        """How long it has held, in seconds, 0 if only the present is known; ``None`` if it does not hold.

        Args:
            snapshot: The fleet.
            program: The only program that counts; ``None`` for all.
        """
        if self.name == "saturated":
            return 0.0 if is_saturated(_only(snapshot, program)) else None
        if self.name in NUMBERS:
            return 0.0 if any(map(self._is_beyond, self._values(snapshot, program))) else None
        ages = [
            max(0.0, snapshot.wall_time - verdict.since)
            for verdict in snapshot.verdicts
            if program in (None, verdict.program)
            and (verdict.cause == self.name or self.name in (verdict.severity, "notice"))
        ]
        return max(ages, default=None)

    def _is_beyond(self, value: float) -> bool:
        return value >= self.bound if self.may_reach else value > self.bound

    def _values(self, snapshot: Snapshot, program: str | None) -> Iterator[float]:
        if self.name == "oldest":
            yield from (one.site.oldest_s for one in snapshot.holders if program in (None, one.program))
            return
        for row in snapshot.programs:
            if program in (None, row.name) and (value := self._value(row)) is not None:
                yield value

    def _value(self, row: Row) -> float | None:
        value: float | None
        if self.name in ("timeouts", "connect_errors"):
            value = getattr(row.rates, self.name)
        else:
            value = getattr(row, self.name)
        if value is None or not self.is_share:
            return value
        return value / row.max_open if row.max_open else None


def parse_conditions(text: str) -> tuple[Condition, ...]:
    """The conditions in a text, separated by commas.

    Raises:
        ValueError: If one is not understood; the message is a sentence.
    """
    return tuple(_parsed(one.strip()) for one in text.split(","))


def _parsed(text: str) -> Condition:
    condition, _, duration = text.partition(":")
    seconds = 0.0
    if duration or text.endswith(":"):
        found = _DURATION.fullmatch(duration)
        if found is None:
            raise ValueError(f"{text}: expected a duration after the colon, for example 30s or 5m")
        seconds = float(found[1]) * _UNITS[found[2]]
    name = condition.replace("-", "_")
    if name == "saturated" or name in _SEVERITIES or name in BY_NAME:
        return Condition(text, name, seconds=seconds)
    found = _COMPARISON.fullmatch(condition)
    if found is None or found[1] not in NUMBERS:
        known = ", ".join(["saturated", *_SEVERITIES, *(cause.name for cause in CAUSES)])
        raise ValueError(f"{text}: there are {known}, and {', '.join(NUMBERS)} with > or >= and a number")
    number, comparison, unit = found[1], found[2], found[4] or ""
    if unit and (unit == "%") == (number == "oldest"):
        raise ValueError(f"{text}: {number} is {'in seconds' if number == 'oldest' else 'a number'}")
    if unit == "%" and number not in ("used", "idle"):
        raise ValueError(f"{text}: only used and idle are a share of the maximum")
    if unit not in ("", "%") and number != "oldest":
        raise ValueError(f"{text}: {number} is a number")
    bound = float(found[3]) / 100 if unit == "%" else float(found[3]) * _UNITS[unit]
    return Condition(text, number, bound, unit == "%", comparison == ">=", seconds)


class Check:
    """Whether any condition holds for as long as required, over the snapshots that arrive.

    Attributes:
        failed: The texts of the conditions that do, in the order in which the user typed them.
    """

    def __init__(self, conditions: tuple[Condition, ...], program: str | None = None) -> None:
        self._conditions = conditions
        self._program = program
        #: When each condition that holds was first seen to hold.
        self._since: dict[Condition, float] = {}
        self.failed: list[str] = []

    @property
    def longest_s(self) -> float:
        """The longest time that a condition must hold, in seconds."""
        return max((condition.seconds for condition in self._conditions), default=0.0)

    def take(self, snapshot: Snapshot, now: float) -> bool:
        """Take a snapshot. Returns whether the answer is final: no later snapshot can or need change it.

        Args:
            snapshot: The fleet.
            now: Monotonic seconds.
        """
        self.failed = []
        is_known = True
        for condition in self._conditions:
            age = condition.since(snapshot, self._program)
            if age is None:
                self._since.pop(condition, None)
                continue
            since = self._since.setdefault(condition, now)
            if max(age, now - since) >= condition.seconds:
                self.failed.append(condition.text)
            else:
                is_known = False
        return is_known or bool(self.failed)


def _only(snapshot: Snapshot, program: str | None) -> Snapshot:
    if program is None:
        return snapshot
    return snapshot._replace(programs=tuple(row for row in snapshot.programs if row.name == program), hosts=())
