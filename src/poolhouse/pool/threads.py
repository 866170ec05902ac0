"""Threads as the pool needs them: started, parked and woken. `poolhouse.testing` replaces them in virtual time."""

import sys
import threading
from collections.abc import Callable
from typing import Protocol

from poolhouse.signals import blocking


def is_final(error: Exception) -> bool:
    """Whether this error means that no thread will ever start again: from CPython 3.12 on, at interpreter exit."""
    return isinstance(error, RuntimeError) and "interpreter shutdown" in str(error)


class Parker(Protocol):
    """A place where one thread sleeps until another wakes it."""

    def park(self, timeout: float | None) -> bool:
        """Sleep until `unpark` is called; return at once if it has been called already.

        Args:
            timeout: The longest time to sleep, in seconds; ``None`` for no limit.

        Returns:
            False if the time ran out first.
        """
        ...

    def unpark(self) -> None:
        """Wake the thread that parks, or will park, here. Never blocks; a finalizer may call it."""
        ...


class Threads(Protocol):
    """Starts threads."""

    def start(self, target: Callable[[], None], name: str) -> threading.Thread | None:
        """Run `target` in a new thread, which does not keep the interpreter from exiting.

        Returns:
            The thread, if it can be joined; ``None`` in virtual time.
        """
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
            return  # It was unparked already, and no thread has parked since: once is enough.


class SystemThreads:
    """The operating system's threads (or gevent's greenlets, where its patches are applied).

    They take no signals: see `poolhouse.signals`.
    """

    def start(self, target: Callable[[], None], name: str) -> threading.Thread:
        """See `Threads.start`."""
        thread = threading.Thread(target=target, name=name, daemon=True)
        blocking(thread.start)
        return thread

    def parker(self) -> Parker:
        """See `Threads.parker`."""
        return LockParker()


def join(thread: threading.Thread, seconds: float) -> None:
    """Wait for a thread to end, unless the interpreter ends: then no thread of ours will run again."""
    if not sys.is_finalizing():
        thread.join(min(seconds, threading.TIMEOUT_MAX))


class Crew:
    """Threads that end at about the same time, and are then waited for together."""

    def __init__(self, threads: Threads) -> None:
        self._threads = threads
        #: Those that run, and ended ones until the next start.
        self._started: set[threading.Thread] = set()

    def start(self, target: Callable[[], None], name: str) -> None:
        """See `Threads.start`."""
        for ended in [thread for thread in self._started.copy() if not thread.is_alive()]:
            self._started.discard(ended)
        if (thread := self._threads.start(target, name)) is not None:
            self._started.add(thread)

    def join(self, deadline: float, now: Callable[[], float]) -> None:
        """Wait until the threads have ended, but not for the caller's own.

        Args:
            deadline: Until when at most, in the seconds of `now`.
            now: The clock.
        """
        while not sys.is_finalizing() and (remaining := deadline - now()) > 0:
            running = self._started - {threading.current_thread()}
            # The keeper may be about to add a worker that it has started, and ends afterwards.
            thread = next((thread for thread in running if thread.is_alive()), None)
            if thread is None:
                return
            join(thread, remaining)
