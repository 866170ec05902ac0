"""A server that accepts and never answers: deadlines are kept all the same, and cancellation is told at once."""

import asyncio
import sqlite3
from contextvars import ContextVar
from pathlib import Path

import pytest

from poolhouse.errors import PoolClosed, PoolTimeout
from poolhouse.pool.aio import AsyncConnectionPool
from poolhouse.pool.aio_null import AsyncNullConnectionPool
from poolhouse.pool.options import PROBE_LIMIT
from poolhouse.pool.status import IDLE
from poolhouse.pool.sync import ConnectionPool, NullConnectionPool
from poolhouse.testing import AsyncFakeDriver, Does, FakeConnection, FakeDriver, VirtualClock, VirtualThreads, run


def test_in_threads_a_check_that_never_ends_is_cut_off_five_seconds_after_its_client_has_left() -> None:
    threads = VirtualThreads(VirtualClock())

    def main() -> None:
        driver = FakeDriver(threads.sleep, threads.parker)
        pool: ConnectionPool[FakeConnection] = ConnectionPool(
            driver=driver, clock=threads.clock, threads=threads, min_size=2, open=True, check=driver.probe
        )
        pool.wait()
        driver.always("probe", Does.NEVER)
        driver.always("connect", Does.NEVER)
        began = threads.clock.monotonic()
        with pytest.raises(PoolTimeout, match="couldn't get a connection after"):
            pool.getconn(timeout=1.0)
        assert 1.0 <= threads.clock.monotonic() - began <= 1.1
        assert not any("abort" in conn.calls for conn in driver.connections)
        threads.sleep(PROBE_LIMIT + 0.1)
        assert sum("abort" in conn.calls for conn in driver.connections) == 1
        assert pool.get_stats()["connections_lost"] == 1
        pool.close(timeout=1.0)

    threads.run(main)


def test_in_threads_a_timeout_tells_what_checks_failed_with_not_that_the_last_one_was_cut_off() -> None:
    threads = VirtualThreads(VirtualClock())

    def main() -> None:
        driver = FakeDriver(threads.sleep, threads.parker)
        driver.gate("probe", Does.ERR, Does.ERR)
        driver.always("probe", Does.NEVER)
        pool: ConnectionPool[FakeConnection] = ConnectionPool(
            driver=driver, clock=threads.clock, threads=threads, min_size=1, open=True, check=driver.probe
        )
        with pytest.raises(PoolTimeout, match="last connect error: FakeError: probe failed"):
            pool.getconn(timeout=1.0)
        pool.close(timeout=1.0)

    threads.run(main)


def test_in_tasks_a_timeout_tells_what_checks_failed_with_not_that_the_last_one_was_cut_off() -> None:
    clock = VirtualClock()

    async def main() -> None:
        driver = AsyncFakeDriver()
        driver.gate("probe", Does.ERR, Does.ERR)
        driver.always("probe", Does.NEVER)
        pool: AsyncConnectionPool[FakeConnection] = AsyncConnectionPool(
            driver=driver, clock=clock, min_size=1, open=False, check=driver.probe
        )
        await pool.open()
        with pytest.raises(PoolTimeout, match="last connect error: FakeError: probe failed"):
            await pool.getconn(timeout=1.0)
        await pool.close(timeout=1.0)

    run(main(), clock)


def test_in_tasks_a_check_that_never_ends_is_cut_off_five_seconds_after_its_client_has_left() -> None:
    clock = VirtualClock()

    async def main() -> None:
        driver = AsyncFakeDriver()
        pool: AsyncConnectionPool[FakeConnection] = AsyncConnectionPool(
            driver=driver, clock=clock, min_size=2, open=False, check=driver.probe
        )
        await pool.open(wait=True)
        driver.always("probe", Does.NEVER)
        driver.always("connect", Does.NEVER)
        began = clock.monotonic()
        with pytest.raises(PoolTimeout, match="couldn't get a connection after"):
            await pool.getconn(timeout=1.0)
        assert 1.0 <= clock.monotonic() - began <= 1.1
        assert not any("abort" in conn.calls for conn in driver.connections)
        await asyncio.sleep(PROBE_LIMIT + 0.1)
        assert sum("abort" in conn.calls for conn in driver.connections) == 1
        assert pool.get_stats()["connections_lost"] == 1
        await pool.close(timeout=1.0)

    run(main(), clock)


def test_in_threads_a_timeout_of_zero_leaves_the_check_of_an_idle_connection_its_time() -> None:
    threads = VirtualThreads(VirtualClock())

    def main() -> None:
        driver = FakeDriver(threads.sleep, threads.parker)
        pool: ConnectionPool[FakeConnection] = ConnectionPool(
            driver=driver, clock=threads.clock, threads=threads, min_size=1, open=True, check=driver.probe
        )
        pool.wait()
        driver.always("probe", Does.SLOW)
        pool.putconn(pool.getconn(timeout=0))
        assert pool.get_stats().get("connections_lost", 0) == 0
        driver.always("probe", Does.NEVER)
        began = threads.clock.monotonic()
        with pytest.raises(PoolTimeout):
            pool.getconn(timeout=0)
        assert threads.clock.monotonic() - began == pytest.approx(5.0)
        pool.close()

    threads.run(main)


def test_in_tasks_a_timeout_of_zero_leaves_the_check_of_an_idle_connection_its_time() -> None:
    clock = VirtualClock()

    async def main() -> None:
        driver = AsyncFakeDriver()
        pool: AsyncConnectionPool[FakeConnection] = AsyncConnectionPool(
            driver=driver, clock=clock, min_size=1, open=False, check=driver.probe
        )
        await pool.open(wait=True)
        driver.always("probe", Does.SLOW)
        await pool.putconn(await pool.getconn(timeout=0))
        assert pool.get_stats().get("connections_lost", 0) == 0
        driver.always("probe", Does.NEVER)
        began = clock.monotonic()
        with pytest.raises(PoolTimeout):
            await pool.getconn(timeout=0)
        assert clock.monotonic() - began == pytest.approx(5.0)
        await pool.close()

    run(main(), clock)


def test_a_task_that_is_cancelled_during_a_check_or_at_the_end_of_its_block_is_told_at_once() -> None:
    # psycopg/psycopg#1371, #1401.
    clock = VirtualClock()

    async def main() -> None:
        driver = AsyncFakeDriver()
        pool: AsyncConnectionPool[FakeConnection] = AsyncConnectionPool(
            driver=driver, clock=clock, min_size=1, open=False, check=driver.probe
        )
        await pool.open(wait=True)
        driver.gate("probe", Does.OK, Does.NEVER)
        driver.gate("commit", Does.NEVER)

        async def use() -> None:
            async with pool.connection(timeout=5.0) as conn:
                conn.begin()

        for _ in range(2):
            task = asyncio.ensure_future(use())
            await asyncio.sleep(1.0)
            began = clock.monotonic()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert clock.monotonic() - began <= 0.051  # `aio_behind.SETTLED`
            # What hangs behind it is cut off, though nobody waits for it.
            await asyncio.sleep(6.0)
            assert ["abort" in conn.calls for conn in driver.connections[-2:]] == [True, False]
            assert pool.get_stats()["pool_available"] == 1
        async with pool.connection(timeout=5.0):
            pass
        await pool.close()

    run(main(), clock)


def test_rollbacks_that_never_end_do_not_keep_others_from_coming_back() -> None:
    threads = VirtualThreads(VirtualClock())

    def main() -> None:
        driver = FakeDriver(threads.sleep, threads.parker)
        pool: ConnectionPool[FakeConnection] = ConnectionPool(
            driver=driver, clock=threads.clock, threads=threads, min_size=2, num_workers=1, open=True
        )
        conns = [pool.getconn() for _ in range(2)]
        driver.gate("rollback", Does.NEVER)
        for conn in conns:
            conn.begin()
            pool.putconn(conn)
        threads.sleep(29.0)
        assert pool.get_stats()["pool_available"] == 0
        threads.sleep(2.0)
        assert pool.get_stats()["pool_available"] == 2
        assert [conn.calls for conn in conns] == [["rollback", "abort", "close"], ["rollback"]]
        pool.close()

    threads.run(main)


def test_rollbacks_of_tasks_that_never_end_do_not_keep_others_from_coming_back() -> None:
    clock = VirtualClock()

    async def main() -> None:
        driver = AsyncFakeDriver()
        pool: AsyncConnectionPool[FakeConnection] = AsyncConnectionPool(
            driver=driver, clock=clock, min_size=2, num_workers=1, open=False
        )
        await pool.open(wait=True)
        conns = [await pool.getconn() for _ in range(2)]
        driver.gate("rollback", Does.NEVER)
        for conn in conns:
            conn.begin()
            await pool.putconn(conn)
        await asyncio.sleep(29.0)
        assert pool.get_stats()["pool_available"] == 0
        await asyncio.sleep(2.0)
        assert pool.get_stats()["pool_available"] == 2
        assert [conn.calls for conn in conns] == [["rollback", "abort", "close"], ["rollback"]]
        await pool.close()

    run(main(), clock)


@pytest.mark.parametrize("takes", [0.999, 1.0, 1.001])
def test_a_check_that_ends_in_the_moment_in_which_its_client_leaves_loses_nothing(takes: float) -> None:
    clock = VirtualClock()

    async def main() -> None:
        driver = AsyncFakeDriver()
        # As with psycopg, whose connections do not know at once that they have been cut.
        driver.abort = lambda conn: conn.calls.append("abort")  # type: ignore[method-assign,assignment]

        async def check(conn: FakeConnection) -> None:
            await asyncio.sleep(takes)

        pool: AsyncConnectionPool[FakeConnection] = AsyncConnectionPool(
            driver=driver, clock=clock, min_size=1, check=check, open=False
        )
        await pool.open(wait=True)
        try:
            conn = await pool.getconn(timeout=1.0)
        except PoolTimeout:
            assert takes >= 1.0
        else:
            assert takes <= 1.0
            await pool.putconn(conn)
        await asyncio.sleep(0.01)
        assert pool.get_stats()["pool_available"] == 1
        assert driver.connections[0].calls == []
        await pool.close()

    run(main(), clock)


@pytest.mark.parametrize("takes", [4.999, 5.0, 5.001])
@pytest.mark.parametrize("call", ["commit", "probe"])
def test_what_ends_behind_a_cancelled_task_in_the_moment_in_which_it_is_cut_off_is_not_served(
    call: str, takes: float
) -> None:
    clock = VirtualClock()

    async def main() -> None:
        driver = AsyncFakeDriver()

        async def slowly(conn: FakeConnection) -> None:
            conn.calls.append(call)
            await asyncio.sleep(takes)
            conn.status = IDLE

        setattr(driver, call, slowly)
        pool: AsyncConnectionPool[FakeConnection] = AsyncConnectionPool(
            driver=driver, clock=clock, min_size=1, check=slowly if call == "probe" else None, open=False
        )
        await pool.open(wait=True)

        async def use() -> None:
            async with pool.connection() as conn:
                conn.begin()

        task = asyncio.ensure_future(use())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.sleep(6.0)
        assert pool.get_stats()["pool_available"] == 1
        first = driver.connections[0]
        assert first.is_closed == ("abort" in first.calls)
        assert call in first.calls
        await pool.close()

    run(main(), clock)


def test_a_pool_is_closed_in_time_though_a_commit_behind_a_cancelled_task_never_ends() -> None:
    clock = VirtualClock()

    async def main() -> None:
        driver = AsyncFakeDriver()
        pool: AsyncConnectionPool[FakeConnection] = AsyncConnectionPool(
            driver=driver, clock=clock, min_size=1, open=False
        )
        await pool.open(wait=True)
        driver.gate("commit", Does.NEVER)

        async def use() -> None:
            async with pool.connection() as conn:
                conn.begin()

        task = asyncio.ensure_future(use())
        await asyncio.sleep(1.0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        began = clock.monotonic()
        await pool.close(timeout=0.5)
        assert clock.monotonic() - began <= 0.6
        await asyncio.sleep(1.0)
        assert not driver.open_connections

    run(main(), clock)


@pytest.mark.parametrize("hangs", ["connect", "probe"], ids=["connecting", "configuring"])
def test_a_task_for_which_a_null_pool_connects_is_told_at_once_that_it_is_cancelled_or_late(hangs: str) -> None:
    clock = VirtualClock()

    async def main() -> None:
        driver = AsyncFakeDriver()
        pool: AsyncNullConnectionPool[FakeConnection] = AsyncNullConnectionPool(
            driver=driver, clock=clock, max_size=2, configure=driver.probe, open=False
        )
        await pool.open()
        driver.gate(hangs, Does.NEVER, Does.NEVER)
        task = asyncio.ensure_future(pool.getconn(timeout=30.0))
        await asyncio.sleep(1.0)
        began = clock.monotonic()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert clock.monotonic() - began <= 0.05
        with pytest.raises(PoolTimeout, match=r"couldn't get a connection after 1\.00 sec"):
            await pool.getconn(timeout=1.0)
        assert clock.monotonic() - began <= 1.1
        # Their places are taken as long as nobody knows what becomes of their connects.
        assert (pool.get_stats()["pool_size"], "connections_errors" in pool.get_stats()) == (2, False)
        began = clock.monotonic()
        await pool.close(timeout=0.5)
        for conn in driver.open_connections:
            driver.abort(conn)
        assert clock.monotonic() - began <= 0.6

    run(main(), clock)


def test_a_client_of_a_null_pool_that_is_closed_while_it_connects_is_refused() -> None:
    clock = VirtualClock()

    async def main() -> None:
        driver = AsyncFakeDriver()
        pool: AsyncNullConnectionPool[FakeConnection] = AsyncNullConnectionPool(
            driver=driver, clock=clock, open=False
        )
        await pool.open()
        driver.gate("connect", Does.NEVER)
        task = asyncio.ensure_future(pool.getconn(timeout=30.0))
        await asyncio.sleep(1.0)
        await pool.close(timeout=0.5)
        with pytest.raises(PoolClosed):
            await task

    run(main(), clock)


def test_a_connection_that_is_bound_to_its_thread_is_made_by_the_client_of_a_null_pool(tmp_path: Path) -> None:
    with NullConnectionPool[sqlite3.Connection](str(tmp_path / "shop.db"), driver=sqlite3, open=True) as pool:
        for _ in range(2):
            with pool.connection() as conn:
                assert conn.execute("select 1").fetchone() == (1,)


def test_a_client_of_a_null_pool_connects_by_itself_where_no_thread_can_be_started() -> None:
    threads = VirtualThreads(VirtualClock())

    def main() -> None:
        pool: NullConnectionPool[FakeConnection] = NullConnectionPool(
            driver=FakeDriver(threads.sleep, threads.parker), clock=threads.clock, threads=threads, open=True
        )
        with pool.connection():
            pass

        def fail(target: object, name: str) -> None:
            raise RuntimeError("can't start new thread")

        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(threads, "start", fail)
            with pool.connection() as conn:
                assert conn.number == 2
        pool.close()

    threads.run(main)


def test_whatever_connects_for_a_client_sees_its_context() -> None:
    tenant: ContextVar[str] = ContextVar("tenant")
    threads = VirtualThreads(VirtualClock())

    def main() -> None:
        driver = FakeDriver(threads.sleep, threads.parker)
        seen: list[str] = []

        def conninfo() -> str:
            seen.append(tenant.get())
            return ""

        pool: NullConnectionPool[FakeConnection] = NullConnectionPool(
            conninfo, driver=driver, clock=threads.clock, threads=threads, open=True
        )
        tenant.set("acme")
        with pool.connection():
            assert seen == ["acme"]
        pool.close()

    threads.run(main)


def test_a_check_of_all_gives_each_connection_five_seconds() -> None:
    threads = VirtualThreads(VirtualClock())

    def main() -> None:
        driver = FakeDriver(threads.sleep, threads.parker)
        pool: ConnectionPool[FakeConnection] = ConnectionPool(
            driver=driver, clock=threads.clock, threads=threads, min_size=2, open=True
        )
        pool.wait()
        driver.gate("probe", Does.NEVER)
        began = threads.clock.monotonic()
        pool.check()
        assert 5.0 <= threads.clock.monotonic() - began <= 5.1
        threads.sleep(0.1)
        assert (pool.get_stats()["connections_lost"], pool.get_stats()["pool_available"]) == (1, 2)
        pool.close()

    threads.run(main)


def test_a_task_that_checks_all_is_told_at_once_that_it_is_cancelled() -> None:
    clock = VirtualClock()

    async def main() -> None:
        driver = AsyncFakeDriver()
        pool: AsyncConnectionPool[FakeConnection] = AsyncConnectionPool(
            driver=driver, clock=clock, min_size=2, open=False
        )
        await pool.open(wait=True)
        driver.gate("probe", Does.NEVER)
        task = asyncio.ensure_future(pool.check())
        await asyncio.sleep(1.0)
        began = clock.monotonic()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert clock.monotonic() - began <= 0.05
        await asyncio.sleep(5.0)
        assert (pool.get_stats()["connections_lost"], pool.get_stats()["pool_available"]) == (1, 2)
        await pool.close()

    run(main(), clock)


def _opened_elsewhere(driver: AsyncFakeDriver) -> AsyncConnectionPool[FakeConnection]:
    """A pool whose event loop has ended, with one connection idle and one out."""

    async def opened() -> AsyncConnectionPool[FakeConnection]:
        pool: AsyncConnectionPool[FakeConnection] = AsyncConnectionPool(driver=driver, min_size=2, open=False)
        await pool.open(wait=True)
        await pool.getconn()
        return pool

    return asyncio.run(opened())


@pytest.mark.parametrize("method", ["getconn", "check", "drain", "resize", "wait", "open"])
def test_a_pool_of_another_event_loop_says_what_to_do(method: str) -> None:
    # psycopg/psycopg#219, #322, #737.
    pool = _opened_elsewhere(AsyncFakeDriver())

    async def use() -> None:
        with pytest.raises(RuntimeError, match="open a pool inside each loop that needs one"):
            await (pool.resize(1, 2) if method == "resize" else getattr(pool, method)())

    asyncio.run(use())


def test_a_pool_whose_event_loop_has_ended_can_be_closed_in_another() -> None:
    driver = AsyncFakeDriver()
    pool = _opened_elsewhere(driver)
    asyncio.run(pool.close())
    assert pool.closed
    # Nobody can speak with the server any more: the socket is cut. The other one is its client's.
    assert [conn.calls for conn in driver.connections] == [[], ["abort"]]


def test_a_pool_whose_event_loop_goes_on_elsewhere_is_closed_there() -> None:
    loop = asyncio.new_event_loop()
    pool: AsyncConnectionPool[FakeConnection] = AsyncConnectionPool(
        driver=AsyncFakeDriver(), min_size=1, open=False
    )
    loop.run_until_complete(pool.open(wait=True))
    with pytest.raises(RuntimeError, match="opened in another event loop"):
        asyncio.run(pool.close())
    loop.run_until_complete(pool.close())
    loop.close()


@pytest.mark.parametrize("has_been_woken", [False, True])
def test_in_a_null_pool_of_one_the_place_of_a_client_cancelled_as_it_gets_it_comes_back(
    has_been_woken: bool,
) -> None:
    """In the same turn of the loop it is given the right to connect, and is cancelled."""
    clock, driver = VirtualClock(), AsyncFakeDriver()

    async def main() -> None:
        async with AsyncNullConnectionPool(driver=driver, clock=clock, max_size=1, open=False) as pool:
            driver.gate("connect", Does.OK, Does.SLOW)
            conn = await pool.getconn()
            client = asyncio.ensure_future(pool.getconn(timeout=60.0))
            next_client = asyncio.ensure_future(pool.getconn(timeout=60.0))
            await asyncio.sleep(1.0)
            conn.begin()
            driver.abort(conn)
            await pool.putconn(conn)  # It is broken: whoever waits connects.
            if has_been_woken:
                await asyncio.sleep(0)
            client.cancel()
            await asyncio.wait([client])
            assert client.cancelled()
            await pool.putconn(await next_client)
            assert clock.monotonic() < 1010.0
            core = pool._core
            assert (core.used, len(core.connecting), len(core.waiters)) == (0, 0, 0)

    run(main(), clock)
    assert not driver.open_connections


def test_a_driver_that_cannot_cut_one_connection_of_an_ended_loop_cuts_the_others() -> None:
    driver = AsyncFakeDriver()
    pool: AsyncConnectionPool[FakeConnection] = AsyncConnectionPool(driver=driver, min_size=2, open=False)
    asyncio.run(pool.open(wait=True))
    abort = driver.abort

    def abort_one(conn: FakeConnection) -> None:
        if conn is driver.connections[0]:
            raise ZeroDivisionError
        abort(conn)

    driver.abort = abort_one  # type: ignore[method-assign]
    asyncio.run(pool.close())
    assert [conn.calls for conn in driver.connections] == [[], ["abort"]]
