"""Threads and locks of the operating system, even if gevent or eventlet has replaced Python's own.

Monkey patching replaces functions in the built-in module ``_thread``; this module has an instance of its own.
"""

import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress

from poolhouse.signals import blocking
from poolhouse.unpatched import unpatched

#: How often to check whether an ended thread has left the operating system's list, and the seconds between checks.
_GLANCES, _GLANCE_S = 50, 0.0002

_thread = unpatched("_thread")

#: Marks our own threads.
_here = _thread._local()


def forget_stand_in() -> None:
    """Make `threading` forget the calling thread, if it is one of ours.

    For a thread that it has not started, `threading.current_thread` makes a stand-in, which cannot be joined and
    which `threading.enumerate` lists while the thread lives.
    """
    if getattr(_here, "is_ours", False):
        with suppress(Exception):  # Another version of Python may keep them differently.
            vars(threading)["_active"].pop(thread_id(), None)


def thread_id() -> int:
    """The operating system's identifier of this thread, whatever greenlet runs in it."""
    return int(_thread.get_ident())


class Lock:
    """A lock that only one thread can hold; not re-entrant."""

    def __init__(self) -> None:
        self._lock = _thread.allocate_lock()

    def acquire(self, timeout: float = -1.0) -> bool:
        """Take it. False if that takes longer than `timeout` seconds. Negative: no limit; 0: do not wait."""
        if timeout == 0:
            return bool(self._lock.acquire(False))
        return bool(self._lock.acquire(True, min(timeout, _thread.TIMEOUT_MAX)))

    def release(self) -> None:
        """Give it back."""
        self._lock.release()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()


class Signal:
    """Wakes one waiting thread; if set before a wait, it lets the next one through. Setting it never waits."""

    def __init__(self) -> None:
        self._lock = _thread.allocate_lock()
        self._lock.acquire()

    def set(self) -> None:
        """Let the waiting thread through, or the next one to wait."""
        with suppress(RuntimeError):  # It is set already.
            self._lock.release()

    def wait(self, timeout: float) -> bool:
        """Wait for `set`, for at most `timeout` seconds. Returns whether it was set."""
        return bool(self._lock.acquire(True, min(max(timeout, 0.0), _thread.TIMEOUT_MAX)))


class NativeThread:
    """A running thread that takes no signals and does not delay the interpreter's exit.

    Raises:
        RuntimeError: If the operating system allows no further thread, or the interpreter is ending.
    """

    def __init__(self, run: Callable[[], None]) -> None:
        self._native_id = 0
        self._ended = Signal()
        self._ident: int = blocking(lambda: _thread.start_new_thread(self._main, (run,)))

    def _main(self, run: Callable[[], None]) -> None:
        self._native_id = _thread.get_native_id()
        _here.is_ours = True
        try:
            run()
        finally:
            self._ended.set()

    def join(self, timeout: float) -> bool:
        """Wait until the operating system no longer has this thread. Returns whether that is so.

        Waits at most `timeout` seconds for its last line, and then some milliseconds more.

        Python 3.12 counts the operating system's threads before it warns of a fork, and a thread that has run its
        last line is still there for some microseconds. Never waits within the thread itself.
        """
        if thread_id() == self._ident or not self._ended.wait(timeout):
            return False
        self._ended.set()  # For the next caller.
        if not sys.platform.startswith("linux"):
            return True
        glance = Signal()
        for _ in range(_GLANCES):
            if not os.path.exists(f"/proc/self/task/{self._native_id}"):
                return True
            glance.wait(_GLANCE_S)
        return False
