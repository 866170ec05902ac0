"""What it costs to know who holds connections: a look, a watched checkout of psycopg_pool.

    python benchmarks/looks.py

A look at 15 holders, threads in calls 20 deep, in CPU time of the thread that looks; ten of them a second are the
share of a core. A checkout of psycopg_pool with and without `poolhouse.watch`, over connections that do nothing,
in turns; the 20th percentile of many short rounds, because whatever else the machine does only adds to it.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from typing import Any, Self

import psycopg_pool
from psycopg.pq import TransactionStatus

from poolhouse.instrumentation.watched_checkouts import WatchedCheckouts
from poolhouse.sites.look import Hold
from poolhouse.sites.looker import Holding, Looker
from poolhouse.sites.tally import PoolLooks, SiteLooks

HOLDERS, DEPTH, ROUNDS, TURNS = 15, 20, 300, 300


class Connection:
    """A connection to nothing."""

    class PGconn:
        transaction_status = TransactionStatus.IDLE

    def __init__(self) -> None:
        self.pgconn, self.autocommit, self._pool = self.PGconn(), True, None

    @classmethod
    def connect(cls, *_: Any, **__: Any) -> Self:
        return cls()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...
    def close(self) -> None: ...


def fast(rounds: Iterable[float]) -> float:
    """The 20th percentile."""
    times = sorted(rounds)
    return times[len(times) // 5]


def look() -> float:
    """Seconds of CPU for a look at all holders."""
    over, begun = threading.Event(), threading.Barrier(HOLDERS + 1)

    def holds(depth: int = DEPTH) -> None:
        if depth:
            return holds(depth - 1)
        begun.wait()
        over.wait()

    threads = [threading.Thread(target=holds) for _ in range(HOLDERS)]
    for thread in threads:
        thread.start()
    begun.wait()
    held = [Hold(SiteLooks(), holds.__code__, 0, 1.0, thread.ident) for thread in threads]
    looker, pools = Looker(), [(PoolLooks(), Holding(held))]

    def once() -> float:
        began = time.thread_time()
        looker.look(pools, 0.1)
        return time.thread_time() - began

    took = fast(once() for _ in range(ROUNDS * 5))
    over.set()
    return took


def pairs(pool: Any) -> None:
    for _ in range(TURNS):
        pool.putconn(pool.getconn())


def blocks(pool: Any) -> None:
    for _ in range(TURNS):
        with pool.connection():
            pass


def checkouts(way: Callable[[Any], None]) -> tuple[float, float]:
    """Seconds of CPU for a checkout, bare and watched."""
    with ExitStack() as stack:
        bare, watched = (
            stack.enter_context(
                psycopg_pool.ConnectionPool("", connection_class=Connection, min_size=4, open=True)  # type: ignore[type-var]
            )
            for _ in range(2)
        )
        assert WatchedCheckouts(lambda: None).wrap(watched)
        for pool in (bare, watched):
            pool.wait()

        def once(pool: Any) -> float:
            began = time.thread_time()
            way(pool)
            return (time.thread_time() - began) / TURNS

        turns = [(once(bare), once(watched)) for _ in range(ROUNDS)]
    return fast(turn[0] for turn in turns), fast(turn[1] for turn in turns)


def main() -> None:
    logging.getLogger("psycopg.pool").setLevel(logging.CRITICAL)
    took = look()
    print(f"a look at {HOLDERS} holders, {DEPTH} calls deep: {took * 1e6:.0f} µs, {took * 1000:.3f} % of a core")
    for name, way in (("getconn + putconn", pairs), ("with connection()", blocks)):
        bare, watched = checkouts(way)
        more = watched - bare
        print(f"psycopg_pool, {name}: {bare * 1e6:.2f} µs bare, {more * 1e6:+.2f} µs watched")


if __name__ == "__main__":
    main()
