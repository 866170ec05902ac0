"""The rule by which a stack tells the line that holds a connection.

It is the innermost line of the application that still runs while the connection is out:

- `Kind.PASSED` is passed over, and `Kind.LIBRARY` as long as the application stands further out. Where it does
  not, the first frame beyond the packages that are always passed over counts (`Line.is_last_resort`).
- The walk ends at a loop of asyncio: the code that started the loop does not hold what its tasks take.
- A generator that `contextlib` runs, and a method ``__enter__`` or ``__aenter__``, are *helpers*: if the
  application stands right behind, its ``with`` line holds the connection, and the helper is told beside it. If a
  library stands there, the helper's line is the best there is: what uses the connection may run on another stack.
- So are lines that looks have found to be helpers' (`SiteTable.pass_over`).
"""

from collections.abc import Container
from types import CodeType, FrameType
from typing import NamedTuple

from poolhouse.code_flags import CO_ASYNC_GENERATOR, CO_GENERATOR
from poolhouse.sites.modules import Kind, Modules, is_contextlib
from poolhouse.sites.words import site_of

#: How many frames of a stack are looked at.
LIMIT = 500

_GENERATOR = CO_GENERATOR | CO_ASYNC_GENERATOR
_ENTERS = ("__enter__", "__aenter__")
_COMPREHENSIONS = ("<listcomp>", "<setcomp>", "<dictcomp>")


class Line(NamedTuple):
    """What a walk along a stack found."""

    #: The frame of the innermost line of the application, or of its last resort; ``None`` if there is none.
    frame: FrameType | None
    #: How many frames further out than the first one it is, and the code of the frame within it.
    depth: int
    within: CodeType
    #: Whether this is no line of the application, but there is none of it on the whole stack.
    is_last_resort: bool = False
    #: How many frames further out than the first one the outermost is, and its code; ``None`` unless
    #: `is_last_resort`, or where the stack is too deep to see its end.
    outermost: tuple[int, CodeType] | None = None


def line_of(frame: FrameType, modules: Modules) -> Line:
    """The innermost line of the application on a stack, helpers included.

    Args:
        frame: The innermost frame.
        modules: Whose code is passed over.
    """
    depth, within, found = 0, frame.f_code, None
    here: FrameType | None = frame
    while here is not None and depth < LIMIT:
        kind = modules.kind_of(here)
        if kind is Kind.APPLICATION and not is_comprehension(here):
            return Line(here, depth, within)
        if kind is Kind.LIBRARY and here.f_code.co_name == "_run" and _is_of_a_loop(here):
            break  # What has begun the event loop does not hold what a task of it takes.
        if kind is Kind.LIBRARY and found is None:
            found = Line(here, depth, within, is_last_resort=True)
        within = here.f_code
        here = here.f_back
        depth += 1
    found = found or Line(None, depth, within, is_last_resort=True)
    return found if here is not None else found._replace(outermost=(depth - 1, within))


def _is_of_a_loop(frame: FrameType) -> bool:
    """Whether this is the frame in which asyncio calls what is due."""
    return frame.f_globals.get("__name__") == "asyncio.events"


def is_comprehension(frame: FrameType) -> bool:
    """Whether a frame is that of a comprehension, before CPython 3.12: what it has taken, its function has."""
    return frame.f_code.co_name in _COMPREHENSIONS


def is_helper(frame: FrameType) -> bool:
    """Whether a function of the application takes connections for its caller's ``with`` statement."""
    code = frame.f_code
    if code.co_name in _ENTERS:
        return True
    caller = frame.f_back
    return bool(code.co_flags & _GENERATOR) and caller is not None and is_contextlib(caller)


def beyond(frame: FrameType, modules: Modules, passed_over: Container[int]) -> FrameType:
    """The frame that holds what this one, of the application, takes: its own, or that of a helper's caller.

    Args:
        frame: A frame of the application.
        modules: Whose code is passed over.
        passed_over: Addresses of lines that are helpers', too.
    """
    while is_helper(frame) or id(frame.f_code) + frame.f_lasti in passed_over:
        caller = frame.f_back
        while caller is not None and is_contextlib(caller):
            caller = caller.f_back
        if caller is None or modules.kind_of(caller) is not Kind.APPLICATION:
            break
        frame = caller
    return frame


def line_in_words(frame: FrameType | None, modules: Modules) -> str:
    """The innermost line of the application on a stack, in words; empty if there is none."""
    found = None if frame is None else line_of(frame, modules).frame
    return "" if found is None else site_of(found.f_code, found.f_lasti)
