"""Tasks that are cancelled at any await: nothing is lost, and no cancellation is swallowed."""

import asyncio
import itertools
import os
import random
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from poolhouse.errors import PoolTimeout
from poolhouse.pool.aio import AsyncConnectionPool
from poolhouse.pool.aio_null import AsyncNullConnectionPool
from poolhouse.pool.slot import State
from poolhouse.testing import AsyncFakeDriver, Does, FakeConnection, FakeError, VirtualClock, run

STEPS = int(os.environ.get("POOLHOUSE_SIMULATION_STEPS", "50000"))
#: Turns of the loop after which a task is cancelled. The longest course ends after 15.
#: One with a call that is slow stands still by then: its time does not pass.
TURNS = 45
Pool = AsyncConnectionPool[FakeConnection]


async def _steps(task: "asyncio.Task[Any]", count: int) -> None:
    for _ in range(count):
        if task.done():
            return
        await asyncio.sleep(0)


async def _verify(pool: Pool, driver: AsyncFakeDriver) -> None:
    """The pool serves all it may, and what it does not know is closed."""
    await asyncio.sleep(5.0)
    assert not driver.overlaps
    core = pool._core
    states = [core.state_of(slot) for slot in core.slots.values()]
    assert State.LEASED not in states, pool
    assert State.WORKING not in states, pool
    assert not core.waiters
    assert {id(conn) for conn in driver.open_connections} == set(core.slots)
    taken = [await pool.getconn(timeout=5.0) for _ in range(core.max_size or 3)]
    assert len(set(taken)) == len(taken)
    for conn in taken:
        await pool.putconn(conn)


async def _use(pool: Pool) -> None:
    async with pool.connection() as conn:
        conn.begin()
        await asyncio.sleep(0)


async def _get_and_put(pool: Pool) -> None:
    conn = await pool.getconn()
    await pool.putconn(conn)


async def _check(conn: FakeConnection) -> None:
    await asyncio.sleep(0)


GATES = [
    dict(zip(("connect", "commit", "rollback", "probe"), does, strict=True))
    for does in itertools.product(
        (Does.OK, Does.SLOW), (Does.OK, Does.ERR, Does.SLOW), (Does.OK, Does.SLOW), (Does.OK,)
    )
]


@pytest.mark.long
@pytest.mark.parametrize("client", [_use, _get_and_put], ids=lambda client: client.__name__)
@pytest.mark.parametrize("kind", [AsyncConnectionPool, AsyncNullConnectionPool], ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("gates", GATES, ids=lambda gates: "-".join(does.value for does in gates.values()))
def test_a_task_cancelled_at_any_await_loses_nothing(
    gates: dict[str, Does], kind: type[Pool], client: Callable[[Pool], Awaitable[None]]
) -> None:
    # psycopg/psycopg#509, #1208, #1275, #1345, #1401; Arfey/django-async-backend#28, #29.
    async def main(at: int) -> bool:
        driver = AsyncFakeDriver(slow_s=0.01)
        for call, does in gates.items():
            driver.always(call, does)
        is_null = kind is AsyncNullConnectionPool
        sizes = {"max_size": 2} if is_null else {"min_size": 1, "max_size": 2}
        pool = kind(driver=driver, clock=clock, open=False, check=_check, **sizes)
        await pool.open()
        task = asyncio.ensure_future(client(pool))
        await _steps(task, at)
        if not task.done() and at % 3 == 2:
            await asyncio.sleep(0.005)
        was_done = task.done()
        task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            assert not was_done
        except FakeError:
            pass
        driver.always("commit", Does.OK)
        await _verify(pool, driver)
        await pool.close()
        assert not driver.open_connections
        return was_done

    for at in range(TURNS):
        clock = VirtualClock()
        if run(main(at), clock):
            break
    else:
        # A slow call lasts for any number of turns of the loop: each of them was tried.
        assert Does.SLOW in gates.values()


@pytest.mark.long
@pytest.mark.parametrize("seed", range(max(1, STEPS // 2500)))
def test_random_clients_and_cancellations_lose_nothing(seed: int) -> None:
    randomness = random.Random(seed)
    random.seed(seed)  # The pool's own jitter.
    clock = VirtualClock()

    async def client(pool: Pool) -> None:
        try:
            async with pool.connection(timeout=randomness.choice([0, 0.01, 1.0])) as conn:
                if randomness.random() < 0.5:
                    conn.begin()
                await asyncio.sleep(randomness.choice([0, 0.001, 0.02]))
                if randomness.random() < 0.1:
                    conn.is_dead = True
                if randomness.random() < 0.1:
                    raise ZeroDivisionError
        except (PoolTimeout, ZeroDivisionError, FakeError):
            return

    async def main() -> None:
        driver = AsyncFakeDriver(slow_s=0.005)
        pool: Pool = AsyncConnectionPool(
            driver=driver,
            clock=clock,
            open=False,
            min_size=randomness.choice([1, 2]),
            max_size=3,
            check=randomness.choice([None, _check]),
            reset=randomness.choice([None, _check]),
            reset_inline=randomness.random() < 0.5,
        )
        await pool.open()
        tasks: list[asyncio.Task[None]] = []
        for _ in range(250):
            for call in ("connect", "commit", "rollback", "probe"):
                driver.always(call, randomness.choice([Does.OK, Does.OK, Does.OK, Does.SLOW, Does.ERR]))
            tasks.append(asyncio.ensure_future(client(pool)))
            if randomness.random() < 0.3:
                randomness.choice(tasks).cancel()
            if randomness.random() < 0.02:
                await pool.drain()
            await asyncio.sleep(randomness.choice([0, 0, 0.001, 0.01]))
        for call in ("connect", "commit", "rollback", "probe"):
            driver.always(call, Does.OK)
        await asyncio.gather(*tasks, return_exceptions=True)
        assert all(task.cancelled() or task.exception() is None for task in tasks)
        await _verify(pool, driver)
        await pool.close()
        assert not driver.open_connections

    run(main(), clock)
