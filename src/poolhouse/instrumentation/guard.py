"""Keeps our errors out of the application: each kind is logged once.

Exceptions that order the application to stop pass through, as `poolhouse.safely` says.
"""

import functools
import sys
from collections.abc import Callable
from typing import ParamSpec

from poolhouse.report.log import log
from poolhouse.safely import ERROR, Log, is_order

_logger = Log("poolhouse.instrumentation")

#: The kinds that this process has already logged.
_logged: set[str] = set()

P = ParamSpec("P")


def report(kind: str) -> None:
    """Log the exception that is being handled, for the first of its kind in this process.

    An order to stop is raised again.
    """
    error = sys.exception()
    try:
        if error is not None and is_order(error):
            raise error
        if kind not in _logged:
            _logged.add(kind)
            log(
                ERROR,
                "poolhouse failed to measure a pool (%s); the pool itself is not affected, its figures may be "
                "wrong",
                kind,
                error=error,
                logger=_logger,
            )
    except (RecursionError, MemoryError):
        return  # Nothing is left to log it with.


def guarded(function: Callable[P, None]) -> Callable[P, None]:
    """The same function, except that an exception in it is logged and not raised."""

    @functools.wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            function(*args, **kwargs)
        except Exception:
            report(function.__name__)

    return run
