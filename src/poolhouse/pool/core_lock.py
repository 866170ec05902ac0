"""The lock of a pool's core: each turn under it also wakes the clients and starts the threads that it needs."""

from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from threading import RLock
from typing import Any, ParamSpec, TypeVar

from poolhouse.pool.core import PoolCore, Waiter
from poolhouse.safely import ERROR, Log

P = ParamSpec("P")
T = TypeVar("T")

logger = Log("poolhouse.pool")

#: What a function ``…_locked`` says if it is called without the lock that it needs.
NOT_LOCKED = "to be called only under the core's lock"


class CoreLock:
    """``core_lock(core.request, waiter, now)`` runs one method of the core under the lock.

    Afterwards it wakes and starts whatever that method requires. `enqueue_fast` and `hand_over` are short forms
    for clients that wait in line, and save Python work where threads contend.

    An exception (KeyboardInterrupt) may strike anywhere in here: the lock is released, and
    whoever was to be woken is.
    """

    __slots__ = (
        "_core",
        "_errors",
        "_lock",
        "_plan",
        "_tell",
        "_unfinished",
        "_wake_keeper",
        "is_mine",
        "is_struck",
    )

    def __init__(
        self,
        core: PoolCore,
        plan: Callable[[], list[Callable[[], None]]],
        tell: Callable[[Any], None],
        wake_keeper: Callable[[], None],
    ) -> None:
        self._core = core
        #: Held for a few microseconds at a time, by whoever changes the core other than by `take` and `give`.
        #: It is never taken twice by one thread; an RLock because that knows who has it.
        self._lock = RLock()
        #: Whether this thread is in the middle of a turn: now it is in a finalizer, or in a signal's handler. The
        #: lock's own function, as `threading.Condition` uses it: a method around it would be half of its cost.
        self.is_mine: Callable[[], bool] = self._lock._is_owned  # type: ignore[attr-defined]
        self._plan = plan
        self._wake_keeper = wake_keeper
        self._tell = tell
        #: An exception has ended a turn since the keeper last looked.
        self.is_struck = False
        #: What `finish` was told and nobody has done yet.
        self._unfinished: deque[Callable[[], object]] = deque()
        #: What that raised; logged without the lock, since a handler may use the pool.
        self._errors: deque[Exception] = deque()

    def __call__(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What `call`, a method of the core, returns.

        Raises:
            RuntimeError: If it `is_mine` already.
        """
        if self.is_mine():
            raise RuntimeError("a finalizer or signal handler called the pool in the middle of another call to it")
        core = self._core
        woken: list[Waiter] = core.woken
        try:
            with self._lock:
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
                self._tell_notices()
        except BaseException:
            # Clients may be woken twice, it does no harm; what is left half done, and what workers are needed for,
            # the keeper finds out.
            self._release()
            for waiter in woken:
                waiter.wake()
            self.is_struck = True
            self._wake_keeper()
            raise
        return result

    def briefly(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The same, but nobody is told what is to be done: the caller tells whoever is needed.

        Not to be called if it `is_mine`.
        """
        core = self._core
        woken: list[Waiter] = core.woken
        try:
            with self._lock:
                result = call(*args, **kwargs)
                woken = core.woken
                if woken:
                    core.woken = []
            for waiter in woken:
                waiter.wake()
            if core.notices:
                self._tell_notices()
        except BaseException:
            self._release()
            for waiter in woken:
                waiter.wake()
            self.is_struck = True
            self._wake_keeper()
            raise
        return result

    def enqueue_fast(self, waiter: Waiter, now: float) -> bool:
        """`PoolCore.enqueue_fast`; False if nothing was done, else the waiter is woken when it is served."""
        core = self._core
        # Looked at before the lock is taken: whoever is served at once, or waits first, takes it once only.
        if not core.waiters or self.is_mine():
            return False
        try:
            with self._lock:
                is_in_line = core.enqueue_fast(waiter, now)
        except BaseException:
            self._release()
            raise
        return is_in_line

    def hand_over(self, conn: Any, now: float) -> bool:
        """`PoolCore.hand_to_next`, and waking who got it. Returns False if nothing was done.

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
                waiter = core.hand_to_next(conn, now)
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
        if self.is_mine():
            self._lock.release()

    def later(self, call: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> None:
        """Leave to the keeper what whoever comes in the middle of his own turn cannot have done."""
        self._unfinished.append(partial(call, *args, **kwargs))
        self._wake_keeper()

    def finish(self, call: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> None:
        """Have the core put right what an exception has left behind.

        Word is left before anything is done: where another exception interrupts that, whoever takes the next turn
        does it all. So it may be done twice.
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

    def _tell_notices(self) -> None:
        # Another thread may be faster; and no error may cost the caller what the core has returned.
        with suppress(Exception):
            while self._errors:
                logger.log(ERROR, "unexpected error; the pool continues", error=self._errors.popleft())
            while self._core.notices:
                self._tell(self._core.notices.popleft())


def nothing() -> None:
    """For a turn in which only what others have left is done."""
