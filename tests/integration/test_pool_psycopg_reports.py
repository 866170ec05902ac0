"""What users of psycopg_pool reported in public, tried on this pool with real connections; each with its number.

Reports about outages are in `test_pool_outages`, about connecting in `test_pool_failing_connects`, about forks,
event loops and ends of programs in `test_pool_processes`.
"""

import asyncio
import logging
import threading
import time
from typing import Any

import psycopg
import pytest

from poolhouse.errors import PoolTimeout
from poolhouse.pool import AsyncConnectionPool, ConnectionPool, NullConnectionPool, PoolHooks
from poolhouse.pool.status import IDLE
from support.postgres import Postgres
from support.waiting import wait_until


async def until(pool: AsyncConnectionPool, available: int) -> None:
    """Wait until so many connections are idle."""
    deadline = time.monotonic() + 30
    while pool.get_stats()["pool_available"] != available:
        assert time.monotonic() < deadline, pool.get_stats()
        await asyncio.sleep(0.001)


async def _use(pool: AsyncConnectionPool) -> None:
    async with pool.connection() as conn:
        await (await conn.execute("select 1")).fetchone()


async def _get_and_put(pool: AsyncConnectionPool) -> None:
    conn = await pool.getconn()
    try:
        await conn.execute("select 1")
    finally:
        await pool.putconn(conn)


@pytest.mark.parametrize("client", [_use, _get_and_put])
@pytest.mark.parametrize("is_checked", [False, True], ids=["unchecked", "checked"])
def test_a_task_cancelled_at_any_moment_is_told_and_loses_nothing(
    client: Any, is_checked: bool, postgres: Postgres
) -> None:
    """psycopg#503, psycopg#509, psycopg#1208, psycopg#1214, psycopg#1275, psycopg#1345, psycopg#1401."""

    async def main() -> None:
        check = AsyncConnectionPool.check_connection if is_checked else None
        async with AsyncConnectionPool(postgres.conninfo, min_size=2, check=check, open=False) as pool:
            await pool.wait()
            for steps in range(40):
                tasks = [asyncio.create_task(client(pool)) for _ in range(4)]
                for _ in range(steps):
                    await asyncio.sleep(0)
                told = [task for task in tasks if task.cancel()]
                await asyncio.gather(*tasks, return_exceptions=True)
                assert all(task.cancelled() for task in told), (steps, tasks)
                # None of them has what it was given, or waits, any more.
                await until(pool, available=2)
                assert "requests_waiting" not in {k for k, v in pool.get_stats().items() if v}
            assert pool.get_stats()["pool_size"] == 2
            await _use(pool)

    asyncio.run(main())


def test_wait_for_bounds_the_wait_for_a_connection(postgres: Postgres) -> None:
    """psycopg#1401: there, the pool absorbs the cancellation, and the wait has no bound."""

    async def main() -> None:
        async with AsyncConnectionPool(postgres.conninfo, min_size=1, open=False) as pool:
            async with pool.connection():
                began = time.monotonic()
                with pytest.raises(TimeoutError) as caught:
                    await asyncio.wait_for(pool.getconn(timeout=30), 0.05)
                assert not isinstance(caught.value, PoolTimeout)
                assert time.monotonic() - began < 5
                assert pool.get_stats()["requests_waiting"] == 0
            await until(pool, available=1)

    asyncio.run(main())


def test_an_expired_connection_is_not_served(postgres: Postgres) -> None:
    """Trap 55. psycopg#584, psycopg#1018: there, a quiet service is served what expired long ago."""
    with ConnectionPool(postgres.conninfo, min_size=1, max_lifetime=0.3, open=True) as pool:
        with pool.connection() as conn:
            first, made_by = conn.info.backend_pid, time.monotonic()
        wait_until(lambda: time.monotonic() > made_by + 0.3)
        with pool.connection() as conn:
            assert conn.info.backend_pid != first


def test_a_connection_that_fails_its_check_is_replaced_and_not_lost(postgres: Postgres) -> None:
    """psycopg#1014, psycopg#1123: there, it is counted as returned bad, or its place is lost."""
    bad: set[int] = set()

    def check(conn: psycopg.Connection) -> None:
        if conn.info.backend_pid in bad:
            raise psycopg.OperationalError("it does not please")

    with ConnectionPool(postgres.conninfo, min_size=2, check=check, open=True) as pool:
        pool.wait()
        with pool.connection() as one, pool.connection() as two:
            bad |= {one.info.backend_pid, two.info.backend_pid}
        with pool.connection() as conn:
            assert conn.info.backend_pid not in bad
        wait_until(lambda: pool.get_stats()["pool_available"] == 2)
        stats = pool.get_stats()
        assert stats["connections_lost"] >= 1
        assert "returns_bad" not in stats


def test_a_broken_connection_is_replaced_though_closing_it_fails(
    postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """psycopg#1176: there, an error in close() makes it ask for more and more connections."""

    def fail(conn: psycopg.Connection) -> None:
        raise psycopg.OperationalError("it cannot be closed")

    with ConnectionPool(postgres.conninfo, min_size=1, open=True) as pool:
        conn = pool.getconn()
        conn.close()
        with monkeypatch.context() as patched:
            patched.setattr(psycopg.Connection, "close", fail)
            pool.putconn(conn)
            wait_until(lambda: pool.get_stats()["pool_available"] == 1)
        with pool.connection() as other:
            assert other.execute("select 1").fetchone() == (1,)
        stats = pool.get_stats()
        assert (stats["returns_bad"], stats["connections_num"], stats["pool_size"]) == (1, 2, 1)


def test_checking_leaves_no_transaction_open(postgres: Postgres) -> None:
    """psycopg#144."""
    with ConnectionPool(postgres.conninfo, min_size=2, check=ConnectionPool.check_connection, open=True) as pool:
        pool.wait()
        pool.check()
        for _ in range(2):
            conn = pool.getconn()
            assert conn.info.transaction_status == IDLE
            pool.putconn(conn)


def test_a_connection_is_checked_in_the_middle_of_a_transaction(postgres: Postgres) -> None:
    with psycopg.connect(postgres.conninfo) as conn:
        conn.execute("create temporary table kept (x int)")
        ConnectionPool.check_connection(conn)
        conn.execute("select x from kept")
        conn.rollback()


def test_a_pool_fills_whatever_is_logged(postgres: Postgres, caplog: pytest.LogCaptureFixture) -> None:
    """psycopg#230: there, a race at creation shows where the logger is at DEBUG; psycopg#1300, another."""
    with caplog.at_level(logging.DEBUG):
        pools = [ConnectionPool(postgres.conninfo, min_size=4, open=True) for _ in range(5)]
        for pool in pools:
            pool.wait(timeout=30)
            assert pool.get_stats()["pool_available"] == 4
            pool.close()


def test_a_pool_that_was_made_before_the_event_loop_serves_in_it(postgres: Postgres) -> None:
    """psycopg#219: there, clients time out beside idle connections."""
    pool = AsyncConnectionPool(postgres.conninfo, min_size=1, open=False)

    async def main() -> None:
        async with pool:
            await pool.resize(2, 4)
            await asyncio.gather(*(_use(pool) for _ in range(50)))
            await until(pool, available=pool.get_stats()["pool_size"])

    asyncio.run(main())


def test_closing_a_connection_gives_it_back_where_that_was_asked_for(postgres: Postgres) -> None:
    """psycopg#1046, psycopg#1067: for libraries that know nothing of pools."""
    with ConnectionPool(postgres.conninfo, min_size=1, close_returns=True, open=True) as pool:
        conn = pool.getconn()
        conn.close()
        assert not conn.closed
        wait_until(lambda: pool.get_stats()["pool_available"] == 1)
        with pool.connection() as again:
            assert again is conn


def test_closing_a_connection_of_a_null_pool_gives_it_to_who_waits(postgres: Postgres) -> None:
    """psycopg#1046: and where nobody waits, it is closed."""
    with NullConnectionPool(postgres.conninfo, max_size=1, close_returns=True, open=True) as pool:
        conn = pool.getconn()
        got: list[Any] = []

        def wait() -> None:
            mine = pool.getconn()
            got.append((mine, mine.execute("select 1").fetchone()))
            mine.rollback()
            mine.close()

        client = threading.Thread(target=wait)
        client.start()
        wait_until(lambda: pool.get_stats()["requests_waiting"] == 1)
        conn.close()
        client.join(timeout=30)
        assert got == [(conn, (1,))]
        wait_until(lambda: conn.pgconn.status == psycopg.pq.ConnStatus.BAD)
        assert pool.get_stats()["pool_size"] == 0


def test_a_task_too_gives_a_connection_back_by_closing_it(postgres: Postgres) -> None:
    """psycopg#1046, psycopg#1067."""

    async def main() -> None:
        async with AsyncConnectionPool(postgres.conninfo, min_size=1, close_returns=True, open=False) as pool:
            conn = await pool.getconn()
            await conn.close()
            assert not conn.closed
            async with pool.connection() as again:
                assert again is conn
                # The block finds it returned when it ends.
                await again.close()
            assert pool.get_stats()["pool_available"] == 1

    asyncio.run(main())


def test_older_connections_of_psycopg_than_those_that_ask_their_pool_can_be_closed_into_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """psycopg asks from 3.3 on; where these tests run on the oldest version, those above have real ones."""

    class Old(psycopg.Connection[Any]):
        closes = 0

        def __init__(self) -> None:
            self._pool = None

        def close(self) -> None:
            self.closes += 1

        def __del__(self) -> None:
            pass

    monkeypatch.setattr("poolhouse.pool.drivers.psycopg._ASKS_NO_POOL", True)
    pool = ConnectionPool(connection_class=Old, close_returns=True, open=False)
    served: Any = pool.connection_class
    assert issubclass(served, Old)
    assert served.__name__ == "Old"
    returned: list[object] = []

    class Place:
        def putconn(self, conn: Any) -> None:
            returned.append(conn)

    conn = served()
    conn._pool = Place()
    conn.close()
    assert (returned, conn.closes) == ([conn], 0)
    conn._pool = None
    conn.close()
    assert conn.closes == 1
    assert ConnectionPool(connection_class=Old, open=False).connection_class is Old


def test_drain_replaces_what_is_idle_now_and_what_is_out_when_it_comes_back(postgres: Postgres) -> None:
    """psycopg#1027, psycopg#1215: connections with stale adapters."""
    with ConnectionPool(postgres.conninfo, min_size=2, open=True) as pool:
        pool.wait()
        out, idle = pool.getconn(), pool.getconn()
        stale = {out.info.backend_pid, idle.info.backend_pid}
        pool.putconn(idle)
        pool.drain()
        # What is out is still good for who has it.
        assert out.execute("select 1").fetchone() == (1,)
        out.commit()
        pool.putconn(out)
        wait_until(lambda: pool.get_stats()["pool_available"] == 2)
        with pool.connection() as one, pool.connection() as two:
            assert not stale & {one.info.backend_pid, two.info.backend_pid}


def test_who_waits_at_a_null_pool_is_not_given_an_aborted_transaction(postgres: Postgres) -> None:
    """psycopg#1151; cbcoutinho/nextcloud-mcp-server#1032."""
    with NullConnectionPool(postgres.conninfo, max_size=1, open=True) as pool:
        conn = pool.getconn()
        with pytest.raises(psycopg.errors.UndefinedTable):
            conn.execute("select * from nowhere")
        got: list[Any] = []

        def wait() -> None:
            with pool.connection() as mine:
                got.append((mine, mine.execute("select 1").fetchone()))

        client = threading.Thread(target=wait)
        client.start()
        wait_until(lambda: pool.get_stats()["requests_waiting"] == 1)
        pool.putconn(conn)
        client.join(timeout=30)
        assert got == [(conn, (1,))]
        wait_until(lambda: conn.closed)


def test_a_hook_tells_how_long_each_client_waited(postgres: Postgres) -> None:
    """asyncpg#1320: to see a pool that is too small without wrapping every call."""
    acquired: list[tuple[float, int, int]] = []
    hooks = PoolHooks(acquired=lambda conn, waited, size, idle: acquired.append((waited, size, idle)))
    with ConnectionPool(postgres.conninfo, min_size=1, hooks=hooks, open=True) as pool:
        pool.wait()
        with pool.connection():
            client = threading.Thread(target=lambda: pool.putconn(pool.getconn()))
            client.start()
            wait_until(lambda: pool.get_stats()["requests_waiting"] == 1)
            began = time.monotonic()
            wait_until(lambda: time.monotonic() > began + 0.02)
        client.join(timeout=30)
    assert [size for _, size, _ in acquired] == [1, 1]
    assert acquired[0][0] < acquired[1][0]
    assert 0.02 < acquired[1][0] < 30


def test_short_uses_add_up_and_who_timed_out_does_not_wait_any_more(postgres: Postgres) -> None:
    """Traps 49 and 50: there, uses of less than a millisecond add 0, and stale waiters are counted."""
    with ConnectionPool(postgres.conninfo, min_size=1, open=True) as pool:
        pool.wait()
        used_ns = 0
        for _ in range(20_000):
            began = time.monotonic_ns()
            conn = pool.getconn()
            pool.putconn(conn)
            used_ns += time.monotonic_ns() - began
        assert 0 < pool.get_stats()["usage_ms"] <= used_ns / 1e6
        with pool.connection(), pytest.raises(PoolTimeout):
            pool.getconn(timeout=0.01)
        assert pool.get_stats()["requests_waiting"] == 0
        assert pool.get_stats()["requests_errors"] == 1


def test_what_reconnect_failed_raises_ends_nothing_but_the_call(postgres: Postgres) -> None:
    """Trap 54. psycopg#1419, psycopg#1421: there, a worker that ends leaves a pool that serves nobody."""
    calls: list[object] = []
    addresses = [f"{postgres.conninfo} dbname=nowhere"]

    def reconnect_failed(pool: object) -> None:
        calls.append(pool)
        raise SystemExit(1)

    with ConnectionPool(
        lambda: addresses[-1], min_size=1, reconnect_timeout=0.01, reconnect_failed=reconnect_failed, open=True
    ) as pool:
        wait_until(lambda: len(calls) >= 2)
        assert calls[0] is pool
        addresses.append(postgres.conninfo)
        with pool.connection() as conn:
            assert conn.execute("select 1").fetchone() == (1,)
