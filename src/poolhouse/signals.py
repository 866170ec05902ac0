"""Threads that take no signals from the application.

The operating system gives a signal that was sent to a process to any thread that does not block it. A program that
blocks SIGTERM in its own threads, to take it with ``sigwait`` or ``sigtimedwait``, would be ended by it because of
a thread of ours. Python's own handlers run in the main thread, whichever thread takes the signal.
"""

import signal
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

#: What a thread does to itself. The system ends a process that blocks one of these at once, and faulthandler could
#: not tell where.
_FAULTS = ("SIGSEGV", "SIGBUS", "SIGFPE", "SIGILL", "SIGABRT", "SIGTRAP", "SIGSYS")

#: Windows has no such thing.
_set_mask = getattr(signal, "pthread_sigmask", None)
_BLOCKED = (
    signal.valid_signals()
    - {getattr(signal, name) for name in _FAULTS if hasattr(signal, name)}
    - ({signal.SIGKILL, signal.SIGSTOP} if _set_mask is not None else set())
)

#: What the application blocked in the thread that last had one of ours started; at most one item.
_of_application: dict[None, set[signal.Signals | int]] = {}


def blocking(start: Callable[[], T]) -> T:
    """What `start` returns, which starts a thread: that one inherits that all signals are blocked.

    The caller's own signals wait as long as that takes.
    """
    if _set_mask is None:
        return start()
    # Read before it is changed: a signal handler may raise as soon as it is.
    before = _set_mask(signal.SIG_BLOCK, ())
    if not before >= _BLOCKED:
        _of_application[None] = before
    try:
        _set_mask(signal.SIG_BLOCK, _BLOCKED)
        return start()
    finally:
        _set_mask(signal.SIG_SETMASK, before)


def as_application(call: Callable[[], T]) -> T:
    """What `call` returns, a function of the application that may start a process or raise a signal.

    A process inherits what the thread blocks that starts it, and a signal that a thread raises for itself
    waits for ever if that thread blocks it.
    """
    if _set_mask is None or not _of_application:
        return call()
    before = _set_mask(signal.SIG_BLOCK, ())
    if not before >= _BLOCKED:
        return call()  # A thread, or a greenlet, of the application's.
    try:
        _set_mask(signal.SIG_SETMASK, _of_application[None])
        return call()
    finally:
        _set_mask(signal.SIG_SETMASK, before)
