"""Pools over a real PostgreSQL: `python benchmarks/pool_postgres.py`.

What a pool adds to a query, from one thread, from one task, and from many tasks at once; with psycopg and with
asyncpg, whose own pool needs a server. The peers take turns; the figures are medians of the rounds.
`benchmarks/pool_recovery.py` has what happens when the server goes away.
"""

import asyncio
import statistics
import sys
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

import asyncpg
import psycopg
import psycopg_pool
from _measuring import (
    OURS,
    Cost,
    Figures,
    Stopwatch,
    begin,
    in_turns,
    in_turns_of_tasks,
    medians,
    pairs_of_tasks,
    show_costs,
    show_table,
)
from sqlalchemy import create_engine

from poolhouse.pool import AsyncConnectionPool, ConnectionPool
from poolhouse.pool.sqlalchemy import FairQueuePool
from support.postgres import Postgres, postgres_server

ROUNDS, QUERIES = 40, 100
TASKS, CONNECTIONS_OF_TASKS, TIMES = 1_000, 10, 2
ROUNDS_OF_MANY = 7
PAIRS = 20_480

#: Without it every block would be a transaction, and its COMMIT a round trip that is not the pool's.
AUTOCOMMIT = {"autocommit": True}


def queries(query: Callable[[], object]) -> Callable[[], Cost]:
    """One round."""

    def run() -> Cost:
        with Stopwatch(QUERIES) as watch:
            for _ in range(QUERIES):
                query()
        return watch.cost

    return run


def queries_of_a_task(query: Callable[[], Awaitable[object]]) -> Callable[[], Awaitable[Cost]]:
    """One round."""

    async def run() -> Cost:
        with Stopwatch(QUERIES) as watch:
            for _ in range(QUERIES):
                await query()
        return watch.cost

    return run


def show_added(title: str, figures: Figures) -> None:
    """Print what each adds to the first, which has no pool; rounds are compared pairwise."""
    bare = next(iter(figures.values()))
    rows = []
    for name, rounds in figures.items():
        cpu, wall = (
            statistics.median(mine[column] - its[column] for mine, its in zip(rounds, bare, strict=True)) / 1000
            for column in (0, 1)
        )
        cpu_time, wall_time = (figure / 1000 for figure in medians(rounds))
        row = [name, f"{wall_time:.1f} µs", f"{wall:+.1f} µs", f"{cpu_time:.1f} µs", f"{cpu:+.1f} µs"]
        rows.append(row)
    show_table([title, "wall time", "added", "CPU time", "added"], rows)


def added_to_a_query(server: Postgres) -> None:
    """``SELECT 1`` in autocommit, from one thread."""
    with ExitStack() as stack:
        bare = stack.enter_context(psycopg.connect(server.conninfo, autocommit=True))

        def pooled(kind: Any) -> Callable[[], object]:
            pool = stack.enter_context(kind(server.conninfo, kwargs=AUTOCOMMIT, min_size=1, open=True))
            pool.wait()

            def query() -> None:
                with pool.connection() as conn:
                    conn.execute("select 1").fetchone()

            return query

        def engines(**options: Any) -> Callable[[], object]:
            url = server.url.replace("postgresql:", "postgresql+psycopg:")
            engine = create_engine(url, connect_args=AUTOCOMMIT, pool_reset_on_return=None, **options)
            stack.callback(engine.dispose)

            def query() -> None:
                fairy: Any = engine.pool.connect()
                fairy.dbapi_connection.execute("select 1").fetchone()
                fairy.close()

            return query

        calls: dict[str, Callable[[], object]] = {
            "psycopg, no pool": lambda: bare.execute("select 1").fetchone(),
            f"{OURS} ConnectionPool": pooled(ConnectionPool),
            "psycopg_pool ConnectionPool": pooled(psycopg_pool.ConnectionPool),
            "SQLAlchemy QueuePool": engines(),
            f"{OURS} FairQueuePool": engines(poolclass=FairQueuePool),
        }
        figures = in_turns({name: queries(call) for name, call in calls.items()}, ROUNDS)
    show_added("SELECT 1, one thread", figures)


async def added_to_a_tasks_query(server: Postgres) -> None:
    """The same from a task, with psycopg and with asyncpg."""
    async with AsyncExitStack() as stack:
        bare = await psycopg.AsyncConnection.connect(server.conninfo, autocommit=True)
        stack.push_async_callback(bare.close)

        async def alone() -> None:
            await (await bare.execute("select 1")).fetchone()

        async def pooled(kind: Any) -> Callable[[], Awaitable[object]]:
            pool = kind(server.conninfo, kwargs=AUTOCOMMIT, min_size=1, open=False)
            await pool.open(wait=True)
            stack.push_async_callback(pool.close)

            async def query() -> None:
                async with pool.connection() as conn:
                    await (await conn.execute("select 1")).fetchone()

            return query

        calls = {
            "psycopg, no pool": alone,
            f"{OURS} AsyncConnectionPool": await pooled(AsyncConnectionPool),
            "psycopg_pool AsyncConnectionPool": await pooled(psycopg_pool.AsyncConnectionPool),
        }
        runs = {name: queries_of_a_task(call) for name, call in calls.items()}
        show_added("SELECT 1, one task", await in_turns_of_tasks(runs, ROUNDS))

    async with AsyncExitStack() as stack:
        raw = await asyncpg.connect(server.url)
        stack.push_async_callback(raw.close)

        def through(acquire: Callable[[], Any]) -> Callable[[], Awaitable[object]]:
            async def query() -> None:
                async with acquire() as conn:
                    await conn.fetchval("select 1")

            return query

        over, own, without_reset = await asyncpg_pools(server, stack, 1)
        calls = {
            "asyncpg, no pool": lambda: raw.fetchval("select 1"),
            f"{OURS} over asyncpg": through(over.connection),
            "asyncpg.Pool": through(own.acquire),
            "asyncpg.Pool, reset does nothing": through(without_reset.acquire),
        }
        runs = {name: queries_of_a_task(call) for name, call in calls.items()}
        show_added("SELECT 1, one task, asyncpg", await in_turns_of_tasks(runs, ROUNDS))


async def asyncpg_pools(server: Postgres, stack: AsyncExitStack, size: int) -> tuple[Any, Any, Any]:
    """Ours over asyncpg, asyncpg's own, and its own with a reset that asks nothing of the server."""
    ours: Any = AsyncConnectionPool(server.url, driver=asyncpg, min_size=size, open=False)
    await ours.open(wait=True)
    stack.push_async_callback(ours.close)

    async def no_reset(conn: Any) -> None:
        pass

    own = await stack.enter_async_context(asyncpg.create_pool(server.url, min_size=size, max_size=size))
    without_reset = await stack.enter_async_context(
        asyncpg.create_pool(server.url, min_size=size, max_size=size, reset=no_reset)
    )
    return ours, own, without_reset


async def checkouts_over_asyncpg(server: Postgres) -> None:
    """Take and give back, and ask nothing; then many tasks, each with a query."""
    async with AsyncExitStack() as stack:
        ours, own, without_reset = await asyncpg_pools(server, stack, CONNECTIONS_OF_TASKS)

        figures = await in_turns_of_tasks(
            {
                OURS: pairs_of_tasks(ours.getconn, ours.putconn, PAIRS),
                # Its reset is a round trip: a tenth will do.
                "asyncpg.Pool": pairs_of_tasks(own.acquire, own.release, PAIRS // 10),
                "asyncpg.Pool, reset does nothing": pairs_of_tasks(
                    without_reset.acquire, without_reset.release, PAIRS
                ),
            },
            ROUNDS_OF_MANY,
        )
        show_costs("getconn + putconn, asyncpg", figures)

        def many(acquire: Callable[[], Any]) -> Callable[[], Awaitable[Cost]]:
            async def client() -> None:
                for _ in range(TIMES):
                    async with acquire() as conn:
                        await conn.fetchval("select 1")

            async def run() -> Cost:
                with Stopwatch(TASKS * TIMES) as watch:
                    await asyncio.gather(*(client() for _ in range(TASKS)))
                return watch.cost

            return run

        figures = await in_turns_of_tasks(
            {
                OURS: many(ours.connection),
                "asyncpg.Pool": many(own.acquire),
                "asyncpg.Pool, reset does nothing": many(without_reset.acquire),
            },
            ROUNDS_OF_MANY,
        )
        show_costs(f"{TASKS:,} tasks on {CONNECTIONS_OF_TASKS}, SELECT 1, asyncpg", figures)


def main() -> None:
    """Print all tables."""
    begin("psycopg", "psycopg_pool", "SQLAlchemy", "asyncpg")
    with postgres_server() as server:
        added_to_a_query(server)
        asyncio.run(added_to_a_tasks_query(server))
        asyncio.run(checkouts_over_asyncpg(server))


if __name__ == "__main__":
    main()
