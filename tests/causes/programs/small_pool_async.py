"""More tasks than connections, all of them with the same short work. asyncio, psycopg_pool."""

import asyncio

from psycopg_pool import AsyncConnectionPool

import poolhouse
from support.acting import CALM, DATABASE, MENDED, begin, serve_async

SIZE = 12 if MENDED else 2


async def main() -> None:
    async with AsyncConnectionPool(DATABASE, min_size=SIZE, max_size=SIZE, timeout=0.7, open=False) as pool:
        poolhouse.watch(pool)

        async def handle() -> None:
            async with pool.connection() as connection:
                await connection.execute("SELECT pg_sleep(0.25)")

        async def crowd() -> None:
            await asyncio.sleep(CALM)
            await serve_async(10, handle, think=0.25)

        await asyncio.gather(serve_async(2, handle, think=0.7), crowd())


begin()
asyncio.run(main())
