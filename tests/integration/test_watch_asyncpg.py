"""What is particular to asyncpg's pools, watched: nothing that an application can notice changes."""

import asyncio
from typing import Any

import asyncpg
import pytest

import poolhouse
from poolhouse.instrumentation import watching
from poolhouse.report import reporter
from support.driver_pools import run
from support.pages import ROOT, under
from support.postgres import Postgres
from support.unread import Stream


@pytest.fixture(autouse=True)
def stream(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reporter, "stream", lambda destination: Stream())


class Pool(asyncpg.Pool):  # type: ignore[misc]
    """A subclass, with attributes and weak references."""


async def opened(postgres: Postgres, **options: Any) -> Any:
    pool = await asyncpg.create_pool(postgres.url, **{"min_size": 1, "max_size": 2} | options)
    poolhouse.watch(pool)
    return pool


def figures(pool: Any) -> tuple[int | None, int, int]:
    source = watching.source_of(pool)
    assert source is not None
    reading = source.read(1)
    assert reading.use is not None
    return reading.counters.checkouts, reading.use.count, reading.gauges.used


def test_the_pools_own_shortcuts_are_checkouts_of_the_line_that_calls_them(postgres: Postgres) -> None:
    async def steps() -> None:
        pool = await opened(postgres)
        assert await pool.fetchval("select 7") == 7
        assert await pool.execute("select 1") == "SELECT 1"
        assert [row[0] for row in await pool.fetch("select 8")] == [8]
        assert figures(pool) == (3, 3, 0)
        source = watching.source_of(pool)
        assert source is not None
        signs = source.read(2).signs
        assert signs is not None
        assert len(signs.sites) == 3
        assert all(
            "test_watch_asyncpg.py" in site.site and site.site.endswith(".steps") for site in signs.sites
        ), signs.sites
        await pool.close()

    run(steps())


def test_both_forms_of_acquire_and_their_errors_are_as_ever(postgres: Postgres) -> None:
    async def steps() -> None:
        pool = await opened(postgres)
        conn = await pool.acquire()
        assert type(conn) is asyncpg.pool.PoolConnectionProxy
        assert type(pool) is asyncpg.Pool
        await pool.release(conn)
        await pool.release(conn)  # Twice is once.
        with pytest.raises(asyncpg.InterfaceError, match="has been released"):
            await conn.fetchval("select 1")
        with pytest.raises(asyncpg.InterfaceError, match="not a member of this pool"):
            await pool.release(object())
        context = pool.acquire()
        async with context as conn:
            assert await conn.fetchval("select 1") == 1
        with pytest.raises(asyncpg.InterfaceError, match="already acquired"):
            await context.__aenter__()
        with pytest.raises(asyncpg.exceptions.DivisionByZeroError):
            async with pool.acquire() as conn:
                await conn.fetchval("select 1/0")
        assert figures(pool) == (3, 3, 0)
        await pool.close()
        with pytest.raises(asyncpg.InterfaceError, match="pool is closed"):
            await pool.acquire()

    run(steps())


@pytest.mark.parametrize("end", ["close", "terminate"])
def test_a_use_ends_with_its_connection(postgres: Postgres, end: str) -> None:
    async def steps() -> None:
        pool = await opened(postgres)
        async with pool.acquire() as conn:
            assert figures(pool) == (1, 0, 1)
            ended = getattr(conn, end)()
            if end == "close":
                await ended
            assert figures(pool) == (1, 1, 0)
        async with pool.acquire() as conn:
            assert await conn.fetchval("select 1") == 1
        assert figures(pool) == (2, 2, 0)
        await pool.close()

    run(steps())


def test_a_release_goes_on_while_its_caller_is_cancelled(postgres: Postgres) -> None:
    async def steps() -> None:
        pool = await opened(postgres, max_size=1)
        conn = await pool.acquire()
        release = asyncio.create_task(pool.release(conn))
        await asyncio.sleep(0)
        release.cancel()
        with pytest.raises(asyncio.CancelledError):
            await release
        assert await pool.fetchval("select 1", timeout=30) == 1
        assert figures(pool) == (2, 2, 0)
        await pool.close()

    run(steps())


def test_a_pool_that_is_not_watched_is_measured_by_nobody(postgres: Postgres) -> None:
    async def steps() -> None:
        pool = await opened(postgres)
        async with asyncpg.create_pool(postgres.url, min_size=0, max_size=1) as other:
            assert await other.fetchval("select 1") == 1
            assert watching.source_of(other) is None
        assert figures(pool) == (0, 0, 0)
        await pool.close()

    run(steps())


def test_a_pool_may_be_watched_before_it_is_opened_and_be_a_subclass(postgres: Postgres) -> None:
    made: list[None] = []

    async def connect(*arguments: Any, **options: Any) -> Any:
        made.append(None)
        return await asyncpg.connect(*arguments, **options)

    async def steps() -> None:
        unopened = Pool(
            postgres.url,
            connect=connect,
            init_size=1,
            min_size=0,  # Nothing is connected in the background.
            max_size=2,
            max_queries=5,
            max_inactive_connection_lifetime=0,
            loop=asyncio.get_running_loop(),
            connection_class=asyncpg.Connection,
            record_class=asyncpg.Record,
        )
        poolhouse.watch(unopened)
        assert figures(unopened) == (0, 0, 0)
        async with unopened as pool:
            source = watching.source_of(pool)
            assert source is not None
            assert source.read(3).counters.connects == 1
            for _ in range(12):
                assert await pool.fetchval("select 1") == 1
            counters = source.read(4).counters
            assert (counters.checkouts, counters.connects) == (12, len(made))
            assert len(made) > 2, "each is closed after five queries"
            assert len(made) - counters.disconnects == pool.get_size()
        assert source.is_gone()

    run(steps())


def test_a_connect_that_takes_too_long_is_no_timeout_of_the_pool(postgres: Postgres) -> None:
    async def steps() -> None:
        async def never(*_: Any, **__: Any) -> Any:
            raise TimeoutError

        pool = await opened(postgres, min_size=0, connect=never)
        with pytest.raises(TimeoutError):
            await pool.acquire(timeout=30)
        source = watching.source_of(pool)
        assert source is not None
        counters = source.read(1).counters
        assert (counters.timeouts, counters.acquire_errors, counters.connect_errors) == (0, 1, 1)
        await pool.close()

    run(steps())


def test_the_example_of_the_page_watches_its_pool(postgres: Postgres) -> None:
    page = ROOT / "docs" / "howto" / "watch-your-pools.md"
    (block,) = under(page, "Pools of asyncpg, aiomysql and psycopg2", "python")
    lines = [f"    {line}" for line in block.replace("postgresql://db.example/shop", postgres.url).splitlines()]
    names: dict[str, Any] = {"asyncpg": asyncpg, "poolhouse": poolhouse}
    exec("\n".join(["async def example():", *lines, "    return pool"]), names)

    async def steps() -> None:
        pool = await names["example"]()
        assert figures(pool) == (0, 0, 0)
        await pool.close()

    run(steps())
