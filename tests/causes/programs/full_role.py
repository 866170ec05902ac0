"""The server allows this user fewer connections than the pool may open. asyncio, asyncpg."""

import asyncio

from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from support.acting import MENDED, begin, serve_async, url

engine = create_async_engine(url("asyncpg"), pool_size=3 if MENDED else 8, max_overflow=0, pool_timeout=5)


async def handle() -> None:
    async with engine.connect() as connection:
        await connection.execute(text("SELECT pg_sleep(0.3)"))


begin()
asyncio.run(serve_async(3 if MENDED else 8, handle, think=0.2))
