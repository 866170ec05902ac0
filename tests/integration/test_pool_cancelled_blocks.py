"""A cancelled block is over soon, and settled by then, if the server answers."""

import asyncio
import time
from typing import Any

import psycopg
import pytest

from poolhouse import AsyncConnectionPool, AsyncNullConnectionPool
from support.postgres import Postgres


@pytest.mark.parametrize("reset", [False, True], ids=["", "reset"])
def test_after_cancelled_blocks_all_connections_are_idle_and_no_lock_is_held(
    reset: bool, postgres: Postgres
) -> None:
    """Fault 1h: right after `gather`, without a moment for the pool to settle in."""

    async def resets(conn: Any) -> None:
        async with conn.transaction():
            await conn.execute("RESET ALL")

    async def main() -> None:
        held: list[Any] = []
        all_held = asyncio.Event()
        async with AsyncConnectionPool(
            postgres.conninfo, min_size=3, max_size=3, reset=resets if reset else None
        ) as pool:
            await pool.wait(10.0)

            async def hold(number: int) -> None:
                async with pool.connection() as conn:
                    await conn.execute("SELECT pg_advisory_xact_lock(%s)", [number])
                    held.append(conn)
                    if len(held) == 3:
                        all_held.set()
                    await asyncio.sleep(60.0)

            tasks = [asyncio.ensure_future(hold(number)) for number in range(3)]
            await asyncio.wait_for(all_held.wait(), 10.0)
            for task in tasks:
                task.cancel()
            outcomes = await asyncio.gather(*tasks, return_exceptions=True)
            assert [type(outcome) for outcome in outcomes] == [asyncio.CancelledError] * 3
            assert pool.get_stats()["pool_available"] == 3
            with psycopg.connect(postgres.conninfo) as other:
                locks = other.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'").fetchone()
            assert locks == (0,)

    asyncio.run(main())


def test_a_commit_that_is_cancelled_is_settled_too(postgres: Postgres) -> None:
    async def main() -> None:
        committing: list[asyncio.Event] = []

        class Committing(psycopg.AsyncConnection[Any]):
            async def commit(self) -> None:
                committing[0].set()
                await asyncio.sleep(0.005)
                await super().commit()

        committing.append(asyncio.Event())
        async with AsyncConnectionPool(postgres.conninfo, connection_class=Committing, min_size=1) as pool:

            async def use() -> None:
                async with pool.connection() as conn:
                    await conn.execute("SELECT 1")

            task = asyncio.ensure_future(use())
            await committing[0].wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert pool.get_stats()["pool_available"] == 1

    asyncio.run(main())


def test_a_block_cancelled_in_a_null_pool_leaves_no_session(postgres: Postgres) -> None:
    async def main() -> None:
        entered = asyncio.Event()
        async with AsyncNullConnectionPool(postgres.conninfo) as pool:

            async def hold() -> None:
                async with pool.connection() as conn:
                    await conn.execute("SELECT 1")
                    entered.set()
                    await asyncio.sleep(60.0)

            task = asyncio.ensure_future(hold())
            await entered.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert pool.get_stats()["pool_size"] == 0

    asyncio.run(main())


def test_a_second_cancellation_ends_the_wait_and_loses_nothing(postgres: Postgres) -> None:
    async def main() -> None:
        entered = asyncio.Event()

        class Slow(psycopg.AsyncConnection[Any]):
            async def rollback(self) -> None:
                await asyncio.sleep(0.04)
                await super().rollback()

        async with AsyncConnectionPool(postgres.conninfo, connection_class=Slow, min_size=1) as pool:

            async def hold() -> None:
                async with pool.connection() as conn:
                    await conn.execute("SELECT 1")
                    entered.set()
                    await asyncio.sleep(60.0)

            task = asyncio.ensure_future(hold())
            await entered.wait()
            task.cancel()
            await asyncio.sleep(0.005)
            began = time.monotonic()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert time.monotonic() - began < 0.03, "it does not wait for the rollback, which takes 40 ms"
            async with pool.connection(timeout=5.0) as conn:
                assert conn.info.transaction_status == psycopg.pq.TransactionStatus.IDLE

    asyncio.run(main())
