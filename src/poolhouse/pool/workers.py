"""The threads of a pool: a keeper of time, and workers that start when there is work and end when there is none.

A forgotten pool can be collected. `Workers` refers to its pool only through the connections that are out, so the
keeper, while it sleeps, does not refer to `Workers` either. The pool's finalizer dismisses the threads.
The keeper does no jobs: deadlines are kept whatever hangs.
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
from poolhouse.pool.jobs import LANES, Job, Lane, Return
from poolhouse.pool.options import RETURN_LIMIT
from poolhouse.pool.slot import Lease, Slot
from poolhouse.pool.state import RETURN
from poolhouse.pool.threads import Crew, Parker, Threads, is_final
from poolhouse.safely import Log

P = ParamSpec("P")
T = TypeVar("T")

logger = Log("poolhouse.pool")

#: The token of the worker in which this code runs: its callback may close the pool, and `close` does not wait for
#: it.
_own_token: ContextVar[object] = ContextVar("poolhouse_worker", default=None)

#: How long a worker stays without work, in seconds.
LINGER = 2.0
#: How long the keeper waits after something went wrong, in seconds.
AGAIN = 1.0
#: How long the keeper waits for a worker to do what is due, in seconds.
SOON = 0.01
#: The time in which a worker completes a return that does not ask the server, in seconds.
BRISK = 1e-4
#: While returns are of that kind: for how long after a worker was woken, or has begun one, no other is woken for
#: the next ones; and how long these are left to a worker that does not come. In seconds.
EXPECTED, OVERDUE = 1e-3, 0.02


class Workers:
    """The keeper and the workers of one pool."""

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
        """Workers that have not started.

        Args:
            name: The pool's name, for the names of the threads.
            core: The pool's core.
            clock: Real or virtual.
            threads: Real or virtual.
            perform: Does a job and answers it; logs errors, raises nothing, and returns whether the job is done.
            restored: Does a `Return`, which its caller guards and answers; raises nothing.
            abort: The driver's `abort`.
            tell: Logs a notice of the core.
        """
        self.core_lock = CoreLock(core, self._plan_locked, self._notice, self.wake_keeper)
        self._take_turn = partial(self.core_lock, nothing)
        self._tell = tell
        self._name = name
        self._core = core
        self._clock = clock
        self._threads = threads
        self._crew = Crew(threads)
        self._perform, self._restored = perform, restored
        self._abort = abort
        #: The workers, each represented by a token.
        self._workers: dict[Lane, set[object]] = {lane: set() for lane in Lane}
        #: Workers that have been started and have not yet looked for a job.
        self._arriving: dict[Lane, set[object]] = {lane: set() for lane in Lane}
        #: Workers that sleep, in the order in which they fell asleep. Each removes itself.
        self._resting: dict[Lane, dict[Parker, None]] = {lane: {} for lane in Lane}
        #: The job of each worker, by its token, and the lease of the job's slot. The entry of a worker that is
        #: gone was never answered.
        self._in_hand: dict[object, tuple[Job, Lease | None]] = {}
        #: Where the keeper sleeps; ``None`` until there is a keeper.
        self._keeper: Parker | None = None
        #: For the keeper, once its threads are dismissed: the workers, if idle connections must still be closed.
        self._last_orders: deque[Workers | None] = deque(maxlen=1)
        #: When the keeper looks next, in monotonic seconds; a thread that needs it earlier wakes it.
        self.keeper_wakes_at = 0.0
        #: Whether the last return was so quick that a single worker handles them fastest.
        self._is_brisk = False
        #: Until when a worker is expected to look for returned connections, so that no other is woken for them.
        self._expected_until = 0.0
        #: Whether a return was left to an expected worker since the keeper last looked.
        self._was_left = False
        #: Until when no worker is started, because starting one has failed.
        self._hires_at = 0.0
        #: Calls on connections that have a deadline, with the deadline and the lease under which each began.
        self.guards: dict[Slot, tuple[float, Lease | None]] = {}
        self.is_dismissed = False
        #: Woken when the pool is full, and whenever a worker runs out of work.
        self.watchers: list[Parker] = []

    # -- For the pool -------------------------------------------------------------------------------------------

    def guard(self, slot: Slot, deadline: float) -> None:
        """Abort a connection if its owner's call has not ended (`unguard`) by `deadline`."""
        self.guards[slot] = (deadline, self._core.leases.get(slot.key))
        if deadline < self.keeper_wakes_at:
            self.wake_keeper()

    def unguard(self, slot: Slot) -> bool:
        """End the guard of a call. Returns False if the connection was, or is just being, aborted."""
        return self.guards.pop(slot, None) is not None

    def is_left_to_reset(self, lease: Lease, now: float) -> bool:
        """`PoolCore.put_to_reset`, with a worker for it. False if nothing was done.

        If a reset does not ask the server, a worker that is awake is back before another has woken up.
        """
        core, core_lock = self._core, self.core_lock
        if core_lock.is_mine():
            return False
        is_left, wake = False, None
        try:
            # `CoreLock.briefly` inlined: with its calls, a reset takes 2 % longer.
            with core_lock.lock:
                is_left = core.put_to_reset(lease, now)
                if is_left:
                    self._was_left = True
                    resting = self._resting[RETURN]
                    if self._is_brisk and now < self._expected_until:
                        if now + OVERDUE < self.keeper_wakes_at:
                            wake = self.wake_keeper
                    elif resting:
                        self._expected_until = now + EXPECTED
                        wake = next(reversed(resting)).unpark
                    else:
                        # The plan would find the same if a worker rests, but takes as long as all the rest.
                        wake = self._take_turn
            if core.notices:
                core_lock.tell_notices()
        except BaseException:
            core_lock.struck()
            raise
        if wake is not None:
            wake()
        return is_left

    def dismiss(self) -> None:
        """Let all threads end after their current work. A finalizer may call this."""
        self.is_dismissed = True
        # The keeper of a pool that was never closed needs the workers once more, though the pool is gone.
        self._last_orders.append(self if self._core.is_open else None)
        self.wake_keeper()
        for lane in LANES:
            for parker in list(self._resting[lane]):
                parker.unpark()

    def join(self, deadline: float) -> None:
        """Wait after `dismiss`, until `deadline`, for all threads but the caller's to end."""
        if not self.core_lock.is_mine():  # They may need it in order to end.
            self._crew.join(deadline, self._clock.monotonic)

    def is_busy(self) -> bool:
        """Whether there is work, or a worker other than the caller that is not asleep."""
        own = _own_token.get()
        return self._core.has_jobs(self._clock.monotonic()) or any(
            len(self._workers[lane]) - (own in self._workers[lane]) > len(self._resting[lane]) for lane in LANES
        )

    def _notice(self, notice: Notice) -> None:
        if notice is FULL:
            self.wake_watchers()
        else:
            logger.call(self._tell, notice)

    def wake_watchers(self) -> None:
        """Wake those who wait for the pool to be full, or for the workers to finish."""
        for watcher in list(self.watchers):
            watcher.unpark()

    # -- The keeper ---------------------------------------------------------------------------------------------

    def wake_keeper(self) -> None:
        """Make the keeper look: something may be due earlier than it expects."""
        if self._keeper is not None:
            self._keeper.unpark()

    def look(self) -> float | None:
        """Keep time: tick, abort overdue calls, start workers. Returns how many seconds the keeper may sleep."""
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
            # In this order: if no thread can be started now, the next turn of any thread tries again.
            self._keeper, self.keeper_wakes_at, self.core_lock.is_struck = None, 0.0, True
            self._start_keeper()

    def _recover_locked(self, now: float) -> None:
        """Repair what an exception has left, in a call of the core or in a worker that it ended."""
        assert self.core_lock.is_mine(), NOT_LOCKED
        for token, in_hand in copy_of(self._in_hand).items():
            if not any(token in workers for workers in self._workers.values()):
                self._core.put_back(*in_hand, now)
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
        """Whether this thread becomes the keeper: several may have been started, and the first to arrive does."""
        assert self.core_lock.is_mine(), NOT_LOCKED
        if self._keeper is not None:
            return False
        self._keeper = parker
        return True

    def _tick_locked(self, now: float) -> None:
        assert self.core_lock.is_mine(), NOT_LOCKED
        # Before the guards are read: a guard added later sees this and wakes the keeper again.
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
            # Work that is due and not done waits for a worker, and all may be busy.
            due.append(deadline if deadline > now else now + SOON)
        self.keeper_wakes_at = min(due, default=float("inf"))

    # -- Workers ------------------------------------------------------------------------------------------------

    def _plan_locked(self) -> list[Callable[[], None]]:
        """The calls to make once the lock is free, to wake threads for the work there is.

        It changes nothing: whatever becomes of the calls, the next plan (the keeper's if no other) is as good.
        Clients start no workers: an exception in the middle of a start would leave half a thread.
        """
        assert self.core_lock.is_mine(), NOT_LOCKED
        calls: list[Callable[[], None]] = []
        if self.is_dismissed:
            return calls
        core, now = self._core, self._clock.monotonic()
        is_keeper_needed = False
        for lane in LANES if core.has_jobs(now) else ():
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
            self._crew.start(keep, f"{self._name}-keeper")
        except Exception as error:
            self._could_not_start(error)  # The next turn tries again.

    def _could_not_start(self, error: Exception) -> None:
        """Handle the thread limit, lack of memory, or interpreter exit; on exit, wake the waiting clients."""
        if is_final(error):
            self.core_lock(self._core.lose_threads)
            self.wake_watchers()
        else:
            logger.warning("pool %r: %s; trying again", self._name, error)

    def _hire(self) -> None:
        """Start missing workers, one per lane; if more are needed, the next plan says so once these have come."""
        for lane in LANES:
            token = object()
            try:
                if not self.core_lock(self._hire_locked, lane, token):
                    continue
                self._crew.start(partial(self._work, lane, token), f"{self._name}-{lane.name.lower()}")
            except BaseException as error:
                self._leave_books(lane, token)
                self._hires_at = self._clock.monotonic() + AGAIN
                self.keeper_wakes_at = min(self.keeper_wakes_at, self._hires_at)
                if not isinstance(error, Exception):
                    raise
                self._could_not_start(error)

    def _hire_locked(self, lane: Lane, token: object) -> bool:
        """Enter a worker to be started in the books. Returns False if the lane needs none."""
        assert self.core_lock.is_mine(), NOT_LOCKED
        now = self._clock.monotonic()
        if not self._core.has_job(lane, now) or self._resting[lane] or not self._is_short_of_workers(lane, now):
            return False
        self._arriving[lane].add(token)
        self._workers[lane].add(token)
        return True

    def _work(self, lane: Lane, token: object) -> None:
        """Run a worker. However it ends, it removes itself from the books, and the keeper starts another."""
        parker: Parker | None = None
        try:
            parker = self._threads.parker()
            self._do_jobs(lane, parker, token)
        except BaseException as error:
            if isinstance(error, Exception):
                logger.last_word("pool %r: a worker has ended; starting another", self._name, error=error)
        finally:
            if token in self._workers[lane]:
                self._leave_books(lane, token, parker)
                self.core_lock.is_struck = True
                self.wake_keeper()
                self.wake_watchers()

    def _leave_books(self, lane: Lane, token: object, parker: Parker | None = None) -> None:
        """Forget a worker that has ended. Each step is atomic, takes no lock and no memory: none can fail."""
        if parker is not None:
            self._resting[lane].pop(parker, None)
        self._arriving[lane].discard(token)
        self._workers[lane].discard(token)

    def _do_jobs(self, lane: Lane, parker: Parker, token: object) -> None:
        """Do the jobs of one lane until there has been none for a while."""
        _own_token.set(token)
        while True:
            # A plan would wake nobody while a single worker is the fastest.
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
        """Prepare returned connections one after another. Returns the next job that is not a `Return`, if any."""
        guards, leases = self.guards, self._core.leases
        while True:
            began, slot = self._clock.monotonic(), job.slot
            # `guard` and `unguard` inlined: with their calls, a reset takes a tenth longer.
            guards[slot] = began + RETURN_LIMIT, leases.get(slot.key)
            if began + RETURN_LIMIT < self.keeper_wakes_at:
                self.wake_keeper()
            is_good = self._restored(job)
            is_good = guards.pop(slot, None) is not None and is_good
            following = self.core_lock.briefly(self._answered_locked, parker, token, job, is_good, began)
            if not is_good:
                self.core_lock(nothing)  # A replacement must be connected.
            if not isinstance(following, Return):
                return following
            job = following

    def _answered_locked(
        self, parker: Parker, token: object, job: Return, is_good: bool, began: float
    ) -> Job | None:
        """Answer a `Return` that began at `began`, and take the next job, if there is one, in the same turn."""
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
            # `lease_of` inlined for nearly all jobs.
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
        """Whether the worker leaves; it stays if there is work after all."""
        assert self.core_lock.is_mine(), NOT_LOCKED
        if not self.is_dismissed and self._core.has_job(lane, self._clock.monotonic()):
            return False
        self._leave_books(lane, token, parker)
        return True


def _keep(
    reference: "weakref.ref[Workers]", last_orders: "deque[Workers | None]", threads: Threads, name: str
) -> None:
    """Run the keeper; if an error ends it, another is started.

    While it sleeps it refers to nothing of its pool: a connection that was never returned refers to the pool,
    and the pool's core to the connection.

    Args:
        reference: The pool's workers.
        last_orders: What `Workers.dismiss` leaves to the keeper.
        threads: Real or virtual.
        name: The pool's name.
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
        if isinstance(error, Exception):  # Any other was meant to end this thread or greenlet, and does.
            logger.last_word("pool %r: the keeper thread has ended; starting another", name, error=error)
    finally:
        workers = reference()
        if workers is not None:
            workers.replace_keeper(parker)
