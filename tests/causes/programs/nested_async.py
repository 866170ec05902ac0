"""A block within a block of the same pool, two functions apart. asyncio, our pool."""

import asyncio

from poolhouse import AsyncConnectionPool
from support.acting import DATABASE, MENDED, begin, serve_async


async def permissions(pool: AsyncConnectionPool) -> None:
    async with pool.connection() as connection:  # now
        await connection.execute("SELECT pg_sleep(0.01)")


async def document(pool: AsyncConnectionPool) -> None:
    if MENDED:
        await permissions(pool)
    async with pool.connection() as connection:  # culprit
        await connection.execute("SELECT pg_sleep(0.05)")
        if not MENDED:
            await permissions(pool)


async def main() -> None:
    async with AsyncConnectionPool(DATABASE, min_size=3, max_size=3, timeout=3, name="documents") as pool:
        await serve_async(9, lambda: document(pool), think=0.6, together=True)


begin()
asyncio.run(main())
