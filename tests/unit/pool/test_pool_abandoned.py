"""Blocks that are entered and never left: their connections come back though nobody returns them."""

import asyncio
import gc
import sys
from contextlib import AsyncExitStack, ExitStack

import pytest

from poolhouse.pool import AsyncConnectionPool, ConnectionPool
from poolhouse.pool.requests import ABANDONED_PAUSE
from poolhouse.pool.slot import Lease, Slot, abandoned
from poolhouse.testing import AsyncFakeDriver, Does, FakeConnection, FakeDriver, VirtualClock, VirtualThreads, run
from support.pool_shells import async_connection_class

CODE = sys._getframe().f_code


def _lease(*, is_block: bool) -> Lease:
    return (Slot(0), 0.0, CODE, 0, None, is_block)


def test_a_lease_is_abandoned_when_only_the_pool_still_refers_to_it() -> None:
    leases = {1: _lease(is_block=True), 2: _lease(is_block=True)}
    kept = leases[1]
    assert [lease is leases[2] for lease in abandoned(leases)] == [True]
    assert kept is leases[1]
    del kept
    assert len(abandoned(leases)) == 2


def test_who_takes_a_connection_without_a_block_need_not_keep_the_lease() -> None:
    assert not abandoned({1: _lease(is_block=False)})


def _entered(pool: ConnectionPool[FakeConnection]) -> ExitStack:
    stack = ExitStack()
    stack.enter_context(pool.connection())
    return stack


def test_a_waiting_client_is_given_the_connection_of_a_block_that_is_no_more() -> None:
    """It waits already when the block is dropped; a long hold that was warned of is no reason to keep it."""
    threads = VirtualThreads(VirtualClock())
    waited: list[float] = []

    def main() -> None:
        driver = FakeDriver(threads.sleep, threads.parker)
        pool = ConnectionPool(
            min_size=1, driver=driver, clock=threads.clock, threads=threads, open=True, hold_warning=2.0
        )
        pool.wait()
        block = _entered(pool)

        def client() -> None:
            with pool.connection(timeout=60.0):
                waited.append(threads.clock.monotonic() - dropped_at[0])

        dropped_at = [0.0]
        threads.start(client, "client", is_daemon=False)
        threads.sleep(5.0)
        dropped_at[0] = threads.clock.monotonic()
        del block
        threads.sleep(5.0)
        assert pool.get_stats()["requests_num"] == 2
        pool.close()
        assert not driver.open_connections

    threads.run(main)
    assert len(waited) == 1
    assert waited[0] <= ABANDONED_PAUSE + 1e-6


def test_the_block_of_a_client_that_had_to_wait_is_found_too() -> None:
    threads = VirtualThreads(VirtualClock())

    def main() -> None:
        driver = FakeDriver(threads.sleep, threads.parker)
        pool = ConnectionPool(min_size=1, driver=driver, clock=threads.clock, threads=threads, open=True)
        pool.wait()
        blocks: list[ExitStack] = []
        first = pool.getconn()
        threads.start(lambda: blocks.append(_entered(pool)), "client", is_daemon=False)
        threads.sleep(1.0)
        pool.putconn(first)
        threads.sleep(1.0)
        assert len(blocks) == 1
        blocks.clear()
        pool.putconn(pool.getconn(timeout=1.0))
        pool.close()

    threads.run(main)


def test_a_task_is_given_the_connection_of_a_block_that_is_no_more() -> None:
    clock = VirtualClock()

    async def main() -> float:
        async with AsyncConnectionPool(
            connection_class=async_connection_class(), min_size=1, open=False, clock=clock
        ) as pool:
            await pool.wait()
            stack = AsyncExitStack()
            await stack.enter_async_context(pool.connection())
            client = asyncio.ensure_future(pool.getconn(timeout=60.0))
            await asyncio.sleep(5.0)
            began = clock.monotonic()
            del stack
            await pool.putconn(await client)
            return clock.monotonic() - began

    assert run(main(), clock) <= ABANDONED_PAUSE + 1e-6


@pytest.mark.parametrize("has_waited", [False, True])
@pytest.mark.parametrize("has_begun", [False, True])
def test_the_block_of_a_task_that_was_dropped_comes_back(has_waited: bool, has_begun: bool) -> None:
    """Nobody refers to the task any more: neither does the pool, though it knows who had waited in line."""
    clock, driver = VirtualClock(), AsyncFakeDriver()

    async def main() -> None:
        pool = AsyncConnectionPool(driver=driver, clock=clock, min_size=1, open=False, hold_warning=10.0)
        await pool.open(wait=True)
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: told.append(context["message"]))

        async def client() -> None:
            async with pool.connection() as conn:
                if has_begun:
                    conn.begin()
                await asyncio.get_running_loop().create_future()  # Which nobody will ever set.

        first = await pool.getconn() if has_waited else None
        task = asyncio.ensure_future(client())
        await asyncio.sleep(1.0)
        if first is not None:
            await pool.putconn(first)
            await asyncio.sleep(1.0)
        assert pool.get_stats()["pool_available"] == 0
        del task
        gc.collect()
        await pool.putconn(await pool.getconn(timeout=1.0))
        await pool.close()

    told: list[str] = []
    run(main(), clock)
    assert told == ["Task was destroyed but it is pending!"]
    assert not driver.open_connections
    assert not driver.overlaps


def test_a_block_whose_end_goes_on_behind_a_cancelled_task_is_not_taken_for_abandoned() -> None:
    clock, driver = VirtualClock(), AsyncFakeDriver()

    async def main() -> None:
        async with AsyncConnectionPool(driver=driver, clock=clock, min_size=1, open=False) as pool:
            await pool.wait()
            driver.always("commit", Does.SLOW)

            async def client() -> None:
                async with pool.connection() as conn:
                    conn.begin()

            task = asyncio.ensure_future(client())
            await asyncio.sleep(0.01)
            task.cancel()
            await asyncio.wait([task])
            assert task.cancelled()
            del task
            await pool.drain()  # Looks for abandoned blocks, too.
            await asyncio.sleep(1.0)

    run(main(), clock)
    assert not driver.overlaps
