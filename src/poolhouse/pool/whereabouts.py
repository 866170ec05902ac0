"""Where the thread or task that holds a connection is now."""

import asyncio
import gc
import sys
import threading
from collections.abc import Callable
from functools import partial
from types import FrameType
from typing import Any
from weakref import ref

from poolhouse.code_flags import CO_OPTIMIZED
from poolhouse.pool.slot import Lease
from poolhouse.sites.frames import awaiting, stack_of_awaited, stacks_of_threads, uncollected
from poolhouse.sites.words import site_of

#: The most calls that the sentence names.
DEPTH = 5
#: The most frames that are searched for the line that took the connection.
LIMIT = 100
#: References to the copy of a frame's variables if only the frame and `_has_variable` refer to it: the frame, a
#: name, and the argument of `getrefcount`.
_MINE_AND_THE_FRAMES = 3


def where_now(lease: Lease, *, is_task: bool = False) -> str:
    """Where the holder of a connection is now, in words, with the calls since the line that took it.

    Args:
        lease: The lease of a connection that is out.
        is_task: Whether the holder is a task of the running event loop; else it is a thread.

    Returns:
        For example ``MainThread is now at python3.13/ssl.py:1104 in SSLSocket.read, called from app/mail.py:12 in
        send, called from app/views.py:90 in checkout_cart``; empty if the holder cannot be found.
    """
    # A checkout that did not wait does not record its holder: recording makes every checkout a tenth dearer.
    holder = lease[4].holder if lease[4] is not None else _found(lease, is_task=is_task)
    if isinstance(holder, ref):
        holder = holder()
    if holder is None:
        return ""
    if isinstance(holder, int):
        name = next((thread.name for thread in threading.enumerate() if thread.ident == holder), "a thread")
        (stack,) = stacks_of_threads([holder])
    else:
        name, stack = holder.get_name(), stack_of_awaited(holder.get_coro())
    places = [(code, instruction) for code, instruction, _ in stack]
    if not places:
        return ""
    codes = [code for code, _ in places]
    if lease[2] in codes:
        del places[codes.index(lease[2]) + 1 :]
        # Calls in the middle are mostly a library's; those next to the checkout are the application's.
        del places[1 : 1 - DEPTH]
    return f"{name} is now at {', called from '.join(site_of(*place) for place in places[:DEPTH])}"


def _found(lease: Lease, *, is_task: bool) -> Any:
    """The thread's identifier, or the task, that holds the connection; ``None`` unless exactly one qualifies.

    It is the one that still runs the function that took the connection. If none or several do, it is the one that
    has the connection among its variables.
    """
    holders: list[Any] = _tasks() if is_task else [thread.ident for thread in threading.enumerate()]
    is_in_code, has_conn = (_awaits, _task_has) if is_task else (_executes, _thread_has)
    in_code = [holder for holder in holders if is_in_code(holder, lease[2])]
    if len(in_code) == 1:
        return in_code[0]
    conn = lease[0].conn
    with_conn = [] if conn is None else [holder for holder in in_code or holders if has_conn(holder, conn)]
    return with_conn[0] if len(with_conn) == 1 else None


def _tasks() -> "list[asyncio.Task[Any]]":
    try:
        return list(asyncio.all_tasks())
    except RuntimeError:
        return []  # The event loop is closed; its pool is not.


def _awaits(task: "asyncio.Task[Any]", code: object) -> bool:
    return any(place[0] is code for _, place in awaiting(task.get_coro()))


def _task_has(task: "asyncio.Task[Any]", conn: object) -> bool:
    # A coroutine that is suspended refers to its variables.
    return any(variable is conn for each, _ in awaiting(task.get_coro()) for variable in gc.get_referents(each))


def _executes(thread: int, code: object) -> bool:
    return _any_frame(thread, lambda frame: frame.f_code is code)


def _thread_has(thread: int, conn: object) -> bool:
    return _any_frame(thread, partial(_has_variable, conn))


def _any_frame(thread: int, is_it: Callable[[FrameType], bool]) -> bool:
    # A generator, or a variable that refers to a frame at the end, would be a cycle if this is the current thread.
    frame = _frame_of_thread(thread)
    for _ in range(LIMIT):
        if frame is None or is_it(frame):
            break
        frame = uncollected(partial(getattr, frame, "f_back"))
    found, frame = frame is not None and is_it(frame), None
    return found


def _has_variable(conn: object, frame: FrameType) -> bool:
    if not frame.f_code.co_flags & CO_OPTIMIZED or str(frame.f_globals.get("__name__")).startswith("poolhouse."):
        return False  # The frame of a module, of a class, or of the pool itself.
    variables = uncollected(partial(getattr, frame, "f_locals"))
    found = any(variable is conn for variable in list(variables.values()))
    # Before CPython 3.13 the frame keeps this copy, which would keep objects alive that the function drops later.
    # Nobody else refers to the copy unless the function has called `locals()`.
    if isinstance(variables, dict) and sys.getrefcount(variables) <= _MINE_AND_THE_FRAMES:
        variables.clear()
    return found


def _frame_of_thread(number: int) -> FrameType | None:
    """The frame that the thread with this identifier executes now; ``None`` if there is no such thread."""
    frames = uncollected(sys._current_frames)
    try:
        return frames.get(number)
    finally:
        frames.clear()  # It contains this function's own frame.
