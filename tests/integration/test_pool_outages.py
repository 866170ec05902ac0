"""What clients see when a real PostgreSQL server goes away in the middle of their work, and comes back.

What may fail: a request for a connection only if the server is away for longer than the request's timeout, and a
query only if its connection was out when the server died. `CEILING` is for slow machines; how many milliseconds it
really takes is for the benchmarks to tell.
"""

import asyncio
import time
from collections.abc import Iterator
from contextlib import ExitStack

import psycopg
import pytest

from poolhouse.errors import PoolTimeout
from poolhouse.pool import AsyncConnectionPool, ConnectionPool
from poolhouse.pool.words import describe
from support.pool_load import Load, load
from support.postgres import Postgres, postgres_server
from support.waiting import wait_until

CEILING = 5.0


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    """A server that these tests end, kill and freeze; it serves at the end of each."""
    with postgres_server() as server:
        yield server


@pytest.fixture(params=["threads", "tasks"])
def kind(request: pytest.FixtureRequest) -> str:
    """Who the clients are."""
    return str(request.param)


def assert_only_what_was_out_failed(load: Load, gone_at: float) -> None:
    """Each failure is a query, in a request that began before the server was gone: at most one a client.

    Not "acquired before": a check is answered an instant before its client goes on.
    """
    failed = load.failed()
    assert all(request.acquired_at is not None for request in failed), failed
    assert all(request.asked_at <= gone_at for request in failed), (gone_at, failed)
    assert len(failed) <= load.clients


def test_a_restart_fails_only_queries_that_were_under_way(server: Postgres, kind: str) -> None:
    with load(kind, server.conninfo) as clients:
        clients.wait_for_answers()
        server.stop()
        gone_at = time.monotonic()
        server.start()
        up_at = time.monotonic()
        first_at = clients.wait_for_answers(since=gone_at)
    assert_only_what_was_out_failed(clients, gone_at)
    assert first_at - up_at < CEILING
    assert max(request.ended_at - request.asked_at for request in clients.requests) < (up_at - gone_at) + CEILING


def test_a_killed_server_fails_only_queries_that_were_under_way(server: Postgres, kind: str) -> None:
    with load(kind, server.conninfo) as clients:
        clients.wait_for_answers()
        server.kill()
        gone_at = time.monotonic()
        server.start()
        up_at = time.monotonic()
        first_at = clients.wait_for_answers(since=gone_at)
    assert_only_what_was_out_failed(clients, gone_at)
    assert first_at - up_at < CEILING


def test_terminating_every_backend_fails_only_queries_that_were_under_way(server: Postgres, kind: str) -> None:
    with load(kind, server.conninfo) as clients:
        clients.wait_for_answers()
        with psycopg.connect(server.conninfo, autocommit=True) as admin:
            admin.execute(
                "select pg_terminate_backend(pid, 10000) from pg_stat_activity"
                " where pid <> pg_backend_pid() and backend_type = 'client backend'"
            )
        gone_at = time.monotonic()
        first_at = clients.wait_for_answers(since=gone_at)
    assert_only_what_was_out_failed(clients, gone_at)
    assert first_at - gone_at < CEILING


def test_an_outage_longer_than_the_timeout_is_told_and_then_forgotten(server: Postgres, kind: str) -> None:
    """psycopg#1315, psycopg#370: after an outage the same pool serves again, without being made anew."""
    with load(kind, server.conninfo, timeout=0.3) as clients:
        clients.wait_for_answers()
        server.stop()
        # The reason is the last attempt's: of the first ones, that the server was about to end.
        wait_until(lambda: sum("Connection refused" in str(r.error) for r in clients.failed()) >= clients.clients)
        server.start()
        up_at = time.monotonic()
        first_at = clients.wait_for_answers(since=up_at)
    assert first_at - up_at < CEILING
    timeouts = [request for request in clients.failed() if isinstance(request.error, PoolTimeout)]
    assert all(request.asked_at < up_at + CEILING for request in timeouts)
    # The message was empty after the colon there.
    told = [error for error in (request.error for request in timeouts) if error.connect_error is not None]
    assert all(describe(error.connect_error) in str(error) for error in told), told
    assert all(error.__cause__ is error.connect_error for error in told)


def test_stale_connections_are_replaced_without_a_ladder_of_pauses(server: Postgres) -> None:
    """Trap 53. psycopg#709, psycopg#711: there, checks back off 1, 2, 4, 8 s, once for each stale connection."""
    with ConnectionPool(server.conninfo, min_size=8, check=ConnectionPool.check_connection, open=True) as pool:
        pool.wait()
        server.stop()
        server.start()
        began = time.monotonic()
        with pool.connection(timeout=30) as conn:
            assert conn.execute("select 1").fetchone() == (1,)
        assert time.monotonic() - began < CEILING
        wait_until(lambda: pool.get_stats()["pool_available"] == 8)
        assert pool.get_stats()["connections_lost"] == 8


def test_a_server_that_stands_still_for_a_while_fails_no_query_and_is_told_as_timeouts(
    server: Postgres, kind: str
) -> None:
    with load(kind, server.conninfo, timeout=0.3) as clients:
        clients.wait_for_answers()
        with server.frozen():
            # Some clients wait for an answer to their queries; the others are told, again and again.
            wait_until(lambda: len(clients.failed()) >= 2 * clients.clients)
        going_at = time.monotonic()
        first_at = clients.wait_for_answers(since=going_at)
    assert first_at - going_at < CEILING
    assert all(isinstance(request.error, PoolTimeout) for request in clients.failed()), clients.failed()
    assert all(0.3 <= request.ended_at - request.asked_at < CEILING for request in clients.failed())


def test_without_check_a_connection_found_dead_by_a_look_is_not_served(server: Postgres) -> None:
    """psycopg#656, psycopg#584, psycopg#1018: users expect that the pool only serves connections that live."""
    with ConnectionPool(server.conninfo, min_size=2, open=True) as pool:
        pool.wait()
        server.stop()
        server.start()
        idle_until = time.monotonic() + 0.6
        wait_until(lambda: time.monotonic() > idle_until)
        for _ in range(4):
            with pool.connection() as conn:
                assert conn.execute("select 1").fetchone() == (1,)


def test_without_check_a_task_is_not_served_what_a_look_finds_dead(server: Postgres) -> None:
    """psycopg#656, psycopg#584, psycopg#1018."""

    async def main() -> None:
        async with AsyncConnectionPool(server.conninfo, min_size=2, open=False) as pool:
            await pool.wait()
            server.stop()
            server.start()
            await asyncio.sleep(0.6)  # The look comes after half a second of idleness.
            for _ in range(4):
                async with pool.connection() as conn:
                    assert await (await conn.execute("select 1")).fetchone() == (1,)

    asyncio.run(main())


def test_a_task_cancelled_in_a_commit_that_is_not_answered_is_told_at_once(server: Postgres) -> None:
    """psycopg#1371: and its connection is cut behind it, though TCP would wait for much longer."""

    async def main() -> None:
        async with AsyncConnectionPool(server.conninfo, min_size=1, open=False) as pool:
            await pool.wait()
            frozen = ExitStack()

            async def use() -> None:
                async with pool.connection() as conn:
                    await conn.execute("create temp table t (a int)")
                    frozen.enter_context(server.frozen())

            with frozen:
                began = time.monotonic()
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(use(), 0.5)
                assert time.monotonic() - began < 1.5
                while pool.get_stats()["pool_size"] == 1 and not pool.get_stats().get("returns_bad"):
                    assert time.monotonic() - began < 30
                    await asyncio.sleep(0.05)
            async with pool.connection(timeout=30) as conn:
                assert await (await conn.execute("select 1")).fetchone() == (1,)

    asyncio.run(main())


def test_a_check_of_a_server_that_never_answers_ends_at_the_deadline(server: Postgres) -> None:
    with ConnectionPool(server.conninfo, min_size=1, check=ConnectionPool.check_connection, open=True) as pool:
        pool.wait()
        with server.frozen():
            began = time.monotonic()
            with pytest.raises(PoolTimeout):
                pool.getconn(timeout=1)
            took = time.monotonic() - began
            assert 0.9 < took < CEILING
        with pool.connection() as conn:
            assert conn.execute("select 1").fetchone() == (1,)


def test_a_tasks_check_of_a_server_that_never_answers_ends_at_the_deadline(server: Postgres) -> None:
    async def main() -> None:
        check = AsyncConnectionPool.check_connection
        async with AsyncConnectionPool(server.conninfo, min_size=1, check=check, open=False) as pool:
            await pool.wait()
            with server.frozen():
                began = time.monotonic()
                with pytest.raises(PoolTimeout):
                    await pool.getconn(timeout=1)
                assert 0.9 < time.monotonic() - began < CEILING
            async with pool.connection() as conn:
                assert await (await conn.execute("select 1")).fetchone() == (1,)

    asyncio.run(main())


def test_a_task_cancelled_in_a_check_that_never_ends_is_told_at_once(server: Postgres) -> None:
    """psycopg#1371, psycopg#1208, psycopg#1401: cancelled, the task is told, and nothing is lost."""

    async def main() -> None:
        check = AsyncConnectionPool.check_connection
        async with AsyncConnectionPool(server.conninfo, min_size=1, check=check, open=False) as pool:
            await pool.wait()
            with server.frozen():
                began = time.monotonic()
                with pytest.raises(TimeoutError):
                    # A bound from outside, far below the pool's own.
                    await asyncio.wait_for(pool.getconn(timeout=30), 0.2)
                assert time.monotonic() - began < 1
            async with pool.connection() as conn:
                assert await (await conn.execute("select 1")).fetchone() == (1,)
            assert pool.get_stats()["pool_size"] == 1

    asyncio.run(main())


def test_a_check_over_asyncpg_ends_at_the_deadline_too(server: Postgres) -> None:
    from poolhouse.pool.drivers.asyncpg import AsyncpgDriver

    driver = AsyncpgDriver()

    async def main() -> None:
        async with AsyncConnectionPool(
            server.url, driver=driver, min_size=1, check=driver.probe, open=False
        ) as pool:
            await pool.wait()
            with server.frozen():
                began = time.monotonic()
                with pytest.raises(PoolTimeout):
                    await pool.getconn(timeout=1)
                assert 0.9 < time.monotonic() - began < CEILING
            async with pool.connection() as conn:
                assert await conn.fetchval("select 1") == 1

    asyncio.run(main())
