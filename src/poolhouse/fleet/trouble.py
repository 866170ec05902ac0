"""Troubles of a process's pools; each is an event when it begins, and when it is over."""

from poolhouse.fleet.packed import FIELD_MASK
from poolhouse.fleet.vectors import COUNT_SHIFT, FULL_SHIFT, TROUBLE_SHIFT, WAITING_SHIFT
from poolhouse.wire.message import RawPool

#: The gauges that are not 0 while a pool has all its connections in use, or a caller waits for one.
TROUBLE_GAUGES = 1 << FULL_SHIFT | FIELD_MASK << WAITING_SHIFT
#: Reports without a waiter, after the first, before recovery is announced: occasional waits are one trouble.
CALM_REPORTS = 2
NONE_CALM: dict[int, int] = {}
NONE_FAILING: frozenset[int] = frozenset()


class Trouble:
    """Follows the pools of one process, from the first report that shows trouble."""

    __slots__ = ("_calm", "_failing")

    def __init__(self) -> None:
        #: Pools without waiting callers, and since which report; one empty dictionary for all without any.
        self._calm = NONE_CALM
        #: Keys of the pools whose last connects failed; one empty set for all without any.
        self._failing = NONE_FAILING

    def follow(
        self, raw: RawPool, number: int, before: int, after: int, counts: int, *, is_living: bool
    ) -> list[tuple[str, str]]:
        """The events that a pool's report causes.

        Args:
            raw: The pool.
            number: The number of the report.
            before: The pool's gauges in the previous report.
            after: Its gauges in this one.
            counts: What it has counted in between.
            is_living: Whether the process is alive: if it has left, no caller has stopped waiting.

        Returns:
            Kinds of events, and their texts.
        """
        told: list[tuple[str, str]] = []
        if after >> FULL_SHIFT & 1 and not before >> FULL_SHIFT & 1:
            told.append(("full", f"{raw.gauges.used} of {raw.limits.max_open} in use"))
        if after >> WAITING_SHIFT & FIELD_MASK:
            if not before >> WAITING_SHIFT & FIELD_MASK and self._calm.pop(raw.key, None) is None:
                told.append(("waiting", f"{raw.gauges.waiting} waiting for a connection"))
        elif before >> WAITING_SHIFT & FIELD_MASK:
            self._calm = {**self._calm, raw.key: number}
        elif raw.key in self._calm and number - self._calm[raw.key] >= CALM_REPORTS:
            del self._calm[raw.key]
            if is_living:
                told.append(("recovered", "nobody waits for a connection any more"))
        if counts >> TROUBLE_SHIFT:
            told += self.counted(raw.key, counts)
        elif raw.key in self._failing and counts >> COUNT_SHIFT["connects"] & FIELD_MASK:
            self._failing -= {raw.key}
            told.append(("recovered", "connects succeed again"))
        return told

    def counted(self, key: int, counts: int) -> list[tuple[str, str]]:
        """The events that a pool's timeouts and failed connects cause."""
        told: list[tuple[str, str]] = []
        if timeouts := counts >> COUNT_SHIFT["timeouts"] & FIELD_MASK:
            told.append(("timeouts", f"{timeouts} timed out"))
        if connect_errors := counts >> COUNT_SHIFT["connect_errors"] & FIELD_MASK:
            self._failing |= {key}
            told.append(("connect errors", f"{connect_errors} connects failed"))
        return told
