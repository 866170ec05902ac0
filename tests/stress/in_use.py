"""psycopg's connections that are returned and closed while tasks or threads of their clients use them.

`python -m stress.in_use DSN SEED ROUNDS` does nothing but that, and prints "alive": whoever reads memory that was
freed ends the process, and with glibc's MALLOC_PERTURB_ at once. So it is a program of its own.
"""

import asyncio
import logging
import os
import random
import subprocess
import sys
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from poolhouse.pool import AsyncConnectionPool, ConnectionPool
from support.postgres import postgres_server

#: Answers that come at once, in many parts, and after the others.
QUERIES = ("select 1", "select repeat('x', 20000)", "select generate_series(1, 2000)", "select pg_sleep(0.01)")
#: Rounds of tasks, and as many of threads, of one child of `make stress`: a few seconds.
ROUNDS = 100


async def _execute(conn: Any, query: str) -> None:
    await (await conn.execute(query)).fetchall()


async def _copy(conn: Any, query: str) -> None:
    async with conn.cursor().copy(f"copy ({query}) to stdout") as copy:
        async for _ in copy:
            pass


async def _stream(conn: Any, query: str) -> None:
    async for _ in conn.cursor().stream(query):
        pass


async def _named(conn: Any, query: str) -> None:
    async with conn.transaction(), conn.cursor("named") as cursor:
        await cursor.execute(query)
        await cursor.fetchall()


async def _pipeline(conn: Any, query: str) -> None:
    async with conn.pipeline():
        await conn.execute(query)
        await conn.execute(query)


TASKS: tuple[Callable[[Any, str], Coroutine[Any, Any, None]], ...] = (_execute, _copy, _stream, _named, _pipeline)


async def tasks(dsn: str, seed: int, rounds: int) -> None:
    """Tasks share a connection, some are cancelled, and it is returned, or closed, or its pool is."""
    randomness = random.Random(seed)
    for _ in range(rounds // 10):
        pool: Any = AsyncConnectionPool(dsn, min_size=1, max_size=2, open=False)
        async with pool:
            for _ in range(10):
                await _round_of_tasks(pool, randomness)
            # A task that began only after the return may have left its connection in a transaction, or a pipeline.
            await pool.drain()
            async with pool.connection(timeout=20) as conn:
                await _execute(conn, "select 1")
            left = await pool.getconn(timeout=20)
            last = asyncio.ensure_future(_execute(left, QUERIES[1]))
            await asyncio.sleep(0)
        await asyncio.gather(pool.putconn(left), last, return_exceptions=True)


async def _round_of_tasks(pool: Any, randomness: random.Random) -> None:
    conn = await pool.getconn(timeout=20)
    users = [
        asyncio.ensure_future(randomness.choice(TASKS)(conn, randomness.choice(QUERIES)))
        for _ in range(randomness.randrange(1, 4))
    ]
    for _ in range(randomness.randrange(6)):
        await asyncio.sleep(0)
    for user in users:
        if randomness.random() < 0.2:
            user.cancel()
    if randomness.random() < 0.2:
        await pool.drain()
    await pool.putconn(conn)
    await asyncio.gather(*users, return_exceptions=True)


def _execute_in_thread(conn: Any, query: str) -> None:
    conn.execute(query).fetchall()


def _copy_in_thread(conn: Any, query: str) -> None:
    with conn.cursor().copy(f"copy ({query}) to stdout") as copy:
        for _ in copy:
            pass


def _stream_in_thread(conn: Any, query: str) -> None:
    for _ in conn.cursor().stream(query):
        pass


def _named_in_thread(conn: Any, query: str) -> None:
    with conn.transaction(), conn.cursor("named") as cursor:
        cursor.execute(query)
        cursor.fetchall()


THREADS: tuple[Callable[[Any, str], None], ...] = (
    _execute_in_thread,
    _copy_in_thread,
    _stream_in_thread,
    _named_in_thread,
)


def threads(dsn: str, seed: int, rounds: int) -> None:
    """Threads share a connection, and it is returned while they do."""
    randomness = random.Random(seed)
    for _ in range(rounds // 10):
        pool: Any = ConnectionPool(dsn, min_size=1, max_size=2, open=False)
        with pool:
            for _ in range(10):
                _round_of_threads(pool, randomness)
            # As in `tasks`.
            pool.drain()
            with pool.connection(timeout=20) as conn:
                _execute_in_thread(conn, "select 1")


def _round_of_threads(pool: Any, randomness: random.Random) -> None:
    conn = pool.getconn(timeout=20)

    def use(work: Callable[[Any, str], None], query: str) -> None:
        try:
            for _ in range(3):
                work(conn, query)
        except Exception:
            return  # The connection was cut or closed.

    users = [
        threading.Thread(target=use, args=(randomness.choice(THREADS), randomness.choice(QUERIES)))
        for _ in range(2)
    ]
    for user in users:
        user.start()
    if randomness.random() < 0.2:
        pool.drain()
    pool.putconn(conn)
    for user in users:
        user.join()


def child(dsn: str, seed: int, rounds: int) -> None:
    """Run the program; raise if it does not end well."""
    command = [sys.executable, "-X", "faulthandler", "-m", "stress.in_use", dsn, str(seed), str(rounds)]
    environment = {**os.environ, "MALLOC_PERTURB_": "165"}
    folder = Path(__file__).parent.parent
    ran = subprocess.run(command, capture_output=True, text=True, timeout=100, env=environment, cwd=folder)
    assert (ran.returncode, ran.stdout) == (0, "alive\n"), ran.stderr


def in_use(seed: int) -> None:
    """A server, and a child that uses it."""
    with postgres_server() as server:
        child(server.conninfo, seed, ROUNDS)


if __name__ == "__main__":
    logging.disable()
    asyncio.run(tasks(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
    threads(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
    sys.stdout.write("alive\n")
