"""FairQueuePool beside SQLAlchemy's own pools, as SQLAlchemy's pool: `python benchmarks/pool_sqlalchemy.py`.

What a checkout and a checkin cost, in rounds that take turns; and how often each caller is served while more of
them ask than there are connections.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import _peers as peers
from _measuring import (
    Cost,
    Stopwatch,
    begin,
    in_turns,
    in_turns_of_tasks,
    pairs_of_tasks,
    show_costs,
    show_table,
    together,
)
from sqlalchemy.pool import AsyncAdaptedQueuePool, QueuePool

from poolhouse.pool.sqlalchemy import FairQueuePool

ROUNDS, CYCLES = 15, 20_480
CLIENTS, CONNECTIONS = 100, 10
HOLD_S, SECONDS = 0.01, 3.0

FAIR = "poolhouse FairQueuePool"


def cost_in_a_thread() -> None:
    """Print what take and give back cost in one thread."""

    def run(peer: peers.Peer) -> Callable[[], Cost]:
        connect = peer.getconn

        def pairs() -> Cost:
            with Stopwatch(CYCLES) as watch:
                for _ in range(CYCLES):
                    connect().close()
            return watch.cost

        return pairs

    kinds = {FAIR: FairQueuePool, "QueuePool": QueuePool}
    compared = {name: run(peers.queue_pool(5, kind=kind)) for name, kind in kinds.items()}
    show_costs("connect().close()", in_turns(compared, ROUNDS))


async def cost_in_a_task() -> None:
    """Print what they cost in one task, each in a greenlet, as SQLAlchemy's engine calls them."""
    kinds = {FAIR: FairQueuePool, "AsyncAdaptedQueuePool": AsyncAdaptedQueuePool}
    compared = {name: await peers.queue_pool_of_tasks(5, kind=kind) for name, kind in kinds.items()}
    runs = {name: pairs_of_tasks(peer.getconn, peer.putconn, CYCLES) for name, peer in compared.items()}
    show_costs("asyncio: connect().close()", await in_turns_of_tasks(runs, ROUNDS // 3))


def show_fairness(clients: str, outcomes: dict[str, tuple[list[int], list[float]]]) -> None:
    """Print how often the luckiest and the unluckiest client were served."""
    rows = [
        [name, f"{min(served)} … {max(served)}", f"{max(longest):.2f} s"]
        for name, (served, longest) in outcomes.items()
    ]
    title = f"{CLIENTS} {clients} on {CONNECTIONS}, {HOLD_S * 1000:g} ms holds, {SECONDS:g} s"
    show_table([title, "served each", "longest wait"], rows)


def fairness_of_threads(kind: Any) -> tuple[list[int], list[float]]:
    """How often each thread is served, and its longest wait."""
    peer = peers.queue_pool(CONNECTIONS, kind=kind)
    served, longest = [0] * CLIENTS, [0.0] * CLIENTS
    until = time.monotonic() + SECONDS

    def client(number: int) -> None:
        while (asked_at := time.monotonic()) < until:
            conn = peer.getconn()
            longest[number] = max(longest[number], time.monotonic() - asked_at)
            time.sleep(HOLD_S)
            peer.putconn(conn)
            served[number] += 1

    together(CLIENTS, client)
    return served, longest


async def fairness_of_tasks(kind: Any) -> tuple[list[int], list[float]]:
    """The same of tasks."""
    peer = await peers.queue_pool_of_tasks(CONNECTIONS, kind=kind)
    served, longest = [0] * CLIENTS, [0.0] * CLIENTS
    until = time.monotonic() + SECONDS

    async def client(number: int) -> None:
        while (asked_at := time.monotonic()) < until:
            conn = await peer.getconn()
            longest[number] = max(longest[number], time.monotonic() - asked_at)
            await asyncio.sleep(HOLD_S)
            await peer.putconn(conn)
            served[number] += 1

    await asyncio.gather(*(client(number) for number in range(CLIENTS)))
    return served, longest


def main() -> None:
    """Print all tables."""
    begin("SQLAlchemy")
    cost_in_a_thread()
    asyncio.run(cost_in_a_task())
    show_fairness(
        "threads", {FAIR: fairness_of_threads(FairQueuePool), "QueuePool": fairness_of_threads(QueuePool)}
    )
    tasks = {FAIR: FairQueuePool, "AsyncAdaptedQueuePool": AsyncAdaptedQueuePool}
    show_fairness("tasks", {name: asyncio.run(fairness_of_tasks(kind)) for name, kind in tasks.items()})


if __name__ == "__main__":
    main()
