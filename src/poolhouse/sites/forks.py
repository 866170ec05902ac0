"""The line of the application that forked this process."""

import os
import sys
from contextlib import suppress
from types import CodeType, FrameType
from typing import TypeAlias

from poolhouse.sites.modules import Kind, modules_of

#: A code object, and the offset of an instruction in it.
Line: TypeAlias = tuple[CodeType, int]

#: The line that forks, of each thread that does; and the one that forked this process, under the only key.
_forking: dict[int, Line] = {}
_forked: dict[None, Line] = {}


def line() -> Line | None:
    """The line that forked this process; ``None`` if it was not forked, or if that is not known."""
    return _forked.get(None)


def _before() -> None:
    with suppress(Exception):
        outer: FrameType | None = sys._getframe(1)
        found: Line | None = None
        while outer is not None and found is None:
            if modules_of().kind_of(outer) is Kind.APPLICATION:
                found = outer.f_code, outer.f_lasti
            outer = outer.f_back
        _forking.clear()
        if found is not None:
            _forking[0] = found


def _in_child() -> None:
    _forked.clear()
    if 0 in _forking:
        _forked[None] = _forking.pop(0)


os.register_at_fork(before=_before, after_in_child=_in_child)
