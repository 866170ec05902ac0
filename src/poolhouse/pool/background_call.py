"""A call that its caller may stop waiting for."""

from collections.abc import Callable
from contextvars import copy_context
from typing import Generic, TypeVar

from poolhouse.pool.threads import Parker, Threads

T = TypeVar("T")


class BackgroundCall(Generic[T]):
    """A call made in a thread of its own, in the context (`contextvars`) of its caller.

    For calls that nothing can end in time, such as libpq's connect: its timeout is in whole seconds, at least two,
    for each address, and name resolution takes as long as it takes. If the caller stops waiting, the call itself
    must dispose of its result.
    """

    def __init__(self, call: Callable[[], T], threads: Threads, parker: Parker, name: str) -> None:
        """Start the call.

        Args:
            call: The function to call.
            threads: Starts the thread.
            parker: Woken at the end.
            name: The thread's name.
        """
        self.is_over = False
        self._call = call
        self._parker = parker
        self._results: list[T] = []
        self._error: BaseException | None = None
        context = copy_context()
        threads.start(lambda: context.run(self._run), name)

    def _run(self) -> None:
        try:
            self._results.append(self._call())
        except BaseException as error:
            # Drop this frame from the traceback: it refers to the error, and the cycle would keep everything
            # alive.
            self._error = error.with_traceback(error.__traceback__ and error.__traceback__.tb_next)
        self.is_over = True
        self._parker.unpark()

    def result(self) -> T:
        """The return value of the call, once it has ended; raises what the call raised."""
        if self._error is None:
            return self._results[0]
        error, self._error = self._error, None
        try:
            raise error
        finally:
            del error  # See `_run`.
