"""One timer serves all tasks that wait: each is told at its own deadline, whatever the order of the deadlines."""

import asyncio

import pytest

from poolhouse.errors import PoolTimeout
from poolhouse.pool.aio import AsyncConnectionPool
from poolhouse.testing import AsyncFakeDriver, FakeConnection, VirtualClock, run


def in_a_full_pool(body) -> None:
    """Run `body` with a pool whose only connection is out."""
    clock = VirtualClock()

    async def main() -> None:
        pool: AsyncConnectionPool[FakeConnection] = AsyncConnectionPool(
            driver=AsyncFakeDriver(), clock=clock, min_size=1, open=False
        )
        await pool.open(wait=True)
        held = await pool.getconn()
        await body(pool, clock, held)
        await pool.close()

    run(main(), clock)


def test_each_waiting_task_ends_at_its_own_deadline() -> None:
    async def body(pool, clock, held) -> None:
        began, told = clock.monotonic(), {}

        async def client(timeout: float) -> None:
            with pytest.raises(PoolTimeout):
                await pool.getconn(timeout=timeout)
            told[timeout] = clock.monotonic() - began

        await asyncio.gather(*map(client, [30.0, 1.0, 10.0, 0.5, 10.0, 20.0]))
        assert told == {timeout: pytest.approx(timeout, abs=1e-6) for timeout in (0.5, 1.0, 10.0, 20.0, 30.0)}

    in_a_full_pool(body)


def test_who_is_served_before_its_deadline_leaves_those_that_wait_behind_it_theirs() -> None:
    async def body(pool, clock, held) -> None:
        began = clock.monotonic()
        first = asyncio.create_task(pool.getconn(timeout=1.0))
        await asyncio.sleep(0.1)
        second = asyncio.create_task(pool.getconn(timeout=5.0))
        await asyncio.sleep(0.1)
        await pool.putconn(held)
        assert await first is held
        with pytest.raises(PoolTimeout):
            await second
        assert clock.monotonic() - began == pytest.approx(5.1, abs=1e-6)

    in_a_full_pool(body)


def test_an_alarm_that_nobody_needs_is_not_left_in_the_loop() -> None:
    async def body(pool, clock, held) -> None:
        waiting = asyncio.create_task(pool.getconn(timeout=3600.0))
        await asyncio.sleep(0.1)
        await pool.putconn(held)
        await pool.putconn(await waiting)
        await pool.close()
        timers = [timer for timer in asyncio.get_running_loop()._scheduled if not timer.cancelled()]
        assert not timers

    in_a_full_pool(body)
