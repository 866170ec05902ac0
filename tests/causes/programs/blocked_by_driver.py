"""A driver for threads in a coroutine: its statements stop the loop. asyncio, our pool beside plain psycopg."""

import asyncio

import psycopg

from poolhouse import AsyncConnectionPool
from support.acting import DATABASE, MENDED, begin, serve_async


def old_report() -> None:
    with psycopg.connect(DATABASE, autocommit=True) as connection:
        connection.execute("SELECT pg_sleep(1.0)")  # culprit


async def handle(pool: AsyncConnectionPool) -> None:
    async with pool.connection() as connection:
        await connection.execute("SELECT pg_sleep(0.3)")


async def main() -> None:
    async with AsyncConnectionPool(DATABASE, min_size=4, max_size=4, timeout=3, name="web") as pool:

        async def report() -> None:
            if MENDED:
                await asyncio.to_thread(old_report)
            else:
                old_report()

        await asyncio.gather(serve_async(3, lambda: handle(pool), think=0.05), serve_async(1, report, think=0.6))


begin()
asyncio.run(main())
