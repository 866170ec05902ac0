"""The thread that keeps time for the `FairQueuePool`s of a process that have a `hold_warning`.

A checkout announces nothing, so a thread has to check. One thread looks for all pools: it starts with the first
use of the first such pool and ends with the last of them. It refers to the pools weakly. ``docs/decisions/0014``
lists the alternatives.
"""

import atexit
import os
import weakref
from collections import deque
from typing import Any, Protocol

from poolhouse.clock import monotonic
from poolhouse.pool.threads import Parker, SystemThreads, Threads
from poolhouse.pool.words import describe, logger

#: The shortest pause between two looks, in seconds, so that work which is due but not done does not make it spin.
SHORTEST = 0.01
#: The pause after a look that failed, in seconds.
AGAIN = 1.0


class Watched(Protocol):
    """A pool that the keeper looks after."""

    def look(self, now: float) -> float:
        """Find what is due for `tell`. Returns when to look again, in monotonic seconds."""
        ...

    def tell(self) -> None:
        """Log what was found, and connections that have been returned since."""
        ...


class Keeper:
    """Looks at pools whenever one of their connections may have been held too long."""

    def __init__(self, threads: Threads) -> None:
        """A keeper without pools.

        Args:
            threads: Starts its thread.
        """
        self._threads = threads
        self._begin()

    def _begin(self) -> None:
        self._watched: set[weakref.ref[Any]] = set()
        #: One element while there is no thread: whichever thread pops it starts one. Safe in signal handlers, too.
        self._is_free: deque[bool] = deque([True])
        self._parker: Parker | None = None

    def watch(self, pool: Watched) -> None:
        """Look after this pool as well, as long as it lives. Never raises."""
        self._watched.add(weakref.ref(pool, self._watched.discard))
        if not _is_popped(self._is_free):
            self.wake()  # It may be sleeping for longer than this pool allows.
            return
        try:
            self._threads.start(self._run, "poolhouse-holds")
        except RuntimeError as error:
            # The thread limit is reached, or the interpreter is ending. The next pool tries again.
            self._is_free.append(True)
            logger.warning("cannot look for connections that are held too long: %s", describe(error))

    def wake(self) -> None:
        """Make it look now."""
        if (parker := self._parker) is not None:
            parker.unpark()

    def last_words(self) -> None:
        """Log what is left to log when the interpreter ends."""
        for reference in self._watched.copy():
            if (pool := reference()) is not None:
                pool.tell()

    def forget(self) -> None:
        """Start afresh in a forked child, which has no such thread."""
        self._begin()

    def _run(self) -> None:
        is_free = self._is_free
        try:
            parker = self._parker = self._threads.parker()
            while True:
                while self._watched:
                    parker.park(self._look())
                # First release, then look; `watch` does the opposite.
                is_free.append(True)
                if not self._watched or not _is_popped(is_free):
                    return
        except BaseException:
            is_free.append(True)
            raise

    def _look(self) -> float:
        """Look at all pools. Returns how long to sleep then, in seconds."""
        pauses = [_pause(pool) for reference in self._watched.copy() if (pool := reference()) is not None]
        return min(pauses, default=AGAIN)


def _pause(pool: Watched) -> float:
    try:
        return max(SHORTEST, pool.look(monotonic()) - monotonic())
    except Exception as error:
        logger.warning("failed to look for connections that are held too long: %s", describe(error))
        return AGAIN


def _is_popped(tokens: "deque[bool]") -> bool:
    try:
        return tokens.pop()
    except IndexError:
        return False


keeper = Keeper(SystemThreads())
atexit.register(keeper.last_words)
os.register_at_fork(after_in_child=keeper.forget)
