"""The pools that come with drivers, behind one interface: each kind is used in the way its users do."""

import asyncio
import gc
from collections.abc import Awaitable, Callable
from typing import Any

import aiomysql
import asyncpg
import psycopg2.pool

from support.mariadb import MariaDB
from support.postgres import Postgres


class Pool:
    """One kind of pool; `pool` is the driver's."""

    #: Whether callers wait, whether some can give up by themselves, and which error that is.
    waits = True
    timeout: type[BaseException] | None = None
    #: Whether an idle connection beyond the minimum is kept.
    keeps = True

    def __init__(self, postgres: Postgres, mariadb: MariaDB) -> None:
        self.postgres, self.mariadb = postgres, mariadb
        self.pool: Any = None

    async def open(self, least: int = 1, most: int = 2, port: int | None = None) -> Any:
        """Make the pool; nothing is connected to if the least is 0."""
        raise NotImplementedError

    async def take(self) -> Any:
        raise NotImplementedError

    async def take_or_give_up(self) -> Any:
        """As `take`, and raise `timeout` soon if there is none."""
        raise NotImplementedError

    async def give(self, conn: Any) -> None:
        raise NotImplementedError

    async def use_block(self, inside: Callable[[Any], Awaitable[None]]) -> None:
        """As the driver's own ``async with`` does it."""
        conn = await self.take()
        try:
            await inside(conn)
        finally:
            await self.give(conn)

    async def ask(self, conn: Any) -> Any:
        """``select 1``."""
        raise NotImplementedError

    async def close(self) -> None:
        raise NotImplementedError

    async def terminate(self) -> None:
        """Close it with what is out."""
        raise NotImplementedError

    def forget(self) -> None:
        """Let go of the pool without closing it."""
        self.pool = None
        gc.collect()


class Asyncpg(Pool):
    timeout = TimeoutError

    async def open(self, least: int = 1, most: int = 2, port: int | None = None) -> Any:
        url = f"postgresql://postgres@127.0.0.1:{port or self.postgres.port}/postgres"
        self.pool = await asyncpg.create_pool(url, min_size=least, max_size=most)
        return self.pool

    async def take(self) -> Any:
        return await self.pool.acquire()

    async def take_or_give_up(self) -> Any:
        return await self.pool.acquire(timeout=0.05)

    async def give(self, conn: Any) -> None:
        await self.pool.release(conn)

    async def use_block(self, inside: Callable[[Any], Awaitable[None]]) -> None:
        async with self.pool.acquire() as conn:
            await inside(conn)

    async def ask(self, conn: Any) -> Any:
        return await conn.fetchval("select 1")

    async def close(self) -> None:
        await self.pool.close()

    async def terminate(self) -> None:
        self.pool.terminate()


class Aiomysql(Pool):
    async def open(self, least: int = 1, most: int = 2, port: int | None = None) -> Any:
        self.pool = await aiomysql.create_pool(
            minsize=least,
            maxsize=most,
            host="127.0.0.1",
            port=port or self.mariadb.port,
            user=self.mariadb.user,
            db=self.mariadb.database,
        )
        return self.pool

    async def take(self) -> Any:
        return await self.pool.acquire()

    async def give(self, conn: Any) -> None:
        await self.pool.release(conn)

    async def use_block(self, inside: Callable[[Any], Awaitable[None]]) -> None:
        async with self.pool.acquire() as conn:
            await inside(conn)

    async def ask(self, conn: Any) -> Any:
        async with conn.cursor() as cursor:
            await cursor.execute("select 1")
            return (await cursor.fetchone())[0]

    async def close(self) -> None:
        self.pool.close()
        await self.pool.wait_closed()

    async def terminate(self) -> None:
        self.pool.terminate()
        await self.pool.wait_closed()

    def forget(self) -> None:
        while self.pool._free:
            self.pool._free.pop().close()  # It complains of connections that are collected.
        super().forget()


class Psycopg2(Pool):
    kind: Any = psycopg2.pool.SimpleConnectionPool
    waits = False
    timeout = psycopg2.pool.PoolError
    keeps = False

    async def open(self, least: int = 1, most: int = 2, port: int | None = None) -> Any:
        where = f"host=127.0.0.1 port={port or self.postgres.port} user=postgres dbname=postgres"
        self.pool = self.kind(least, most, where)
        return self.pool

    async def take(self) -> Any:
        return self.pool.getconn()

    async def take_or_give_up(self) -> Any:
        return self.pool.getconn()

    async def give(self, conn: Any) -> None:
        self.pool.putconn(conn)

    async def ask(self, conn: Any) -> Any:
        with conn.cursor() as cursor:
            cursor.execute("select 1")
            return cursor.fetchone()[0]

    async def close(self) -> None:
        self.pool.closeall()

    async def terminate(self) -> None:
        self.pool.closeall()


class Psycopg2Threaded(Psycopg2):
    kind = psycopg2.pool.ThreadedConnectionPool


KINDS = (Asyncpg, Aiomysql, Psycopg2, Psycopg2Threaded)


def run(steps: Awaitable[None]) -> None:
    """Run a test's steps in a new event loop."""

    async def limited() -> None:
        await asyncio.wait_for(steps, 60)

    asyncio.run(limited())
