"""FairQueuePool beside QueuePool, as SQLAlchemy's pool: `python benchmarks/pool_sqlalchemy.py`.

What a checkout and a checkin cost, in rounds that take turns; and how often each caller is served while more of
them ask than there are connections.
"""

import asyncio
import platform
import statistics
import threading
import time
from typing import Any

import sqlalchemy
from sqlalchemy.engine.default import DefaultDialect
from sqlalchemy.pool import AsyncAdaptedQueuePool, Pool, QueuePool
from sqlalchemy.util import greenlet_spawn

from poolhouse.pool.sqlalchemy import FairQueuePool

ROUNDS, CALLS = 15, 20_000
CLIENTS, CONNECTIONS = 100, 10
HOLD, SECONDS = 0.01, 3.0


class Connection:
    """A DB-API connection that costs nothing."""

    def close(self) -> None:
        pass

    def commit(self) -> None:
        pass

    def rollback(self) -> None:
        pass


class AsyncDialect(DefaultDialect):
    """What SQLAlchemy's asyncio pools look at."""

    is_async = True
    has_terminate = True

    def do_terminate(self, dbapi_connection: Any) -> None:
        pass


def microseconds(pool: Pool) -> float:
    """Of one checkout and checkin, in one round."""
    connect = pool.connect
    began = time.perf_counter_ns()
    for _ in range(CALLS):
        connect().close()
    return (time.perf_counter_ns() - began) / CALLS / 1000


def cost() -> None:
    """Print the medians, and the ratio of the rounds."""
    pools = [kind(Connection, pool_size=5) for kind in (QueuePool, FairQueuePool)]
    rounds = [[microseconds(pool) for pool in pools] for _ in range(ROUNDS)]
    theirs, ours = (statistics.median(figures) for figures in zip(*rounds, strict=True))
    ratio = statistics.median(b / a for a, b in rounds)
    print(f"connect().close()    QueuePool {theirs:.2f} µs    FairQueuePool {ours:.2f} µs    {ratio:.2f} ×")


def report(name: str, served: list[int], longest: list[float]) -> None:
    """Print how often the luckiest and the unluckiest client were served."""
    print(f"  {name:24} served {min(served):4} … {max(served):4} times    longest wait {max(longest):.2f} s")


def threads(kind: type[QueuePool] | type[FairQueuePool]) -> None:
    """Print how fairly threads are served."""
    pool = kind(Connection, pool_size=CONNECTIONS, max_overflow=0, timeout=30)
    served, longest = [0] * CLIENTS, [0.0] * CLIENTS
    until = time.monotonic() + SECONDS

    def client(number: int) -> None:
        while (asked_at := time.monotonic()) < until:
            conn = pool.connect()
            longest[number] = max(longest[number], time.monotonic() - asked_at)
            time.sleep(HOLD)
            conn.close()
            served[number] += 1

    clients = [threading.Thread(target=client, args=(number,)) for number in range(CLIENTS)]
    for thread in clients:
        thread.start()
    for thread in clients:
        thread.join()
    report(kind.__name__, served, longest)


async def tasks(kind: type[QueuePool] | type[FairQueuePool]) -> None:
    """Print how fairly tasks are served."""
    pool = kind(Connection, pool_size=CONNECTIONS, max_overflow=0, timeout=30, dialect=AsyncDialect())
    served, longest = [0] * CLIENTS, [0.0] * CLIENTS
    until = time.monotonic() + SECONDS

    async def client(number: int) -> None:
        while (asked_at := time.monotonic()) < until:
            conn = await greenlet_spawn(pool.connect)
            longest[number] = max(longest[number], time.monotonic() - asked_at)
            await asyncio.sleep(HOLD)
            await greenlet_spawn(conn.close)
            served[number] += 1

    await asyncio.gather(*(client(number) for number in range(CLIENTS)))
    report(kind.__name__, served, longest)


def main() -> None:
    """Print all tables."""
    print(f"CPython {platform.python_version()}, SQLAlchemy {sqlalchemy.__version__}\n")
    cost()
    print(f"\n{CLIENTS} threads on {CONNECTIONS} connections, held {HOLD * 1000:g} ms, for {SECONDS:g} s")
    threads(QueuePool)
    threads(FairQueuePool)
    print(f"\n{CLIENTS} tasks on {CONNECTIONS} connections, held {HOLD * 1000:g} ms, for {SECONDS:g} s")
    asyncio.run(tasks(AsyncAdaptedQueuePool))
    asyncio.run(tasks(FairQueuePool))


if __name__ == "__main__":
    main()
