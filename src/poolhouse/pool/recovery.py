"""Repairs after a client leaves in the middle of a request, and after an exception in the middle of a call.

See `poolhouse.pool.core` for the rules and invariants.
"""

from typing import Any

from poolhouse.copies import copy_of
from poolhouse.pool.jobs import Probe, Reason, Return
from poolhouse.pool.requests import Requests
from poolhouse.pool.slot import Lease, is_of_call
from poolhouse.pool.state import RETURN
from poolhouse.pool.waiter import Waiter


class Recovery(Requests):
    """Repairs calls that an exception ended at any instruction: rule 6."""

    __slots__ = ()

    def abandon(self, waiter: Waiter, now: float, *, is_between_calls: bool = False) -> None:
        """Let a client leave, whatever it has or waits for: it keeps nothing.

        Args:
            waiter: The client.
            now: Now.
            is_between_calls: The exception that ends the request (a task's cancellation) was raised while the
                client waited, not inside a call of the core, so no call has left anything half done.
        """
        self._leave_queue(waiter, now)
        slot, waiter.slot = waiter.slot, None
        if waiter.refusal is None:
            self._count_unserved()
        if slot is not None:
            self.connecting.discard(slot)
            if (lease := self.leases.get(slot.key)) is not None and lease[4] is waiter:
                self._take_back(slot, now)
            elif slot.key not in self.slots:
                slot.is_closed = True
        if not is_between_calls:
            self._recover(now)
        # `take` may have returned a slot that had to be checked to a pool that was closed in the meantime.
        self.attend(now)

    def interrupted_take(self, stamp: float, now: float) -> None:
        """Undo an interrupted `take`: remove the lease that carries its stamp, if there is one."""
        for key, lease in copy_of(self.leases).items():
            if not is_of_call(lease, stamp):
                continue
            if lease[0].is_closed:
                # The hint was stale, and `take` was about to find that out.
                del self.leases[key]
            else:
                # A hook may have used the connection.
                self._take_back(lease[0], now)
        self._recover(now)
        self.attend(now)

    def interrupted_give(self, conn: Any, lease: Lease | None, now: float) -> None:
        """Finish a return that an exception ended at any point.

        Args:
            conn: The connection.
            lease: The connection's lease when the call began; ``None`` if there was none.
            now: Now.
        """
        if lease is not None and lease[2] is not None and self.leases.get(id(conn)) is lease:
            self._count_use(lease, now)
            self._work_on(lease[0], now)
            self._lanes[RETURN].append(Return(lease[0], roll_back=True))
        self._recover(now)
        self.attend(now)

    def interrupted_work(self, stamp: float, now: float) -> None:
        """Close the connection on which a client's work (`put` inline, `claim_for_check`) was interrupted.

        Args:
            stamp: The very object passed as `now` to the call that gave the work to the client.
            now: Now.
        """
        for slot in self.worked_on.copy():
            if (lease := self.leases.get(slot.key)) is not None and lease[1] is stamp:
                self._discard(slot, Reason.LOST)
        self._recover(now)
        self._pump(now)

    def recover(self, now: float) -> None:
        """Repair what an exception in the middle of any other call has left."""
        self._recover(now)
        self._pump(now)

    def _recover(self, now: float) -> None:
        """Find what an exception in the middle of a call has left.

        That is slots with neither a lease nor a hint, or with a lease unknown to its waiter, or half closed; and
        clients that have been given something and still sleep in the queue (waking one twice does no harm). A
        thread on the fast path may hold such a slot for an instant; claiming it is safe all the same: the thread
        then finds it leased, or its hint is surplus.
        """
        self._wake_answered(now)
        waiting = {job.slot for lane in self._lanes.values() for job in lane if isinstance(job, (Return, Probe))}
        for slot in self.working - self.worked_on - waiting:
            self._lanes[RETURN].append(Return(slot, roll_back=True))
        self.connecting.difference_update(list(self.slots.values()))
        hints = set(self.idle.copy())
        for slot in list(self.slots.values()):
            if slot.is_closed:
                self._discard(slot, Reason.LOST)
                continue
            lease = self.leases.get(slot.key)
            if lease is None:
                if slot in hints or slot in self.working:
                    continue
                mine: Lease = (slot, now, None, 0, None, False)
                if self.leases.setdefault(slot.key, mine) is not mine:
                    continue
            elif slot in self.working if lease[2] is None else lease[4] is None or lease[4].slot is slot:
                continue
            self._take_back(slot, now)
        self._stale = sum(slot.generation != self.generation for slot in list(self.slots.values()))
