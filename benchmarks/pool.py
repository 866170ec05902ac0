"""Our pools beside others', over a connection that does nothing: `python benchmarks/pool.py`.

Within one run the pools take turns, and the median of the rounds is printed: CPU time of the process for what one
thread or loop does, wall time for what has to wait. All that ours measures (histograms, holders, marks) is on, and
folding is included: each round is long enough for ten folds. The floor is a lock around a deque.
"""

import asyncio
import gc
import logging
import platform
import sqlite3
import statistics
import sys
import threading
import time
import tracemalloc
import warnings
from collections import Counter, deque
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import connpool
import psycopg2.pool
import psycopg_pool
import sqlalchemy
import sqlalchemy.ext.asyncio
from dbutils.pooled_db import PooledDB

from poolhouse.pool import AsyncConnectionPool, ConnectionPool, NullConnectionPool
from support.pool_shells import async_connection_class, sync_connection_class

ROUNDS = 7
CYCLES = 20_480
logging.getLogger("psycopg.pool").setLevel(logging.CRITICAL)


def cpu(run: Callable[[], object], cycles: int) -> float:
    """Nanoseconds of CPU time a cycle."""
    gc.collect()
    began = time.process_time_ns()
    run()
    return (time.process_time_ns() - began) / cycles


def wall(run: Callable[[], object]) -> float:
    """Milliseconds that pass."""
    began = time.perf_counter()
    run()
    return (time.perf_counter() - began) * 1e3


def in_turns(runs: dict[str, Callable[[], float]], rounds: int = ROUNDS) -> dict[str, float]:
    """The median of each run's figures, taken in turns."""
    figures: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            figures[name].append(run())
    return {name: statistics.median(values) for name, values in figures.items()}


def table(title: str, unit: str, figures: dict[str, float], base: str = "poolhouse") -> None:
    """Print figures, and each as a multiple of ours."""
    print(f"{title} ({unit})")
    for name, figure in figures.items():
        print(f"    {name:28}{figure:12,.1f}{figure / figures[base]:9.2f} ×")
    print(flush=True)


class Floor:
    """A lock and a deque: the least that a pool for threads can be."""

    def __init__(self, connections: Iterable[Any]) -> None:
        self._lock = threading.Lock()
        self._free = deque(connections)

    def getconn(self) -> Any:
        with self._lock:
            return self._free.popleft()

    def putconn(self, conn: Any) -> None:
        with self._lock:
            self._free.append(conn)


def fake_class(connect_s: float = 0.0) -> type[Any]:
    """A class of connections for threads, of which each takes so long to make."""
    made = sync_connection_class(time.sleep)
    made.connect_s = connect_s
    return made


def ours(size: int, **parameters: Any) -> ConnectionPool[Any]:
    pool: ConnectionPool[Any] = ConnectionPool(
        **{"connection_class": fake_class(), "min_size": size, "open": True} | parameters
    )
    pool.wait()
    return pool


def theirs(size: int, **parameters: Any) -> psycopg_pool.ConnectionPool[Any]:
    pool = psycopg_pool.ConnectionPool(
        **{"connection_class": fake_class(), "min_size": size, "open": True} | parameters
    )
    pool.wait()
    return pool


class Psycopg2Pool(psycopg2.pool.ThreadedConnectionPool):
    """psycopg2's pool over connections that do nothing."""

    def _connect(self, key: Any = None) -> Any:
        conn = _Psycopg2Connection()
        if key is not None:
            self._used[key] = conn
            self._rused[id(conn)] = key
        else:
            self._pool.append(conn)
        return conn


class _Psycopg2Connection:
    closed = 0

    class info:
        transaction_status = 0

    def close(self) -> None:
        self.closed = 1


def uncontended() -> None:
    """Take and give back in one thread; four connections."""
    mine, other = ours(4), theirs(4)
    made = fake_class()
    floor = Floor(made.connect() for _ in range(4))
    engine = sqlalchemy.create_engine("sqlite://", poolclass=sqlalchemy.QueuePool, pool_reset_on_return=None)
    dbutils = PooledDB(sqlite3, mincached=4, maxconnections=4, reset=False, ping=0, database=":memory:")
    second = Psycopg2Pool(4, 4)
    third: Any = connpool.ConnectionPool.from_callables(made.connect, config=connpool.PoolConfig(max_size=4))

    def cycle(get: Callable[[], Any], put: Callable[[Any], object]) -> Callable[[], float]:
        def run() -> None:
            for _ in range(CYCLES):
                put(get())

        return lambda: cpu(run, CYCLES)

    def block(pool: Any) -> Callable[[], float]:
        def run() -> None:
            for _ in range(CYCLES):
                with pool.connection():
                    pass

        return lambda: cpu(run, CYCLES)

    table(
        "getconn + putconn, one thread",
        "ns of CPU time",
        in_turns(
            {
                "poolhouse": cycle(mine.getconn, mine.putconn),
                "a lock and a deque": cycle(floor.getconn, floor.putconn),
                "psycopg_pool": cycle(other.getconn, other.putconn),
                "SQLAlchemy QueuePool": cycle(engine.raw_connection, lambda conn: conn.close()),
                "DBUtils PooledDB": cycle(dbutils.connection, lambda conn: conn.close()),
                "psycopg2": cycle(second.getconn, second.putconn),
                "connpool": cycle(third.acquire, third.release),
            }
        ),
    )
    table(
        "with pool.connection()",
        "ns of CPU time",
        in_turns({"poolhouse": block(mine), "psycopg_pool": block(other), "connpool": block(third)}),
    )
    for pool in (mine, other, third):
        pool.close()
    engine.dispose()


def uncontended_asyncio() -> None:
    """Take and give back in one task; four connections."""

    async def pairs(pool: Any) -> None:
        for _ in range(CYCLES):
            await pool.putconn(await pool.getconn())

    async def blocks(pool: Any) -> None:
        for _ in range(CYCLES):
            async with pool.connection():
                pass

    async def measure(pool: Any, body: Callable[[Any], Any]) -> float:
        await pool.open(wait=True)
        gc.collect()
        began = time.process_time_ns()
        await body(pool)
        took = time.process_time_ns() - began
        await pool.close()
        return took / CYCLES

    def runs(body: Callable[[Any], Any]) -> dict[str, Callable[[], float]]:
        def run(kind: Any) -> float:
            return asyncio.run(
                measure(kind(connection_class=async_connection_class(), min_size=4, open=False), body)
            )

        return {
            "poolhouse": lambda: run(AsyncConnectionPool),
            "psycopg_pool": lambda: run(psycopg_pool.AsyncConnectionPool),
        }

    table("asyncio, getconn + putconn", "ns of CPU time", in_turns(runs(pairs)))
    table("asyncio, async with pool.connection()", "ns of CPU time", in_turns(runs(blocks)))


def crowd_asyncio() -> None:
    """1,000 tasks on 10 connections, nothing done with them."""

    async def client(pool: Any) -> None:
        for _ in range(10):
            async with pool.connection():
                await asyncio.sleep(0)

    async def measure(pool: Any) -> float:
        await pool.open(wait=True)
        began = time.process_time_ns()
        await asyncio.gather(*(client(pool) for _ in range(1_000)))
        took = time.process_time_ns() - began
        await pool.close()
        return took / 10_000

    def run(kind: Any) -> float:
        return asyncio.run(measure(kind(connection_class=async_connection_class(), min_size=10, open=False)))

    table(
        "asyncio, 1,000 tasks on 10 connections",
        "ns of CPU time a checkout",
        in_turns(
            {
                "poolhouse": lambda: run(AsyncConnectionPool),
                "psycopg_pool": lambda: run(psycopg_pool.AsyncConnectionPool),
            },
            rounds=3,
        ),
    )


def crowd(threads: int) -> None:
    """Threads on 4 connections, each held for 1 ms, for one second from when all are there: number, fairness."""

    def run(pool: Any) -> tuple[float, float]:
        served: Counter[int] = Counter()
        together = threading.Barrier(threads)

        def client(number: int) -> None:
            together.wait()
            end = time.monotonic() + 1.0
            while time.monotonic() < end:
                with pool.connection():
                    time.sleep(0.001)
                served[number] += 1

        clients = [threading.Thread(target=client, args=(number,)) for number in range(threads)]
        for each in clients:
            each.start()
        for each in clients:
            each.join()
        pool.close()
        return served.total(), max(served.values()) / max(1, min(served[n] for n in range(threads)))

    figures: dict[str, list[tuple[float, float]]] = {"poolhouse": [], "psycopg_pool": []}
    for _ in range(5):
        figures["poolhouse"].append(run(ours(4)))
        figures["psycopg_pool"].append(run(theirs(4)))
    for name, runs in figures.items():
        total, unfairness = (statistics.median(values) for values in zip(*runs, strict=True))
        print(f"{threads} threads on 4 connections, 1 ms holds: {name:14}{total:8,.0f} a second, "
              f"most : least served {unfairness:.2f}", flush=True)  # fmt: skip
    print()


def filling() -> None:
    """20 clients at once on an empty pool that may grow to 20, 50 ms a connect; each keeps what it gets."""

    def run(make: Callable[..., Any]) -> float:
        pool = make(0, connection_class=fake_class(0.05), max_size=20)

        def client() -> None:
            pool.getconn()

        took = wall(lambda: _together(20, client))
        pool.close(timeout=0)
        return took

    table(
        "20 clients on an empty pool, 50 ms a connect",
        "ms until all are served",
        in_turns({"poolhouse": lambda: run(ours), "psycopg_pool": lambda: run(theirs)}, rounds=1),
    )


def spike() -> None:
    """HikariCP's spike: 50 requests of 2 ms, 5 connections that may become 20, 150 ms a connect; ten times."""

    def run(make: Callable[..., Any]) -> tuple[float, int]:
        made = fake_class(0.15)
        pool = make(5, connection_class=made, max_size=20)

        def client() -> None:
            with pool.connection():
                time.sleep(0.002)

        took = wall(lambda: _together(50, client))
        time.sleep(0.5)
        pool.close()
        return took, len(made.made)

    figures: dict[str, list[tuple[float, int]]] = {"poolhouse": [], "psycopg_pool": []}
    for _ in range(10):
        figures["poolhouse"].append(run(ours))
        figures["psycopg_pool"].append(run(theirs))
    for name, runs in figures.items():
        took, made = zip(*runs, strict=True)
        print(f"spike: {name:14}{statistics.median(took):8.1f} ms (at most {max(took):.1f}), "
              f"{min(made)} to {max(made)} connections afterwards", flush=True)  # fmt: skip
    print()


def null() -> None:
    """8 clients on a null pool, 20 ms a connect."""

    def run(kind: Any) -> float:
        pool = kind(connection_class=fake_class(0.02), open=True)

        def client() -> None:
            with pool.connection():
                pass

        took = wall(lambda: _together(8, client))
        pool.close()
        return took

    table(
        "8 clients on a null pool, 20 ms a connect",
        "ms until all are served",
        in_turns(
            {
                "poolhouse": lambda: run(NullConnectionPool),
                "psycopg_pool": lambda: run(psycopg_pool.NullConnectionPool),
            },
            rounds=3,
        ),
    )


def idle() -> None:
    """What an idle pool of four costs, its four connections included."""
    for name, make in (("poolhouse", ours), ("psycopg_pool", theirs)):
        made = fake_class()
        make(4, connection_class=made).close()
        time.sleep(0.5)  # Its threads end.
        gc.collect()
        threads = threading.active_count()
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        pool = make(4, connection_class=made)
        time.sleep(3.0)
        gc.collect()
        size = (tracemalloc.get_traced_memory()[0] - before) / 1024
        tracemalloc.stop()
        print(f"idle: {name:14}{threading.active_count() - threads:2} threads, {size:6.1f} kB", flush=True)
        pool.close()
    print()


def _together(count: int, client: Callable[[], object]) -> None:
    clients = [threading.Thread(target=client) for _ in range(count)]
    for each in clients:
        each.start()
    for each in clients:
        each.join()


def main() -> None:
    warnings.simplefilter("ignore")
    print(f"CPython {platform.python_version()}; × is a multiple of ours, so more than 1 is slower than ours\n")
    uncontended()
    uncontended_asyncio()
    crowd_asyncio()
    crowd(8)
    crowd(64)
    filling()
    spike()
    null()
    idle()


if __name__ == "__main__":
    main()
