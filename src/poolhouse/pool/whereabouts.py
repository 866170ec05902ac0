"""Where the thread or task that holds a connection is now."""

import asyncio
import gc
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from inspect import CO_OPTIMIZED
from itertools import islice
from operator import call
from types import FrameType
from typing import Any, TypeVar
from weakref import ref

from poolhouse.pool.holders import site_of
from poolhouse.pool.slot import Lease

T = TypeVar("T")

#: The most calls that the sentence names.
DEPTH = 5
#: The most frames that are searched for the line that took the connection.
LIMIT = 100
#: References to the copy of a frame's variables if only the frame and `_has_variable` refer to it: the frame, a
#: name, and the argument of `getrefcount`.
_MINE_AND_THE_FRAMES = 3


def where_now(lease: Lease, *, is_task: bool = False) -> str:
    """Where the holder is, in words, with the calls between that line and the one that took the connection.

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
        frames = list(islice(_outward(_frame_of_thread(holder)), LIMIT))
    else:
        name, frames = holder.get_name(), _awaiting(holder.get_coro())[::-1]
    places = [(frame.f_code, frame.f_lasti) for frame in frames]
    # The list may contain this function's own frame: the cycle would keep every variable of these frames alive.
    frames.clear()
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
    return any(getattr(each, f"{_kind(each)}_code") is code for each in _awaited(task.get_coro()))


def _task_has(task: "asyncio.Task[Any]", conn: object) -> bool:
    # A coroutine that is suspended refers to its variables.
    return any(variable is conn for each in _awaited(task.get_coro()) for variable in gc.get_referents(each))


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
        frame = _uncollected(partial(getattr, frame, "f_back"))
    found, frame = frame is not None and is_it(frame), None
    return found


def _has_variable(conn: object, frame: FrameType) -> bool:
    if not frame.f_code.co_flags & CO_OPTIMIZED or str(frame.f_globals.get("__name__")).startswith("poolhouse."):
        return False  # The frame of a module, of a class, or of the pool itself.
    variables = _uncollected(partial(getattr, frame, "f_locals"))
    found = any(variable is conn for variable in list(variables.values()))
    # Before CPython 3.13 the frame keeps this copy, which would keep objects alive that the function drops later.
    # Nobody else refers to the copy unless the function has called `locals()`.
    if isinstance(variables, dict) and sys.getrefcount(variables) <= _MINE_AND_THE_FRAMES:
        variables.clear()
    return found


def _outward(frame: FrameType | None) -> Iterator[FrameType]:
    """A frame, its caller, and so on."""
    while frame is not None:
        yield frame
        frame = _uncollected(partial(getattr, frame, "f_back"))


def _awaiting(awaited: Any) -> list[FrameType]:
    """The frame of a suspended coroutine, the frame of what it awaits, and so on."""
    return [getattr(each, f"{_kind(each)}_frame") for each in _awaited(awaited)]


def _awaited(awaited: Any) -> Iterator[Any]:
    """A suspended coroutine, what it awaits, and so on."""
    while (kind := _kind(awaited)) is not None and getattr(awaited, f"{kind}_frame") is not None:
        yield awaited
        awaited = getattr(awaited, "gi_yieldfrom" if kind == "gi" else f"{kind}_await")


def _kind(awaited: Any) -> str | None:
    """The prefix of the attributes of a coroutine or generator; ``None`` for a future, which ends the chain."""
    return next((kind for kind in ("cr", "gi", "ag") if hasattr(awaited, f"{kind}_frame")), None)


def _frame_of_thread(number: int) -> FrameType | None:
    """The frame that the thread with this identifier executes now; ``None`` if there is no such thread."""
    frames = _uncollected(sys._current_frames)
    try:
        return frames.get(number)
    finally:
        frames.clear()  # It contains this function's own frame.


def _uncollected(look: Callable[[], T]) -> T:
    """Call `look`, a function written in C, with garbage collection off.

    Before CPython 3.12 a collection may begin wherever an object is made, so also while another thread's frames
    are being read. A finalizer may then let that thread run: its frames disappear and the interpreter crashes, or
    the thread holds a lock of the interpreter and the process hangs. `map` makes the three calls in C: no other
    thread runs in between, and no exception is raised in between.

    Source: https://github.com/python/cpython/issues/106883
    """
    if sys.version_info >= (3, 12) or not gc.isenabled():
        return look()
    calls: Any = (gc.disable, look, gc.enable)
    try:
        results: list[Any] = list(map(call, calls))
    except BaseException:
        gc.enable()
        raise
    found: T = results[1]
    return found
