"""What the looks at a pool and at the lines that hold its connections have counted.

The reporter's thread counts; any thread may read meanwhile.
"""

from operator import itemgetter
from types import CodeType
from typing import TypeAlias

from poolhouse.copies import copy_of
from poolhouse.meter.signs import Looks, PoolSigns
from poolhouse.sites.seen import Seen, State

#: The states in which the line says what a holder does instead of SQL.
_ELSEWHERE = (State.IDLE, State.ASKS)
#: Lines of a site that are counted at a time.
MOST_LINES = 16

#: The part of its weight that a look keeps from one report to the next, for the line where a site is idle. The
#: holders of a program that has run for days may be at another line now: with as many looks in each interval, that
#: is the main one after three reports, the window of a verdict.
_KEPT = 0.75

#: A code object, and the offset of an instruction in it.
Line: TypeAlias = tuple[CodeType, int]


class SiteLooks:
    """What the looks found of the connections of one line."""

    __slots__ = ("_counts", "_has_news", "_lines", "held_s")

    def __init__(self) -> None:
        self._counts = [0, 0, 0, 0]
        #: Where the holders were that were idle or asked for a further connection, and how often of late.
        #: By address (``id(code) + instruction``), which is the line's own as long as its code is kept: to hash a
        #: code object takes as long as all the rest of a look at a connection.
        self._lines: dict[int, tuple[Line, float]] = {}
        #: Whether a line was counted since the last report.
        self._has_news = False
        #: Connection-seconds, as far as the looks can tell: for pools that do not measure them by line.
        self.held_s = 0.0

    def count(self, seen: Seen) -> None:
        """Count one look at one connection.

        Where the function asks again at the same line, a call that has ended before tells that this one has, too;
        else nothing is known: the connection may as well have come back since the holds were listed.
        """
        if seen.state is None or (seen.asks_again and not self._counts[State.ENDED]):
            return
        self._counts[seen.state] += 1
        if seen.state in _ELSEWHERE and seen.line is not None:
            self._has_news = True
            code, instruction, _ = seen.line
            address = id(code) + instruction
            known = self._lines.get(address)
            if known is not None:
                self._lines[address] = known[0], known[1] + 1
                return
            times = 0.0
            if len(self._lines) >= MOST_LINES:
                # Forget the rarest, and count the newcomer as often: the frequent ones stay.
                rarest = min(self._lines, key=lambda each: self._lines[each][1])
                times = self._lines.pop(rarest)[1]
            self._lines[address] = (code, instruction), times + 1

    @property
    def looks(self) -> Looks:
        """How often its connections were found in each state."""
        return Looks(*self._counts)

    @property
    def idle_line(self) -> Line | None:
        """Where most of those were of late that were idle or asked for more; ``None`` if there were none."""
        lines = copy_of(self._lines).values()
        return max(lines, key=itemgetter(1), default=(None, 0))[0]

    def age(self) -> None:
        """Let the lines of the looks so far weigh less than those to come; call it after each report.

        Without a look since the last call, nothing changes: the last known line stays.
        """
        if self._has_news:
            self._has_news = False
            lines = copy_of(self._lines)
            self._lines = {address: (line, times * _KEPT) for address, (line, times) in lines.items()}


class PoolLooks:
    """What the looks found of one pool.

    Attributes:
        looks: Looks while something was out or somebody waited.
        looks_waiting: Those of them with somebody waiting.
        used_sum: The connections in use, summed over all of them.
        waiting_sum: The callers waiting, likewise.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Begin anew, in a forked child."""
        self.looks = self.looks_waiting = self.used_sum = self.waiting_sum = 0

    def count(self, used: int, waiting: int) -> None:
        """Count one look at the pool."""
        if used or waiting:
            self.looks += 1
            self.looks_waiting += waiting > 0
            self.used_sum += used
            self.waiting_sum += waiting

    def told_in(self, signs: PoolSigns) -> PoolSigns:
        """The signs of the pool, with these counts."""
        return signs._replace(
            looks=self.looks,
            looks_waiting=self.looks_waiting,
            used_sum=self.used_sum,
            waiting_sum=self.waiting_sum,
        )
