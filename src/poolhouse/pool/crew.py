"""The threads of a pool: one that keeps time, and workers that come when there is work and go when there is none.

The crew never refers to its pool, so that a forgotten pool can be collected; the pool's finalizer dismisses
the crew. The keeper never works: whatever hangs, deadlines are kept.
"""

import logging
from collections.abc import Callable
from functools import partial
from threading import RLock
from typing import Any, ParamSpec, TypeVar

from poolhouse.clock import Clock
from poolhouse.pool.core import FULL, Notice, PoolCore, Waiter
from poolhouse.pool.jobs import Job, Lane
from poolhouse.pool.threads import Parker, Threads

P = ParamSpec("P")
T = TypeVar("T")

logger = logging.getLogger("poolhouse.pool")

#: How long a worker without work stays, in seconds.
LINGER = 2.0


class Turn:
    """``turn(core.request, waiter, now)``: one call of the core under the lock, and then what it brings about.

    `line_up` and `hand_over` are short forms for clients that wait in line, which bring nothing else about: while
    threads contend, what the pool does for each of them in Python is what they lose.

    An exception (KeyboardInterrupt) may strike anywhere in here: the lock is released, and
    whoever was to be woken is.
    """

    __slots__ = ("_core", "_lock", "_plan", "_tell")

    def __init__(
        self,
        core: PoolCore,
        plan: Callable[[], list[Callable[[], None]]],
        tell: Callable[[Any], None],
    ) -> None:
        self._core = core
        #: Held for a few microseconds at a time, by whoever changes the core other than by `take` and `give`.
        #: It is never taken twice; an RLock because that knows who has it.
        self._lock = RLock()
        self._plan = plan
        self._tell = tell

    def __call__(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What `call`, a method of the core, returns."""
        core = self._core
        woken: list[Waiter] = core.woken
        calls: list[Callable[[], None]] = []
        try:
            with self._lock:
                result = call(*args, **kwargs)
                woken = core.woken
                if woken:
                    core.woken = []
                calls = self._plan()
            for waiter in woken:
                waiter.wake()
            for each in calls:
                each()
            if core.notices:
                self._tell_notices()
        except BaseException:
            # What was begun is done again from the start: to wake, and to call, twice does no harm.
            self._release()
            for waiter in woken:
                waiter.wake()
            for each in calls:
                each()
            raise
        return result

    def line_up(self, waiter: Waiter, now: float) -> bool:
        """`PoolCore.line_up`. Returns False if nothing was done; else the waiter is woken when it is served."""
        core = self._core
        # Looked at before the lock is taken: whoever is served at once, or waits first, takes it once only.
        if not core.waiters:
            return False
        try:
            with self._lock:
                is_in_line = core.line_up(waiter, now)
        except BaseException:
            self._release()
            raise
        return is_in_line

    def hand_over(self, conn: Any, now: float) -> bool:
        """`PoolCore.pass_on`, and waking who got it. Returns False if nothing was done.

        Only where the pool cannot grow: elsewhere each return is an occasion to decide whether it should.
        """
        core, first = self._core, None
        if not 0 < core.max_size <= len(core.slots):
            return False
        try:
            # Nothing returns from within: CPython 3.11 leaves an instruction there that no handler protects.
            with self._lock:
                # Known before anything changes: an exception may strike in the middle of it.
                first = next(iter(core.waiters), None)
                waiter = core.pass_on(conn, now)
            if waiter is not None:
                waiter.wake()
            if core.notices:
                self._tell_notices()
        except BaseException:
            self._release()
            if first is not None:
                first.wake()
            raise
        return waiter is not None

    def _release(self) -> None:
        # Between the body of `with` and the release an exception finds the lock still held.
        if self._lock._is_owned():  # type: ignore[attr-defined]  # as threading.Condition does
            self._lock.release()

    def _tell_notices(self) -> None:
        while True:
            try:
                notice = self._core.notices.popleft()
            except IndexError:
                return  # Another thread may have been faster.
            self._tell(notice)


class Crew:
    """Keeper and workers of one pool."""

    def __init__(
        self,
        name: str,
        core: PoolCore,
        clock: Clock,
        threads: Threads,
        perform: Callable[[Job], None],
        abort: Callable[[Any], None],
        tell: Callable[[Any], None],
    ) -> None:
        """A crew that has not begun.

        Args:
            name: The pool's, for the threads' names.
            core: The pool's.
            clock: Real or virtual.
            threads: Real or virtual.
            perform: Does a job and answers it; logs what goes wrong and raises nothing.
            abort: The driver's.
            tell: Logs a notice of the core.
        """
        self.turn = Turn(core, self._plan_locked, self._notice)
        self._tell = tell
        self._name = name
        self._core = core
        self._clock = clock
        self._threads = threads
        self._perform = perform
        self._abort = abort
        #: The workers, by a token each: to start, or to leave, twice changes nothing.
        self._workers: dict[Lane, set[object]] = {lane: set() for lane in Lane}
        self._resting: dict[Lane, list[Parker]] = {lane: [] for lane in Lane}
        self._keeper: Parker | None = None
        self._keeper_wakes_at: float = 0.0
        self._guards: dict[object, tuple[float, Any]] = {}
        self._is_dismissed = False
        #: Woken when the pool is full, and whenever a worker has run out of work.
        self.watchers: list[Parker] = []

    # -- For the pool -------------------------------------------------------------------------------------------

    def guard(self, key: object, conn: Any, deadline: float) -> None:
        """Abort whatever call on `conn` is not over (`unguard`) at `deadline`, in monotonic seconds."""
        self._guards[key] = (deadline, conn)
        if deadline < self._keeper_wakes_at:
            self._wake_keeper()

    def unguard(self, key: object) -> None:
        """The call is over."""
        self._guards.pop(key, None)

    def dismiss(self) -> None:
        """Let all threads end when they have done what they are doing. May be called from a finalizer."""
        self._is_dismissed = True
        self._wake_keeper()
        for lane in Lane:
            for parker in self._resting[lane].copy():
                parker.unpark()

    def is_busy(self) -> bool:
        """Whether there are threads besides those that rest."""
        return any(len(self._workers[lane]) > len(self._resting[lane]) for lane in Lane)

    def _notice(self, notice: Notice) -> None:
        if notice is FULL:
            self.wake_watchers()
        else:
            self._tell(notice)

    def wake_watchers(self) -> None:
        """Let those look who wait for the pool to be full, or for the workers to be done."""
        for watcher in self.watchers.copy():
            watcher.unpark()

    # -- The keeper ---------------------------------------------------------------------------------------------

    def _wake_keeper(self) -> None:
        if self._keeper is not None:
            self._keeper.unpark()

    def _keep(self) -> None:
        """Keep time: tick, abort what is overdue, sleep until something else is due."""
        keeper = self._keeper
        assert keeper is not None, "the keeper's place is made before its thread"
        while not self._is_dismissed:
            try:
                now = self._clock.monotonic()
                for key, (deadline, conn) in list(self._guards.items()):
                    if deadline <= now and self._guards.pop(key, None) is not None:
                        self._abort(conn)
                self.turn(self._tick_locked, now)
            except Exception:
                logger.exception("pool %r: unexpected; going on", self._name)
                self._keeper_wakes_at = self._clock.monotonic() + 1.0
            pause = self._keeper_wakes_at - self._clock.monotonic()
            keeper.park(None if pause == float("inf") else pause)

    def _tick_locked(self, now: float) -> None:
        self._core.tick(now)
        self._core.has_new_deadline = False
        due = [deadline for deadline, _ in list(self._guards.values())]
        if (deadline := self._core.next_deadline(now)) is not None:
            due.append(deadline)
        self._keeper_wakes_at = min(due, default=float("inf"))

    # -- Workers ------------------------------------------------------------------------------------------------

    def _plan_locked(self) -> list[Callable[[], None]]:
        """Whom to wake or start, for what is to be done; to be called when the lock is gone."""
        calls: list[Callable[[], None]] = []
        if self._is_dismissed:
            return calls
        core, now = self._core, self._clock.monotonic()
        for lane in Lane if core.has_jobs(now) else ():
            if not core.has_job(lane, now):
                continue
            if self._resting[lane]:
                calls.append(self._resting[lane].pop().unpark)
            elif len(self._workers[lane]) < core.options.num_workers:
                token = object()
                self._workers[lane].add(token)
                calls.append(partial(self._start, partial(self._work, lane, token), lane.name.lower()))
        if not core.is_open:
            return calls
        if self._keeper is None:
            self._keeper = self._threads.parker()
            calls.append(partial(self._start, self._keep, "keeper"))
        elif (
            core.has_new_deadline
            and (deadline := core.next_deadline(now)) is not None
            and deadline < self._keeper_wakes_at
        ):
            self._keeper_wakes_at = deadline
            calls.append(self._keeper.unpark)
        return calls

    def _start(self, target: Callable[[], None], role: str) -> None:
        self._threads.start(target, f"{self._name}-{role}")

    def _work(self, lane: Lane, token: object) -> None:
        """Do jobs of one lane until there has been none for a while."""
        parker = self._threads.parker()
        while True:
            job = self.turn(self._next_job_locked, lane, parker)
            if job is not None:
                self._perform(job)
                continue
            self.wake_watchers()
            if not self._is_dismissed and parker.park(LINGER):
                continue
            if self.turn(self._has_left_locked, lane, parker, token):
                return

    def _next_job_locked(self, lane: Lane, parker: Parker) -> Job | None:
        job = self._core.next_job(lane, self._clock.monotonic())
        if job is None:
            self._resting[lane].append(parker)
        return job

    def _has_left_locked(self, lane: Lane, parker: Parker, token: object) -> bool:
        """Whether the worker may go: not if it was called for while it decided to."""
        if parker not in self._resting[lane]:
            return False
        self._resting[lane].remove(parker)
        self._workers[lane].discard(token)
        return True
