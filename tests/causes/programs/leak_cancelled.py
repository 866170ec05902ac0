"""getconn() and putconn() with an await in between that is cancelled. asyncio, psycopg_pool."""

import asyncio
import itertools

from psycopg_pool import AsyncConnectionPool

import poolhouse
from support.acting import DATABASE, MENDED, begin, serve_async

AUTOCOMMIT = {"autocommit": True}
numbers = itertools.count(1)


async def handle(pool: AsyncConnectionPool) -> None:
    # Every tenth client closes the browser before it has its answer.
    patience = 0.1 if next(numbers) % 10 == 0 else None
    try:
        await asyncio.wait_for(mended(pool) if MENDED else answer(pool), patience)
    except TimeoutError:
        if patience is None:
            raise


async def answer(pool: AsyncConnectionPool) -> None:
    connection = await pool.getconn(timeout=3)  # culprit
    await connection.execute("SELECT pg_sleep(0.01)")
    await asyncio.sleep(0.2)
    await pool.putconn(connection)


async def mended(pool: AsyncConnectionPool) -> None:
    async with pool.connection(timeout=3) as connection:
        await connection.execute("SELECT pg_sleep(0.01)")
        await asyncio.sleep(0.2)


async def main() -> None:
    async with AsyncConnectionPool(DATABASE, kwargs=AUTOCOMMIT, min_size=5, max_size=5, open=False) as pool:
        poolhouse.watch(pool)
        await serve_async(12, lambda: handle(pool), think=1.2)


begin()
asyncio.run(main())
