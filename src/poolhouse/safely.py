"""The one place that logs, and that calls functions of the application whose errors are none of ours.

A filter that reads the web request, a handler whose disk is full, a hook with a bug: each belongs to the
application, and each may raise in a thread of ours, which would then be missing for good. Every `Exception` ends
here, MemoryError and RecursionError included.

KeyboardInterrupt, SystemExit, GreenletExit and CancelledError are no `Exception`: they order the caller to stop,
and a signal may have raised them in the middle of a handler. They pass, so that Ctrl-C still ends a program while
it logs. So does what the handler of a signal raises of any class (`is_order`): Celery and RQ end a task that takes
too long by an `Exception`. A thread of ours stops them, too, in its outermost function, which reports them by
`Log.last_word`.

Nothing else in the pool, the reports and the instrumentation imports `logging`: an import contract holds that.
"""

import logging
import sys
from collections.abc import Callable
from contextlib import suppress
from logging import DEBUG as DEBUG
from logging import ERROR as ERROR
from logging import INFO as INFO
from logging import WARNING as WARNING
from types import FrameType

from poolhouse.code_flags import CO_VARARGS
from poolhouse.conceal import stand_in


def is_order(error: BaseException) -> bool:
    """Whether an exception orders the caller to stop, rather than reporting a failure of the functions it passed.

    An `Exception` is an order if a signal handler raised it. Python calls a signal handler between any two
    instructions, with the frame that it interrupts as an argument.
    """
    if not isinstance(error, Exception):
        return True
    trace = error.__traceback__
    while trace is not None:
        if any(given is trace.tb_frame.f_back for given in _arguments(trace.tb_frame)):
            return True
        trace = trace.tb_next
    return False


def _arguments(frame: FrameType) -> list[object]:
    """The arguments that a function was called with, as far as its variables still hold them."""
    code, values = frame.f_code, frame.f_locals
    given: list[object] = [values.get(name) for name in code.co_varnames[: code.co_argcount]]
    if code.co_flags & CO_VARARGS:
        given += values.get(code.co_varnames[code.co_argcount + code.co_kwonlyargcount], ())
    return given if frame.f_back is not None else []


class Log:
    """A logger of the standard library; it never lets an `Exception` of a filter, handler or formatter out.

    The records of exceptions have neither passwords nor statements in their texts (`poolhouse.conceal`).
    """

    __slots__ = ("_logger",)

    def __init__(self, name: str) -> None:
        """The logger of this name."""
        self._logger = logging.getLogger(name)

    def debug(self, message: str, *arguments: object) -> None:
        """Log at DEBUG."""
        self._write(DEBUG, message, arguments, None)

    def info(self, message: str, *arguments: object) -> None:
        """Log at INFO."""
        self._write(INFO, message, arguments, None)

    def warning(self, message: str, *arguments: object) -> None:
        """Log at WARNING."""
        self._write(WARNING, message, arguments, None)

    def error(self, message: str, *arguments: object) -> None:
        """Log at ERROR."""
        self._write(ERROR, message, arguments, None)

    def exception(self, message: str, *arguments: object) -> None:
        """Log at ERROR, with the traceback of the exception that is being handled."""
        self._write(ERROR, message, arguments, sys.exception())

    def log(self, level: int, message: str, *arguments: object, error: BaseException | None = None) -> None:
        """Log at any level, with the traceback of `error`."""
        self._write(level, message, arguments, error)

    def call(self, function: Callable[..., object], *arguments: object, failed: str = "%r failed") -> None:
        """Call a function of the application; if it raises, log `failed`, a format that takes the function."""
        try:
            function(*arguments)
        except Exception as error:
            if is_order(error):
                raise
            self._write(ERROR, failed, (function,), error)

    def last_word(
        self, message: str, *arguments: object, level: int = ERROR, error: BaseException | None = None
    ) -> None:
        """Log from the outermost function of a thread or task of ours. Raises nothing at all."""
        with suppress(BaseException):
            self._write(level, message, arguments, error)

    def _write(self, level: int, message: str, arguments: tuple[object, ...], error: BaseException | None) -> None:
        try:
            shown = None if error is None else stand_in(error)
            # `stacklevel`: the record names the line that called `warning` and the like.
            self._logger.log(level, message, *arguments, exc_info=shown, stacklevel=3)
        except Exception as raised:  # By a filter or handler of the application; there is nowhere to report it.
            if is_order(raised):
                raise
