"""The same in asyncio, with our pool; two lines take connections."""

import asyncio
import os

from poolhouse import AsyncConnectionPool
from support.acting import DATABASE, MENDED, begin, serve_async

DELAY = 0.5 if os.environ["HOST_NUMBER"] == "2" and not MENDED else 0.04


async def handle(pool: AsyncConnectionPool) -> None:
    async with pool.connection() as connection:
        await connection.execute("SELECT pg_sleep(%s)", (DELAY,))
    async with pool.connection() as connection:
        await connection.execute("SELECT pg_sleep(%s)", (2 * DELAY,))


async def main() -> None:
    async with AsyncConnectionPool(DATABASE, min_size=4, max_size=4, timeout=10, name="web") as pool:
        await serve_async(4, lambda: handle(pool), think=0.4)


begin()
asyncio.run(main())
