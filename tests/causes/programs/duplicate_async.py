"""Each repository object makes an engine. asyncio, AsyncSession, asyncpg."""

import asyncio

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine

from support.acting import MENDED, begin, serve_async, symptom, url


class Repository:
    engine: AsyncEngine | None = None

    def __init__(self) -> None:
        if not MENDED or Repository.engine is None:
            Repository.engine = create_async_engine(url("asyncpg"), pool_size=2)  # culprit
        self._engine = Repository.engine

    async def count(self) -> None:
        async with AsyncSession(self._engine) as session:
            await session.execute(text("SELECT pg_sleep(0.01)"))


repositories = [Repository() for _ in range(3)]


async def handle() -> None:
    for repository in repositories:
        await repository.count()
    if not MENDED:
        symptom("connections")


begin()
asyncio.run(serve_async(2, handle, think=0.6))
