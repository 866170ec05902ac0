"""Guarded access to the stacks of other threads, greenlets and tasks.

Before CPython 3.12 a garbage collection may begin wherever an object is made, so also while another thread's
frames are being read. A finalizer may then let that thread run: its frames disappear and the interpreter crashes,
or the thread holds a lock of the interpreter and the process hangs
(https://github.com/python/cpython/issues/106883).

So everything here is one call of a function written in C, with collection off: no other thread runs in between,
no exception is raised in between, and no frame, and nothing that a frame refers to, outlives the call. What
remains is *places*: code objects, instructions and the globals of modules.
"""

import gc
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import accumulate, chain, repeat, takewhile
from operator import attrgetter, call
from types import CodeType, FrameType
from typing import Any, TypeAlias, TypeVar
from weakref import ref

T = TypeVar("T")

#: Where a frame is: its code object, the offset of its instruction, and the globals of its module.
Place: TypeAlias = tuple[CodeType, int, Mapping[str, Any]]
#: A stack from its innermost frame outward.
Stack: TypeAlias = Sequence[Place]

#: The most frames of a stack that are read. A stack with so many places may go on.
LIMIT = 200

_BACK = ("f_back",) * (LIMIT - 1)
#: Threads whose stacks are read in one call: while it lasts, a third of a millisecond, no other thread runs.
_CHUNK = 64

_place_of = attrgetter("f_code", "f_lasti", "f_globals")


def stacks_of_threads(threads: Sequence[int]) -> list[Stack]:
    """The stacks of the threads with these identifiers; empty where there is no such thread."""
    found: list[Stack] = []
    for begin in range(0, len(threads), _CHUNK):
        found += _stacks_of(threads[begin : begin + _CHUNK])
    return found


def stacks_of_all_threads() -> dict[int, Stack]:
    """The stacks of all threads of Python, by the threads' identifiers."""
    threads = list(_identifiers())
    return dict(zip(threads, stacks_of_threads(threads), strict=True))


def stacks_of_greenlets(greenlets: Sequence["ref[Any]"]) -> list[Stack | None]:
    """The stacks of suspended greenlets; ``None`` for one that runs or has not begun, empty for one that ended."""
    frames = map(getattr, map(call, greenlets), repeat("gr_frame"), repeat(None))
    have_ended = map(getattr, map(call, greenlets), repeat("dead"), repeat(True))
    stacks, ended = _together(partial(list, _walks(frames)), partial(list, have_ended))
    return [stack or ([] if is_over else None) for stack, is_over in zip(stacks, ended, strict=True)]


def stack_of_awaited(awaited: Any) -> list[Place]:
    """The stack of a suspended coroutine: what it awaits in the end is the first, its own place the last.

    Between SQLAlchemy's ``greenlet_spawn`` and what that awaits, the frames of its greenlet are named, too.
    """
    places: list[Place] = []
    for each, place in awaiting(awaited):
        places.insert(0, place)
        if place[0].co_name == "greenlet_spawn":
            # The greenlet is a variable of the coroutine.
            for greenlet in uncollected(partial(gc.get_referents, each)):
                if hasattr(greenlet, "gr_frame"):
                    frame = map(getattr, (greenlet,), ("gr_frame",))
                    inner: list[list[Place]] = uncollected(partial(list, _walks(frame)))
                    places[:0] = inner[0]
    return places


def awaiting(awaited: Any) -> Iterator[tuple[Any, Place]]:
    """A suspended coroutine and its place, what it awaits and that one's place, and so on."""
    for _ in range(LIMIT):
        kind = kind_of(awaited)
        if kind is None:
            return
        try:
            code, instruction, names, further = uncollected(partial(_STEPS[kind], awaited))
        except AttributeError:
            return  # It has ended.
        yield awaited, (code, instruction, names)
        awaited = _behind(further) if type(further).__name__ in _OPAQUE else further


#: What a coroutine of each kind says of itself, in one call.
_STEPS = {
    kind: attrgetter(
        f"{kind}_frame.f_code", f"{kind}_frame.f_lasti", f"{kind}_frame.f_globals", f"{kind}_{further}"
    )
    for kind, further in (("cr", "await"), ("gi", "yieldfrom"), ("ag", "await"))
}
#: Of ``async for``, ``anext()`` and ``__await__()``: they have a generator or a coroutine, and do not name it.
_OPAQUE = ("async_generator_asend", "async_generator_athrow", "coroutine_wrapper")


def kind_of(awaited: Any) -> str | None:
    """The prefix of the attributes of a coroutine or generator; ``None`` for a future, which ends the chain."""
    return next((kind for kind in ("cr", "gi", "ag") if hasattr(awaited, f"{kind}_code")), None)


def _behind(awaited: Any) -> Any:
    return next((each for each in gc.get_referents(awaited) if kind_of(each) is not None), None)


def uncollected(look: Callable[[], T]) -> T:
    """Call `look`, a function written in C, with garbage collection off; see the module."""
    found: T = _together(look)[0]
    return found


def _identifiers() -> Iterable[int]:
    """The identifiers of all threads of Python."""
    frames: dict[int, FrameType] = {}
    _, threads, _ = _together(_fill(frames), partial(list, frames), frames.clear)
    found: list[int] = threads
    return found


def _stacks_of(threads: Sequence[int]) -> list[Stack]:
    frames: dict[int, FrameType] = {}
    tops = map(frames.get, threads)
    _, stacks, _ = _together(_fill(frames), partial(list, _walks(tops)), frames.clear)
    found: list[Stack] = stacks
    return found


def _walks(tops: Iterable[FrameType | None]) -> Iterator[list[Place]]:
    """The stacks that begin at these frames, read as the iterator goes on, without one instruction of Python."""
    c_map: Any = map  # Its types do not know of a class as a function.
    outward_from = c_map(accumulate, map(chain, zip(tops, strict=False), repeat(_BACK)), repeat(getattr))
    places = c_map(map, repeat(_place_of), c_map(takewhile, repeat(bool), outward_from))
    stacks: Iterator[list[Place]] = c_map(list, places)
    return stacks


def _fill(frames: dict[int, FrameType]) -> Callable[[], object]:
    """A function written in C that puts the innermost frame of each thread into `frames`."""
    return partial(list, map(frames.update, map(call, (sys._current_frames,))))


def _together(*looks: Callable[[], Any]) -> list[Any]:
    """Call functions written in C, one after the other, with garbage collection off; their results."""
    if sys.version_info >= (3, 12) or not gc.isenabled():
        return list(map(call, looks))
    calls: Any = (gc.disable, *looks, gc.enable)
    try:
        results: list[Any] = list(map(call, calls))
    except BaseException:
        gc.enable()
        raise
    return results[1:-1]
