"""A connection of a pool for asyncio that is given back from another thread, which may run an event loop."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from poolhouse.pool import AsyncConnectionPool, PoolHooks
from poolhouse.testing import AsyncFakeDriver, FakeConnection

Pool = AsyncConnectionPool[FakeConnection]


async def _elsewhere(main: Callable[[], Coroutine[Any, Any, None]], *, debug: bool = False) -> None:
    """Run `main` in an event loop of another thread, while this one goes on."""
    with ThreadPoolExecutor(1) as thread:
        running = asyncio.get_running_loop().run_in_executor(thread, lambda: asyncio.run(main(), debug=debug))
        await asyncio.wait_for(running, 30.0)


def _run(
    main: Callable[[Pool, AsyncFakeDriver], Coroutine[Any, Any, None]], *, debug: bool = False, **options: Any
) -> None:
    async def body() -> None:
        driver = AsyncFakeDriver()
        pool: Pool = AsyncConnectionPool(driver=driver, min_size=1, open=False, **options)
        await pool.open(wait=True)
        await main(pool, driver)
        await pool.close()
        assert not driver.overlaps
        assert not driver.open_connections

    asyncio.run(body(), debug=debug)


@pytest.mark.parametrize("debug", [False, True])
def test_who_waits_in_the_pools_loop_is_served_at_once(debug: bool) -> None:
    """In debug mode asyncio refuses to be called from another thread."""

    async def main(pool: Pool, driver: AsyncFakeDriver) -> None:
        conn = await pool.getconn()
        waiting = asyncio.ensure_future(pool.getconn(timeout=30.0))
        await asyncio.sleep(0)
        await _elsewhere(lambda: pool.putconn(conn), debug=debug)
        assert await asyncio.wait_for(waiting, 5.0) is conn
        await pool.putconn(conn)

    _run(main, debug=debug)


def test_what_is_left_to_do_is_done_in_the_pools_loop() -> None:
    async def main(pool: Pool, driver: AsyncFakeDriver) -> None:
        loops: list[object] = []
        rollback = driver.rollback

        async def recorded(conn: FakeConnection) -> None:
            loops.append(asyncio.get_running_loop())
            await rollback(conn)

        driver.rollback = recorded  # type: ignore[method-assign]
        conn = await pool.getconn()
        conn.begin()
        await _elsewhere(lambda: pool.putconn(conn))
        assert await pool.getconn(timeout=5.0) is conn
        assert conn.calls == ["rollback"]
        assert loops == [asyncio.get_running_loop()]
        await pool.putconn(conn)

    _run(main)


def test_a_mistake_is_told_where_it_is_made() -> None:
    async def main(pool: Pool, driver: AsyncFakeDriver) -> None:
        conn = await pool.getconn()
        await _elsewhere(lambda: pool.putconn(conn))
        with pytest.raises(ValueError, match="can't return connection"):
            await _elsewhere(lambda: pool.putconn(conn))

    _run(main)


def test_a_task_that_is_cancelled_in_another_loop_gives_its_connection_back_all_the_same() -> None:
    async def main(pool: Pool, driver: AsyncFakeDriver) -> None:
        conn = await pool.getconn()
        conn.begin()

        async def cancelled() -> None:
            task = asyncio.ensure_future(pool.putconn(conn))
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])

        await _elsewhere(cancelled)
        assert await pool.getconn(timeout=5.0) is conn
        await pool.putconn(conn)

    _run(main)


def test_where_the_pools_loop_has_ended_a_sentence_says_so() -> None:
    pool: Pool = AsyncConnectionPool(driver=AsyncFakeDriver(), min_size=1, open=False)

    async def take() -> FakeConnection:
        await pool.open(wait=True)
        return await pool.getconn()

    conn = asyncio.run(take())
    conn.begin()

    async def give_back() -> None:
        with pytest.raises(RuntimeError, match="opened in another event loop"):
            await pool.putconn(conn)
        await pool.close()

    asyncio.run(give_back())


def test_hooks_are_told_in_the_pools_loop() -> None:
    loops: list[object] = []
    hooks = PoolHooks(released=lambda conn, used: loops.append(asyncio.get_running_loop()))

    async def main(pool: Pool, driver: AsyncFakeDriver) -> None:
        conn = await pool.getconn()
        await _elsewhere(lambda: pool.putconn(conn))
        assert loops == [asyncio.get_running_loop()]

    _run(main, hooks=hooks)


@pytest.mark.usefixtures("busy_switching")
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"check": lambda conn: None},
        {"hooks": PoolHooks(acquired=lambda *event: None, released=lambda *event: None)},
    ],
    ids=["plain", "check", "hooks"],
)
def test_many_that_give_back_from_other_threads_break_no_books(options: dict[str, Any]) -> None:
    async def main(pool: Pool, driver: AsyncFakeDriver) -> None:
        await pool.resize(3, 3)
        handed: list[FakeConnection] = []
        is_over = threading.Event()
        rounds, served = 1500, 0

        async def give_back() -> None:
            while handed or not is_over.is_set():
                try:
                    conn = handed.pop()
                except IndexError:
                    await asyncio.sleep(0)
                    continue
                await pool.putconn(conn)

        async def take() -> None:
            nonlocal served
            for number in range(rounds // 5):
                conn = await pool.getconn(timeout=20.0)
                served += 1
                if number % 7 == 0:
                    conn.begin()
                if number % 3:
                    handed.append(conn)
                else:
                    await pool.putconn(conn)

        with ThreadPoolExecutor(2) as threads:
            loop = asyncio.get_running_loop()
            others = [loop.run_in_executor(threads, lambda: asyncio.run(give_back())) for _ in range(2)]
            await asyncio.gather(*[take() for _ in range(5)])
            is_over.set()
            await asyncio.gather(*others)
        core = pool._core
        for conn in [await pool.getconn(timeout=20.0) for _ in range(3)]:
            await pool.putconn(conn)
        assert served == rounds
        assert (core.used, core.free, len(core.idle), list(core.waiters)) == (0, 3, 3, [])

    _run(main, **options)
