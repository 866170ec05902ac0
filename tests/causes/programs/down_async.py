"""The server is gone. asyncio, our pool."""

import asyncio

from poolhouse import AsyncConnectionPool
from support.acting import DATABASE, begin, serve_async


async def handle(pool: AsyncConnectionPool) -> None:
    async with pool.connection() as connection:
        await connection.execute("SELECT pg_sleep(0.02)")


async def main() -> None:
    async with AsyncConnectionPool(DATABASE, min_size=3, max_size=3, timeout=2, name="web") as pool:
        await serve_async(4, lambda: handle(pool), think=0.4)


begin()
asyncio.run(main())
