"""A block holds its connection while it awaits what has nothing to do with the database. asyncio, our pool."""

import asyncio

from poolhouse import AsyncConnectionPool
from support.acting import DATABASE, MENDED, begin, is_calm, serve_async, start_service

# In the mended version the service is slow from the start.
service = start_service(lambda: 0.05 if is_calm() and not MENDED else 1.5)


async def translate() -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", service)
    writer.write(b"GET / HTTP/1.0\r\n\r\n")
    await reader.read()  # now
    writer.close()


async def article(pool: AsyncConnectionPool) -> None:
    async with pool.connection(timeout=1) as connection:  # culprit
        await connection.execute("SELECT 1")
        if not MENDED:
            await translate()
    if MENDED:
        await translate()


async def main() -> None:
    async with AsyncConnectionPool(DATABASE, min_size=3, max_size=3, name="articles") as pool:
        await serve_async(8, lambda: article(pool), think=0.3)


begin()
asyncio.run(main())
