"""A call that its caller may stop waiting for."""

from collections.abc import Callable
from contextvars import copy_context
from functools import partial
from typing import Generic, TypeVar

from poolhouse.pool.reused_threads import ReusedThreads
from poolhouse.pool.threads import Parker

T = TypeVar("T")


class BackgroundCall(Generic[T]):
    """A call made in another thread, in the context (`contextvars`) of its caller.

    For calls that nothing can end in time, such as libpq's connect: its timeout is in whole seconds, at least two,
    for each address, and name resolution takes as long as it takes. If the caller stops waiting, the call itself
    must dispose of its result.
    """

    def __init__(self, call: Callable[[], T], threads: ReusedThreads, parker: Parker, name: str) -> None:
        """Start the call.

        Args:
            call: The function to call.
            threads: The pool's threads for such calls.
            parker: Woken at the end.
            name: The thread's name.
        """
        self.is_over = False
        self._call = call
        self._results: list[T] = []
        self._error: BaseException | None = None
        context = copy_context()
        threads.start(partial(context.run, self._run), parker.unpark, name)

    def _run(self) -> None:
        try:
            self._results.append(self._call())
        except BaseException as error:
            # Drop this frame from the traceback: it refers to the error, and the cycle would keep everything
            # alive.
            self._error = error.with_traceback(error.__traceback__ and error.__traceback__.tb_next)
        self.is_over = True

    def result(self) -> T:
        """The return value of the call, once it has ended; raises what the call raised."""
        if self._error is None:
            return self._results[0]
        error, self._error = self._error, None
        try:
            raise error
        finally:
            del error  # See `_run`.
