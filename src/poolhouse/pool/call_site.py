"""Which line of the application asked SQLAlchemy for a connection.

Between that line and the pool lie frames of SQLAlchemy, of our instrumentation, and, in ``with engine.begin()``,
of `contextlib`. The names of their modules identify them.
"""

import sys
from importlib import import_module
from types import CodeType, FrameType
from typing import Any, TypeAlias

#: Frames between `CallSites.find` and `Pool.connect`: as many in every version of SQLAlchemy.
_DEPTH = 4
_PACKAGES = ("sqlalchemy", "contextlib")
_MODULES = ("poolhouse.instrumentation.watch",)

#: A code object and the offset of an instruction in it. The frame itself must not be kept: it would keep all
#: variables of its function alive.
CallSite: TypeAlias = tuple[CodeType, int]

_getframe = sys._getframe


class CallSites:
    """Finds the call sites of the checkouts of one pool.

    Walking all frames in between takes half a microsecond, so the last result is tried first: the frame at that
    depth may be at the same instruction, or at least be called through the same function of SQLAlchemy, as most
    checkouts of a program are. (If a listener of the application uses SQLAlchemy at that very depth, the result is
    the line that caused the event.)
    """

    __slots__ = ("_depth", "_outermost", "_site")

    def __init__(self) -> None:
        self._depth = _DEPTH + 1
        self._outermost: CodeType | None = None
        self._site: tuple[CodeType | None, int] = None, 0

    def find(self) -> CallSite | None:
        """The call site; `FairQueuePool._do_get` itself must call this.

        Returns:
            ``None`` if the application is not on the stack of this thread or greenlet.
        """
        try:
            depth, site = self._depth, self._site
            caller = _getframe(depth)
            if caller.f_code is site[0] and caller.f_lasti == site[1]:
                return site  # type: ignore[return-value]  # it has a code
            if _getframe(depth - 1).f_code is self._outermost and not _is_between[caller.f_globals["__name__"]]:
                self._site = found = caller.f_code, caller.f_lasti
                return found
        except (KeyError, ValueError):
            pass  # The module has no name, or the stack is not that deep.
        return self._search()

    def _search(self) -> CallSite | None:
        depth = _DEPTH
        frame = _getframe(depth + 1)
        while (caller := frame.f_back) is not None:
            depth += 1
            if not is_between(caller):
                self._depth, self._outermost = depth, frame.f_code
                self._site = found = caller.f_code, caller.f_lasti
                return found
            frame = caller
        return None


class TaskCallSites:
    """Finds call sites where SQLAlchemy runs in a greenlet that the application's task has started.

    The application may run in the greenlet too (``run_sync``), so the stack of the greenlet is searched first.
    Usually the application is not on it, and its outermost function is the same as last time.
    """

    __slots__ = ("_bottom", "_bottom_code", "_getcurrent", "_hops", "_inside", "_outermost", "_site")

    def __init__(self) -> None:
        # Any: greenlet has no types. Imported here, because where asyncio is not used it need not be installed.
        greenlet: Any = import_module("greenlet")
        self._getcurrent = greenlet.getcurrent
        self._inside = CallSites()
        self._bottom = 0
        self._bottom_code: CodeType | None = None
        #: Frames between the one that started the greenlet and the application's.
        self._hops = 0
        self._outermost: CodeType | None = None
        self._site: tuple[CodeType | None, int] = None, 0

    def find(self) -> CallSite | None:
        """The call site; ``None`` if neither the greenlet nor the task that started it runs application code."""
        try:
            bottom = None if self._bottom_code is None else _getframe(self._bottom)
        except ValueError:
            bottom = None  # The stack is not that deep.
        if bottom is None or bottom.f_code is not self._bottom_code or bottom.f_back is not None:
            if (found := self._inside.find()) is not None:
                return found
            self._bottom, self._bottom_code = _bottom()
        parent = self._getcurrent().parent
        started: FrameType | None = None if parent is None else parent.gr_frame
        frame, below, site = started, None, self._site
        for _ in range(self._hops):
            below, frame = frame, None if frame is None else frame.f_back
        if frame is not None and frame.f_code is site[0] and frame.f_lasti == site[1]:
            return site  # type: ignore[return-value]  # it has a code
        if frame is None or below is None or below.f_code is not self._outermost or is_between(frame):
            frame, below, self._hops = started, None, 0
            while frame is not None and is_between(frame):
                below, frame = frame, frame.f_back
                self._hops += 1
            if frame is None:
                return None
            self._outermost = None if below is None else below.f_code
        self._site = found = frame.f_code, frame.f_lasti
        return found


def _bottom() -> tuple[int, CodeType]:
    """The distance from the caller to the outermost frame of this greenlet, and that frame's code."""
    depth, frame = 0, _getframe(1)
    while (caller := frame.f_back) is not None:
        depth, frame = depth + 1, caller
    return depth, frame.f_code


def is_between(frame: FrameType) -> bool:
    """Whether a frame lies between the application and the pool."""
    return _is_between[frame.f_globals.get("__name__")]


class _Modules(dict[Any, bool]):
    """Whether a module's functions lie between the application and the pool, by its name."""

    def __missing__(self, name: Any) -> bool:
        # SQLAlchemy 1.4 generates functions without a module at run time.
        self[name] = name is None or str(name).partition(".")[0] in _PACKAGES or name in _MODULES
        return self[name]


_is_between = _Modules()
