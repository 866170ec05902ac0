"""A checkout and a return without a lock: for a pool with an idle connection and no waiting clients.

See `poolhouse.pool.core` for the rules and invariants.
"""

from types import CodeType
from typing import Any

from poolhouse.meter.meter import BATCH
from poolhouse.pool.slot import Lease
from poolhouse.pool.state import PoolState


class FastPath(PoolState):
    """The path without a lock. Each step is one atomic operation that only one of many threads wins."""

    __slots__ = ()

    def take(self, now: float, code: CodeType, instruction: int, is_block: bool) -> Lease | None:
        """Take a lease that needs no waiting and no callback; ``None`` if `claim` or the slow path must decide.

        Safe without a lock, because ``popleft``, ``setdefault`` and ``pop`` are one operation each under the GIL:
        of all threads with hints of the same slot, exactly one gets its lease in. Only then, as the owner, does it
        look at the slot. It need not check the generation: `drain` sets `attention`, so a call that checked
        `attention` earlier counts as having come before the drain.

        Args:
            now: A fresh reading of the clock. The identity of this very object marks the lease as this call's, so
                    that `interrupted_take` can find it at whatever instruction an exception struck.
            code: The code object of the call site.
            instruction: The offset of the instruction in it.
            is_block: Whether the caller keeps the lease until it ends: see `slot.abandoned`.
        """
        if self.attention:
            return None
        idle, leases = self.idle, self.leases
        try:
            slot = idle.popleft()
        except IndexError:
            return None
        lease = (slot, now, code, instruction, None, is_block)
        if leases.setdefault(slot.key, lease) is not lease:
            return None
        if slot.is_closed or now >= slot.fit_until:
            del leases[slot.key]
            idle.appendleft(slot)
            return None
        if len(leases) > self._used.level:
            self._mark_used()
        slot.takes += 1
        return lease

    def claim(self, now: float, code: CodeType, instruction: int, is_block: bool) -> Lease | None:
        """`take` for a caller that has seen `attention` below `SLOW`, and counts the checkout itself."""
        idle, leases = self.idle, self.leases
        try:
            slot = idle.popleft()
        except IndexError:
            return None
        lease = (slot, now, code, instruction, None, is_block)
        if leases.setdefault(slot.key, lease) is not lease:
            return None
        if slot.is_closed or now >= slot.fit_until:
            del leases[slot.key]
            idle.appendleft(slot)
            return None
        # The same count as in `_mark_used`: while resets are under way, some leases are the pool's own.
        if len(leases) - len(self.working) > self._used.level:
            self._mark_used()
        return lease

    def give(self, lease: Lease, now: float) -> bool:
        """Take back a connection that is idle on the server; False if the slow path (`put`) must decide.

        Safe without a lock: the caller has checked the connection's state and `attention`, and has then removed
        the lease by one ``dict.pop``, which only one of two returners of the same connection wins. What remains is
        to record the time and to leave a hint; then the caller checks `attention` again (rule 1). `retire_at`
        rules out the fast path for every reason known by then (its lifetime, a policy that needs the slow path),
        and the lease is restored; only the thread that made the connection writes it.
        """
        slot = lease[0]
        if now >= slot.retire_at or lease[2] is None:
            return not self.restore_lease(lease, now)
        slot.fit_until = now + self._look_after
        hint, uses = self._hint, self._uses
        hint(slot)
        uses.append(now - lease[1])
        if len(uses) >= self.sample_at:
            self.sample(lease, now)
        return True

    def sample(self, lease: Lease, now: float) -> None:
        """Record, by call site, how long a connection was out; it stands for all returns since the last sample.

        Called when the list of use times has become long; the list is folded at the same time.
        """
        _slot, since, code, instruction, _waiter, _is_block = lease
        number = len(self._uses)
        if code is not None:
            self.samples.append((code, instruction, now - since, max(1, number - self._sampled_at)))
        if number >= BATCH:
            self.meter.fold()
        self.sample_from(len(self._uses))

    def sample_from(self, number: int, every: int | None = None) -> None:
        """Take the next sample `every` returns after this number of returns."""
        self.sampled = every or self.sampled
        self._sampled_at, self.sample_at = number, number + self.sampled

    def restore_lease(self, lease: Lease, now: float) -> bool:
        """Restore a lease that was popped for a return which cannot take the fast path.

        False if another thread, with a hint popped long ago, has taken the slot meanwhile: the return is then
        complete.
        """
        if self.leases.setdefault(lease[0].key, lease) is lease:
            return True
        self._uses.append(now - lease[1])
        return False

    def attribute(self, conn: Any, code: CodeType, instruction: int) -> Lease | None:
        """Turn a connection's lease into that of a block, which keeps what this returns. Needs no lock.

        For blocks of pools with an overridden `getconn`: the call site is the block's, not the override's.

        Returns:
            ``None`` if the connection is not this pool's.
        """
        lease = self.leases.get(id(conn))
        if lease is None or lease[2] is None:
            return None
        mine = self.leases[id(conn)] = (lease[0], lease[1], code, instruction, lease[4], True)
        return mine
