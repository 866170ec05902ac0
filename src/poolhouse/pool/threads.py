"""Threads as the pool needs them: started, parked and woken; replaced in virtual time by `poolhouse.testing`."""

import threading
from collections.abc import Callable
from typing import Protocol

from poolhouse.signals import blocking


def is_final(error: Exception) -> bool:
    """Whether no thread can be started any more, after this error: CPython from 3.12 on, when it begins to end."""
    return isinstance(error, RuntimeError) and "interpreter shutdown" in str(error)


class Parker(Protocol):
    """Where one thread sleeps until another wakes it."""

    def park(self, timeout: float | None) -> bool:
        """Sleep until `unpark` is, or has been, called.

        Args:
            timeout: At most so many seconds; ``None`` for no limit.

        Returns:
            False if the time was over first.
        """
        ...

    def unpark(self) -> None:
        """Wake the one that parks, or will park, here. Never blocks; may be called from a finalizer."""
        ...


class Threads(Protocol):
    """Where threads come from."""

    def start(self, target: Callable[[], None], name: str) -> None:
        """Run `target` in a new thread, which does not keep the interpreter from ending."""
        ...

    def parker(self) -> Parker:
        """A new place to sleep."""
        ...


class LockParker:
    """A `Parker` made of one lock: 0.1 µs to make, where an Event takes 1.6."""

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()

    def park(self, timeout: float | None) -> bool:
        """See `Parker.park`."""
        if timeout is None:
            return self._lock.acquire()
        if 0.0 <= timeout <= threading.TIMEOUT_MAX:
            return self._lock.acquire(True, timeout)
        return self._lock.acquire(timeout=0.0 if timeout < 0.0 else threading.TIMEOUT_MAX)

    def unpark(self) -> None:
        """See `Parker.unpark`."""
        try:
            self._lock.release()
        except RuntimeError:
            return  # It was unparked before and nobody has parked since: once is enough.


class SystemThreads:
    """The operating system's threads (or gevent's greenlets, where its patches are applied).

    They take no signals: see `poolhouse.signals`.
    """

    def start(self, target: Callable[[], None], name: str) -> None:
        """See `Threads.start`."""
        blocking(threading.Thread(target=target, name=name, daemon=True).start)

    def parker(self) -> Parker:
        """See `Threads.parker`."""
        return LockParker()
