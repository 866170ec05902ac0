"""Pools that are dropped without being closed: collected, without a warning, their sessions ended."""

import asyncio
import gc
import threading
import weakref
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from poolhouse import AsyncConnectionPool, AsyncNullConnectionPool, ConnectionPool, NullConnectionPool
from support.postgres import Postgres
from support.waiting import wait_until


def _sessions(postgres: Postgres) -> int:
    with psycopg.connect(postgres.conninfo) as conn:
        found = conn.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'forgotten'"
        ).fetchone()
    assert found is not None
    return int(found[0])


@pytest.fixture
def dsn(postgres: Postgres, recwarn: pytest.WarningsRecorder) -> Iterator[str]:
    """For pools; what is left of them must be gone in the end, without a warning."""
    yield f"{postgres.conninfo} application_name=forgotten"
    gc.collect()
    wait_until(lambda: _sessions(postgres) == 0)
    assert [str(each.message) for each in recwarn.list] == []


def _used(pool: Any) -> None:
    pool.open(wait=True)
    with pool.connection() as conn:
        conn.execute("SELECT 1")


@pytest.mark.parametrize("kind", [ConnectionPool, NullConnectionPool])
def test_a_pool_for_threads_that_is_dropped_is_collected_and_its_threads_end(kind: Any, dsn: str) -> None:
    before = set(threading.enumerate())
    pool = kind(dsn, max_size=4, open=False)
    _used(pool)
    gone = weakref.ref(pool)
    del pool
    gc.collect()
    assert gone() is None
    wait_until(lambda: set(threading.enumerate()) <= before)


#: Of one connection: psycopg warns of those that are idle in a pool that the garbage collector finds.
_SIZES: dict[Any, dict[str, int]] = {
    ConnectionPool: {"min_size": 1, "max_size": 1},
    AsyncConnectionPool: {"min_size": 1, "max_size": 1},
    NullConnectionPool: {"max_size": 4},
    AsyncNullConnectionPool: {"max_size": 4},
}


@pytest.mark.parametrize("is_block", [False, True])
@pytest.mark.parametrize("kind", [ConnectionPool, NullConnectionPool])
def test_so_is_one_that_is_dropped_together_with_a_connection_that_is_out(
    kind: Any, is_block: bool, dsn: str
) -> None:
    """The connection refers to its pool, so only the garbage collector finds them; no thread may keep them."""
    before = set(threading.enumerate())
    pool = kind(dsn, **_SIZES[kind], open=False)
    _used(pool)
    out = pool.connection() if is_block else pool.getconn()
    if is_block:
        out.__enter__()
    gone = weakref.ref(pool)
    del pool, out

    def is_collected() -> bool:
        gc.collect()  # Until the worker that connected has ended: it may look for another job.
        return gone() is None

    wait_until(is_collected)
    wait_until(lambda: set(threading.enumerate()) <= before)


def test_a_connection_that_is_kept_keeps_its_pool(dsn: str) -> None:
    pool = ConnectionPool(dsn, min_size=1, max_size=1, open=False)
    _used(pool)
    conn = pool.getconn()
    gone = weakref.ref(pool)
    del pool
    gc.collect()
    kept = gone()
    assert kept is not None
    kept.putconn(conn)
    with kept.connection() as again:
        assert again is conn
    del kept, conn, again


@pytest.mark.parametrize("is_block", [False, True])
@pytest.mark.parametrize("kind", [AsyncConnectionPool, AsyncNullConnectionPool])
def test_a_pool_for_asyncio_is_dropped_together_with_a_connection_that_is_out(
    kind: Any, is_block: bool, dsn: str
) -> None:
    async def main() -> None:
        pool = kind(dsn, **_SIZES[kind], open=False)
        await pool.open(wait=True)
        out = pool.connection() if is_block else await pool.getconn()
        if is_block:
            await out.__aenter__()
        gone = weakref.ref(pool)
        del pool, out
        gc.collect()
        assert gone() is None
        await asyncio.sleep(0)

    asyncio.run(main())


def test_a_pool_is_dropped_before_it_has_connected(dsn: str) -> None:
    pool = ConnectionPool(dsn, open=False)
    pool.open()
    del pool


@pytest.mark.parametrize("kind", [AsyncConnectionPool, AsyncNullConnectionPool])
def test_a_pool_for_asyncio_that_is_dropped_is_collected_by_the_time_its_loop_goes_on(kind: Any, dsn: str) -> None:
    async def main() -> None:
        pool = kind(dsn, max_size=4, open=False)
        await pool.open(wait=True)
        async with pool.connection() as conn:
            await conn.execute("SELECT 1")
        gone = weakref.ref(pool)
        del pool, conn
        gc.collect()
        assert gone() is None

    asyncio.run(main())


def test_a_pool_for_asyncio_that_outlives_its_loop_is_dropped_without_a_warning(dsn: str) -> None:
    pools: list[Any] = []

    async def main() -> None:
        pools.append(AsyncConnectionPool(dsn, min_size=2, open=False))
        await pools[0].open(wait=True)

    asyncio.run(main())
    gone = weakref.ref(pools.pop())
    gc.collect()
    assert gone() is None


def test_a_pool_for_asyncio_whose_loop_has_ended_is_closed_in_another_without_a_warning(dsn: str) -> None:
    pools: list[Any] = []

    async def main() -> None:
        pools.append(AsyncConnectionPool(dsn, min_size=2, open=False))
        await pools[0].open(wait=True)

    async def later() -> None:
        await pools.pop().close()

    asyncio.run(main())
    asyncio.run(later())


@pytest.mark.parametrize("kind", [AsyncConnectionPool, AsyncNullConnectionPool])
def test_what_a_slow_connect_makes_after_the_pool_was_closed_is_closed(kind: Any, dsn: str) -> None:
    """Fault 1f: a connect that is cancelled in the middle may drop what it has made."""
    made: list[Any] = []
    connected: list[asyncio.Event] = []

    class Slow(psycopg.AsyncConnection[Any]):
        @classmethod
        async def connect(cls, conninfo: str = "", **kwargs: Any) -> Any:
            conn = await super().connect(conninfo, **kwargs)
            made.append(conn)
            connected[0].set()
            await asyncio.sleep(0.1)
            return conn

    async def main() -> None:
        connected.append(asyncio.Event())
        pool = kind(dsn, connection_class=Slow, max_size=4, open=False)
        await pool.open()
        client = asyncio.ensure_future(pool.getconn(timeout=5.0))
        await connected[0].wait()
        await pool.close(timeout=0)
        with pytest.raises(psycopg.OperationalError, match=r"is (already )?closed"):
            await client
        await asyncio.sleep(0.2)
        assert [conn.closed for conn in made] == [True] * len(made)

    asyncio.run(main())
