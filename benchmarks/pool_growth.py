"""Connecting, and not connecting: `python benchmarks/pool_growth.py`.

Connections here take their time to be made and do nothing else: how long clients wait for an empty pool, how far a
spike of short uses makes a pool grow, what a pool that keeps nothing adds; and what an idle pool costs.
"""

import gc
import statistics
import threading
import time
import tracemalloc
from collections.abc import Callable

import _peers as peers
from _measuring import OURS, Figures, begin, in_turns, medians, ratio, show_table, together

ROUNDS = 3
SPIKES = 10


def wait_for_all(peer: peers.Peer, clients: int, body: Callable[[], object] | None) -> float:
    """Milliseconds until so many clients at once have had a connection; with no `body` they keep it."""

    def client(_: int) -> None:
        conn = peer.getconn()
        if body is not None:
            body()
            peer.putconn(conn)

    began = time.perf_counter()
    together(clients, client)
    return (time.perf_counter() - began) * 1e3


def show_times(title: str, figures: Figures) -> None:
    """Print milliseconds, and each as a multiple of ours."""
    rows = [
        [name, f"{medians(rounds)[0]:.0f} ms", f"{ratio(figures, name, 0):.2f} ×"]
        for name, rounds in figures.items()
    ]
    show_table([title, "until all are served", ""], rows)


def filling() -> None:
    """20 clients at once on a pool that has nothing yet; each keeps what it gets."""

    def run(make: Callable[..., peers.Peer], size: int, **parameters: object) -> Callable[[], tuple[float]]:
        def fill() -> tuple[float]:
            peer = make(size, connection_class=peers.fake_class(0.05), **parameters)
            took = wait_for_all(peer, 20, None)
            peer.close()
            return (took,)

        return fill

    figures = in_turns(
        {
            OURS: run(peers.ours, 0, max_size=20),
            "psycopg_pool": run(peers.psycopg_pools, 0, max_size=20),
            "SQLAlchemy QueuePool": run(peers.queue_pool, 20),
            "connpool": run(peers.connpools, 20),
        },
        ROUNDS,
    )
    show_times("20 clients on an empty pool, 50 ms a connect", figures)


def opening() -> None:
    """A pool that is to have 20 connections from the start."""

    def run(make: Callable[..., peers.Peer]) -> Callable[[], tuple[float]]:
        def full() -> tuple[float]:
            made = peers.fake_class(0.05)
            began = time.perf_counter()
            peer = make(20, connection_class=made)
            took = (time.perf_counter() - began) * 1e3
            peer.close()
            return (took,)

        return full

    figures = in_turns({OURS: run(peers.ours), "psycopg_pool": run(peers.psycopg_pools)}, ROUNDS)
    show_times("min_size=20, 50 ms a connect: wait()", figures)


def null() -> None:
    """8 clients on a pool that keeps nothing."""

    def run(make: Callable[..., peers.Peer]) -> Callable[[], tuple[float]]:
        def served() -> tuple[float]:
            peer = make(connection_class=peers.fake_class(0.02))
            took = wait_for_all(peer, 8, lambda: None)
            peer.close()
            return (took,)

        return served

    figures = in_turns(
        {
            OURS: run(peers.null_pool),
            "psycopg_pool": run(peers.psycopg_null_pool),
            "SQLAlchemy NullPool": run(peers.sqlalchemy_null_pool),
        },
        ROUNDS,
    )
    show_times("8 clients on a null pool, 20 ms a connect", figures)


def spike() -> None:
    """HikariCP's spike: 50 requests of 2 ms at once, 5 connections that may become 20, 150 ms a connect."""

    def run(make: Callable[..., peers.Peer], **parameters: object) -> Callable[[], tuple[float, float]]:
        def served() -> tuple[float, float]:
            made = peers.fake_class(0.15)
            peer = make(5, connection_class=made, **parameters)
            # A pool that connects for its clients is full by now; QueuePool is not before it has been used.
            for conn in [peer.getconn() for _ in range(5)]:
                peer.putconn(conn)
            took = wait_for_all(peer, 50, lambda: time.sleep(0.002))
            time.sleep(0.3)  # What was begun for the spike ends.
            peer.close()
            return took, len(made.made)

        return served

    figures = in_turns(
        {
            OURS: run(peers.ours, max_size=20),
            "psycopg_pool": run(peers.psycopg_pools, max_size=20),
            "SQLAlchemy QueuePool": run(peers.queue_pool, max_overflow=15),
        },
        SPIKES,
    )
    rows = []
    for name, rounds in figures.items():
        took, made = zip(*rounds, strict=True)
        rows.append(
            [
                name,
                f"{statistics.median(took):.0f} ms",
                f"{max(took):.0f} ms",
                f"{statistics.median(made):.0f} ({min(made)} … {max(made)})",
            ]
        )
    show_table(
        [
            "50 requests of 2 ms on 5 to 20, 150 ms a connect",
            "until all are served",
            "at most",
            "connections made",
        ],
        rows,
    )


def idle() -> None:
    """What an idle pool of four costs, its four connections included."""
    rows = []
    for name, make in (
        (OURS, peers.ours),
        ("psycopg_pool", peers.psycopg_pools),
        ("SQLAlchemy QueuePool", peers.queue_pool),
        ("connpool", peers.connpools),
    ):
        made = peers.fake_class()

        def pool_with_four(make: Callable[..., peers.Peer] = make, made: type = made) -> peers.Peer:
            peer = make(4, connection_class=made)
            for conn in [peer.getconn() for _ in range(4)]:
                peer.putconn(conn)
            return peer

        pool_with_four().close()  # What is made once a program is made now.
        time.sleep(0.5)  # Its threads end.
        gc.collect()
        threads = threading.active_count()
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        peer = pool_with_four()
        time.sleep(3.0)  # Workers that have nothing to do go.
        gc.collect()
        size = (tracemalloc.get_traced_memory()[0] - before) / 1024
        tracemalloc.stop()
        rows.append([name, str(threading.active_count() - threads), f"{size:.1f} kB"])
        peer.close()
    show_table(["an idle pool of 4", "threads", "memory"], rows)


def main() -> None:
    """Print all tables."""
    begin(*peers.OTHERS)
    filling()
    opening()
    null()
    spike()
    idle()


if __name__ == "__main__":
    main()
