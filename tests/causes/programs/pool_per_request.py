"""Each request opens a pool, and some are open at a time. asyncio, our pool."""

import asyncio

from poolhouse import AsyncConnectionPool
from support.acting import DATABASE, MENDED, begin, serve_async, symptom

open_now = 0


async def with_a_pool_of_its_own() -> None:
    global open_now
    async with AsyncConnectionPool(DATABASE, min_size=1, max_size=4, name="api") as pool:  # culprit
        open_now += 1
        if open_now > 4:
            symptom("connections")
        await work(pool)
    open_now -= 1


async def work(pool: AsyncConnectionPool) -> None:
    async with pool.connection() as connection:
        await connection.execute("SELECT pg_sleep(0.1)")
    await asyncio.sleep(1.5)


async def main() -> None:
    if not MENDED:
        await serve_async(8, with_a_pool_of_its_own, think=0.3)
    async with AsyncConnectionPool(DATABASE, min_size=1, max_size=8, name="api") as pool:
        await serve_async(8, lambda: work(pool), think=0.3)


begin()
asyncio.run(main())
