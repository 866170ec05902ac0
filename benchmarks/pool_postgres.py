"""Pools over a real PostgreSQL: `python benchmarks/pool_postgres.py`.

What a pool adds to a query, and how clients fare when the server goes away and comes back. The peers are measured
in the same run, in turns; each figure of the first tables is the median of the rounds.
"""

import asyncio
import gc
import logging
import platform
import statistics
import sys
import threading
import time
import warnings
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

import asyncpg
import psycopg
import psycopg_pool
from sqlalchemy import create_engine

from poolhouse.pool import AsyncConnectionPool, ConnectionPool
from poolhouse.pool.sqlalchemy import FairQueuePool
from support.pool_load import ThreadLoad
from support.postgres import Postgres, postgres_server

ROUNDS = 60
QUERIES = 100
CLIENTS = 8
#: How long the server is away, in seconds.
RESTART, OUTAGE = 0.2, 10.0


def per_call(call: Callable[[], object]) -> float:
    """Microseconds a call, in one round."""
    began = time.perf_counter_ns()
    for _ in range(QUERIES):
        call()
    return (time.perf_counter_ns() - began) / QUERIES / 1000


async def per_await(call: Callable[[], Awaitable[object]]) -> float:
    """Microseconds an awaited call, in one round."""
    began = time.perf_counter_ns()
    for _ in range(QUERIES):
        await call()
    return (time.perf_counter_ns() - began) / QUERIES / 1000


def head(title: str) -> None:
    """Print a table's heading."""
    print(f"{title:37}        time        added     ratio")


def rotated(names: Iterable[str], turn: int) -> list[str]:
    """The names, another one first in each turn: what comes first may be the slower for it."""
    names = list(names)
    begin = turn % len(names)
    return names[begin:] + names[:begin]


def show(figures: dict[str, list[float]]) -> None:
    """Print each peer beside the first, which has no pool."""
    bare = statistics.median(next(iter(figures.values())))
    for name, rounds in figures.items():
        median = statistics.median(rounds)
        # Rounds are compared pairwise: what slows the machine slows both.
        added = statistics.median(a - b for a, b in zip(rounds, next(iter(figures.values())), strict=True))
        print(f"{name:34} {median:8.1f} µs {added:+8.1f} µs {median / bare:6.2f} ×")


def added_to_a_query(server: Postgres) -> None:
    """``SELECT 1`` in autocommit, from one thread."""
    head(f"SELECT 1, one thread, {ROUNDS} rounds of {QUERIES}")
    kwargs = {"autocommit": True}
    with ExitStack() as stack:
        bare = stack.enter_context(psycopg.connect(server.conninfo, autocommit=True))
        ours = stack.enter_context(ConnectionPool(server.conninfo, kwargs=kwargs, min_size=1, open=True))
        theirs = stack.enter_context(
            psycopg_pool.ConnectionPool(server.conninfo, kwargs=kwargs, min_size=1, open=True)
        )
        ours.wait()
        theirs.wait()
        engines = {
            kind: create_engine(
                server.url.replace("postgresql:", "postgresql+psycopg:"),
                connect_args=kwargs,
                pool_reset_on_return=None,
                **options,
            )
            for kind, options in {"QueuePool": {}, "FairQueuePool": {"poolclass": FairQueuePool}}.items()
        }

        def pooled(pool: Any) -> Callable[[], object]:
            def query() -> None:
                with pool.connection() as conn:
                    conn.execute("select 1").fetchone()

            return query

        def through(pool: Any) -> Callable[[], object]:
            def query() -> None:
                fairy = pool.connect()
                fairy.dbapi_connection.execute("select 1").fetchone()
                fairy.close()

            return query

        calls: dict[str, Callable[[], object]] = {
            "psycopg, no pool": lambda: bare.execute("select 1").fetchone(),
            "poolhouse ConnectionPool": pooled(ours),
            "psycopg_pool ConnectionPool": pooled(theirs),
            "SQLAlchemy QueuePool": through(engines["QueuePool"].pool),
            "poolhouse FairQueuePool": through(engines["FairQueuePool"].pool),
        }
        figures: dict[str, list[float]] = {name: [] for name in calls}
        for turn in range(ROUNDS):
            gc.collect()
            for name in rotated(calls, turn):
                figures[name].append(per_call(calls[name]))
        show(figures)
        for engine in engines.values():
            engine.dispose()


async def added_to_a_tasks_query(server: Postgres) -> None:
    """The same from a task, with psycopg and with asyncpg."""
    kwargs = {"autocommit": True}
    bare = await psycopg.AsyncConnection.connect(server.conninfo, autocommit=True)
    ours = AsyncConnectionPool(server.conninfo, kwargs=kwargs, min_size=1, open=False)
    theirs = psycopg_pool.AsyncConnectionPool(server.conninfo, kwargs=kwargs, min_size=1, open=False)
    await ours.open(wait=True)
    await theirs.open(wait=True)

    def pooled(pool: Any) -> Callable[[], Awaitable[object]]:
        async def query() -> None:
            async with pool.connection() as conn:
                await (await conn.execute("select 1")).fetchone()

        return query

    async def alone() -> None:
        await (await bare.execute("select 1")).fetchone()

    await _rounds(
        f"SELECT 1, one task, {ROUNDS} rounds of {QUERIES}",
        {
            "psycopg, no pool": alone,
            "poolhouse AsyncConnectionPool": pooled(ours),
            "psycopg_pool AsyncConnectionPool": pooled(theirs),
        },
    )
    await ours.close()
    await theirs.close()
    await bare.close()

    raw = await asyncpg.connect(server.url)
    own = await asyncpg.create_pool(server.url, min_size=1, max_size=1)
    over = AsyncConnectionPool(server.url, driver=asyncpg, min_size=1, open=False)
    await over.open(wait=True)

    async def through_its_own() -> None:
        async with own.acquire() as conn:
            await conn.fetchval("select 1")

    async def through_ours() -> None:
        async with over.connection() as conn:
            await conn.fetchval("select 1")

    await _rounds(
        "the same with asyncpg",
        {
            "asyncpg, no pool": lambda: raw.fetchval("select 1"),
            "poolhouse over asyncpg": through_ours,
            "asyncpg.Pool": through_its_own,
        },
    )
    await over.close()
    await own.close()
    await raw.close()


async def _rounds(title: str, calls: dict[str, Callable[[], Awaitable[object]]]) -> None:
    print()
    head(title)
    figures: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(ROUNDS):
        gc.collect()
        for name in rotated(calls, turn):
            figures[name].append(await per_await(calls[name]))
    show(figures)


class EnginePool:
    """An engine's pool under the names that the load asks for."""

    def __init__(self, url: str, **options: Any) -> None:
        self._engine = create_engine(
            url.replace("postgresql:", "postgresql+psycopg:"), pool_size=4, max_overflow=0, **options
        )

    @contextmanager
    def connection(self) -> Iterator[Any]:
        conn = self._engine.raw_connection()
        try:
            yield conn
        finally:
            conn.close()

    def close(self) -> None:
        self._engine.dispose()


def pools(server: Postgres) -> dict[str, Callable[[], Any]]:
    """Those that look before they serve, each its own way."""

    def with_check(pool_class: Any) -> Callable[[], Any]:
        def make() -> Any:
            pool = pool_class(server.conninfo, min_size=4, check=pool_class.check_connection, open=True)
            pool.wait()
            return pool

        return make

    return {
        "poolhouse, check": with_check(ConnectionPool),
        "psycopg_pool, check": with_check(psycopg_pool.ConnectionPool),
        "QueuePool, pre_ping": lambda: EnginePool(server.url, pool_pre_ping=True),
        "FairQueuePool, pre_ping": lambda: EnginePool(server.url, poolclass=FairQueuePool, pool_pre_ping=True),
    }


def kill_backends(server: Postgres) -> float:
    """End every session; the server stays. Returns when it was up again."""
    with psycopg.connect(server.conninfo, autocommit=True) as admin:
        admin.execute(
            "select pg_terminate_backend(pid, 10000) from pg_stat_activity"
            " where pid <> pg_backend_pid() and backend_type = 'client backend'"
        )
    return time.monotonic()


def away(seconds: float) -> Callable[[Postgres], float]:
    """Stop the server for so long. Returns when it was up again."""

    def stop_and_start(server: Postgres) -> float:
        server.stop()
        time.sleep(seconds)
        server.start()
        return time.monotonic()

    return stop_and_start


def recovery(server: Postgres) -> None:
    """Requests of several threads while the server goes away and comes back."""
    blows = {
        "all sessions killed": kill_backends,
        f"{RESTART} s away": away(RESTART),
        f"{OUTAGE:g} s away": away(OUTAGE),
    }
    print(
        f"\n{CLIENTS} threads on 4 connections; SQLAlchemy's pools connect in the caller, where it fails at once:"
    )
    print(f"{'':32}  failed   worst request   first answer after it is up")
    for blow, strike in blows.items():
        print(f"  {blow}")
        for name, make in pools(server).items():
            with ThreadLoad(make(), CLIENTS, failures=Exception) as load:
                load.wait_for_answers()
                struck_at = time.monotonic()
                up_at = strike(server)
                first = load.wait_for_answers(since=struck_at, count=CLIENTS)
                load.wait_for_answers()
            worst = max(request.ended_at - request.asked_at for request in load.requests)
            # The first of those that were answered after the server was up.
            later = [r.ended_at for r in load.requests if r.ended_at > up_at and not r.error]
            first = max(0.0, min(later) - up_at)
            print(f"    {name:28} {len(load.failed()):8} {worst * 1000:12.0f} ms {first * 1000:16.0f} ms")


def frozen(server: Postgres) -> None:
    """A server that accepts and never answers."""
    print("\ngetconn(timeout=1), the server stopped by SIGSTOP for 5 s:")
    for name, make in list(pools(server).items())[:2]:
        pool = make()
        with server.frozen():
            began = time.monotonic()
            ended: list[float] = []

            def client(pool: Any = pool, ended: list[float] = ended) -> None:
                with suppress(psycopg.Error):
                    pool.getconn(timeout=1)
                ended.append(time.monotonic())

            thread = threading.Thread(target=client)
            thread.start()
            thread.join(timeout=5)
            told = f"{ended[0] - began:.2f} s" if ended else "longer than that"
        thread.join()
        print(f"    {name:28} {told}")
        pool.close()


def main() -> None:
    """Print all tables."""
    logging.disable()
    warnings.simplefilter("ignore")
    print(f"CPython {platform.python_version()}, psycopg {psycopg.__version__} ({psycopg.pq.__impl__}), ", end="")
    print(f"psycopg_pool {psycopg_pool.__version__}, asyncpg {asyncpg.__version__}\n")
    with postgres_server() as server:
        added_to_a_query(server)
        asyncio.run(added_to_a_tasks_query(server))
        recovery(server)
        frozen(server)


if __name__ == "__main__":
    main()
