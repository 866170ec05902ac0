"""The pool itself: the owner of each connection, the waiters, the jobs. No clock, lock, thread or I/O.

Time comes in with each call, in monotonic seconds; connections come in when the shell has made them; jobs go
out (`next_job`), and so do the waiters to wake (`woken`) and the events to report (`notices`).

Who owns a slot
    The client whose lease is in `leases` under the slot's key, and nobody else. A lease gets there by
    ``dict.setdefault`` and leaves by ``dict.pop``: one operation each, which only one of many threads wins.
    The deque `idle` holds hints where a free slot may be found. A hint may be stale, so a taker that pops one
    claims the slot before it touches it, and drops the hint or puts it back if it cannot.

Rules
    1. Two stores, two checks. A taker that must wait stores its waiter, sets `attention`, then pops `idle` once
       more; a returner appends to `idle`, then checks `attention`. One of them sees the other.
    2. `attention` is `SLOW` while the fast path is not enough: while clients wait, the pool is not open, is larger
       than it may be, drains, has suspects, or a `wait` for its connections goes on; in some policies always (null
       pools). Otherwise it is 0, or `CALLBACKS` if the fast path has functions of the application to call: then
       `claim` replaces `take`.
    3. A slot belongs to its owner, which alone changes it between claim and append. Without a lease a slot belongs
       to the taker that pops its hint, even a hint popped long ago. So remove a lease only if the slot may be
       served as it is, or if `fit_until` is 0; otherwise overwrite the lease with the next owner's.
    4. Waiters are served strictly in the order of their arrival. Only a newcomer that had checked `attention`
       before they arrived may overtake them once.
    5. Whatever takes time (connecting, checking, resetting, closing, callbacks) is a job, or the owner's own work.
    6. An exception can be raised at any instruction of the caller's thread. `interrupted_take` and
       `interrupted_give` repair the state that it leaves behind.

Invariants, when no call is in progress (the simulation checks them after every step)
    a. Each slot is in exactly one state of `slot.State`; each free one has a hint.
    b. ``size`` ≤ ``max_size`` unless a resize has just made it smaller, and then it only falls.
    c. ``used`` + ``idle`` + ``working`` + ``connecting`` = ``size``.
    d. Clients do not wait while a slot is free.
    e. A pool that is not open has neither waiters nor free connections.

What the shell owes
    - One lock around every method but `take`, `give`, `vet` and the properties; asyncio needs none.
    - After each such call: wake `woken`, report `notices`, and ensure that a worker asks `next_job` of both lanes.
    - A call of `tick` at `next_deadline`, or later.
    - `interrupted_take` or `abandon`, and `interrupted_give`, for whatever exception ends a checkout or a return.

Where to find it
    `state` has the state, `fast_path` the path without a lock, `requests` taking and giving back with the lock,
    `recovery` the repair of interrupted calls, `maintenance` connecting and all timed work, this module the
    life of the pool as a whole; each is the base of the next.
"""

from collections import deque

from poolhouse.pool.jobs import FULL, HeldLong, Notice, Probe, Reason, ReturnedAfterAll
from poolhouse.pool.maintenance import Maintenance
from poolhouse.pool.state import CALLBACKS, CONNECT, SLOW
from poolhouse.pool.status import ACTIVE, BROKEN, IDLE, IN_ERROR, IN_TRANSACTION, UNSETTLED, UNTOLD
from poolhouse.pool.waiter import Refusal, Vet, Waiter

__all__ = [
    "ACTIVE",
    "BROKEN",
    "CALLBACKS",
    "FULL",
    "IDLE",
    "IN_ERROR",
    "IN_TRANSACTION",
    "SLOW",
    "UNSETTLED",
    "UNTOLD",
    "HeldLong",
    "Notice",
    "PoolCore",
    "Refusal",
    "ReturnedAfterAll",
    "Vet",
    "Waiter",
]


class PoolCore(Maintenance):
    """The decisions of one pool; see the module's docstring."""

    __slots__ = ()

    def open(self, now: float) -> None:
        """Start serving and connecting. A closed core cannot be opened again."""
        assert not self.was_closed, "a closed core is not opened again"
        if not self.is_open:
            self.is_open = True
            self._shrink_at = now + self._max_idle
            self.was_full = self.min_size == 0
            self.has_new_deadline = True
            self._attend()

    def close(self, now: float) -> None:
        """Refuse all waiting clients and close free connections. Leased ones are closed when they come back."""
        self.is_open, self.was_closed = False, True
        self.attention = SLOW
        self.reclaim(now)
        for waiter in list(self.waiters):
            self._leave_queue(waiter, now)
            self._refuse(waiter, Refusal.CLOSED)
            self.counts.requests_errors += 1
            self.woken.append(waiter)
        # Probes that have not begun own their slots, and will not begin any more.
        waiting, self._lanes[CONNECT] = self._lanes[CONNECT], deque()
        for job in waiting:
            if isinstance(job, Probe):
                self._discard(job.slot, Reason.CLOSED)
        while (slot := self._claim_next()) is not None:
            self._discard(slot, Reason.CLOSED)

    def watch_full(self, now: float) -> int:
        """Request the notice `FULL` for when `min_size` connections are idle; `unwatch_full` ends this.

        Returns:
            The value of `times_full` before the call: if it has risen since, the connections are idle already.
        """
        before = self.times_full
        self._full_watchers += 1
        self._pump(now)
        return before

    def unwatch_full(self) -> None:
        """End the request of one call of `watch_full`."""
        self._full_watchers -= 1
        self._attend()

    def drain(self, now: float) -> None:
        """Replace every connection: free ones now, the others when they come back."""
        self.generation += 1
        self._stale = len(self.slots)
        self._attend()
        self.reclaim(now)
        for slot in self._claim_free(lambda slot: slot.generation != self.generation):
            self._discard(slot, Reason.DRAINED)
        self._pump(now)

    def resize(self, min_size: int, max_size: int, now: float) -> None:
        """Change the limits; surplus connections are closed, free ones first."""
        self.min_size, self.max_size = min_size, max_size
        # A pool that has never been open has no size to return to.
        self._target = min(self._target, max_size) if self.is_open else min_size
        self._attend()
        while self._is_oversized() and (slot := self._claim_next()) is not None:
            self._discard(slot, Reason.SHRUNK)
        self._pump(now)

    def lose_threads(self) -> None:
        """Note that the interpreter is ending and no thread can be started; wake all clients to check for that."""
        self.has_threads = False
        self.woken.extend(self.waiters)

    def retire(self, now: float) -> None:
        """Keep no connections any more: close the free ones, and the others once nobody waits for them."""
        self.max_kept = 0
        self._attend()
        while (slot := self._claim_next()) is not None:
            self._discard(slot, Reason.NOT_KEPT)
        self._pump(now)

    def resume(self) -> None:
        """Keep connections again, after `retire`."""
        self.max_kept = self.options.max_kept
        self._attend()
