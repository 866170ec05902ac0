"""The first step of a coroutine, taken at once: only one that waits for something needs a task to go on in.

A task and the two turns of the event loop until its end is known cost ten times as much as all the rest of a
checkout, and a check need not wait for anything.
"""

import asyncio
from asyncio import _enter_task, _leave_task, current_task
from collections.abc import Coroutine, Generator
from contextvars import Context, copy_context
from typing import Any

#: What a coroutine yields to its task: what it waits for, or ``None`` to be called again.
_Awaited = Any


class EagerTasks:
    """``begin(coroutine)`` takes the first step; if that is not all, it goes on in a task.

    `asyncio.timeout` and the like remember the task in which they begin. So there is one before the first step,
    and whatever asks is told of it. It ends in the next turn of the loop if nothing is to go on in it; until then
    it serves all who begin.
    """

    __slots__ = ("_spare",)

    def __init__(self) -> None:
        self._spare: _Spare | None = None

    def begin(self, coroutine: Coroutine[_Awaited, Any, object], loop: asyncio.AbstractEventLoop) -> "Rest | None":
        """Take the first step of a coroutine, in a copy of the caller's context.

        Args:
            coroutine: It has not begun.
            loop: The one that runs.

        Returns:
            ``None`` if that was all, else what is left. Raises what the first step raised.
        """
        caller = current_task(loop)
        # Nobody else's meanwhile: the coroutine may begin another.
        spare, self._spare = self._spare, None
        if spare is None or spare.task.done():
            spare = _Spare(loop)
        context = copy_context()
        if caller is not None:
            _leave_task(loop, caller)
        _enter_task(loop, spare.task)
        try:
            awaited = context.run(coroutine.send, None)
        except StopIteration:
            self._spare = spare
            return None
        finally:
            _leave_task(loop, spare.task)
            if caller is not None:
                _enter_task(loop, caller)
        return Rest(spare, coroutine, awaited, context)


class _Spare:
    """A task that waits for one turn of its loop for something to do."""

    __slots__ = ("task", "work")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.work: Coroutine[Any, Any, None] | None = None
        # Not by the loop's factory, which may begin it at once.
        self.task: asyncio.Task[None] = asyncio.Task(self._run(), loop=loop)

    async def _run(self) -> None:
        if self.work is not None:
            await self.work


class Rest:
    """All steps of a coroutine but the first; to be awaited in the task that `in_task` returns."""

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
            awaited._asyncio_future_blocking = False  # As a task does when it is given something to wait for.

    def in_task(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        """The task in which the first step was taken; it runs `work`, which awaits this."""
        self._spare.work = work
        return self._spare.task

    def __await__(self) -> Generator[_Awaited, Any, None]:
        """What the coroutine still yields, to the task that runs this."""
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
