"""A query that is slow from the start. asyncio, AsyncSession, asyncpg."""

import asyncio

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine

from support.acting import MENDED, begin, serve_async, url

engine = create_async_engine(url("asyncpg"), pool_size=3, max_overflow=0, pool_timeout=1)
sessions = async_sessionmaker(engine)


async def count(session: AsyncSession) -> None:
    await session.execute(text("SELECT pg_sleep(:time)"), {"time": 0.03 if MENDED else 1.3})  # culprit


async def handle() -> None:
    async with sessions() as session:
        await count(session)
        await session.commit()


begin()
asyncio.run(serve_async(8, handle, think=0.5))
