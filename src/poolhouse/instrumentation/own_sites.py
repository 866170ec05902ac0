"""The lines that hold the connections of one of our own pools, from the pool's leases.

The pool's checkout records the line, but not its thread or task: that would cost a twentieth of it. If a client
had to wait, its holder is known; otherwise the looks search for it. Of the returns on the fast path, one in
several is counted by line, and represents that many.
"""

from math import inf
from types import CodeType
from typing import Any
from weakref import ref

from poolhouse.clock import SystemClock
from poolhouse.meter.signs import OTHER_SITES, ConnectErrors, PoolSigns
from poolhouse.sites.look import Hold
from poolhouse.sites.looker import Holding
from poolhouse.sites.readings import site_readings
from poolhouse.sites.site import Site
from poolhouse.sites.stalls import remember
from poolhouse.sites.tally import PoolLooks

#: The most lines of a pool that are distinguished.
_MOST_KNOWN = 512
#: Below this many returns per second, one in this many is sampled. Odd numbers, since lines often take turns.
_SAMPLING = ((1_000, 1), (10_000, 7), (inf, 31))
#: Drivers written in C: no frame shows whether they are working.
_IN_C = ("psycopg2", "sqlite3")


class OwnSites:
    """The lines that hold the connections of one of our pools; for the reporter's thread."""

    def __init__(self) -> None:
        #: By the code's identity and the instruction. Code objects of different files may be equal.
        self._sites: dict[tuple[int, int], Site] = {}
        self._other = Site(None, words=OTHER_SITES)
        self._taken_at = 0.0
        self._connect_errors = ConnectErrors()

    def holding(self, pool: Any) -> Holding:
        """The present holders of the pool's connections, and how many clients wait for one."""
        core, loop = pool._core, _loop_of(pool)
        self._take_samples(core, getattr(pool, "_now", SystemClock.monotonic)())
        is_opaque = type(getattr(pool, "_driver", None)).__module__.rpartition(".")[2] in _IN_C
        holds = []
        for _slot, since, code, instruction, waiter, _is_block in list(core.leases.values()):
            if code is not None:
                holder = None if waiter is None else waiter.holder
                looks = self._site_of(core, code, instruction).looks
                holds.append(Hold(looks, code, instruction, since, holder, loop, is_opaque))
        return Holding(holds, len(core.waiters))

    def signs(self, pool: Any, looks: PoolLooks, target: str) -> PoolSigns:
        """The pool's signs beyond its counters.

        Args:
            pool: The pool; ``None`` if it has been collected.
            looks: The counts of the looks.
            target: As `PoolSigns.target`.
        """
        now, holds = 0.0, []
        if pool is not None:
            core, now = pool._core, getattr(pool, "_now", SystemClock.monotonic)()
            self._take_samples(core, now)
            self._connect_errors = core.connect_failures.read()
            for _slot, since, code, instruction, _waiter, _is_block in list(core.leases.values()):
                if code is not None:
                    holds.append((self._site_of(core, code, instruction), since))
        signs = PoolSigns(
            target=target,
            connect_errors=self._connect_errors,
            sites=site_readings([*self._sites.values(), self._other], holds, now),
        )
        return looks.told_in(signs)

    def _take_samples(self, core: Any, now: float) -> None:
        """Count the pool's new samples, and adjust how many returns it samples to their rate."""
        samples, number = core.samples, 0
        for _ in range(len(samples)):
            code, instruction, seconds, returns = samples.popleft()
            site = self._site_of(core, code, instruction)
            if returns:
                number += returns
                site.uses.extend([seconds] * returns)
            else:
                site.waits.append(seconds)
        per_s = number / max(now - self._taken_at, 0.001)
        self._taken_at = now
        every = next(every for rate, every in _SAMPLING if per_s < rate)
        uses = len(core._uses)
        if every != core.sampled or core.sample_at > uses + every:  # The use times have been folded meanwhile.
            core.sample_from(uses, every)
        for site in (*self._sites.values(), self._other):
            site.fold()

    def _site_of(self, core: Any, code: CodeType, instruction: int) -> Site:
        found = self._sites.get((id(code), instruction))
        if found is None:
            if len(self._sites) >= _MOST_KNOWN:
                return self._other
            found = self._sites[id(code), instruction] = Site(
                (code, instruction), core.helpers.get((id(code), instruction))
            )
        return found


def _loop_of(pool: Any) -> "ref[Any] | None":
    """The event loop of an asyncio pool, which the looks now know; ``None`` for a pool of threads."""
    loop = getattr(pool, "_loop", None)
    return None if loop is None else remember(loop, pool._thread)
