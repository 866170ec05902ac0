"""Pools of asyncio engines: what is told against what the driver has open."""

import asyncio
import gc
import warnings
from collections.abc import AsyncIterator, Callable

import pytest
from sqlalchemy import event, text
from sqlalchemy.exc import DisconnectionError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool, NullPool, StaticPool
from sqlalchemy.util import greenlet_spawn

from poolhouse.meter.reading import Counters, Gauges
from support.asyncio_runs import run as run_to_the_end
from support.sqlalchemy_truth import Measured

Steps = AsyncIterator[tuple[int, int]]
SELECT = text("SELECT 1")
QUEUE = {"poolclass": AsyncAdaptedQueuePool, "pool_size": 2, "max_overflow": 1, "pool_timeout": 0.01}


def measured(**options: object) -> Measured:
    return Measured(create_async_engine, "sqlite+aiosqlite://", **options)


async def connect_select_close(m: Measured) -> Steps:
    async with m.engine.connect() as connection:
        await connection.execute(SELECT)
        yield 1, 0
    yield 0, 0


async def begin_block(m: Measured) -> Steps:
    async with m.engine.begin() as connection:
        await connection.execute(SELECT)
        yield 1, 0
    yield 0, 0


async def invalidate(m: Measured) -> Steps:
    connection = await m.engine.connect()
    await connection.invalidate()
    yield 0, 0
    await connection.close()
    async with m.engine.connect():
        yield 1, 0
    yield 0, 0


async def detach_and_close(m: Measured) -> Steps:
    connection = await m.engine.connect()
    await connection.run_sync(lambda sync: sync.detach())
    yield 0, 1
    async with m.engine.connect():
        yield 1, 1
    await connection.close()
    yield 0, 0


async def refused_connect(m: Measured) -> Steps:
    with m.truth.down(), pytest.raises(OperationalError):
        await m.engine.connect()
    yield 0, 0
    async with m.engine.connect():
        yield 1, 0
    yield 0, 0


async def checkout_listener_that_raises_disconnection_once(m: Measured) -> Steps:
    await (await m.engine.connect()).close()
    errors = [DisconnectionError()]

    def refuse(*args: object) -> None:
        if errors:
            raise errors.pop()

    event.listen(m.sync_engine, "checkout", refuse)
    async with m.engine.connect():
        yield 1, 0
    yield 0, 0


async def overflow_returned(m: Measured) -> Steps:
    taken = [await m.engine.connect() for _ in range(3)]
    yield 3, 0
    for connection in taken:
        await connection.close()
    yield 0, 0


async def timeout(m: Measured) -> Steps:
    taken = [await m.engine.connect() for _ in range(3)]
    with pytest.raises(PoolTimeoutError):
        await m.engine.connect()
    yield 3, 0
    for connection in taken:
        await connection.close()
    yield 0, 0


async def dispose_with_one_checked_out(m: Measured) -> Steps:
    connection, pool = await m.engine.connect(), m.engine.pool
    await m.engine.dispose()
    yield 1, 0
    await connection.close()
    yield 0, 0
    await greenlet_spawn(pool.dispose)
    yield 0, 0


async def two_tasks_on_one_connection(m: Measured) -> Steps:
    """Trap 1. Trap 2. In memory, SQLite's only connection serves both."""
    async with m.engine.connect():  # Two tasks at once would open one each.
        pass
    both_hold, finished = asyncio.Barrier(3), asyncio.Event()

    async def work() -> None:
        async with m.engine.connect() as connection:
            await connection.execute(SELECT)
            await both_hold.wait()
            await finished.wait()

    async with asyncio.TaskGroup() as tasks:
        for _ in range(2):
            tasks.create_task(work())
        await both_hold.wait()
        yield 1, 0
        finished.set()
    yield 0, 0


SCENARIOS: list[tuple[Callable[[Measured], Steps], dict[str, object]]] = [
    *(
        (scenario, QUEUE)
        for scenario in (
            connect_select_close,
            begin_block,
            invalidate,
            detach_and_close,
            refused_connect,
            checkout_listener_that_raises_disconnection_once,
            overflow_returned,
            timeout,
            dispose_with_one_checked_out,
        )
    ),
    (connect_select_close, {"poolclass": NullPool}),
    (invalidate, {"poolclass": NullPool}),
    (two_tasks_on_one_connection, {"poolclass": StaticPool}),
    (two_tasks_on_one_connection, {}),
]


def _name(value: object) -> str:
    return value.__name__ if callable(value) else getattr(value.get("poolclass"), "__name__", "default")  # type: ignore[attr-defined]


@pytest.mark.parametrize(("scenario", "options"), SCENARIOS, ids=_name)
def test_gauges_are_what_the_driver_has_open(scenario: Callable[[Measured], Steps], options: dict[str, object]):
    async def run() -> None:
        m = measured(**options)
        async for used, detached in scenario(m):
            reading = m.read()
            assert reading.gauges == Gauges(m.truth.open - used - detached, used, detached, 0)
            assert reading.counters.connects == m.truth.opened
            assert reading.counters.disconnects == m.truth.ended
        await m.engine.dispose()
        assert m.read().gauges == Gauges(idle=m.truth.open)

    run_to_the_end(run())


def test_a_connection_that_a_task_dropped_is_not_told_any_more():
    async def run() -> None:
        m = measured(**QUEUE)
        taken = [await m.engine.connect()]
        assert m.read().gauges == Gauges(used=1)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # SQLAlchemy and aiosqlite tell the application of its mistake.
            taken.clear()
            gc.collect()
        reading = m.read()
        assert (reading.gauges.used, reading.gauges.idle) == (0, 0)
        assert reading.use is not None
        assert reading.use.count == 1
        await m.engine.dispose()

    run_to_the_end(run())


def test_waiting_tasks_are_seen_and_cancelled_ones_leave():
    async def run() -> None:
        m = measured(poolclass=AsyncAdaptedQueuePool, pool_size=1, max_overflow=0, pool_timeout=30)

        async def work() -> None:
            async with m.engine.connect():
                pass

        async with m.engine.connect():
            tasks = [asyncio.create_task(work()) for _ in range(5)]
            await asyncio.sleep(0)  # Each runs until it waits.
            assert m.read().gauges == Gauges(used=1, waiting=5)
            for task in tasks[:3]:
                task.cancel()
            await asyncio.wait(tasks[:3])
            assert m.read().gauges == Gauges(used=1, waiting=2)
        await asyncio.wait(tasks)
        reading = m.read()
        assert reading.gauges == Gauges(idle=1)
        assert reading.peak.waiting == 5
        assert reading.counters == Counters(checkouts=3, connects=1, acquire_errors=3)
        await m.engine.dispose()

    run_to_the_end(run())


def test_a_task_whose_patience_ends_first_is_an_error_and_no_timeout_of_the_pool():
    async def run() -> None:
        m = measured(poolclass=AsyncAdaptedQueuePool, pool_size=1, max_overflow=0, pool_timeout=30)
        async with m.engine.connect():
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01):
                    await m.engine.connect()
        assert m.read().counters == Counters(checkouts=1, connects=1, acquire_errors=1)
        await m.engine.dispose()

    run_to_the_end(run())


def test_many_tasks_are_counted_exactly():
    async def run() -> None:
        m = measured(poolclass=AsyncAdaptedQueuePool, pool_size=2, max_overflow=2, pool_timeout=30)

        async def work() -> None:
            for _ in range(10):
                async with m.engine.begin() as connection:
                    await connection.execute(SELECT)

        async with asyncio.TaskGroup() as tasks:
            for _ in range(20):
                tasks.create_task(work())
        reading = m.read()
        assert reading.counters == Counters(
            checkouts=200,
            connects=m.truth.opened,
            disconnects=m.truth.ended,
            commits=200,
            transactions=200,
        )
        assert reading.use is not None
        assert reading.wait is not None
        assert reading.use.count == reading.wait.count == 200
        assert reading.peak.used == 4
        await m.engine.dispose()

    run_to_the_end(run())
