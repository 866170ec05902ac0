"""Stopping a thread before each opcode of the pool in turn, to let something else happen there."""

import dis
import gc
import inspect
import sys
import threading
from collections.abc import Callable
from functools import cache
from importlib import import_module
from itertools import pairwise
from types import CodeType, FrameType
from typing import Any, Self

#: What changes nothing and sees nothing that can change but what its own function changes.
_LOADS = frozenset(
    (
        "RESUME", "NOP", "PUSH_NULL", "COPY", "SWAP", "KW_NAMES", "COPY_FREE_VARS",
        "LOAD_CONST", "LOAD_FAST", "LOAD_FAST_LOAD_FAST", "LOAD_GLOBAL",
    )
)  # fmt: skip
#: What runs in a client's thread, unless a test names other modules.
_MODULES = ("sync", "sync_clients", "sync_waiting", "fast_path", "state", "requests")
_TOOL = 4


class AtOpcode:
    """Calls `act` once, before the n-th opcode that the pool executes in this thread where `may_act`.

    By `sys.settrace`; on CPython 3.13, where that does not tell every opcode, by `sys.monitoring`.
    """

    def __init__(
        self,
        at: int,
        act: Callable[[], object],
        may_act: Callable[[], bool] = lambda: True,
        modules: tuple[str, ...] = _MODULES,
    ) -> None:
        self.has_acted = False
        self._codes = _codes(modules)
        self._passed_over = _passed_over(modules)
        self._left = at
        self._act = act
        self._may_act = may_act
        self._thread = 0

    def __enter__(self) -> Self:
        self._thread = threading.get_ident()
        # A collection in the middle of what makes frame objects for the tracer is not what is tried here.
        gc.disable()
        if sys.version_info >= (3, 13):
            monitoring = sys.monitoring
            monitoring.use_tool_id(_TOOL, "opcodes")
            monitoring.register_callback(_TOOL, monitoring.events.INSTRUCTION, self._instruction)
            for code in self._codes:
                monitoring.set_local_events(_TOOL, code, monitoring.events.INSTRUCTION)
        else:
            # CPython 3.12 looks when tracing begins whether any frame wants opcodes.
            sys._getframe().f_trace_opcodes = True
            sys.settrace(self._enter)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def _stop(self) -> None:
        gc.enable()
        if sys.version_info < (3, 13):
            sys.settrace(None)
        elif sys.monitoring.get_tool(_TOOL) is not None:
            for code in self._codes:
                sys.monitoring.set_local_events(_TOOL, code, 0)
            sys.monitoring.register_callback(_TOOL, sys.monitoring.events.INSTRUCTION, None)
            sys.monitoring.free_tool_id(_TOOL)

    def _enter(self, frame: FrameType, event: str, argument: object) -> Any:
        if id(frame.f_code) not in self._passed_over:
            return None
        frame.f_trace_lines = False
        frame.f_trace_opcodes = True
        return self._step

    def _step(self, frame: FrameType, event: str, argument: object) -> Any:
        if event == "opcode" and frame.f_lasti not in self._passed_over[id(frame.f_code)]:
            self._count()
        return self._step

    def _instruction(self, code: CodeType, at: int) -> None:
        if threading.get_ident() == self._thread and at not in self._passed_over[id(code)]:
            self._count()

    def _count(self) -> None:
        if self.has_acted or not self._may_act():
            return
        if self._left == 0:
            self.has_acted = True
            self._stop()
            self._act()
        self._left -= 1


@cache
def alike(code: CodeType) -> frozenset[int]:
    """The offsets of instructions before which nothing need happen: it would be the same before a neighbour.

    They load what only their own function changes, and the same handler, or none, protects the next instruction.
    And a call is two opcodes on CPython 3.11, the first for the second; there no thread can be stopped. Whoever
    executes the same call between them may have it specialized, and the second does not fit the first.
    """
    entries = dis.Bytecode(code).exception_entries

    def handler(offset: int) -> object:
        return next(((each.target, each.depth) for each in entries if each.start <= offset < each.end), None)

    instructions = list(dis.get_instructions(code))
    loads = {
        one.offset
        for one, following in pairwise(instructions)
        if one.opname in _LOADS and handler(one.offset) == handler(following.offset)
    }
    has_halves = "PRECALL" in dis.opmap
    return frozenset(loads | {each.offset for each in instructions if has_halves and each.opname == "CALL"})


@cache
def _codes(modules: tuple[str, ...]) -> frozenset[CodeType]:
    """The code of every function of the classes in these modules of `poolhouse.pool`."""
    names = [f"poolhouse.pool.{name}" for name in modules]
    classes = [each for name in names for each in vars(import_module(name)).values() if inspect.isclass(each)]
    functions = [
        function
        for each in classes
        if each.__module__ in names
        for function in vars(each).values()
        if inspect.isfunction(function)
    ]
    return frozenset(function.__code__ for function in functions)


@cache
def _passed_over(modules: tuple[str, ...]) -> dict[int, frozenset[int]]:
    """By the id of each code, where nothing need happen. To compare codes costs more than to count."""
    return {id(code): alike(code) for code in _codes(modules)}
