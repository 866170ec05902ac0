"""How clients fare when a real PostgreSQL goes away and comes back: `python benchmarks/pool_recovery.py`.

Pools that look before they serve, each its own way, take turns on one server; figures are medians of the rounds.
The first table is what the machine does to them when nothing happens at all.
"""

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

import psycopg
import psycopg_pool
from _measuring import OURS, begin, in_turns, medians, show_table
from sqlalchemy import create_engine

from poolhouse.pool import ConnectionPool
from poolhouse.pool.sqlalchemy import FairQueuePool
from support.pool_load import ThreadLoad
from support.postgres import Postgres, postgres_server
from support.waiting import wait_until

ROUNDS, ROUNDS_OF_KILLS = 5, 15
CLIENTS, CONNECTIONS = 8, 4
#: How long the server is away, in seconds.
RESTART, OUTAGE = 0.2, 10.0
FROZEN = 3.0


class Outcome(NamedTuple):
    """What became of one pool's clients in one round; times in milliseconds.

    Attributes:
        failed: Requests that failed.
        worst: The longest request that got its answer.
        beyond: The same less the time for which the server was away.
        first: From the server's return to the first answer after it.
    """

    failed: float
    worst: float
    beyond: float
    first: float


class EnginePool:
    """An engine's pool under the names that the load asks for."""

    def __init__(self, url: str, **options: Any) -> None:
        url = url.replace("postgresql:", "postgresql+psycopg:")
        self._engine = create_engine(url, pool_size=CONNECTIONS, max_overflow=0, pool_pre_ping=True, **options)

    @contextmanager
    def connection(self) -> Iterator[Any]:
        conn = self._engine.raw_connection()
        try:
            yield conn
        finally:
            conn.close()

    def close(self) -> None:
        self._engine.dispose()


def pools(server: Postgres) -> dict[str, Callable[[], Any]]:
    """Those that look before they serve, each its own way; SQLAlchemy's connect in the caller, and fail there."""

    def with_check(kind: Any) -> Callable[[], Any]:
        def make() -> Any:
            pool = kind(server.conninfo, min_size=CONNECTIONS, check=kind.check_connection, open=True)
            pool.wait()
            return pool

        return make

    return {
        f"{OURS}, check": with_check(ConnectionPool),
        "psycopg_pool, check": with_check(psycopg_pool.ConnectionPool),
        "QueuePool, pre_ping": lambda: EnginePool(server.url),
        "FairQueuePool, pre_ping": lambda: EnginePool(server.url, poolclass=FairQueuePool),
    }


def nothing(server: Postgres) -> float:
    """Leave the server alone for a while. Returns when it was up: all the time."""
    began = time.monotonic()
    time.sleep(RESTART)
    return began


def kill_backends(server: Postgres) -> float:
    """End every session at once; the server stays. Returns when it was up again: at once."""
    with psycopg.connect(server.conninfo, autocommit=True) as admin:
        # Chosen first: in one query the server might end sessions before it looks whose they are.
        others = admin.execute(
            "select array_agg(pid) from pg_stat_activity"
            " where pid <> pg_backend_pid() and backend_type = 'client backend'"
        ).fetchone()
        struck_at = time.monotonic()
        admin.execute("select pg_terminate_backend(pid) from unnest(%s::int[]) as pid", others)
        left = "select count(*) from pg_stat_activity where pid = any(%s)"
        wait_until(lambda: admin.execute(left, others).fetchone() == (0,), what="the sessions' end")
    return struck_at


def away(seconds: float) -> Callable[[Postgres], float]:
    """Stop the server for so long. Returns when it was up again."""

    def stop_and_start(server: Postgres) -> float:
        server.stop()
        time.sleep(seconds)
        server.start()
        return time.monotonic()

    return stop_and_start


def outcome(pool: Any, strike: Callable[[Postgres], float], server: Postgres) -> Outcome:
    """One round of one pool."""
    with ThreadLoad(pool, CLIENTS, failures=Exception) as load:
        load.wait_for_answers()
        struck_at = time.monotonic()
        up_at = strike(server)
        load.wait_for_answers(since=max(struck_at, up_at))
    answered = [request for request in load.requests if request.ended_at > struck_at and not request.error]
    worst = max(request.ended_at - request.asked_at for request in answered)
    first = min(request.ended_at for request in answered if request.ended_at > up_at)
    return Outcome(
        failed=len(load.failed()),
        worst=worst * 1e3,
        beyond=(worst - (up_at - struck_at)) * 1e3,
        first=(first - up_at) * 1e3,
    )


def recovery(
    server: Postgres, title: str, strike: Callable[[Postgres], float], rounds: int, *, is_outage: bool
) -> None:
    """Print how requests of several threads fare."""

    def run(make: Callable[[], Any]) -> Callable[[], Outcome]:
        return lambda: outcome(make(), strike, server)

    figures = in_turns({name: run(make) for name, make in pools(server).items()}, rounds)
    head = [f"{CLIENTS} threads on {CONNECTIONS}: {title}", "failed", "longest that did not"]
    rows = []
    for name, outcomes in figures.items():
        it = Outcome(*medians(outcomes))
        row = [name, f"{it.failed:,.0f}", f"{it.worst:,.0f} ms"]
        if is_outage:
            # Where requests fail at once, none was asked before the outage and answered after it.
            row += [f"{it.beyond:,.0f} ms" if it.beyond > 0 else "–", f"{it.first:,.0f} ms"]
        rows.append(row)
    if is_outage:
        head += ["beyond the outage", "first answer after it"]
    show_table(head, rows)


def frozen(server: Postgres) -> None:
    """Print how long a client waits for a server that accepts and never answers."""
    rows = []
    for name, make in list(pools(server).items())[:2]:
        pool = make()
        ended: list[float] = []

        def client(pool: Any = pool, ended: list[float] = ended) -> None:
            with suppress(psycopg.Error):
                pool.getconn(timeout=1)
            ended.append(time.monotonic())

        with server.frozen():
            began = time.monotonic()
            thread = threading.Thread(target=client)
            thread.start()
            thread.join(timeout=FROZEN)
        thread.join()
        took = ended[0] - began
        rows.append([name, f"{took:.2f} s" if took < FROZEN else "until it answers"])
        pool.close()
    show_table([f"the server stopped by SIGSTOP for {FROZEN:g} s", "getconn(timeout=1)"], rows)


def main() -> None:
    """Print all tables."""
    begin("psycopg", "psycopg_pool", "SQLAlchemy")
    with postgres_server() as server:
        recovery(server, "nothing happens", nothing, ROUNDS, is_outage=False)
        recovery(server, "all sessions killed", kill_backends, ROUNDS_OF_KILLS, is_outage=False)
        recovery(server, f"restart, {RESTART:g} s down", away(RESTART), ROUNDS, is_outage=True)
        recovery(server, f"{OUTAGE:g} s down", away(OUTAGE), 1, is_outage=True)
        frozen(server)


if __name__ == "__main__":
    main()
