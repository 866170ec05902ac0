"""A coroutine that works on without awaiting anything: nobody else's connection comes back meanwhile. asyncpg."""

import asyncio
import itertools
import time

from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from support.acting import MENDED, begin, serve_async, url

engine = create_async_engine(url("asyncpg"), pool_size=4, max_overflow=0, pool_timeout=3)
numbers = itertools.count(1)


def render() -> None:
    time.sleep(0.7)  # culprit


async def handle() -> None:
    async with engine.connect() as connection:
        await connection.execute(text("SELECT pg_sleep(0.15)"))
    if next(numbers) % 3 == 0:
        if MENDED:
            await asyncio.to_thread(render)
        else:
            render()


begin()
asyncio.run(serve_async(6, handle, think=0.3))
