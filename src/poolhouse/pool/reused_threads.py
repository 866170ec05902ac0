"""Threads that make one call after another: waking one costs a fraction of starting one."""

import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

from poolhouse.pool.threads import Parker, Threads, join

#: How long a thread waits for its next call, in seconds.
LINGER = 2.0


class ReusedThreads:
    """Threads for calls beside their callers, as many as there are calls at one time.

    A waiting thread refers to nothing but these threads, so those of a forgotten pool end by themselves.
    """

    def __init__(self, threads: Threads) -> None:
        """No threads yet.

        Args:
            threads: Starts them.
        """
        self._threads = threads
        #: Threads without a call; the rightmost was the last to become free.
        self._free: deque[_Reused] = deque()
        #: Those that `dismiss` has ended.
        self._dismissed: list[_Reused] | None = None

    def start(self, call: Callable[[], object], then: Callable[[], object], name: str) -> None:
        """Make a call in a thread that is free, or in a new one.

        Args:
            call: The call; it raises nothing.
            then: Called afterwards in the same thread, when that is free for the next call.
            name: The thread's name for as long as the call lasts.

        Raises:
            RuntimeError: If no thread is free, and none can be started.
        """
        task = _Task(call, then)
        try:
            reused = self._free.pop()
        except IndexError:
            self._start(task, name)
            return
        if reused.thread is not None:
            reused.thread.name = name
        reused.tasks.append(task)
        reused.parker.unpark()
        if reused.has_left:
            # Its time was over. With ValueError, it has found the task after all.
            with suppress(ValueError):
                reused.tasks.remove(task)
                self._start(task, name)

    def dismiss(self) -> None:
        """Let all threads end after their current call. A finalizer may call this."""
        self._dismissed = list(self._free)
        for reused in self._dismissed:
            reused.parker.unpark()

    def join(self, deadline: float, now: Callable[[], float]) -> None:
        """Wait, after `dismiss`, for the threads that had no call then.

        Args:
            deadline: Until when at most, in the seconds of `now`.
            now: The clock.
        """
        for reused in self._dismissed or ():
            if reused.thread is not None and (remaining := deadline - now()) > 0:
                join(reused.thread, remaining)

    def _start(self, task: "_Task", name: str) -> None:
        reused = _Reused(self._threads.parker(), task)
        reused.thread = self._threads.start(lambda: self._run(reused), name)

    def _run(self, reused: "_Reused") -> None:
        while True:
            while (task := reused.next_task()) is not None:
                task.call()
                then = task.then
                del task  # It refers to the pool.
                self._free.append(reused)
                then()
                del then
            if self._dismissed is None and reused.parker.park(LINGER):
                continue
            with suppress(ValueError):  # Somebody has just taken it, and is about to bring a task.
                self._free.remove(reused)
            # In this order: this thread finds the task, or whoever brings it finds that the thread has left.
            reused.has_left = True
            if not reused.tasks:
                return
            reused.has_left = False


class _Task(NamedTuple):
    call: Callable[[], object]
    then: Callable[[], object]


class _Reused:
    """One thread.

    Attributes:
        parker: Where it waits.
        tasks: What it has to do: one task, or none.
        thread: The thread, as `Threads.start` returns it.
        has_left: Whether it looks for no more tasks.
    """

    __slots__ = ("has_left", "parker", "tasks", "thread")

    def __init__(self, parker: Parker, task: _Task) -> None:
        self.parker = parker
        self.tasks = deque([task])
        self.thread: threading.Thread | None = None
        self.has_left = False

    def next_task(self) -> _Task | None:
        """What to do next; ``None`` if there is nothing."""
        try:
            return self.tasks.popleft()
        except IndexError:
            return None
