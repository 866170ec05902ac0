"""What a checkout costs that need not wait: `python benchmarks/pool.py`.

Our pools beside others' over connections that do nothing, in one thread and in one task; in every round each has
its turn. All that ours measures (histograms, holders, marks) is on, and folding is included: a round is long
enough for ten folds. The floor is a deque: between a lock's acquire and release for threads, alone for asyncio.
asyncpg's pool needs a server: `benchmarks/pool_postgres.py` has it.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import _peers as peers
from _measuring import (
    OURS,
    Cost,
    Stopwatch,
    begin,
    in_turns,
    in_turns_of_tasks,
    show_costs,
)

ROUNDS = 15
CYCLES = 20_480
CONNECTIONS = 4


def of_threads() -> None:
    """Take and give back in one thread."""
    compared = {
        OURS: peers.ours(CONNECTIONS),
        "a lock and a deque": peers.floor(CONNECTIONS),
        "psycopg_pool": peers.psycopg_pools(CONNECTIONS),
        "SQLAlchemy QueuePool": peers.queue_pool(CONNECTIONS),
        "DBUtils PooledDB": peers.dbutils(CONNECTIONS),
        "psycopg2 ThreadedConnectionPool": peers.psycopg2s(CONNECTIONS),
        "connpool": peers.connpools(CONNECTIONS),
    }

    def pair(peer: peers.Peer) -> Callable[[], Cost]:
        get, put = peer.getconn, peer.putconn

        def run() -> Cost:
            with Stopwatch(CYCLES) as watch:
                for _ in range(CYCLES):
                    put(get())
            return watch.cost

        return run

    def block(pool: Any) -> Callable[[], Cost]:
        def run() -> Cost:
            with Stopwatch(CYCLES) as watch:
                for _ in range(CYCLES):
                    with pool.connection():
                        pass
            return watch.cost

        return run

    show_costs("getconn + putconn", in_turns({name: pair(peer) for name, peer in compared.items()}, ROUNDS))
    blocks = {name: block(compared[name].pool) for name in (OURS, "psycopg_pool", "connpool")}
    show_costs("with pool.connection()", in_turns(blocks, ROUNDS))
    for peer in compared.values():
        peer.close()


async def of_tasks() -> None:
    """Take and give back in one task."""
    compared = {
        OURS: await peers.ours_of_tasks(CONNECTIONS),
        "a deque": await peers.floor_of_tasks(CONNECTIONS),
        "psycopg_pool": await peers.psycopg_pools_of_tasks(CONNECTIONS),
        "SQLAlchemy AsyncAdaptedQueuePool": await peers.queue_pool_of_tasks(CONNECTIONS),
        "connpool": await peers.connpools_of_tasks(CONNECTIONS),
    }

    def pair(peer: peers.Peer) -> Callable[[], Awaitable[Cost]]:
        get, put = peer.getconn, peer.putconn

        async def run() -> Cost:
            with Stopwatch(CYCLES) as watch:
                for _ in range(CYCLES):
                    await put(await get())
            return watch.cost

        return run

    def block(pool: Any) -> Callable[[], Awaitable[Cost]]:
        async def run() -> Cost:
            with Stopwatch(CYCLES) as watch:
                for _ in range(CYCLES):
                    async with pool.connection():
                        pass
            return watch.cost

        return run

    pairs = {name: pair(peer) for name, peer in compared.items()}
    show_costs("asyncio: getconn + putconn", await in_turns_of_tasks(pairs, ROUNDS))
    blocks = {name: block(compared[name].pool) for name in (OURS, "psycopg_pool", "connpool")}
    show_costs("asyncio: async with pool.connection()", await in_turns_of_tasks(blocks, ROUNDS))
    for peer in compared.values():
        await peer.close()


def main() -> None:
    """Print all tables."""
    begin(*peers.OTHERS)
    of_threads()
    asyncio.run(of_tasks())


if __name__ == "__main__":
    main()
