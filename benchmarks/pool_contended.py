"""More clients than connections: `python benchmarks/pool_contended.py`.

Threads that hold each connection for a millisecond, beside an ideal queue: one that serves in the order of asking
and hands over in no time, computed from the very holds that were measured in the run. Tasks that hold nothing,
where the hand-over is all there is. In every round each pool has its turn; figures are medians of the rounds.
"""

import asyncio
import heapq
import statistics
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, NamedTuple

import _peers as peers
from _measuring import (
    OURS,
    Cost,
    Stopwatch,
    begin,
    in_turns,
    in_turns_of_tasks,
    medians,
    ratio,
    show_costs,
    show_table,
    together,
)

THREADS = (8, 64)
CONNECTIONS = 4
HOLD_S, SECONDS = 0.001, 1.0
ROUNDS = 7

TASKS, CONNECTIONS_OF_TASKS, TIMES, ROUNDS_OF_TASKS = 1_000, 10, 10, 9


class Queue(NamedTuple):
    """How a queue fared.

    Attributes:
        served: Checkouts a second.
        p99: What 99 of 100 waits were shorter than, in seconds.
    """

    served: float
    p99: float


class Crowd(NamedTuple):
    """One round of one pool.

    Attributes:
        served: Checkouts a second.
        of_ideal: The same, as a share of what the ideal queue makes of the same holds.
        least: How often the unluckiest thread was served,
        most: and the luckiest.
        p99: What 99 of 100 waits were shorter than, in milliseconds.
        p99_of_ideal: The same, as a multiple of the ideal queue's.
        longest: The longest wait, in milliseconds.
        cpu: Microseconds of CPU time a checkout.
    """

    served: float
    of_ideal: float
    least: float
    most: float
    p99: float
    p99_of_ideal: float
    longest: float
    cpu: float


def p99(values: list[float]) -> float:
    """What 99 of 100 are smaller than."""
    return statistics.quantiles(values, n=100)[98]


def ideal(holds: list[float], clients: int) -> Queue:
    """The queue in which only holds take time: whoever asked first is served first, and asks again at once.

    >>> ideal([1.0] * 400, clients=8)
    Queue(served=4.0, p99=1.0)
    """
    asked, free = [0.0] * clients, [0.0] * CONNECTIONS
    waits: list[float] = []
    for hold in holds:
        since = heapq.heappop(asked)
        began = max(since, heapq.heappop(free))
        waits.append(began - since)
        heapq.heappush(free, began + hold)
        heapq.heappush(asked, began + hold)
    return Queue(len(holds) / max(free), p99(waits))


def crowd(peer: peers.Peer, clients: int) -> Crowd:
    """Threads on the peer's connections for one second from when all of them are there."""
    get, put = peer.getconn, peer.putconn
    is_there = threading.Barrier(clients)
    waits: list[list[float]] = [[] for _ in range(clients)]
    uses: list[list[tuple[float, float]]] = [[] for _ in range(clients)]

    def client(number: int) -> None:
        clock, sleep = time.perf_counter, time.sleep
        is_there.wait()
        asked = clock()
        end = asked + SECONDS
        while asked < end:
            conn = get()
            had = clock()
            sleep(HOLD_S)
            over = clock()
            put(conn)
            waits[number].append(had - asked)
            uses[number].append((had, over - had))
            asked = clock()

    began, cpu = time.perf_counter(), time.process_time()
    together(clients, client)
    took, cpu = time.perf_counter() - began, time.process_time() - cpu
    peer.close()
    served = [len(mine) for mine in waits]
    total, longest = sum(served), max(max(mine, default=took) for mine in waits)
    waited = [wait for mine in waits for wait in mine]
    best = ideal([hold for _, hold in sorted(use for mine in uses for use in mine)], clients)
    return Crowd(
        served=total / took,
        of_ideal=total / took / best.served,
        least=min(served),
        most=max(served),
        p99=p99(waited) * 1e3,
        p99_of_ideal=p99(waited) / best.p99,
        longest=longest * 1e3,
        cpu=cpu / total * 1e6,
    )


def of_threads(clients: int) -> None:
    """Print how threads fare."""
    compared: dict[str, Callable[[int], peers.Peer]] = {
        OURS: peers.ours,
        "a SimpleQueue": peers.simple_queue,
        "psycopg_pool": peers.psycopg_pools,
        "SQLAlchemy QueuePool": peers.queue_pool,
        "connpool": peers.connpools,
    }

    def run(make: Callable[[int], peers.Peer]) -> Callable[[], Crowd]:
        return lambda: crowd(make(CONNECTIONS), clients)

    figures = in_turns({name: run(make) for name, make in compared.items()}, ROUNDS)
    rows = []
    for name, rounds in figures.items():
        it = Crowd(*medians(rounds))
        fairness = f"{it.most / it.least:.2f}" if it.least else "–"
        rows.append(
            [
                name,
                f"{it.served:,.0f}",
                f"{ratio(figures, name, 0):.2f} ×",
                f"{it.of_ideal:.0%}",
                f"{it.least:.0f} … {it.most:.0f}",
                fairness,
                f"{it.p99:.1f} ms",
                f"{it.p99_of_ideal:.2f} ×",
                f"{it.longest:,.0f} ms",
                f"{it.cpu:.0f} µs",
            ]
        )
    show_table(
        [
            f"{clients} threads on {CONNECTIONS}, {HOLD_S * 1000:g} ms holds",
            "a second",
            "",
            "of ideal",
            "served each",
            "most : least",
            "p99 of the wait",
            "of ideal's",
            "longest",
            "CPU time",
        ],
        rows,
    )


async def of_tasks() -> None:
    """Print what the hand-over between tasks costs."""
    compared: dict[str, Callable[[int], Awaitable[peers.Peer]]] = {
        OURS: peers.ours_of_tasks,
        "a deque and futures": peers.floor_of_tasks,
        "psycopg_pool": peers.psycopg_pools_of_tasks,
        "SQLAlchemy AsyncAdaptedQueuePool": peers.queue_pool_of_tasks,
        "connpool": peers.connpools_of_tasks,
    }

    async def pairs(peer: peers.Peer) -> None:
        get, put = peer.getconn, peer.putconn
        for _ in range(TIMES):
            conn = await get()
            await asyncio.sleep(0)
            await put(conn)

    async def blocks(peer: peers.Peer) -> None:
        for _ in range(TIMES):
            async with peer.pool.connection():
                await asyncio.sleep(0)

    def run(
        make: Callable[[int], Awaitable[peers.Peer]], client: Callable[[peers.Peer], Coroutine[Any, Any, None]]
    ) -> Callable[[], Awaitable[Cost]]:
        async def crowd_of_tasks() -> Cost:
            peer = await make(CONNECTIONS_OF_TASKS)
            with Stopwatch(TASKS * TIMES) as watch:
                await asyncio.gather(*(client(peer) for _ in range(TASKS)))
            await peer.close()
            return watch.cost

        return crowd_of_tasks

    title = f"{TASKS:,} tasks on {CONNECTIONS_OF_TASKS}, no hold"
    runs = {name: run(make, pairs) for name, make in compared.items()}
    show_costs(f"{title}: getconn, putconn", await in_turns_of_tasks(runs, ROUNDS_OF_TASKS))
    runs = {name: run(compared[name], blocks) for name in (OURS, "psycopg_pool", "connpool")}
    show_costs(f"{title}: async with pool.connection()", await in_turns_of_tasks(runs, ROUNDS_OF_TASKS))


def main() -> None:
    """Print all tables."""
    begin(*peers.OTHERS)
    for clients in THREADS:
        of_threads(clients)
    asyncio.run(of_tasks())


if __name__ == "__main__":
    main()
