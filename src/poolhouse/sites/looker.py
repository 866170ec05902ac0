"""One look at the holders of all pools: their stacks are read, and what their connections do is counted.

Most holders are known: a thread, a task, a greenlet. The rest are searched: a connection of ours that was taken
without waiting is held by some thread, or some task of its loop, that runs the function that took it.
"""

import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from itertools import takewhile
from typing import Any, NamedTuple
from weakref import ref

from poolhouse.sites.frames import (
    LIMIT,
    Place,
    Stack,
    stack_of_awaited,
    stacks_of_all_threads,
    stacks_of_greenlets,
    stacks_of_threads,
)
from poolhouse.sites.look import Hold, frames_of, judge, line_of
from poolhouse.sites.modules import Kind, modules_of
from poolhouse.sites.roles import Frames, runs_a_loop
from poolhouse.sites.seen import Seen
from poolhouse.sites.stalls import remember, thread_of
from poolhouse.sites.tally import PoolLooks

#: The most holders examined in one look; if there are more, they take turns.
MOST_HOLDERS = 64
#: The most tasks that are searched for a function; if a loop has more, nothing is known.
MOST_TASKS = 1_000


class Holding(NamedTuple):
    """The connections that are out of a pool, and its waiting callers."""

    holds: Sequence[Hold] = ()
    waiting: int = 0


class Looker:
    """Examines holders. For one thread."""

    def __init__(self) -> None:
        kind = modules_of().kind
        self._facts_of = Frames(lambda code, names: kind(code, names) is Kind.APPLICATION).of
        self._turn = 0

    def look(self, pools: Iterable[tuple[PoolLooks, Holding]], elapsed_s: float) -> bool:
        """Take one look, and count the results. Returns whether a connection is out or a caller waits.

        Args:
            pools: The pools to examine, with their counts.
            elapsed_s: The time that this look represents, in seconds.
        """
        holds: list[Hold] = []
        is_anything_out = False
        for looks, holding in pools:
            looks.count(len(holding.holds), holding.waiting)
            is_anything_out = is_anything_out or bool(holding.holds or holding.waiting)
            for hold in holding.holds:
                hold.looks.held_s += elapsed_s
            holds += holding.holds
        if holds:
            self._look_at(holds)
        return is_anything_out

    def line_of_loop(self, thread: int) -> Place | None:
        """The innermost line of the application that this thread's event loop runs; ``None`` if there is none."""
        (stack,) = stacks_of_threads([thread])
        inside = list(takewhile(lambda place: not runs_a_loop(place), stack))
        return line_of(inside, self._facts_of(inside).applications, len(inside))

    def _look_at(self, holds: list[Hold]) -> None:
        by_holder: dict[Any, list[Hold]] = {}
        for each in holds:
            # Those of one function without a known holder are searched together. A task has one reference only,
            # which has no hash once it is dead.
            holder = each.holder
            key = holder if isinstance(holder, int) else (id(holder or each.loop), holder is None and each.code)
            by_holder.setdefault(key, []).append(each)
        threads: dict[int, list[Hold]] = {}
        greenlets: list[tuple[ref[Any], list[Hold]]] = []
        unknown: list[list[Hold]] = []
        for theirs in self._in_turn(list(by_holder.values())):
            holder = theirs[0].holder
            if isinstance(holder, int):
                threads[holder] = theirs
            elif holder is None:
                unknown.append(theirs)
            elif hasattr(holder(), "gr_frame"):
                greenlets.append((holder, theirs))
            else:
                with suppress(Exception):  # Tasks may be of any class.
                    self._look_at_task(holder, theirs)
        if threads:
            for thread, stack in zip(threads, stacks_of_threads(list(threads)), strict=True):
                self._look_at_thread(stack, threads[thread])
        if greenlets:
            for own, (_, theirs) in zip(
                stacks_of_greenlets([one for one, _ in greenlets]), greenlets, strict=True
            ):
                self._look_at_greenlet(own, theirs)
        if unknown:
            self._search(unknown, threads)

    def _in_turn(self, holders: list[list[Hold]]) -> list[list[Hold]]:
        if len(holders) <= MOST_HOLDERS:
            return holders
        begin = self._turn % len(holders)
        self._turn = begin + MOST_HOLDERS
        return (holders + holders)[begin : begin + MOST_HOLDERS]

    def _judged(self, stack: Stack, theirs: list[Hold], *, is_whole: bool = True) -> list[Seen]:
        is_whole = is_whole and len(stack) < LIMIT
        return judge(stack, theirs, self._facts_of, is_whole=is_whole)

    def _count(self, theirs: list[Hold], seen: list[Seen]) -> None:
        for hold, one in zip(theirs, seen, strict=True):
            hold.looks.count(one)

    def _look_at_thread(self, stack: Stack, theirs: list[Hold]) -> None:
        if not stack and _has_greenlets():
            return  # It claims to be a thread, but is a greenlet to which there is no reference.
        for hold in theirs:
            # It was taken in the loop's own thread.
            if hold.loop is not None and (loop := hold.loop()) is not None and isinstance(hold.holder, int):
                remember(loop, hold.holder)
        # A synchronous engine in a coroutine: while that awaits, it is on no thread's stack.
        suspended = {
            hold.code for hold in theirs if hold.loop is not None and not any(p[0] is hold.code for p in stack)
        }
        here = [each for each in theirs if each.code not in suspended]
        self._count(here, self._judged(stack, here))
        for code in suspended:
            self._search_tasks([each for each in theirs if each.code is code])

    def _look_at_greenlet(self, stack: Stack | None, theirs: list[Hold]) -> None:
        if stack is not None:
            self._count(theirs, self._judged(stack, theirs))
            return
        self._spread(theirs, stacks_of_all_threads().values(), is_whole=False)  # It runs, or it has not begun.

    def _look_at_task(self, reference: "ref[Any]", theirs: list[Hold]) -> None:
        task = reference()
        if task is None or task.done():
            self._count(theirs, self._judged((), theirs))
            return
        stack, is_whole = _stack_of_task(task)
        self._count(theirs, self._judged(stack, theirs, is_whole=is_whole))

    def _search(self, unknown: list[list[Hold]], known: dict[int, Any]) -> None:
        stacks: list[Stack] | None = None
        for theirs in unknown:
            if theirs[0].loop is not None:
                self._search_tasks(theirs)
                continue
            if stacks is None:
                stacks = [stack for thread, stack in stacks_of_all_threads().items() if thread not in known]
            self._spread(theirs, stacks, is_whole=not _has_greenlets())

    def _search_tasks(self, theirs: list[Hold]) -> None:
        reference = theirs[0].loop
        loop = None if reference is None else reference()
        tasks = [] if loop is None else _tasks_of(loop)
        if tasks is None:
            return
        stacks = [_stack_of_task(task)[0] for task in tasks]
        self._spread(theirs, stacks, is_whole=True)

    def _spread(self, theirs: list[Hold], stacks: Iterable[Stack], *, is_whole: bool) -> None:
        """Give connections of one function to the stacks that run it, the youngest first, and judge them there."""
        left = sorted(theirs, key=lambda each: -each.since)
        for stack in stacks:
            if not left:
                return
            code, facts = left[0].code, self._facts_of(stack)
            if code is None or id(code) not in facts.codes:
                continue
            room: dict[int, int] = {}
            here: list[Hold] = []
            for each in left:
                instruction = each.instruction
                if instruction not in room:
                    room[instruction] = len(frames_of(stack, facts.codes, code, instruction, facts.asking))
                if room[instruction]:
                    room[instruction] -= 1
                    here.append(each)
            taken = set(map(id, here))
            left = [each for each in left if id(each) not in taken]
            self._count(here, self._judged(stack, here))
        if is_whole:
            self._count(left, self._judged((), left))


def _has_greenlets() -> bool:
    """Whether gevent or eventlet has replaced threads by greenlets, of which there is no list."""
    gevent: Any = sys.modules.get("gevent.monkey")
    eventlet: Any = sys.modules.get("eventlet.patcher")
    is_by_gevent = gevent is not None and gevent.is_module_patched("threading")
    return bool(is_by_gevent or (eventlet is not None and eventlet.is_monkey_patched("thread")))


def _tasks_of(loop: Any) -> list[Any] | None:
    """The tasks of a loop; ``None`` if there are too many, or they cannot be listed."""
    asyncio: Any = sys.modules["asyncio"]
    with suppress(RuntimeError):
        tasks = list(asyncio.all_tasks(loop))
        return tasks if len(tasks) <= MOST_TASKS else None
    return None


def _stack_of_task(task: Any) -> tuple[Stack, bool]:
    """The stack of a task, and whether it is complete."""
    asyncio: Any = sys.modules["asyncio"]
    coroutine, loop = task.get_coro(), task.get_loop()
    remember(loop, getattr(loop, "_thread_id", None) or 0)
    if asyncio.current_task(loop) is not task:
        return stack_of_awaited(coroutine), True
    thread = thread_of(ref(loop)) or getattr(loop, "_thread_id", None)
    if thread is None:
        return (), False
    (stack,) = stacks_of_threads([thread])
    # A running greenlet of SQLAlchemy hides the frames of the one that started it.
    code = getattr(coroutine, "cr_code", None)
    return stack, any(place[0] is code for place in stack)
