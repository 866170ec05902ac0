"""The lock of a pool's core. Each turn under it also wakes clients and starts threads as required."""

from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from threading import RLock
from typing import Any, ParamSpec, TypeVar

from poolhouse.pool.core import PoolCore, Waiter
from poolhouse.safely import ERROR, Log

P = ParamSpec("P")
T = TypeVar("T")

logger = Log("poolhouse.pool")

#: The message of a function ``…_locked`` that is called without the lock that it needs.
NOT_LOCKED = "the core's lock must be held"


class CoreLock:
    """``core_lock(core.request, waiter, now)`` runs one method of the core under the lock.

    Afterwards it wakes and starts whatever that method requires. `enqueue_fast` and `hand_over` are short forms
    for clients that wait in line; they save Python work under contention.

    An exception (KeyboardInterrupt) may strike anywhere in here: the lock is released all the same, and every
    client that was to be woken is woken.
    """

    __slots__ = (
        "_core",
        "_errors",
        "_plan",
        "_tell",
        "_unfinished",
        "_wake_keeper",
        "is_mine",
        "is_struck",
        "lock",
    )

    def __init__(
        self,
        core: PoolCore,
        plan: Callable[[], list[Callable[[], None]]],
        tell: Callable[[Any], None],
        wake_keeper: Callable[[], None],
    ) -> None:
        self._core = core
        #: Held for a few microseconds at a time, for every change of the core except by `take` and `give`.
        #: No thread takes it twice; it is an RLock because an RLock knows its owner.
        self.lock = RLock()
        #: Whether this thread is in the middle of a turn: then this code runs in a finalizer or a signal handler.
        #: The lock's own function, as `threading.Condition` uses it: a method around it would be half of its cost.
        self.is_mine: Callable[[], bool] = self.lock._is_owned  # type: ignore[attr-defined]
        self._plan = plan
        self._wake_keeper = wake_keeper
        self._tell = tell
        #: Whether an exception has ended a turn since the keeper last looked.
        self.is_struck = False
        #: Calls passed to `finish` that have not run yet.
        self._unfinished: deque[Callable[[], object]] = deque()
        #: Errors of those calls; logged after the lock is released, since a log handler may use the pool.
        self._errors: deque[Exception] = deque()

    def __call__(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `call`, a method of the core, under the lock; returns its result.

        Raises:
            RuntimeError: If it `is_mine` already.
        """
        if self.is_mine():
            raise RuntimeError("a finalizer or signal handler called the pool in the middle of another call to it")
        core = self._core
        woken: list[Waiter] = core.woken
        try:
            with self.lock:
                if self._unfinished:
                    self._finish_locked()
                result = call(*args, **kwargs)
                woken = core.woken
                if woken:
                    core.woken = []
                calls = self._plan()
            for waiter in woken:
                waiter.wake()
            for each in calls:
                each()
            if core.notices or self._errors:
                self.tell_notices()
        except BaseException:
            self.struck(woken)
            raise
        return result

    def briefly(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `call` under the lock, but wake nobody: the caller wakes whoever is needed.

        Must not be called if it `is_mine`.
        """
        core = self._core
        woken: list[Waiter] = core.woken
        try:
            with self.lock:
                result = call(*args, **kwargs)
                woken = core.woken
                if woken:
                    core.woken = []
            for waiter in woken:
                waiter.wake()
            if core.notices:
                self.tell_notices()
        except BaseException:
            self.struck(woken)
            raise
        return result

    def struck(self, woken: Iterable[Waiter] = ()) -> None:
        """Release the lock if an exception has left it held, and have the keeper mend what is left half done.

        Args:
            woken: The clients that the turn had to wake; to wake one twice does no harm.
        """
        self._release()
        for waiter in woken:
            waiter.wake()
        self.is_struck = True
        self._wake_keeper()

    def enqueue_fast(self, waiter: Waiter, now: float) -> bool:
        """`PoolCore.enqueue_fast`. False if nothing was done; otherwise the waiter is woken when it is served."""
        core = self._core
        # Check before taking the lock: a client that is served at once, or waits first, then takes it only once.
        if not core.waiters or self.is_mine():
            return False
        try:
            with self.lock:
                is_in_line = core.enqueue_fast(waiter, now)
        except BaseException:
            self._release()
            raise
        return is_in_line

    def hand_over(self, conn: Any, now: float) -> bool:
        """`PoolCore.hand_to_next`, then wake the client that got the connection. False if nothing was done.

        Only for a pool that cannot grow: otherwise each return must also decide whether it should.
        """
        core, first = self._core, None
        if not 0 < core.max_size <= len(core.slots):
            return False
        try:
            # No `return` inside: CPython 3.11 leaves one instruction there that no handler protects.
            with self.lock:
                # Read before anything changes: an exception may strike in the middle of the change.
                first = next(iter(core.waiters), None)
                waiter = core.hand_to_next(conn, now)
            if waiter is not None:
                waiter.wake()
            if core.notices:
                self.tell_notices()
        except BaseException:
            self._release()
            if first is not None:
                first.wake()
            raise
        return waiter is not None

    def _release(self) -> None:
        # An exception between the body of `with` and the release finds the lock still held.
        if self.is_mine():
            self.lock.release()

    def later(self, call: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> None:
        """Queue a call for the keeper: this thread already holds the lock and cannot take another turn."""
        self._unfinished.append(partial(call, *args, **kwargs))
        self._wake_keeper()

    def finish(self, call: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> None:
        """Have the core repair what an exception has left behind.

        The call is queued before it is made: if another exception interrupts that, the next turn of any thread
        makes it. So it may be made twice.
        """
        self._unfinished.append(partial(call, *args, **kwargs))
        self(nothing)

    def _finish_locked(self) -> None:
        assert self.is_mine(), NOT_LOCKED
        while self._unfinished:
            try:
                self._unfinished[0]()
            except Exception as error:
                self._errors.append(error)
            self._unfinished.popleft()

    def tell_notices(self) -> None:
        """Log what the core has to say, and the errors of calls passed to `finish`; needs the lock to be free."""
        # Another thread may be faster; and no error may cost the caller the core's result.
        with suppress(Exception):
            while self._errors:
                logger.log(ERROR, "unexpected error; the pool continues", error=self._errors.popleft())
            while self._core.notices:
                self._tell(self._core.notices.popleft())


def nothing() -> None:
    """A turn that only finishes what earlier ones have left."""
