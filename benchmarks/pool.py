"""What a checkout costs that need not wait: `python benchmarks/pool.py`.

Our pools beside others' over connections that do nothing, in one thread and in one task; in every round each has
its turn. All that ours measures (histograms, holders, marks) is on, and folding is included: a round is long
enough for ten folds. The floor is a deque: between a lock's acquire and release for threads, alone for asyncio.
asyncpg's pool needs a server: `benchmarks/pool_postgres.py` has it.
"""

import asyncio

import _peers as peers
from _measuring import (
    OURS,
    begin,
    blocks,
    blocks_of_tasks,
    in_turns,
    in_turns_of_tasks,
    pairs,
    pairs_of_tasks,
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

    of_pairs = {name: pairs(peer.getconn, peer.putconn, CYCLES) for name, peer in compared.items()}
    show_costs("getconn + putconn", in_turns(of_pairs, ROUNDS))
    of_blocks = {name: blocks(compared[name].pool, CYCLES) for name in (OURS, "psycopg_pool", "connpool")}
    show_costs("with pool.connection()", in_turns(of_blocks, ROUNDS))
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

    of_pairs = {name: pairs_of_tasks(peer.getconn, peer.putconn, CYCLES) for name, peer in compared.items()}
    show_costs("asyncio: getconn + putconn", await in_turns_of_tasks(of_pairs, ROUNDS))
    of_blocks = {name: blocks_of_tasks(compared[name].pool, CYCLES) for name in (OURS, "psycopg_pool", "connpool")}
    show_costs("asyncio: async with pool.connection()", await in_turns_of_tasks(of_blocks, ROUNDS))
    for peer in compared.values():
        await peer.close()


def main() -> None:
    """Print all tables."""
    begin(*peers.OTHERS)
    of_threads()
    asyncio.run(of_tasks())


if __name__ == "__main__":
    main()
