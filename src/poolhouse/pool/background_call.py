"""A call that its caller need not wait for to the end."""

from collections.abc import Callable
from contextvars import copy_context
from typing import Generic, TypeVar

from poolhouse.pool.threads import Parker, Threads

T = TypeVar("T")


class BackgroundCall(Generic[T]):
    """A call made in a thread of its own, in the context (`contextvars`) of its caller.

    For calls that nothing can end in time, such as libpq's connecting: it counts in whole seconds, from two on,
    for each address, and looks up names for as long as that takes. If the caller stops waiting, the call itself
    must dispose of its result.
    """

    def __init__(self, call: Callable[[], T], threads: Threads, parker: Parker, name: str) -> None:
        """Begin.

        Args:
            call: What to do.
            threads: Where the thread comes from.
            parker: What is woken at the end.
            name: The thread's.
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
            # Drop this frame from the traceback: it refers to the error, a cycle that would keep all alive.
            self._error = error.with_traceback(error.__traceback__ and error.__traceback__.tb_next)
        self.is_over = True
        self._parker.unpark()

    def result(self) -> T:
        """What the call returned, once it is over; raises what it raised."""
        if self._error is None:
            return self._results[0]
        error, self._error = self._error, None
        try:
            raise error
        finally:
            del error  # See `_run`.
