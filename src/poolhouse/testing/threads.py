"""Real threads in virtual time: one runs at a time, chosen by a seed.

A thread gives up its turn only where it parks or sleeps, so everything between two such points happens as one
step; the seed decides which of the runnable threads takes the next one. When no thread can continue, time jumps to
the next deadline. The same seed gives the same schedule, whatever the machine does.

For this, threads must wait for each other through `VirtualThreads` only. A plain lock that is never held where a
thread gives up its turn is never contended, and needs no replacement.
"""

import os
import random
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from poolhouse.testing.clock import VirtualClock
from poolhouse.testing.loop import Deadlock


class _Stopped(BaseException):
    """Ends a thread that is still parked when its world ends."""


def _taken() -> threading.Lock:
    """A lock that is already taken: the next taker waits until it is released."""
    lock = threading.Lock()
    lock.acquire()
    return lock


#: Where "processor" stands in /proc/PID/stat behind the command's name: proc(5) counts from 1, and the name is 2.
_PROCESSOR = 39 - 3


@contextmanager
def _on_one_processor() -> Generator[None]:
    """Keep the calling thread, and those that it starts, on the present processor, if the system can.

    One of them runs at a time. Waking another one elsewhere, only to have it wait for the GIL, costs half as much
    again as all their work.
    """
    if not hasattr(os, "sched_setaffinity"):  # It is Linux's.
        yield
        return
    allowed = os.sched_getaffinity(0)
    with suppress(OSError):  # Not every sandbox allows it, or has /proc.
        stat = Path("/proc/thread-self/stat").read_text()
        os.sched_setaffinity(0, {int(stat.rpartition(")")[2].split()[_PROCESSOR])})
    try:
        yield
    finally:
        with suppress(OSError):
            os.sched_setaffinity(0, allowed)


class _Actor:
    """One thread of the virtual world."""

    def __init__(self, name: str, *, is_daemon: bool) -> None:
        self.name = name
        self.is_daemon = is_daemon
        #: Released to give the thread its turn. A plain lock: turns are what a simulation does most.
        self.turn = _taken()
        self.wakes_at: float | None = None
        self.is_ready = True


class VirtualParker:
    """A `poolhouse.pool.threads.Parker` of a virtual world."""

    def __init__(self, threads: "VirtualThreads") -> None:
        self._threads = threads
        self._permit = False
        self._sleeper: _Actor | None = None

    def park(self, timeout: float | None) -> bool:
        """See `Parker.park`."""
        if not self._permit:
            self._sleeper = self._threads._actor()
            try:
                self._threads._give_up_turn(timeout)
            finally:
                self._sleeper = None
        was_unparked, self._permit = self._permit, False
        return was_unparked

    def unpark(self) -> None:
        """See `Parker.unpark`."""
        self._permit = True
        if self._sleeper is not None:
            self._sleeper.is_ready = True


class VirtualThreads:
    """A `poolhouse.pool.threads.Threads` in virtual time.

    Attributes:
        clock: The virtual time.
        errors: The exceptions of threads that should have ended by returning.
    """

    def __init__(self, clock: VirtualClock, seed: int = 0) -> None:
        self.clock = clock
        self.errors: list[BaseException] = []
        self._random = random.Random(seed)
        self._actors: list[_Actor] = []
        self._current: dict[int, _Actor] = {}
        self._is_over = False

    def parker(self) -> VirtualParker:
        """See `Threads.parker`."""
        return VirtualParker(self)

    def start(self, target: Callable[[], None], name: str, *, is_daemon: bool = True) -> None:
        """See `Threads.start`; a thread that is not a daemon keeps the world running until it ends."""
        actor = _Actor(name, is_daemon=is_daemon)
        self._actors.append(actor)

        def body() -> None:
            actor.turn.acquire()
            self._current[threading.get_ident()] = actor
            try:
                if not self._is_over:
                    target()
            except _Stopped:
                return
            except BaseException as error:
                self.errors.append(error)
            finally:
                self._actors.remove(actor)
                del self._current[threading.get_ident()]
                self._pass_turn()

        threading.Thread(target=body, name=name, daemon=True).start()

    def sleep(self, seconds: float) -> None:
        """Let time pass for the calling thread."""
        self._give_up_turn(seconds)

    def run(self, main: Callable[[], Any]) -> Any:
        """Run `main` as the first thread; return its result when all threads except daemons have ended.

        Raises:
            Deadlock: If no thread can ever continue.
            BaseException: The exception that ended `main`, or else another thread.
        """
        with _on_one_processor():
            return self._run(main)

    def _run(self, main: Callable[[], Any]) -> Any:
        result: list[Any] = []
        self._ended = _taken()
        self._failure: BaseException | None = None
        self.start(lambda: result.append(main()), "main", is_daemon=False)
        self._pass_turn()
        self._ended.acquire()
        self._is_over = True
        while self._actors:
            actor = self._actors[0]
            actor.turn.release()
            self._ended.acquire()
        if self._failure is not None:
            raise self._failure
        if self.errors:
            raise self.errors[0]
        return result[0]

    def _actor(self) -> _Actor:
        return self._current[threading.get_ident()]

    def _give_up_turn(self, timeout: float | None) -> None:
        actor = self._actor()
        actor.is_ready = False
        now = self.clock.monotonic()
        actor.wakes_at = None if timeout is None else now + max(0.0, timeout)
        self._pass_turn()
        actor.turn.acquire()
        actor.wakes_at = None
        actor.is_ready = True
        if self._is_over:
            raise _Stopped

    def _pass_turn(self) -> None:
        """Give the turn to a runnable thread, after advancing time if there is none."""
        if self._is_over or all(actor.is_daemon for actor in self._actors):
            self._ended.release()
            return
        now = self.clock.monotonic()
        ready = [actor for actor in self._actors if actor.is_ready or (actor.wakes_at or now + 1) <= now]
        if not ready:
            deadlines = [actor.wakes_at for actor in self._actors if actor.wakes_at is not None]
            if not deadlines:
                waiting = ", ".join(actor.name for actor in self._actors)
                self._failure = Deadlock(f"every thread waits, and nothing is due: {waiting}")
                self._ended.release()
                return
            self.clock.advance_to(min(deadlines))
            ready = [actor for actor in self._actors if actor.wakes_at == min(deadlines)]
        self._random.choice(ready).turn.release()
