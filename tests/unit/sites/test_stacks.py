"""Other threads', greenlets' and tasks' stacks, read without keeping anything of them."""

import asyncio
import gc
import sys
import threading
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import gevent
import pytest
from sqlalchemy.util import greenlet_spawn

from poolhouse.sites.frames import (
    LIMIT,
    Stack,
    stack_of_awaited,
    stacks_of_all_threads,
    stacks_of_greenlets,
    stacks_of_threads,
)


def names(stack: Stack | None) -> list[str]:
    return [] if stack is None else [code.co_name for code, _, _ in stack]


@contextmanager
def standing(goes: Callable[[Callable[[], object]], object]) -> Iterator[threading.Thread]:
    """A thread that executes `goes` and stands still where that calls its argument."""
    is_there, is_over = threading.Event(), threading.Event()

    def stands_still() -> None:
        is_there.set()
        is_over.wait(30)

    thread = threading.Thread(target=goes, args=(stands_still,))
    thread.start()
    try:
        assert is_there.wait(30)
        yield thread
    finally:
        is_over.set()
        thread.join()


def view(then: Callable[[], object]) -> None:
    works(then)


def works(then: Callable[[], object]) -> None:
    then()


def deep(then: Callable[[], object], depth: int = 500) -> None:
    deep(then, depth - 1) if depth else then()


def test_stacks_are_read_from_inside_outward_with_lines_and_modules() -> None:
    with standing(view) as thread:
        assert thread.ident is not None
        (stack,) = stacks_of_threads([thread.ident])
    assert names(stack) == [
        "wait",
        "wait",
        "stands_still",
        "works",
        "view",
        "run",
        "_bootstrap_inner",
        "_bootstrap",
    ]
    code, instruction, module = stack[3]
    assert (code, module["__name__"]) == (works.__code__, __name__)
    assert 0 < instruction < len(code.co_code)


def test_of_many_threads_each_has_its_own_and_one_that_is_not_there_has_none() -> None:
    with standing(view) as one, standing(works) as other:
        assert one.ident
        assert other.ident
        found = stacks_of_threads([one.ident, 1, other.ident, *[2] * 200])
        everybody = stacks_of_all_threads()
    assert ["view" in names(stack) for stack in found[:3]] == [True, False, False]
    assert [len(stack) for stack in found[1:2] + found[3:]] == [0] * 201
    assert names(everybody[one.ident]) == names(found[0])
    assert "test_of_many_threads_each_has_its_own_and_one_that_is_not_there_has_none" in names(
        everybody[threading.get_ident()]
    )


def test_a_deep_stack_is_read_up_to_a_limit() -> None:
    with standing(deep) as thread:
        assert thread.ident is not None
        (stack,) = stacks_of_threads([thread.ident])
    assert len(stack) == LIMIT


class Kept:
    """Something in a function's variables."""


def test_no_frame_and_no_variable_is_kept() -> None:
    references: list[weakref.ref[Kept]] = []

    def has_something(then: Callable[[], object]) -> None:
        something = Kept()
        references.append(weakref.ref(something))
        then()

    with standing(has_something) as thread:
        assert thread.ident is not None
        gc.disable()
        found = stacks_of_threads([thread.ident]), stacks_of_all_threads()
    try:
        assert references[0]() is None
        assert found
    finally:
        gc.enable()


@pytest.mark.parametrize("is_enabled", [True, False])
def test_collection_is_as_it_was(is_enabled: bool) -> None:
    if not is_enabled:
        gc.disable()
    try:
        stacks_of_threads([threading.get_ident()])
        assert gc.isenabled() is is_enabled
    finally:
        gc.enable()


async def items() -> AsyncIterator[int]:
    await asyncio.sleep(3600)
    yield 1


class Waiting:
    """What a driver of its own kind awaits."""

    def __await__(self) -> Any:
        return asks().__await__()


async def asks() -> None:
    async for _ in items():
        return


async def handler() -> None:
    await Waiting()


async def spawns(works: Callable[[], object]) -> None:
    await greenlet_spawn(works)


def stack_within(coroutine: Any) -> Stack:
    async def main() -> Stack:
        task = asyncio.create_task(coroutine)
        await asyncio.sleep(0)
        stack = stack_of_awaited(task.get_coro())
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert stack_of_awaited(task.get_coro()) == []
        return stack

    return asyncio.run(main())


def test_of_a_task_what_it_awaits_is_named_through_generators_and_awaitables() -> None:
    assert names(stack_within(handler())) == ["sleep", "items", "asks", "handler"]


def test_of_sqlalchemys_greenlet_the_frames_are_named_too() -> None:
    from sqlalchemy.util import await_only

    def application() -> None:
        await_only(asyncio.sleep(3600))

    stack = names(stack_within(spawns(application)))
    assert stack[0] == "sleep"
    assert stack[-2:] == ["greenlet_spawn", "spawns"]
    assert "application" in stack


def test_of_greenlets_the_suspended_are_named_and_who_runs_or_is_over_is_told_apart() -> None:
    def sleeper() -> None:
        gevent.sleep(3600)

    suspended, ended, unborn = gevent.spawn(sleeper), gevent.spawn(int), gevent.Greenlet(sleeper)
    ended.join()
    running = gevent.getcurrent()
    references = [weakref.ref(each) for each in (suspended, ended, unborn, running)]
    found = stacks_of_greenlets(references)
    assert "sleeper" in names(found[0])
    assert found[1:] == [[], None, None]
    suspended.kill()
    del suspended
    gc.collect()
    assert stacks_of_greenlets(references[:1]) == [[]]


def test_this_file_runs_on_an_interpreter_with_a_lock() -> None:
    assert getattr(sys, "_is_gil_enabled", lambda: True)()
