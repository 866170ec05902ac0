"""The first step of a coroutine is taken at once; the others are a task's, as if all had been its own."""

import asyncio
from collections.abc import Coroutine
from contextvars import ContextVar
from typing import Any

import pytest

from poolhouse.pool.eager import EagerTasks, Rest

_who: ContextVar[str] = ContextVar("who", default="nobody")


async def _whole(rest: Rest) -> None:
    await rest


def _begin(tasks: EagerTasks, coroutine: Coroutine[Any, Any, object]) -> "asyncio.Task[None] | None":
    rest = tasks.begin(coroutine, asyncio.get_running_loop())
    return None if rest is None else rest.in_task(_whole(rest))


def test_what_waits_for_nothing_is_done_at_once_and_leaves_no_task() -> None:
    async def main() -> None:
        tasks, done = EagerTasks(), []

        async def work() -> None:
            done.append(asyncio.current_task())

        assert [_begin(tasks, work()) for _ in range(3)] == [None] * 3
        assert len(set(done)) == 1, "one task served them all"
        assert asyncio.current_task() not in done
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert _begin(tasks, work()) is None
        assert len(set(done)) == 2, "the next turn of the loop has one of its own"

    asyncio.run(main())


def test_what_the_first_step_raises_is_raised() -> None:
    async def main() -> None:
        me = asyncio.current_task()

        async def work() -> None:
            raise ZeroDivisionError

        tasks = EagerTasks()
        with pytest.raises(ZeroDivisionError):
            _begin(tasks, work())
        assert asyncio.current_task() is me

    asyncio.run(main())


def test_what_waits_goes_on_in_the_task_in_which_it_began() -> None:
    async def main() -> None:
        seen: list[object] = []

        async def work() -> None:
            seen.append(asyncio.current_task())
            await asyncio.sleep(0)
            seen.append(asyncio.current_task())
            await asyncio.sleep(0.001)
            seen.append(asyncio.current_task())

        task = _begin(EagerTasks(), work())
        assert task is not None
        await task
        assert seen == [task] * 3

    asyncio.run(main())


def test_a_time_limit_that_began_in_the_first_step_ends_the_work_and_not_its_caller() -> None:
    async def main() -> None:
        async def work() -> None:
            async with asyncio.timeout(0.001):
                await asyncio.Event().wait()

        task = _begin(EagerTasks(), work())
        assert task is not None
        with pytest.raises(TimeoutError):
            await task

    asyncio.run(main())


def test_a_cancellation_reaches_the_work() -> None:
    async def main() -> None:
        ended: list[str] = []

        async def work() -> None:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                ended.append("cancelled")
                await asyncio.sleep(0)
                ended.append("and cleaned up")
                raise

        task = _begin(EagerTasks(), work())
        assert task is not None
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        assert ended == ["cancelled", "and cleaned up"]

    asyncio.run(main())


def test_each_has_a_copy_of_the_context_in_which_it_was_begun() -> None:
    async def main() -> None:
        tasks, seen = EagerTasks(), []

        async def work() -> None:
            seen.append(_who.get())
            _who.set(f"the work of {_who.get()}")
            await asyncio.sleep(0)
            seen.append(_who.get())

        async def client(name: str) -> None:
            _who.set(name)
            task = _begin(tasks, work())
            assert task is not None
            assert _who.get() == name
            await task

        await asyncio.gather(client("one"), client("two"))
        assert sorted(seen) == ["one", "the work of one", "the work of two", "two"]

    asyncio.run(main())


def test_work_may_begin_other_work() -> None:
    async def main() -> None:
        tasks, ended = EagerTasks(), []

        async def inner() -> None:
            await asyncio.sleep(0)
            ended.append("inner")

        async def outer() -> None:
            task = _begin(tasks, inner())
            assert task is not None
            await task
            ended.append("outer")

        task = _begin(tasks, outer())
        assert task is not None
        await task
        assert ended == ["inner", "outer"]

    asyncio.run(main())


def test_two_may_wait_for_the_same_future() -> None:
    async def main() -> None:
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        ended: list[int] = []

        async def work() -> None:
            ended.append(await future)

        tasks = [_begin(EagerTasks(), work()), asyncio.ensure_future(work()), _begin(EagerTasks(), work())]
        asyncio.get_running_loop().call_later(0.001, future.set_result, 7)
        await asyncio.gather(*[task for task in tasks if task is not None])
        assert ended == [7, 7, 7]

    asyncio.run(main())


def test_a_callback_of_the_loop_may_begin_what_it_cannot_await() -> None:
    async def main() -> None:
        loop, begun = asyncio.get_running_loop(), loop_future()

        async def work() -> None:
            await asyncio.sleep(0)

        loop.call_soon(lambda: begun.set_result(_begin(EagerTasks(), work())))
        task = await begun
        assert task is not None
        await task

    def loop_future() -> "asyncio.Future[asyncio.Task[None] | None]":
        return asyncio.get_running_loop().create_future()

    asyncio.run(main())


def test_what_cannot_be_awaited_is_told_to_the_task() -> None:
    class Strange:
        def __await__(self) -> Any:
            yield "nothing that ever ends"

    async def main() -> None:
        async def work() -> None:
            await Strange()

        task = _begin(EagerTasks(), work())
        assert task is not None
        with pytest.raises(RuntimeError, match="bad yield"):
            await task

    asyncio.run(main())
