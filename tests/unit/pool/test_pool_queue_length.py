"""Leaving the queue costs the same however long it is: a timeout, a cancellation, a refusal, in both shells.

What is counted are the lines of the pool that run and the clients in the queue that it looks at, not time.
"""

import asyncio
import sys
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from time import monotonic
from types import FrameType
from typing import Any, Self

import pytest

import poolhouse.pool
from poolhouse.errors import PoolTimeout, TooManyRequests
from poolhouse.pool.aio import AsyncConnectionPool
from poolhouse.pool.sqlalchemy import FairQueuePool, FairQueueTimeout
from poolhouse.pool.sync import ConnectionPool
from poolhouse.pool.waiter import Waiter
from poolhouse.testing import AsyncFakeDriver, FakeConnection, FakeDriver, VirtualClock, VirtualThreads, run

POOL = str(Path(poolhouse.pool.__file__).parent)
HERE = (lambda: None).__code__
#: How many wait while one leaves,
LENGTHS = (10, 1_000, 10_000)
#: and how many leave together, which takes as many steps as there are.
CROWDS = (10, 1_000)


class Steps:
    """``with Steps(core) as steps: …``, then ``steps.number``: lines of the pool, and clients looked at."""

    def __init__(self, core: Any) -> None:
        self.number = 0
        steps = self

        class Queue(OrderedDict[Waiter, None]):
            def __iter__(self) -> Iterator[Waiter]:
                for waiter in super().__iter__():
                    steps.number += 1
                    yield waiter

        core.waiters = Queue(core.waiters)
        self.number = 0

    def __enter__(self) -> Self:
        sys.settrace(self._enter)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(None)

    def _enter(self, frame: FrameType, event: str, argument: object) -> Any:
        return self._line if frame.f_code.co_filename.startswith(POOL) else None

    def _line(self, frame: FrameType, event: str, argument: object) -> Any:
        if event == "line":
            self.number += 1
        return self._line


def assert_the_same(counted: dict[int, float]) -> None:
    """The longest queue costs what the shortest does; a tenth more is for what is done once in many times."""
    assert max(counted.values()) <= counted[LENGTHS[0]] * 1.1, counted


# -- asyncio ----------------------------------------------------------------------------------------------------


def in_a_queue_of_tasks(
    length: int, body: Callable[[AsyncConnectionPool[FakeConnection], list[asyncio.Task[Any]]], Awaitable[float]]
) -> float:
    """What `body` returns, run while so many tasks wait for the only connection."""
    clock = VirtualClock()

    async def main() -> float:
        pool: AsyncConnectionPool[FakeConnection] = AsyncConnectionPool(
            driver=AsyncFakeDriver(), clock=clock, min_size=1, open=False, max_waiting=length
        )
        await pool.open(wait=True)
        held = await pool.getconn()
        tasks = [asyncio.create_task(pool.getconn()) for _ in range(length)]
        await asyncio.sleep(0.1)
        assert len(pool._core.waiters) == length
        counted = await body(pool, tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await pool.putconn(held)
        await pool.close()
        return counted

    return run(main(), clock)


async def refused(pool: AsyncConnectionPool[FakeConnection], tasks: list[asyncio.Task[Any]]) -> float:
    with Steps(pool._core) as steps, pytest.raises(TooManyRequests):
        await pool.getconn()
    return steps.number


async def cancelled(pool: AsyncConnectionPool[FakeConnection], tasks: list[asyncio.Task[Any]]) -> float:
    task = tasks[len(tasks) // 2]
    with Steps(pool._core) as steps:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    return steps.number


async def all_cancelled(pool: AsyncConnectionPool[FakeConnection], tasks: list[asyncio.Task[Any]]) -> float:
    with Steps(pool._core) as steps:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return steps.number / len(tasks)


async def all_timed_out(pool: AsyncConnectionPool[FakeConnection], tasks: list[asyncio.Task[Any]]) -> float:
    with Steps(pool._core) as steps:
        ends = await asyncio.gather(*tasks, return_exceptions=True)
    assert {type(end) for end in ends} == {pool._errors.timeout}
    return steps.number / len(tasks)


async def one_of_many_timed_out(
    pool: AsyncConnectionPool[FakeConnection], tasks: list[asyncio.Task[Any]]
) -> float:
    tasks[0].cancel()
    await asyncio.sleep(0.1)
    with Steps(pool._core) as steps, pytest.raises(PoolTimeout):
        await pool.getconn(timeout=1.0)
    return steps.number


@pytest.mark.long
@pytest.mark.parametrize("end", [refused, cancelled, one_of_many_timed_out])
def test_a_task_leaves_a_long_queue_in_as_few_steps_as_a_short_one(end: Any) -> None:
    assert_the_same({length: in_a_queue_of_tasks(length, end) for length in LENGTHS})


@pytest.mark.parametrize("end", [all_cancelled, all_timed_out])
def test_many_tasks_leave_together_in_as_few_steps_each_as_a_few(end: Any) -> None:
    assert_the_same({length: in_a_queue_of_tasks(length, end) for length in CROWDS})


def test_a_task_whose_deadline_is_one_of_many_different_ones_ends_in_as_few_steps() -> None:
    """Each deadline rings on its own: nobody looks at those that are not due."""

    def counted(length: int) -> float:
        clock = VirtualClock()

        async def main() -> float:
            pool: AsyncConnectionPool[FakeConnection] = AsyncConnectionPool(
                driver=AsyncFakeDriver(), clock=clock, min_size=1, open=False
            )
            await pool.open(wait=True)
            held = await pool.getconn()
            # 7,919 is prime, so no two are the same, and they are in no order.
            timeouts = [10.0 + number * 7919 % length / length for number in range(length)]
            tasks = [asyncio.create_task(pool.getconn(timeout=timeout)) for timeout in timeouts]
            await asyncio.sleep(0.1)
            with Steps(pool._core) as steps:
                await asyncio.gather(*tasks, return_exceptions=True)
            await pool.putconn(held)
            await pool.close()
            return steps.number / length

        return run(main(), clock)

    assert_the_same({length: counted(length) for length in CROWDS})


def test_deadlines_of_tasks_that_were_served_do_not_gather() -> None:
    clock = VirtualClock()

    async def main() -> None:
        pool: AsyncConnectionPool[FakeConnection] = AsyncConnectionPool(
            driver=AsyncFakeDriver(), clock=clock, min_size=1, open=False
        )
        await pool.open(wait=True)

        async def client() -> None:
            async with pool.connection(timeout=3600.0):
                await asyncio.sleep(0)

        for _ in range(50):
            await asyncio.gather(*(client() for _ in range(20)))
        # 20 can wait at a time: twice as many and a constant rest of those that have been served may be kept.
        assert len(pool._alarm._deadlines) <= 200
        await pool.close()

    run(main(), clock)


# -- Threads ----------------------------------------------------------------------------------------------------


def in_a_queue_of_threads(length: int, body: Callable[[ConnectionPool[FakeConnection]], float]) -> float:
    """What `body` returns, run while so many clients wait for the only connection."""
    threads = VirtualThreads(VirtualClock())
    counted: list[float] = []

    def main() -> None:
        driver = FakeDriver(threads.sleep, threads.parker)
        pool: ConnectionPool[FakeConnection] = ConnectionPool(
            min_size=1,
            driver=driver,
            clock=threads.clock,
            threads=threads,
            open=True,
            max_waiting=length if body is thread_refused else 0,
        )
        held = pool.getconn()
        threads.sleep(1.0)
        waiters = [Waiter(lambda: None, HERE, 0, 0, threads.clock.monotonic()) for _ in range(length)]
        for waiter in waiters:
            pool._core_lock(pool._core.request, waiter, threads.clock.monotonic())
        threads.sleep(1.0)
        counted.append(body(pool))
        assert len(pool._core.waiters) == length
        for waiter in waiters:
            pool._core_lock(pool._core.time_out, waiter, threads.clock.monotonic())
        pool.putconn(held)
        pool.close()

    threads.run(main)
    return counted[0]


def thread_refused(pool: ConnectionPool[FakeConnection]) -> float:
    with Steps(pool._core) as steps, pytest.raises(TooManyRequests):
        pool.getconn()
    return steps.number


def thread_timed_out(pool: ConnectionPool[FakeConnection]) -> float:
    with Steps(pool._core) as steps, pytest.raises(PoolTimeout):
        pool.getconn(timeout=0.5)
    return steps.number


def thread_interrupted(pool: ConnectionPool[FakeConnection]) -> float:
    """KeyboardInterrupt, or a time limit, while it sleeps in the queue."""

    class Interrupted:
        def unpark(self) -> None: ...

        def park(self, timeout: float | None) -> bool:
            raise KeyboardInterrupt

    class Threads:
        def parker(self) -> Any:
            return Interrupted()

    threads, pool._threads = pool._threads, Threads()  # type: ignore[assignment]
    try:
        with Steps(pool._core) as steps, pytest.raises(KeyboardInterrupt):
            pool.getconn()
    finally:
        pool._threads = threads
    return steps.number


@pytest.mark.parametrize("end", [thread_refused, thread_timed_out, thread_interrupted])
def test_a_thread_leaves_a_long_queue_in_as_few_steps_as_a_short_one(end: Any) -> None:
    assert_the_same({length: in_a_queue_of_threads(length, end) for length in LENGTHS})


# -- FairQueuePool ----------------------------------------------------------------------------------------------


def test_a_client_of_fair_queue_pool_leaves_a_long_queue_in_as_few_steps_as_a_short_one() -> None:
    def counted(length: int) -> float:
        pool = FairQueuePool(object, pool_size=1, max_overflow=0, timeout=0.001, reset_on_return=None)
        held = pool._do_get()
        for _ in range(length):
            waiter = Waiter(lambda: None, HERE, 0, 0, monotonic())
            pool._lock(pool._core.request, waiter, waiter.since)
        with Steps(pool._core) as steps, pytest.raises(FairQueueTimeout):
            pool._do_get()
        assert pool.waiting() == length
        del held
        return steps.number

    assert_the_same({length: counted(length) for length in LENGTHS})


# -- Wrong returns ----------------------------------------------------------------------------------------------


def test_a_connection_of_nobody_that_is_given_back_makes_nobody_look_at_the_whole_pool() -> None:
    threads = VirtualThreads(VirtualClock())

    def main() -> None:
        driver = FakeDriver(threads.sleep, threads.parker)
        pool: ConnectionPool[FakeConnection] = ConnectionPool(
            min_size=3, driver=driver, clock=threads.clock, threads=threads, open=True
        )
        pool.wait()
        conn = pool.getconn()
        pool.putconn(conn)
        recovered: list[str] = []
        profiled = sys.getprofile()
        sys.setprofile(
            lambda frame, event, _: recovered.append(event) if "recover" in frame.f_code.co_name else None
        )
        try:
            for wrong in (conn, FakeConnection(0)):
                with pytest.raises(ValueError, match="can't return connection"):
                    pool.putconn(wrong)
        finally:
            sys.setprofile(profiled)
        assert not recovered
        assert not pool._core_lock.is_struck
        assert not pool._core_lock._unfinished
        pool.close()

    threads.run(main)
