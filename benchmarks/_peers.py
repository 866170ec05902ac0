"""The pools that are compared, over connections that do nothing, all asked in the same two words.

For threads: ``getconn()`` and ``putconn(conn)``. For asyncio the same, to be awaited. Where a pool has other words
for them, they are its own methods under these names.
"""

import asyncio
import sqlite3
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path
from queue import SimpleQueue
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

import connpool
import psycopg2.pool
import psycopg_pool
from dbutils.pooled_db import PooledDB
from sqlalchemy.engine.default import DefaultDialect
from sqlalchemy.pool import AsyncAdaptedQueuePool, NullPool, QueuePool
from sqlalchemy.util import greenlet_spawn

from poolhouse.pool import AsyncConnectionPool, ConnectionPool, NullConnectionPool
from support.pool_shells import async_connection_class, sync_connection_class

OTHERS = ("psycopg_pool", "SQLAlchemy", "DBUtils", "psycopg2-binary", "connpool")


class Peer(NamedTuple):
    """One pool: the pool itself, and how it is asked."""

    pool: Any
    getconn: Callable[[], Any]
    putconn: Callable[[Any], Any]
    close: Callable[[], Any]


def fake_class(connect_s: float = 0.0) -> type[Any]:
    """A class of connections for threads, of which each takes so long to make."""
    made = sync_connection_class(time.sleep)
    made.connect_s = connect_s
    return made


def _psycopg(kind: Any, size: int, parameters: dict[str, Any]) -> Peer:
    pool = kind(**{"connection_class": fake_class(), "min_size": size, "open": True} | parameters)
    pool.wait()
    return Peer(pool, pool.getconn, pool.putconn, lambda: pool.close(timeout=0))


def ours(size: int, **parameters: Any) -> Peer:
    """Our pool, full; `parameters` as psycopg_pool has them."""
    return _psycopg(ConnectionPool, size, parameters)


def psycopg_pools(size: int, **parameters: Any) -> Peer:
    """psycopg_pool's, full."""
    return _psycopg(psycopg_pool.ConnectionPool, size, parameters)


def null_pool(**parameters: Any) -> Peer:
    """Ours that keeps nothing."""
    return _psycopg(NullConnectionPool, 0, parameters)


def psycopg_null_pool(**parameters: Any) -> Peer:
    """psycopg_pool's that keeps nothing."""
    return _psycopg(psycopg_pool.NullConnectionPool, 0, parameters)


def sqlalchemy_null_pool(connection_class: Any) -> Peer:
    """SQLAlchemy's that keeps nothing."""
    pool = NullPool(connection_class.connect, reset_on_return=None)
    return Peer(pool, pool.connect, lambda conn: conn.close(), pool.dispose)


class Floor:
    """A lock and a deque: the least that a pool for threads can be. Nobody can wait for it."""

    def __init__(self, connections: Iterable[Any]) -> None:
        self._lock = threading.Lock()
        self._free = deque(connections)

    def getconn(self) -> Any:
        with self._lock:
            return self._free.popleft()

    def putconn(self, conn: Any) -> None:
        with self._lock:
            self._free.append(conn)


def floor(size: int) -> Peer:
    """A lock and a deque."""
    made = fake_class()
    pool = Floor(made.connect() for _ in range(size))
    return Peer(pool, pool.getconn, pool.putconn, lambda: None)


def simple_queue(size: int) -> Peer:
    """The standard library's queue in C: the least that threads can wait for, in no particular order."""
    made = fake_class()
    pool: SimpleQueue[Any] = SimpleQueue()
    for _ in range(size):
        pool.put(made.connect())
    return Peer(pool, pool.get, pool.put, lambda: None)


def queue_pool(size: int, connection_class: Any = None, kind: Any = QueuePool, **options: Any) -> Peer:
    """SQLAlchemy's, or another of its kind, without its reset on return."""
    made = connection_class or fake_class()
    options = {"pool_size": size, "max_overflow": 0, "reset_on_return": None} | options
    pool = kind(made.connect, **options)
    return Peer(pool, pool.connect, lambda conn: conn.close(), pool.dispose)


def dbutils(size: int) -> Peer:
    """DBUtils's, over SQLite in memory, without its reset and ping; it wants a module, not a connection."""
    pool = PooledDB(sqlite3, mincached=size, maxconnections=size, reset=False, ping=0, database=":memory:")
    return Peer(pool, pool.connection, lambda conn: conn.close(), pool.close)


class _Psycopg2Connection:
    closed = 0

    class info:
        transaction_status = 0

    def close(self) -> None:
        self.closed = 1


class _Psycopg2Pool(psycopg2.pool.ThreadedConnectionPool):
    """psycopg2's pool over connections that do nothing."""

    def _connect(self, key: Any = None) -> Any:
        conn = _Psycopg2Connection()
        if key is not None:
            self._used[key] = conn
            self._rused[id(conn)] = key
        else:
            self._pool.append(conn)
        return conn


def psycopg2s(size: int) -> Peer:
    """psycopg2's, which raises where others wait."""
    pool = _Psycopg2Pool(size, size)
    return Peer(pool, pool.getconn, pool.putconn, pool.closeall)


def connpools(size: int, connection_class: Any = None) -> Peer:
    """connpool's for threads."""
    made = connection_class or fake_class()
    pool: Any = connpool.ConnectionPool.from_callables(made.connect, config=connpool.PoolConfig(max_size=size))
    return Peer(pool, pool.acquire, pool.release, pool.close)


# -- asyncio ----------------------------------------------------------------------------------------------------


async def _psycopg_of_tasks(kind: Any, size: int, parameters: dict[str, Any]) -> Peer:
    pool = kind(connection_class=async_connection_class(), min_size=size, open=False, **parameters)
    await pool.open(wait=True)
    return Peer(pool, pool.getconn, pool.putconn, pool.close)


async def ours_of_tasks(size: int, **parameters: Any) -> Peer:
    """Our pool for asyncio, full; `parameters` as psycopg_pool has them."""
    return await _psycopg_of_tasks(AsyncConnectionPool, size, parameters)


async def psycopg_pools_of_tasks(size: int, **parameters: Any) -> Peer:
    """psycopg_pool's for asyncio, full."""
    return await _psycopg_of_tasks(psycopg_pool.AsyncConnectionPool, size, parameters)


class FloorOfTasks:
    """A deque, and futures of those who wait: the least that a pool for asyncio can be."""

    def __init__(self, connections: Iterable[Any]) -> None:
        self._free = deque(connections)
        self._waiting: deque[asyncio.Future[Any]] = deque()

    async def getconn(self) -> Any:
        if self._free:
            return self._free.popleft()
        future = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        return await future

    async def putconn(self, conn: Any) -> None:
        if self._waiting:
            self._waiting.popleft().set_result(conn)
        else:
            self._free.append(conn)


async def floor_of_tasks(size: int) -> Peer:
    """A deque."""
    made = async_connection_class()
    pool = FloorOfTasks([await made.connect() for _ in range(size)])
    return Peer(pool, pool.getconn, pool.putconn, _nothing)


class _AsyncDialect(DefaultDialect):
    """What SQLAlchemy's asyncio pools look at."""

    is_async = True
    has_terminate = True

    def do_terminate(self, dbapi_connection: Any) -> None:
        pass


async def queue_pool_of_tasks(size: int, kind: Any = AsyncAdaptedQueuePool) -> Peer:
    """SQLAlchemy's for asyncio, or another of its kind, called as its engine calls it: in a greenlet."""
    made = fake_class()
    pool = kind(made.connect, pool_size=size, max_overflow=0, reset_on_return=None, dialect=_AsyncDialect())
    return Peer(
        pool,
        lambda: greenlet_spawn(pool.connect),
        lambda conn: greenlet_spawn(conn.close),
        lambda: greenlet_spawn(pool.dispose),
    )


async def connpools_of_tasks(size: int) -> Peer:
    """connpool's for asyncio."""
    made = async_connection_class()
    config = connpool.PoolConfig(max_size=size)
    pool: Any = connpool.AsyncConnectionPool.from_callables(made.connect, config=config)
    return Peer(pool, pool.acquire, pool.release, pool.close)


async def _nothing() -> None:
    pass
