"""The process gets its turn for a moment of each second, as on a machine that swaps. asyncio, our pool."""

import asyncio

from poolhouse import AsyncConnectionPool
from support.acting import DATABASE, MENDED, begin, serve_async, throttle


async def handle(pool: AsyncConnectionPool) -> None:
    async with pool.connection() as connection:
        for _ in range(3):
            await connection.execute("SELECT pg_sleep(0.1)")


async def main() -> None:
    async with AsyncConnectionPool(DATABASE, min_size=5, max_size=5, timeout=10, name="web") as pool:
        await serve_async(3, lambda: handle(pool), think=0.05)


begin()
if not MENDED:
    throttle(stopped=0.6, runs=0.15)
asyncio.run(main())
