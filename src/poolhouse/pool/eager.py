"""The first step of a coroutine, taken at once: only one that waits for something needs a task to go on in.

A task, and the two turns of the event loop until its end is known, cost ten times as much as the rest of a
checkout, and many checks wait for nothing.
"""

import asyncio
import sys
from collections.abc import Coroutine, Generator
from contextvars import Context, copy_context
from typing import Any

#: What a coroutine yields to its task: an awaited future, or ``None`` to be called again in the next turn.
_Awaited = Any

if sys.version_info >= (3, 12):
    from asyncio.tasks import _swap_current_task
else:
    #: The current task of each loop.
    _current: "dict[asyncio.AbstractEventLoop, asyncio.Task[Any]]"
    _current = asyncio.tasks._current_tasks  # type: ignore[attr-defined]

    def _swap_current_task(
        loop: asyncio.AbstractEventLoop, task: "asyncio.Task[Any] | None"
    ) -> "asyncio.Task[Any] | None":
        """Make a task, or none, the loop's current one. Returns the one before. asyncio has it from 3.12 on."""
        before = _current.get(loop)
        if task is None:
            _current.pop(loop, None)
        else:
            _current[loop] = task
        return before


class EagerTasks:
    """``begin(coroutine)`` takes the first step; only an unfinished coroutine continues in a task.

    `asyncio.timeout` and the like remember the current task. So a task exists before the first step and poses as
    the current one during it. It ends in the next turn of the loop unless a coroutine continues in it; until then
    it serves every first step.
    """

    __slots__ = ("_spare",)

    def __init__(self) -> None:
        self._spare: _Spare | None = None

    def begin(self, coroutine: Coroutine[_Awaited, Any, object], loop: asyncio.AbstractEventLoop) -> "Rest | None":
        """Take the first step of a coroutine, in a copy of the caller's context.

        Args:
            coroutine: A coroutine that has not started.
            loop: The running event loop.

        Returns:
            ``None`` if the coroutine has finished, else the rest of it. Raises what the first step raised.
        """
        # Take the spare task exclusively: the coroutine may itself begin another.
        spare, self._spare = self._spare, None
        if spare is None or spare.task.done():
            spare = _Spare(loop)
        context = copy_context()
        caller = _swap_current_task(loop, spare.task)
        try:
            awaited = context.run(coroutine.send, None)
        except StopIteration:
            self._spare = spare
            return None
        finally:
            _swap_current_task(loop, caller)
        return Rest(spare, coroutine, awaited, context)


class _Spare:
    """A task that waits one turn of its loop for a coroutine to continue."""

    __slots__ = ("task", "work")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.work: Coroutine[Any, Any, None] | None = None
        # Not made by the loop's task factory, which may start it at once.
        self.task: asyncio.Task[None] = asyncio.Task(self._run(), loop=loop)

    async def _run(self) -> None:
        if self.work is not None:
            await self.work


class Rest:
    """A coroutine after its first step; to be awaited in the task that `in_task` returns."""

    __slots__ = ("_awaited", "_context", "_coroutine", "_is_future", "_spare")

    def __init__(
        self, spare: _Spare, coroutine: Coroutine[_Awaited, Any, object], awaited: _Awaited, context: Context
    ) -> None:
        self._spare = spare
        self._coroutine = coroutine
        self._awaited = awaited
        self._context = context
        self._is_future = bool(getattr(awaited, "_asyncio_future_blocking", False))
        if self._is_future:
            awaited._asyncio_future_blocking = False  # A task does the same with a future that it waits for.

    def in_task(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        """The task in which the first step was taken; it runs `work`, which awaits this."""
        self._spare.work = work
        return self._spare.task

    def __await__(self) -> Generator[_Awaited, Any, None]:
        """Pass on everything that the coroutine still yields to the task that runs this."""
        awaited = self._awaited
        if self._is_future:
            awaited._asyncio_future_blocking = True
        while True:
            value, thrown = None, None
            try:
                value = yield awaited
            except BaseException as error:
                thrown = error
            try:
                awaited = (
                    self._context.run(self._coroutine.send, value)
                    if thrown is None
                    else self._context.run(self._coroutine.throw, thrown)
                )
            except StopIteration:
                return
            finally:
                del thrown  # It refers to this frame.


async def all_of(rest: Rest) -> None:
    """The rest, as a coroutine for a task."""
    await rest
