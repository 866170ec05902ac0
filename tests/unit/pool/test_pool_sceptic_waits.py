"""`wait` in several threads and tasks at once, on a server that is down."""

import asyncio

import pytest

from poolhouse.errors import PoolClosed, PoolError, PoolTimeout
from poolhouse.pool import AsyncConnectionPool, ConnectionPool
from poolhouse.testing import AsyncFakeDriver, FakeConnection, FakeDriver, VirtualClock, VirtualThreads, run


def _outcome(error: PoolError) -> tuple[type[PoolError], str]:
    kind = PoolTimeout if isinstance(error, PoolTimeout) else PoolClosed
    return kind, str(error.__cause__)


#: The one whose time is over first closes the pool; whoever waits longer is told the reason all the same.
TOLD = [(PoolTimeout, "the server is down"), (PoolClosed, "the server is down")]


def test_threads_that_wait_for_a_server_that_is_down_are_all_told_why() -> None:
    threads = VirtualThreads(VirtualClock())
    outcomes: list[tuple[type[PoolError], str]] = []

    def main() -> None:
        driver = FakeDriver(threads.sleep, threads.parker)
        driver.is_down = True
        pool: ConnectionPool[FakeConnection] = ConnectionPool(
            driver=driver, clock=threads.clock, threads=threads, min_size=1, open=True
        )

        def waits(timeout: float) -> None:
            with pytest.raises(PoolError) as caught:
                pool.wait(timeout)
            outcomes.append(_outcome(caught.value))

        for timeout in (3.0, 9.0):
            threads.start(lambda timeout=timeout: waits(timeout), f"waits-{timeout}", is_daemon=False)
        threads.sleep(20.0)

    threads.run(main)
    assert outcomes == TOLD


def test_threads_that_wait_are_all_told_when_the_pool_is_full() -> None:
    threads = VirtualThreads(VirtualClock())
    ready: list[float] = []

    def main() -> None:
        driver = FakeDriver(threads.sleep, threads.parker)
        driver.is_down = True
        pool: ConnectionPool[FakeConnection] = ConnectionPool(
            driver=driver, clock=threads.clock, threads=threads, min_size=2, open=True
        )

        def waits() -> None:
            pool.wait(30.0)
            ready.append(threads.clock.monotonic())

        for number in range(3):
            threads.start(waits, f"waits-{number}", is_daemon=False)
        threads.sleep(2.0)
        assert not ready
        driver.is_down = False
        threads.sleep(20.0)
        pool.close()

    threads.run(main)
    assert len(ready) == 3


def test_tasks_that_wait_for_a_server_that_is_down_are_all_told_why() -> None:
    clock = VirtualClock()

    async def main() -> None:
        driver = AsyncFakeDriver()
        driver.is_down = True
        pool: AsyncConnectionPool[FakeConnection] = AsyncConnectionPool(
            driver=driver, clock=clock, min_size=1, open=False
        )
        await pool.open()
        outcomes = await asyncio.gather(pool.wait(3.0), pool.wait(9.0), return_exceptions=True)
        assert [_outcome(error) for error in outcomes if isinstance(error, PoolError)] == TOLD

    run(main(), clock)
