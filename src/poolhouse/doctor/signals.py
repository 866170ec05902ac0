"""Turns signals that end a command into exceptions, so that ``finally`` blocks run first."""

import os
import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class _Stopped(BaseException):
    """A signal arrived."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


@contextmanager
def stopped_by_signals() -> Generator[None]:
    """Leave the block at SIGINT, SIGTERM or SIGHUP, then end the process by the same signal.

    An ignored signal stays ignored. Outside the main thread this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in SIGNALS}
    replaced = [number for number, handler in before.items() if handler is not signal.SIG_IGN]
    try:
        for number in replaced:
            signal.signal(number, _stop)
        yield
    except _Stopped as stopped:
        signal.signal(stopped.number, signal.SIG_DFL)
        os.kill(os.getpid(), stopped.number)
    finally:
        for number in replaced:
            signal.signal(number, before[number])


def _stop(number: int, frame: FrameType | None) -> None:
    raise _Stopped(number)
