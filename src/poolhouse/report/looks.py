"""Decides when the reporter's thread samples the holders of connections, and records what it finds.

Each sample is a *look*. While a connection is out or a caller waits, and for two seconds after that, the thread
takes ten looks a second, or fewer if a look takes long. Otherwise it takes one at each report: a look that finds
something begins a series, and twenty that find nothing end it. So a checkout pays nothing, and in an idle process
the thread wakes only for its reports.

The pauses between looks vary at random. Looks at a fixed pace would find a program that does the same thing every
100 ms always at the same line, and take one statement in ten for the whole.
"""

from collections.abc import Callable, Iterable
from math import inf
from random import Random
from typing import Protocol

from poolhouse.clock import Clock, cpu_seconds
from poolhouse.meter.signs import ProcessSigns
from poolhouse.report.log import log
from poolhouse.report.native import thread_id
from poolhouse.report.source import Source
from poolhouse.safely import ERROR
from poolhouse.sites import forks
from poolhouse.sites.looker import Holding, Looker
from poolhouse.sites.stalls import Stalls
from poolhouse.sites.tally import PoolLooks
from poolhouse.sites.words import site_of

#: Seconds between two looks, on average.
PAUSE_S = 0.1
#: A pause is at most this share shorter or longer than the average. So after 12 looks (a verdict has 60), they
#: have spread over a whole period of `PAUSE_S`: that is the standard deviation of the sum of 12 such pauses.
_SPREAD = 0.5
#: A look that begins this many seconds late means that the process, or this thread, got no CPU.
LATE_S = 0.05
#: The pause after a look is at least this many times its CPU time, on average: at most 0.3 % of a core.
_SHARE = 1 / 0.003
#: The number of empty looks that ends a series: clients that come together are also away together for a while.
_MOST_EMPTY = 20
#: The most seconds that one look represents.
_LONGEST_S = 10.0


class Looked(Protocol):
    """A source that says who holds its connections. Optional: otherwise its holders are unknown."""

    looks: PoolLooks

    def holding(self) -> Holding:
        """The present holds and the number of waiting callers. Called up to ten times a second; never waits."""
        ...


class Looks:
    """The looks of one process; for the reporter's thread, except `signs`, which any thread may call.

    Attributes:
        due: When the next look is due, in monotonic seconds; infinite if that is at the next report.
        loops_due: When to check the event loops in between; infinite if only the next look does.
        looks_due: How many looks a pool would have had by now if one of its connections had always been out: the
            looks that were taken, and ten a second during pauses, when nothing was out.
    """

    def __init__(self, clock: Clock, cpu: Callable[[], float] = cpu_seconds) -> None:
        self._clock = clock
        self._cpu = cpu
        # Each process has the same sequence; all that matters is that it has no period.
        self._random = Random(1).random
        self._looker = Looker()
        self._stalls = Stalls(clock.monotonic, thread_id, self._looker.line_of_loop)
        self.due = self.loops_due = inf
        self.looks_due = 0.0
        self._looked_at = -inf
        self._empty = 0
        self._has_failed = False
        self._count = self._late = 0

    def look(self, sources: Iterable[Source]) -> None:
        """Take one look, and decide when to take the next. Raises no `Exception`."""
        now, began = self._clock.monotonic(), self._cpu()
        is_series = self.due < inf
        late_s = max(0.0, now - self.due) if is_series else 0.0
        unseen_s = now - self._looked_at if self._looked_at > -inf else 0.0
        self.looks_due += 1 if is_series else max(1.0, unseen_s / PAUSE_S)
        elapsed_s = min(unseen_s, _LONGEST_S)
        self._looked_at = now
        is_anything_out = False
        try:
            is_anything_out = self._looker.look(self._held(sources), elapsed_s)
            if is_anything_out:
                self._ask_loops(late_s)
        except Exception as error:
            self._failed(error)
        if is_anything_out:
            self._count += 1
            self._late += late_s > LATE_S
        self._empty = 0 if is_anything_out else self._empty + 1
        goes_on = self._empty < _MOST_EMPTY if is_series else is_anything_out
        pause_s = max(PAUSE_S, (self._cpu() - began) * _SHARE)
        self.due = now + pause_s * (1 - _SPREAD + 2 * _SPREAD * self._random()) if goes_on else inf
        # Otherwise a loop that stands still for less than two looks would go unnoticed.
        is_rare = pause_s > 1.5 * PAUSE_S
        self.loops_due = (
            now + PAUSE_S if goes_on and is_rare and is_anything_out and self._stalls.knows_any else inf
        )

    def look_at_loops(self) -> None:
        """Check, between two looks, whether the event loops stand still. Raises no `Exception`.

        This takes its share of the looks' cost, half of it at most, and delays the next look accordingly.
        """
        now, began = self._clock.monotonic(), self._cpu()
        try:
            self._ask_loops(max(0.0, now - self.loops_due))
        except Exception as error:
            self._failed(error)
        pause_s = (self._cpu() - began) * _SHARE
        self.due += pause_s
        self.loops_due = now + max(PAUSE_S, 2 * pause_s)

    def _ask_loops(self, late_s: float) -> None:
        self._stalls.look(late_s if late_s > LATE_S else 0.0)

    def _held(self, sources: Iterable[Source]) -> list[tuple[PoolLooks, Holding]]:
        """The holds of each pool; a pool that fails affects only its own figures."""
        held: list[tuple[PoolLooks, Holding]] = []
        for source in {id(source): source for source in sources}.values():
            try:
                # `isinstance` with a protocol takes a hundred times as long.
                holding = getattr(source, "holding", None)
                if holding is not None:
                    held.append((source.looks, holding()))  # type: ignore[attr-defined]  # a `Looked`
            except Exception as error:
                self._failed(error)
        return held

    def _failed(self, error: Exception) -> None:
        if not self._has_failed:
            log(ERROR, "poolhouse cannot look at who holds connections", error=error)
        self._has_failed = True

    def put_off(self) -> None:
        """Note that a lookup has delayed this thread, so that the next look does not count as late."""
        now = self._clock.monotonic()
        self.due, self.loops_due = max(self.due, now), max(self.loops_due, now)

    def signs(self) -> ProcessSigns:
        """The process's signs, without the number of its pools."""
        stalls, line, forked = self._stalls, self._stalls.line, forks.line()
        return ProcessSigns(
            looks=self._count,
            late_looks=self._late,
            stalled_s=stalls.stalled_s,
            longest_stall_s=stalls.longest_s,
            stall_line="" if line is None else site_of(*line),
            fork_line="" if forked is None else site_of(*forked),
        )
