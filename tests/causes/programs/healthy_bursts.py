"""Everybody comes at once every few seconds, queues for a moment, and is gone."""

import asyncio
import random

from poolhouse import AsyncConnectionPool
from support.acting import DATABASE, begin, symptom


async def handle(pool: AsyncConnectionPool) -> None:
    async with pool.connection() as connection:
        await connection.execute("SELECT pg_sleep(0.04)")


async def main() -> None:
    async with AsyncConnectionPool(DATABASE, min_size=4, max_size=4, timeout=5, name="bursts") as pool:
        while True:
            outcomes = await asyncio.gather(*(handle(pool) for _ in range(24)), return_exceptions=True)
            for outcome in outcomes:
                if isinstance(outcome, BaseException):
                    symptom(type(outcome).__name__, outcome)
            await asyncio.sleep(random.uniform(2.0, 4.0))


begin()
asyncio.run(main())
