"""Threads that take no signals from the application.

The operating system gives a signal that was sent to a process to any thread that does not block it. A program that
blocks SIGTERM in its own threads, to take it with ``sigwait`` or ``sigtimedwait``, would be ended by it because of
a thread of ours. Python's own handlers run in the main thread, whichever thread takes the signal.
"""

import signal
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

#: Signals that a thread causes by its own fault. The system ends a process at once if it blocks one of them, and
#: faulthandler could not report where.
_FAULTS = ("SIGSEGV", "SIGBUS", "SIGFPE", "SIGILL", "SIGABRT", "SIGTRAP", "SIGSYS")

#: Missing on Windows.
_set_mask = getattr(signal, "pthread_sigmask", None)
_BLOCKED = (
    signal.valid_signals()
    - {getattr(signal, name) for name in _FAULTS if hasattr(signal, name)}
    - ({signal.SIGKILL, signal.SIGSTOP} if _set_mask is not None else set())
)

#: The signals blocked by the application in the thread that last started one of ours; at most one item.
_of_application: dict[None, set[signal.Signals | int]] = {}


def blocking(start: Callable[[], T]) -> T:
    """Call `start`, which starts a thread that inherits "all signals blocked", and return its result.

    Signals to the caller wait until `start` returns.
    """
    if _set_mask is None:
        return start()
    # Read the mask before changing it: a signal handler may raise as soon as it is changed.
    before = _set_mask(signal.SIG_BLOCK, ())
    if not before >= _BLOCKED:
        _of_application[None] = before
    try:
        _set_mask(signal.SIG_BLOCK, _BLOCKED)
        return start()
    finally:
        _set_mask(signal.SIG_SETMASK, before)


def as_application(call: Callable[[], T]) -> T:
    """Call a function of the application that may start a process or raise a signal, and return its result.

    A process inherits the blocked signals of the thread that starts it, and a signal that a thread raises for
    itself stays pending forever if that thread blocks it.
    """
    if _set_mask is None or not _of_application:
        return call()
    before = _set_mask(signal.SIG_BLOCK, ())
    if not before >= _BLOCKED:
        return call()  # This is a thread, or a greenlet, of the application's.
    try:
        _set_mask(signal.SIG_SETMASK, _of_application[None])
        return call()
    finally:
        _set_mask(signal.SIG_SETMASK, before)
