"""Where the thread or task that holds a connection is now."""

import gc
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from operator import call
from types import FrameType
from typing import Any, TypeVar

from poolhouse.pool.holders import site_of
from poolhouse.pool.slot import Lease

T = TypeVar("T")

#: How many calls are told of at most.
DEPTH = 5
#: How far up the calls the line is looked for that took the connection.
LIMIT = 100


def where_now(lease: Lease) -> str:
    """Where the holder is, in words, and by which calls it got there from where it took the connection.

    Returns:
        For example ``MainThread is now at python3.13/ssl.py:1104 in SSLSocket.read, called from app/mail.py:12 in
        send, called from app/views.py:90 in checkout_cart``; empty if it cannot be told.
    """
    holder = lease[4].holder if lease[4] is not None else None
    if holder is None:
        return ""
    if isinstance(holder, int):
        name = next((thread.name for thread in threading.enumerate() if thread.ident == holder), "a thread")
        frames = list(islice(_outward(_frame_of_thread(holder)), LIMIT))
    else:
        name, frames = holder.get_name(), _awaiting(holder.get_coro())[::-1]
    places = [(frame.f_code, frame.f_lasti) for frame in frames]
    # One of them may be this function's: a cycle would keep all that is in any of them.
    frames.clear()
    if not places:
        return ""
    codes = [code for code, _ in places]
    if lease[2] in codes:
        del places[codes.index(lease[2]) + 1 :]
        # What is between is mostly a library's; the lines next to the checkout are the application's.
        del places[1 : 1 - DEPTH]
    return f"{name} is now at {', called from '.join(site_of(*place) for place in places[:DEPTH])}"


def _outward(frame: FrameType | None) -> Iterator[FrameType]:
    """A frame, its caller, and so on."""
    while frame is not None:
        yield frame
        frame = _uncollected(partial(getattr, frame, "f_back"))


def _awaiting(awaited: Any) -> list[FrameType]:
    """The frame of a coroutine that is suspended, of what it awaits, and so on."""
    frames: list[FrameType] = []
    while awaited is not None:
        # A coroutine, a generator, an asynchronous generator; a future has none, and is the end.
        kind = next((kind for kind in ("cr", "gi", "ag") if hasattr(awaited, f"{kind}_frame")), None)
        if kind is None or (frame := getattr(awaited, f"{kind}_frame")) is None:
            break
        frames.append(frame)
        awaited = getattr(awaited, "gi_yieldfrom" if kind == "gi" else f"{kind}_await")
    return frames


def _frame_of_thread(number: int) -> FrameType | None:
    """What the thread of this number executes now; ``None`` if there is none."""
    frames = _uncollected(sys._current_frames)
    try:
        return frames.get(number)
    finally:
        frames.clear()  # This very frame is among them.


def _uncollected(look: Callable[[], T]) -> T:
    """What `look`, a function without any Python in it, returns; no garbage is collected before it does.

    Before CPython 3.12 a collection may begin wherever an object is made, and so in the middle of a look at
    another thread. A finalizer lets that thread run on: what is looked at is gone, and the interpreter crashes; or
    it holds a lock of the interpreter, and the whole process stops. So `map` calls the three in one go, in which
    no other thread gets its turn and no exception strikes.

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
