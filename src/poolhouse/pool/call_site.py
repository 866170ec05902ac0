"""Which line of the application asked SQLAlchemy for a connection.

Between that line and the pool lie frames of SQLAlchemy, of our instrumentation, and of `contextlib` where it was
``with engine.begin()``. They are told by the names of their modules.
"""

import sys
from importlib import import_module
from types import CodeType, FrameType
from typing import Any, TypeAlias

#: The frames from `CallSites.find` to `Pool.connect`: the same number in every version of SQLAlchemy.
_DEPTH = 4
_PACKAGES = ("sqlalchemy", "contextlib")
_MODULES = ("poolhouse.instrumentation.watch",)

#: The code object, and the offset of the instruction in it: of a frame, what may be kept. The frame itself would
#: keep all variables of its function alive.
CallSite: TypeAlias = tuple[CodeType, int]

_getframe = sys._getframe


class CallSites:
    """Finds the call sites of the checkouts of one pool.

    To make all frames in between costs half a microsecond, so what was found last is tried first: whether the
    frame at that depth is at the very same place; else, whether the same function of SQLAlchemy lies below it,
    which most checkouts of a program have in common. (If a listener of the application's uses SQLAlchemy at just
    that depth, the line is told that caused the event.)
    """

    __slots__ = ("_depth", "_outermost", "_site")

    def __init__(self) -> None:
        self._depth = _DEPTH + 1
        self._outermost: CodeType | None = None
        self._site: tuple[CodeType | None, int] = None, 0

    def find(self) -> CallSite | None:
        """The call site; to be called by `FairQueuePool._do_get` itself.

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
            pass  # The module has no name; the stack is not so deep.
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
    """The same where SQLAlchemy runs in a greenlet of its own, and the application is where that was started.

    The application may be in the greenlet as well (``run_sync``), so its stack is looked at first. Mostly there is
    nothing of the application in it, and its outermost function is the same as last time.
    """

    __slots__ = ("_bottom", "_bottom_code", "_getcurrent", "_hops", "_inside", "_outermost", "_site")

    def __init__(self) -> None:
        # Any: greenlet has no types. Imported here, because where asyncio is not used it need not be installed.
        greenlet: Any = import_module("greenlet")
        self._getcurrent = greenlet.getcurrent
        self._inside = CallSites()
        self._bottom = 0
        self._bottom_code: CodeType | None = None
        #: How many frames lie between the one that started the greenlet and the application's.
        self._hops = 0
        self._outermost: CodeType | None = None
        self._site: tuple[CodeType | None, int] = None, 0

    def find(self) -> CallSite | None:
        """See `CallSites.find`."""
        try:
            bottom = None if self._bottom_code is None else _getframe(self._bottom)
        except ValueError:
            bottom = None  # The stack is not so deep.
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
    """How far from its caller the outermost frame of this greenlet is, and its code."""
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
        # SQLAlchemy 1.4 has functions without a module, which it writes at run time.
        self[name] = name is None or str(name).partition(".")[0] in _PACKAGES or name in _MODULES
        return self[name]


_is_between = _Modules()
