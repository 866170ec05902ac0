"""The threads of a pool: one that keeps time, and workers that come when there is work and go when there is none.

A forgotten pool can be collected. `Workers` refers to its pool only through the connections that are out; so the
keeper, while it sleeps, does not refer to `Workers` either. The pool's finalizer dismisses the threads.
The keeper does no jobs: whatever hangs, deadlines are kept.
"""

import weakref
from collections import deque
from collections.abc import Callable
from contextvars import ContextVar
from functools import partial
from typing import Any, ParamSpec, TypeVar

from poolhouse.clock import Clock
from poolhouse.copies import copy_of
from poolhouse.pool.core import FULL, Notice, PoolCore
from poolhouse.pool.core_lock import NOT_LOCKED, CoreLock, nothing
from poolhouse.pool.jobs import Job, Lane, Return
from poolhouse.pool.options import RETURN_LIMIT
from poolhouse.pool.slot import Lease, Slot
from poolhouse.pool.state import RETURN
from poolhouse.pool.threads import Parker, Threads, is_final
from poolhouse.safely import Log

P = ParamSpec("P")
T = TypeVar("T")

logger = Log("poolhouse.pool")

#: To go through an enumeration itself takes a call for each step.
_LANES = tuple(Lane)

#: The worker in which this code runs: its callback may close the pool, and is not waited for then.
_own_token: ContextVar[object] = ContextVar("poolhouse_worker", default=None)

#: How long a worker without work stays, in seconds.
LINGER = 2.0
#: How long the keeper waits after something went wrong, in seconds.
AGAIN = 1.0
#: How long it waits for a worker to do what is due, in seconds.
SOON = 0.01
#: In what time a worker is done with a return that asks the server nothing, in seconds.
BRISK = 1e-4
#: While returns are of that kind: for how long after a worker was woken, or has begun one, nobody else is woken
#: for the next ones, in seconds; and how long they are left to a worker who does not come.
EXPECTED, OVERDUE = 1e-3, 0.02


class Workers:
    """Keeper and workers of one pool."""

    def __init__(
        self,
        name: str,
        core: PoolCore,
        clock: Clock,
        threads: Threads,
        perform: Callable[[Job], bool],
        restored: Callable[[Return], bool],
        abort: Callable[[Any], None],
        tell: Callable[[Any], None],
    ) -> None:
        """A workers that has not begun.

        Args:
            name: The pool's, for the threads' names.
            core: The pool's.
            clock: Real or virtual.
            threads: Real or virtual.
            perform: Does a job and answers it; logs what goes wrong, raises nothing, and says whether it is done.
            restored: Does a `Return`, to be guarded and answered by whoever calls it; raises nothing.
            abort: The driver's.
            tell: Logs a notice of the core.
        """
        self.core_lock = CoreLock(core, self._plan_locked, self._notice, self.wake_keeper)
        self._take_turn = partial(self.core_lock, nothing)
        self._tell = tell
        self._name = name
        self._core = core
        self._clock = clock
        self._threads = threads
        self._perform, self._restored = perform, restored
        self._abort = abort
        #: The workers, by a token each.
        self._workers: dict[Lane, set[object]] = {lane: set() for lane in Lane}
        #: Those of them that have been started and have not yet looked for a job.
        self._arriving: dict[Lane, set[object]] = {lane: set() for lane in Lane}
        #: Those that sleep, in the order in which they began to. They leave it by themselves.
        self._resting: dict[Lane, dict[Parker, None]] = {lane: {} for lane in Lane}
        #: What each worker, by its token, is doing, and the lease of the job's slot. What stands here of a worker
        #: that is gone was never answered.
        self._in_hand: dict[object, tuple[Job, Lease | None]] = {}
        #: Where the keeper sleeps; ``None`` until there is one.
        self._keeper: Parker | None = None
        #: For the keeper, when its threads are dismissed: the workers, if idle connections are still to be closed.
        self._last_orders: deque[Workers | None] = deque(maxlen=1)
        #: When the keeper looks next, in monotonic seconds; whoever needs it earlier wakes it.
        self.keeper_wakes_at = 0.0
        #: The last return was done so soon that one worker after all others is the fastest.
        self._is_brisk = False
        #: Until when a worker is expected to look for what was returned, though no other is woken for it.
        self._expected_until = 0.0
        #: Something was left to a worker who was expected, since the keeper last looked.
        self._was_left = False
        #: Until when no worker is started, because none could be.
        self._hires_at = 0.0
        #: Calls on connections that have a deadline, and the lease under which each was begun.
        self.guards: dict[Slot, tuple[float, Lease | None]] = {}
        self.is_dismissed = False
        #: Woken when the pool is full, and whenever a worker has run out of work.
        self.watchers: list[Parker] = []

    # -- For the pool -------------------------------------------------------------------------------------------

    def guard(self, slot: Slot, deadline: float) -> None:
        """Abort a connection if the call of its present owner is not over (`unguard`) at `deadline`."""
        self.guards[slot] = (deadline, self._core.leases.get(slot.key))
        if deadline < self.keeper_wakes_at:
            self.wake_keeper()

    def unguard(self, slot: Slot) -> bool:
        """The call is over. Returns False if the connection was, or is just being, aborted."""
        return self.guards.pop(slot, None) is not None

    def is_left_to_reset(self, lease: Lease, now: float) -> bool:
        """`PoolCore.put_to_reset`, and a worker who comes for it; False if nothing was done.

        Where a reset asks the server nothing, a worker that is awake is back before another has woken up.
        """
        core_lock = self.core_lock
        if core_lock.is_mine():
            return False
        wake = core_lock.briefly(self._leave_locked, lease, now)
        if wake is None:
            return False
        wake()
        return True

    def _leave_locked(self, lease: Lease, now: float) -> Callable[[], object] | None:
        """`PoolCore.put_to_reset`, and whom to wake for it when the lock is gone; ``None`` if nothing was done."""
        assert self.core_lock.is_mine(), NOT_LOCKED
        if not self._core.put_to_reset(lease, now):
            return None
        self._was_left = True
        resting = self._resting[RETURN]
        if self._is_brisk:
            if now < self._expected_until:
                return self.wake_keeper if now + OVERDUE < self.keeper_wakes_at else nothing
            if resting:
                self._expected_until = now + EXPECTED
        # The plan finds the same, and takes as long as all the rest.
        return next(reversed(resting)).unpark if resting else self._take_turn

    def dismiss(self) -> None:
        """Let all threads end when they have done what they are doing. May be called from a finalizer."""
        self.is_dismissed = True
        # The keeper of a pool that nobody closed needs the workers once more, though the pool is gone.
        self._last_orders.append(self if self._core.is_open else None)
        self.wake_keeper()
        for lane in _LANES:
            for parker in list(self._resting[lane]):
                parker.unpark()

    def is_busy(self) -> bool:
        """Whether there is work, or a worker other than the caller that does not rest."""
        own = _own_token.get()
        return self._core.has_jobs(self._clock.monotonic()) or any(
            len(self._workers[lane]) - (own in self._workers[lane]) > len(self._resting[lane]) for lane in _LANES
        )

    def _notice(self, notice: Notice) -> None:
        if notice is FULL:
            self.wake_watchers()
        else:
            logger.call(self._tell, notice)

    def wake_watchers(self) -> None:
        """Let those look who wait for the pool to be full, or for the workers to be done."""
        for watcher in list(self.watchers):
            watcher.unpark()

    # -- The keeper ---------------------------------------------------------------------------------------------

    def wake_keeper(self) -> None:
        """Let the keeper look: something may be due earlier than it thought."""
        if self._keeper is not None:
            self._keeper.unpark()

    def look(self) -> float | None:
        """Keep time: tick, abort overdue calls, start workers. Returns how long the keeper may sleep."""
        try:
            now = self._clock.monotonic()
            self._abort_overdue(now)
            if self.core_lock.is_struck:
                self.core_lock.is_struck = False
                self.core_lock(self._recover_locked, now)
            self.core_lock(self._tick_locked, now)
            self._hire()
        except BaseException as error:
            self.keeper_wakes_at = self._clock.monotonic() + AGAIN
            self.core_lock.is_struck = True
            logger.last_word("pool %r: unexpected error; the pool continues", self._name, error=error)
        pause = self.keeper_wakes_at - self._clock.monotonic()
        return None if pause == float("inf") else pause

    def replace_keeper(self, parker: Parker) -> None:
        """Start another keeper if the one that slept at `parker` has ended too early."""
        if self._keeper is parker and not self.is_dismissed:
            # In this order: where no thread can be started now, the next turn of anybody tries again.
            self._keeper, self.keeper_wakes_at, self.core_lock.is_struck = None, 0.0, True
            self._start_keeper()

    def _recover_locked(self, now: float) -> None:
        """Put right what an exception has left, in a call of the core or in a worker that it has ended."""
        assert self.core_lock.is_mine(), NOT_LOCKED
        for token, in_hand in copy_of(self._in_hand).items():
            if not any(token in workers for workers in self._workers.values()):
                self._core.dropped(*in_hand, now)
                del self._in_hand[token]
        self._core.recover(now)

    def close_forgotten(self) -> None:
        """Close the idle connections of a pool that was dropped without being closed."""
        self.core_lock(self._core.close, self._clock.monotonic())
        while jobs := self.core_lock(self._core.leftovers):
            for job in jobs:
                self._perform(job)

    def _abort_overdue(self, now: float) -> None:
        for slot, (deadline, lease) in copy_of(self.guards).items():
            # If an exception ended the call before `unguard`, the lease has changed: do not abort the new owner.
            is_overdue = deadline <= now and self.guards.pop(slot, None) is not None
            if is_overdue and self._core.leases.get(slot.key) is lease:
                logger.call(self._abort, slot.conn)

    def becomes_keeper_locked(self, parker: Parker) -> bool:
        """Several threads may have been started; the first to arrive becomes the keeper."""
        assert self.core_lock.is_mine(), NOT_LOCKED
        if self._keeper is not None:
            return False
        self._keeper = parker
        return True

    def _tick_locked(self, now: float) -> None:
        assert self.core_lock.is_mine(), NOT_LOCKED
        # First this: a guard that comes after the look at all of them finds it and wakes the keeper again.
        self.keeper_wakes_at = float("inf")
        self._core.tick(now)
        self._core.has_new_deadline = False
        due = [deadline for deadline, _ in list(self.guards.values())]
        if self._is_brisk and (self._was_left or self._core.has_job(RETURN, now)):
            self._was_left = False
            due.append(now + OVERDUE)
        if self._hires_at > now:
            due.append(self._hires_at)
        if (deadline := self._core.next_deadline(now)) is not None:
            # What is due and has not been done wants a worker, and all may be busy.
            due.append(deadline if deadline > now else now + SOON)
        self.keeper_wakes_at = min(due, default=float("inf"))

    # -- Workers ------------------------------------------------------------------------------------------------

    def _plan_locked(self) -> list[Callable[[], None]]:
        """Whom to wake for what is to be done; to be called when the lock is gone.

        It changes nothing, so that whatever becomes of the calls, the next plan, the keeper's if nobody else makes
        one, is as good. Clients start no workers: an exception in the middle of a start would leave half a thread.
        """
        assert self.core_lock.is_mine(), NOT_LOCKED
        calls: list[Callable[[], None]] = []
        if self.is_dismissed:
            return calls
        core, now = self._core, self._clock.monotonic()
        is_keeper_needed = False
        for lane in _LANES if core.has_jobs(now) else ():
            if not core.has_job(lane, now):
                continue
            if lane is RETURN and self._is_brisk:
                if now < self._expected_until:
                    is_keeper_needed = is_keeper_needed or now + OVERDUE < self.keeper_wakes_at
                    continue
                self._expected_until = now + EXPECTED
            if self._resting[lane]:
                calls.append(next(reversed(self._resting[lane])).unpark)
            elif self._is_short_of_workers(lane, now):
                is_keeper_needed = True
        if core.has_new_deadline and (deadline := core.next_deadline(now)) is not None:
            is_keeper_needed = is_keeper_needed or deadline < self.keeper_wakes_at
        if self._keeper is None:
            if core.has_threads and (core.is_open or is_keeper_needed):
                calls.append(self._start_keeper)
        elif is_keeper_needed:
            calls.append(self._keeper.unpark)
        return calls

    def _is_short_of_workers(self, lane: Lane, now: float) -> bool:
        is_one_coming = self._arriving[lane] or now < self._hires_at
        return not is_one_coming and len(self._workers[lane]) < self._core.options.num_workers

    def _start_keeper(self) -> None:
        try:
            keep = partial(_keep, weakref.ref(self), self._last_orders, self._threads, self._name)
            self._threads.start(keep, f"{self._name}-keeper")
        except Exception as error:
            self._could_not_start(error)  # The next turn that is taken tries again.

    def _could_not_start(self, error: Exception) -> None:
        """As many threads as there may be, or no memory; or the interpreter ends, and who would wait is told."""
        if is_final(error):
            self.core_lock(self._core.lose_threads)
            self.wake_watchers()
        else:
            logger.warning("pool %r: %s; trying again", self._name, error)

    def _hire(self) -> None:
        """Start workers that are missing, one a lane; if more are needed, the plan says so once they have come."""
        for lane in _LANES:
            token = self.core_lock(self._hire_locked, lane)
            if token is None:
                continue
            try:
                self._threads.start(partial(self._work, lane, token), f"{self._name}-{lane.name.lower()}")
            except BaseException as error:
                self._leave_books(lane, token)
                self._hires_at = self._clock.monotonic() + AGAIN
                self.keeper_wakes_at = min(self.keeper_wakes_at, self._hires_at)
                if not isinstance(error, Exception):
                    raise
                self._could_not_start(error)

    def _hire_locked(self, lane: Lane) -> object:
        """The token of a worker to be started; ``None`` if the lane needs none."""
        assert self.core_lock.is_mine(), NOT_LOCKED
        now = self._clock.monotonic()
        if not self._core.has_job(lane, now) or self._resting[lane] or not self._is_short_of_workers(lane, now):
            return None
        token = object()
        self._arriving[lane].add(token)
        self._workers[lane].add(token)
        return token

    def _work(self, lane: Lane, token: object) -> None:
        """The life of a worker; whatever ends it, it leaves the books, and the keeper hires another."""
        parker: Parker | None = None
        try:
            parker = self._threads.parker()
            self._do_jobs(lane, parker, token)
        except BaseException as error:
            if isinstance(error, Exception):
                logger.last_word("pool %r: a worker has ended; another is hired", self._name, error=error)
        finally:
            if token in self._workers[lane]:
                self._leave_books(lane, token, parker)
                self.core_lock.is_struck = True
                self.wake_keeper()
                self.wake_watchers()

    def _leave_books(self, lane: Lane, token: object, parker: Parker | None = None) -> None:
        """Forget a worker that has ended. One step each, without the lock and without memory: so none can fail."""
        if parker is not None:
            self._resting[lane].pop(parker, None)
        self._arriving[lane].discard(token)
        self._workers[lane].discard(token)

    def _do_jobs(self, lane: Lane, parker: Parker, token: object) -> None:
        """Do jobs of one lane until there has been none for a while."""
        _own_token.set(token)
        while True:
            # A plan would wake nobody where one worker after all others is the fastest.
            take = self.core_lock.briefly if lane is RETURN and self._is_brisk else self.core_lock
            job = take(self._next_job_locked, lane, parker, token)
            if isinstance(job, Return):
                job = self._do_returns(job, parker, token)
            if job is not None:
                if not self._perform(job):
                    self.core_lock.later(self._core.dropped, *self._in_hand[token], self._clock.monotonic())
                self._in_hand.pop(token, None)
                continue
            self.wake_watchers()
            if not self.is_dismissed and parker.park(LINGER):
                continue
            if self.core_lock(self._has_left_locked, lane, parker, token):
                return

    def _do_returns(self, job: Return, parker: Parker, token: object) -> Job | None:
        """Make one returned connection after the other fit; what there is to do that is no `Return`."""
        guards, leases = self.guards, self._core.leases
        while True:
            began, slot = self._clock.monotonic(), job.slot
            # This is `guard` and `unguard` written out: with their calls, a reset takes a tenth longer.
            guards[slot] = began + RETURN_LIMIT, leases.get(slot.key)
            if began + RETURN_LIMIT < self.keeper_wakes_at:
                self.wake_keeper()
            is_good = self._restored(job)
            is_good = guards.pop(slot, None) is not None and is_good
            following = self.core_lock.briefly(self._answered_locked, parker, token, job, is_good, began)
            if not is_good:
                self.core_lock(nothing)  # Another is to be connected for it.
            if not isinstance(following, Return):
                return following
            job = following

    def _answered_locked(
        self, parker: Parker, token: object, job: Return, is_good: bool, began: float
    ) -> Job | None:
        """Answer a `Return` that was begun then, and take the next job, if there is one, in the same turn."""
        assert self.core_lock.is_mine(), NOT_LOCKED
        now, core = self._clock.monotonic(), self._core
        core.returned(job.slot, is_good, now)
        self._is_brisk = now - began < BRISK
        self._expected_until = now + EXPECTED
        following = core.next_job(RETURN, now)
        if following is None:
            self._in_hand.pop(token, None)
            self._resting[RETURN][parker] = None
            self._expected_until = 0.0
        else:
            # For nearly all, this is `lease_of` written out.
            lease = (
                core.leases.get(following.slot.key) if isinstance(following, Return) else core.lease_of(following)
            )
            self._in_hand[token] = following, lease
        return following

    def _next_job_locked(self, lane: Lane, parker: Parker, token: object) -> Job | None:
        assert self.core_lock.is_mine(), NOT_LOCKED
        self._arriving[lane].discard(token)
        self._resting[lane].pop(parker, None)
        now = self._clock.monotonic()
        job = self._core.next_job(lane, now)
        if job is None:
            self._resting[lane][parker] = None
            if lane is RETURN:
                self._expected_until = 0.0
        else:
            if lane is RETURN:
                self._expected_until = now + EXPECTED
            self._in_hand[token] = job, self._core.lease_of(job)
        return job

    def _has_left_locked(self, lane: Lane, parker: Parker, token: object) -> bool:
        """Whether the worker goes: not if there is something to do after all."""
        assert self.core_lock.is_mine(), NOT_LOCKED
        if not self.is_dismissed and self._core.has_job(lane, self._clock.monotonic()):
            return False
        self._leave_books(lane, token, parker)
        return True


def _keep(
    reference: "weakref.ref[Workers]", last_orders: "deque[Workers | None]", threads: Threads, name: str
) -> None:
    """The life of the keeper; another is started if an error ends it.

    While it sleeps it refers to nothing of its pool: a connection that was never returned refers to the pool, and
    the pool's core to the connection.

    Args:
        reference: The pool's workers.
        last_orders: What `Workers.dismiss` leaves for the keeper.
        threads: Real or virtual.
        name: The pool's.
    """
    parker = threads.parker()
    try:
        workers = reference()
        if workers is None or not workers.core_lock(workers.becomes_keeper_locked, parker):
            return
        while workers is not None and not workers.is_dismissed:
            pause = workers.look()
            workers = None
            parker.park(pause)
            workers = reference()
        if not last_orders:
            parker.park(AGAIN)  # The collector clears references first, and calls the pool's finalizer next.
        workers = last_orders.pop() if last_orders else None
        if workers is not None:
            workers.close_forgotten()
    except BaseException as error:
        if isinstance(error, Exception):  # Else it was meant to end this thread or greenlet, and does.
            logger.last_word("pool %r: its keeper has ended; another is started", name, error=error)
    finally:
        workers = reference()
        if workers is not None:
            workers.replace_keeper(parker)
