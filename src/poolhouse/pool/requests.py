"""How clients get connections and return them: waiting in line, being served, giving back.

See `poolhouse.pool.core` for the rules and invariants.
"""

from collections.abc import Callable
from typing import Any

from poolhouse.meter.meter import BATCH, Meter
from poolhouse.pool.fast_path import FastPath
from poolhouse.pool.jobs import FULL, NOT_LEASED, Close, NotLeased, Reason, Return
from poolhouse.pool.options import PoolOptions
from poolhouse.pool.slot import Lease, Slot, abandoned
from poolhouse.pool.state import RETURN, SLOW
from poolhouse.pool.status import HIDING, IDLE, UNFIT
from poolhouse.pool.waiter import Refusal, Waiter

#: While clients wait: how often to look for blocks that were dropped without `__exit__`.
ABANDONED_PAUSE = 0.25


class Requests(FastPath):
    """The slow path of taking connections and giving them back."""

    __slots__ = ("_look_for_abandoned_at",)

    def __init__(self, options: PoolOptions, meter: Meter, random: Callable[[], float]) -> None:
        super().__init__(options, meter, random)
        self._look_for_abandoned_at = 0.0

    def request(self, waiter: Waiter, now: float, *, may_wait: bool = True, is_first: bool = False) -> bool:
        """Ask for a connection.

        Args:
            waiter: The client. Afterwards `waiter.slot` or `waiter.refusal` is set, or it is in the queue.
            now: Now.
            may_wait: Whether it may queue.
            is_first: Whether it was given a dead connection and goes back to the head of the queue.

        Returns:
            Whether it has its answer; if not, it is woken when there is one.
        """
        waiter.slot = None
        if self.is_open and (not self.waiters or is_first) and self._serve(waiter, now):
            return True
        if self._is_refused(waiter, now, may_wait=may_wait, is_first=is_first):
            # `take` may have returned a slot that had to be checked, to a pool that was closed in the meantime or
            # that has waiting clients.
            self.attend(now)
            return True
        if not waiter.queued_at:
            self.counts.requests_queued += 1
        waiter.queued_at = now
        if now >= self._look_for_abandoned_at:
            self.reclaim(now)
        self._was_exhausted = True
        if is_first:
            self._wake_answered(now)
        self.waiters[waiter] = None
        if is_first:
            self.waiters.move_to_end(waiter, last=False)
        if len(self.slots) == 0:
            self._wanted_before = len(self.waiters)
        if len(self.waiters) == 1 or self.size < self.max_size:
            self.has_new_deadline = True
        if len(self.waiters) > self.meter.waiting.level:
            self.meter.waiting.reach(len(self.waiters))
        self.attention = SLOW
        self._pump(now)
        return waiter not in self.waiters

    def _is_refused(self, waiter: Waiter, now: float, *, may_wait: bool, is_first: bool) -> bool:
        """Refuse a client that cannot be served now, unless it may wait. Returns whether it was refused."""
        max_waiting = 0 if is_first else self.options.max_waiting
        if not self.is_open:
            self._refuse(waiter, Refusal.CLOSED if self.was_closed else Refusal.NOT_OPEN)
        elif not may_wait:
            self._count_timeout(waiter, now)
        elif 0 < max_waiting <= len(self.waiters):
            self._refuse(waiter, Refusal.FULL)
            self.counts.requests_errors += 1
        else:
            return False
        return True

    def enqueue_fast(self, waiter: Waiter, now: float) -> bool:
        """Queue behind others for a connection of a pool that cannot grow: the short form of `request`.

        Since others wait, `attention` is `SLOW`, and every returning thread checks the queue: rule 1.

        Args:
            waiter: The client, with its first request.
            now: Now.

        Returns:
            False if nothing was done, and `request` must decide. Otherwise the waiter is queued, and `has_job` and
            `next_deadline` are unchanged.
        """
        if not self.waiters or not 0 < self.max_size <= len(self.slots) or self.options.max_waiting:
            return False
        self.counts.requests_queued += 1
        waiter.queued_at = now
        self._was_exhausted = True
        waiters = self.waiters
        waiters[waiter] = None
        if len(waiters) > self.meter.waiting.level:
            self.meter.waiting.reach(len(waiters))
        return True

    def serve_within(self, waiter: Waiter, now: float) -> bool:
        """`request` for a caller that interrupts another call of the core: a finalizer or a signal handler.

        The caller cannot wait, since the interrupted call cannot continue; it goes before all waiting clients,
        since those cannot be served either. Each step is one that the interrupted call allows for at any point:
        pop a hint, claim a lease by ``setdefault``, take a place first and count it afterwards. For pools that are
        never closed and whose clients connect for themselves.

        Returns:
            Whether `waiter.slot` is set. If the client must connect, call `join` then; and when the other call has
            ended, `attend` or `connect_failed`.
        """
        waiter.slot = self._claim_next(now, waiter)
        if waiter.slot is not None:
            self._mark_used()
            return True
        waiter.slot = Slot(self.generation)
        self.connecting.add(waiter.slot)
        if not self._is_oversized_exactly():
            return True
        self.connecting.discard(waiter.slot)
        waiter.slot = None
        return False

    def accept(self, waiter: Waiter, now: float) -> None:
        """Record that the client has vetted its connection and takes it. Needs no lock."""
        waited = max(0.0, now - waiter.since)
        self._waits.append(waited)
        self.samples.append((waiter.code, waiter.instruction, waited, 0))
        if len(self._waits) >= BATCH:
            self.meter.fold()

    def kept(self, waiter: Waiter) -> Lease:
        """The lease of a block that has accepted its connection; the block keeps it. Needs no lock."""
        slot = waiter.slot
        assert slot is not None, "only a client with a connection accepts it"
        lease = self.leases[slot.key] = (*self.leases[slot.key][:5], True)
        return lease

    def time_out(self, waiter: Waiter, now: float) -> bool:
        """Remove a client at its deadline. Returns False if it has been given a connection after all."""
        if waiter.slot is not None or waiter.refusal is not None:
            return False
        self._leave_queue(waiter, now)
        self._count_timeout(waiter, now)
        self._pump(now)
        return True

    def leave_connect(self, waiter: Waiter, now: float, *, is_begun: bool = True) -> bool:
        """Let a client that connects for itself leave at its deadline.

        Args:
            waiter: The client.
            now: Now.
            is_begun: Whether the connect continues without it, still to be answered by `connected` (for the next
                client in the queue) or `connect_failed`.

        Returns:
            False if the connect has ended after all.
        """
        slot = waiter.slot
        assert slot is not None, "a client that connects has been given a slot"
        if slot.conn is not None or slot.is_closed:
            return False
        waiter.slot = None
        if not is_begun:
            self.connecting.discard(slot)
            slot.is_closed = True
        self._count_timeout(waiter, now)
        self._pump(now)
        return True

    def claimed_by(self, waiter: Waiter, lease: Lease) -> Slot:
        """Make a waiter of a client that has claimed a connection, as if it had been given it."""
        slot = waiter.slot = lease[0]
        self.leases[slot.key] = (slot, lease[1], waiter.code, waiter.instruction, waiter, False)
        return slot

    def take_over(self, waiter: Waiter, now: float) -> Slot:
        """Let the client leave during a check, which continues without it; to be answered by `probed`."""
        slot, waiter.slot = waiter.slot, None
        assert slot is not None, "a check is always of a given slot"
        slot.is_checking = False
        self._work_on(slot, now)
        self.worked_on.add(slot)
        return slot

    def put(
        self, conn: Any, status: int, now: float, *, is_expected: bool = False, is_inline: bool = False
    ) -> Close | Return | NotLeased | None:
        """Take back a connection.

        Args:
            conn: The connection.
            status: Its state, one of `poolhouse.pool.status`, which has the rule.
            now: Now.
            is_expected: Whether a transaction that is still open is normal, and not worth a warning.
            is_inline: Whether the caller, not a worker, prepares the connection for the next client.

        Returns:
            The caller's task: a `Close`, or a `Return` if `is_inline`; ``None`` if there is none; `NOT_LEASED` if
            no client has this connection.
        """
        lease = self.leases.get(id(conn))
        if lease is None or lease[2] is None:
            return NOT_LEASED
        slot = lease[0]
        # Keep the lease until the slot may be served as it is, or the pool's lease replaces it: rule 3.
        if status in UNFIT:
            self._count_use(lease, now)
            self.counts.returns_bad += 1
            self.meter.invalidated.add()
            return self._retired(slot, Reason.BROKEN, now)
        if (reason := self._unwanted(slot, now)) is not None:
            self._count_use(lease, now)
            return self._retired(slot, reason, now)
        if status != IDLE or self.options.has_reset:
            self._count_use(lease, now)
            self._work_on(slot, now)
            job = Return(slot, roll_back=status != IDLE, is_expected=is_expected or status in HIDING)
            if is_inline:
                self.worked_on.add(slot)
                return job
            self._lanes[RETURN].append(job)
            return None
        slot.fit_until = now + self._look_after
        if self.leases.pop(slot.key, None) is not lease:
            return NOT_LEASED
        self._hint(slot)
        self._count_use(lease, now)
        self._pump(now)
        return None

    def put_to_reset(self, lease: Lease, now: float) -> bool:
        """Leave a connection that is idle on the server to a worker for `reset`: the short form of `put`.

        Returns:
            False if nothing was done, and `put` must decide.
        """
        slot = lease[0]
        if (
            self.attention == SLOW
            or self.leases.get(slot.key) is not lease
            or now >= slot.expires_at - self._look_after
        ):
            return False
        # `_count_use` and `_work_on` inlined: with their calls, a reset takes 1 % longer.
        uses = self._uses
        uses.append(now - lease[1])
        if len(uses) >= self.sample_at:
            self.sample(lease, now)
        if self._warned and (warned := self._warned.get(slot)) is not None and warned[0] is lease[1]:
            self._returned_after_all(slot, now)
        slot.fit_until = 0
        self.leases[slot.key] = (slot, now, None, 0, None, False)
        self.working.add(slot)
        self._lanes[RETURN].append(Return(slot, False))
        return True

    def hand_to_next(self, conn: Any, now: float) -> Waiter | None:
        """Hand a connection that is idle on the server straight to the client that has waited longest.

        The short form of `put` for the usual case while clients wait: nothing else changes hands.

        Returns:
            The client to wake; ``None`` if nothing was done, and `put` must decide.
        """
        waiters, leases = self.waiters, self.leases
        lease = leases.get(id(conn))
        if lease is None or not waiters:
            return None
        slot = lease[0]
        if now >= slot.retire_at or lease[2] is None or slot.generation != self.generation:
            return None
        if slot in self.suspects or self._is_oversized():
            return None
        waiter = next(iter(waiters))
        if waiter.slot is not None:
            return None
        self._count_use(lease, now)
        slot.fit_until = now + self._look_after
        leases[slot.key] = (slot, now, waiter.code, waiter.instruction, waiter, False)
        waiter.slot = slot
        self._leave_queue(waiter, now)
        if not waiters:
            self._attend()
        return waiter

    def returned(self, slot: Slot, is_good: bool, now: float) -> None:
        """Record that a `Return` has ended."""
        self.working.discard(slot)
        self.worked_on.discard(slot)
        if not is_good:
            self.counts.returns_bad += 1
            self.meter.invalidated.add()
            self._discard(slot, Reason.RESET_FAILED)
            self._pump(now)
            return
        slot.fit_until = now + self._look_after
        if self.attention == SLOW or now >= slot.expires_at - self._look_after:
            self._free(slot, now)
            self._pump(now)
        else:
            # No client waits, and nothing but its age can rule out the connection.
            self.leases.pop(slot.key, None)
            self._hint(slot)

    def attend(self, now: float) -> None:
        """Do what the fast path left undone: close unwanted slots and serve waiters (rules 1 and 2)."""
        if not self.is_open or self._stale or self._is_oversized():
            for slot in self._claim_free(lambda slot: self._unwanted(slot, now, is_kept=True) is not None):
                # Check each again just before closing it: closing one may make room for the others.
                if (reason := self._unwanted(slot, now, is_kept=True)) is not None:
                    self._discard(slot, reason)
                else:
                    self._free(slot, now)
        if self.max_kept is not None and not self.waiters:
            while self.free > self.max_kept and (extra := self._claim_next()) is not None:
                self._discard(extra, Reason.NOT_KEPT)
        self._pump(now)

    def reclaim(self, now: float) -> None:
        """Take back the connections of blocks that no longer exist."""
        self._look_for_abandoned_at = now + ABANDONED_PAUSE
        for lease in abandoned(self.leases):
            if self.leases.get(lease[0].key) is lease:
                self._count_use(lease, now)
                self._take_back(lease[0], now)

    def _take_back(self, slot: Slot, now: float) -> None:
        """Prepare the connection of a leaving client for others, or close it."""
        if slot.is_checking:
            self._discard(slot, Reason.LOST)
        else:
            self._work_on(slot, now)
            self._lanes[RETURN].append(Return(slot, roll_back=True))

    def _serve(self, waiter: Waiter, now: float) -> bool:
        """Give the waiter a free slot, or the right to connect for itself, if there is one."""
        while (slot := self._claim_next(now, waiter)) is not None:
            if (reason := self._unwanted(slot, now, is_kept=True)) is not None:
                self._discard(slot, reason)
                continue
            waiter.slot = slot
            self._mark_used()
            return True
        if self.options.connect_in_caller and not self._is_oversized(adding=1):
            # Store one slot, in the waiter first: `abandon` then finds it wherever an exception interrupts this.
            if waiter.slot is None:
                waiter.slot = Slot(self.generation)
            self.connecting.add(waiter.slot)
            if not self._is_oversized():
                return True
            # `serve_within` took the last place between the two checks.
            self.connecting.discard(waiter.slot)
            waiter.slot = None
        return False

    def _pump(self, now: float) -> None:
        """Serve waiters in order while there is something to give."""
        while self.waiters:
            waiter = next(iter(self.waiters))
            if waiter.slot is not None:
                self._wake_answered(now)
                continue
            if not self._serve(waiter, now):
                break
            # In this order, so that each served waiter is always in one of the two: see `_recover`.
            self.woken.append(waiter)
            self._leave_queue(waiter, now)
        if self.suspects:
            self._probe_suspects(now)
        if self._full_watchers and self.free >= self.min_size:
            self.times_full += 1
            self.notices.append(FULL)
        self._attend()

    def _retired(self, slot: Slot, reason: Reason, now: float) -> Close:
        job = self._retire(slot, reason)
        self._pump(now)
        return job

    def _wake_answered(self, now: float) -> None:
        """Wake the head of the queue if an interrupted call has already given it something.

        Only the head is ever given anything, and no client is put before a head that has been: so checking the
        head is enough, however long the queue.
        """
        while self.waiters and (waiter := next(iter(self.waiters))).is_answered:
            if waiter.slot is not None and waiter.slot.conn is None and not waiter.slot.is_closed:
                self.connecting.add(waiter.slot)
            self.woken.append(waiter)
            self._leave_queue(waiter, now)

    def _leave_queue(self, waiter: Waiter, now: float) -> None:
        if waiter in self.waiters:
            del self.waiters[waiter]
            if self._wanted_before > len(self.waiters):
                self._wanted_before = len(self.waiters)
            waited = now - waiter.queued_at
            if waited > 0.0:
                self.counts.requests_wait_ns += round(waited * 1e9)

    def _refuse(self, waiter: Waiter, refusal: Refusal) -> None:
        waiter.refusal = refusal
        self._count_unserved()

    def _count_unserved(self) -> None:
        self.counts.requests_unserved += 1
        self.meter.acquire_errors.add()

    def _count_timeout(self, waiter: Waiter, now: float) -> None:
        waiter.refusal = Refusal.EMPTY
        self.counts.requests_unserved += 1
        self.counts.requests_errors += 1
        waited = max(0.0, now - waiter.since)
        self.meter.timed_out(waited, now)
        self.samples.append((waiter.code, waiter.instruction, waited, 0))
        if len(self.meter.timeouts) >= BATCH:
            self.meter.fold()

    def _count_use(self, lease: Lease, now: float) -> None:
        held = now - lease[1]
        self._uses.append(held)
        if len(self._uses) >= self.sample_at:
            self.sample(lease, now)
        if self._warned and (warned := self._warned.get(lease[0])) is not None and warned[0] is lease[1]:
            self._returned_after_all(lease[0], now)
