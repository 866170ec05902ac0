"""What the proof that a connection is clean costs: `python benchmarks/pool_drivers.py`.

For each driver for threads: the look at an idle connection (`Driver.status`), which every return makes; and a
`SELECT` in a block of the pool's, beside the same on a connection of the client's own that is never given back.
"""

import sqlite3
import statistics
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

import psycopg
import psycopg2
import pymysql
from _measuring import Cost, Stopwatch, begin, in_turns, show_table

from poolhouse.pool import ConnectionPool
from support.mariadb import mariadb_server
from support.postgres import postgres_server

ROUNDS = 9
LOOKS = 4_000
QUERIES = 200


def looks(look: Callable[[Any], int], conn: Any) -> Callable[[], Cost]:
    """The driver's look at an idle connection."""

    def run() -> Cost:
        with Stopwatch(LOOKS) as watch:
            for _ in range(LOOKS):
                look(conn)
        return watch.cost

    return run


def blocks(pool: Any) -> Callable[[], Cost]:
    """A query in a block of the pool's."""

    def run() -> Cost:
        with Stopwatch(QUERIES) as watch:
            for _ in range(QUERIES):
                with pool.connection() as conn:
                    query(conn)
        return watch.cost

    return run


def alone(conn: Any) -> Callable[[], Cost]:
    """The same on a connection that is kept; it never ends its transaction."""

    def run() -> Cost:
        with Stopwatch(QUERIES) as watch:
            for _ in range(QUERIES):
                query(conn)
        return watch.cost

    return run


def query(conn: Any) -> None:
    """A plain SELECT."""
    cursor = conn.cursor()
    cursor.execute("select 1")
    cursor.fetchall()
    cursor.close()


def main() -> None:
    """Print one row for each driver."""
    begin("psycopg", "psycopg2-binary", "PyMySQL")
    with ExitStack() as stack:
        postgres = stack.enter_context(postgres_server())
        maria = stack.enter_context(mariadb_server())
        file = str(Path(stack.enter_context(tempfile.TemporaryDirectory())) / "file.db")
        mysql = {"host": "127.0.0.1", "port": maria.port, "user": maria.user, "database": maria.database}
        drivers: dict[str, tuple[Any, str, dict[str, Any]]] = {
            "psycopg": (psycopg, postgres.conninfo, {}),
            "psycopg, autocommit": (psycopg, postgres.conninfo, {"autocommit": True}),
            "psycopg2": (psycopg2, postgres.conninfo, {}),
            "PyMySQL": (pymysql, "", mysql),
            "PyMySQL, autocommit": (pymysql, "", mysql | {"autocommit": True}),
            "sqlite3": (sqlite3, file, {"check_same_thread": False}),
        }
        rows = []
        for name, (module, conninfo, kwargs) in drivers.items():
            pool: Any = stack.enter_context(
                ConnectionPool(conninfo, driver=module, kwargs=kwargs, min_size=2, max_size=2, open=True)
            )
            pool.wait()
            own = stack.enter_context(pool.connection())
            figures = in_turns(
                {"look": looks(pool._driver.status, own), "block": blocks(pool), "alone": alone(own)}, ROUNDS
            )
            look, block, bare = (
                statistics.median(cost[1] for cost in figures[part]) / 1000 for part in ("look", "block", "alone")
            )
            rows.append([name, f"{look:.2f}", f"{bare:.0f}", f"{block:.0f}", f"{block / bare:.2f}"])
        show_table(["driver", "a look, µs", "a SELECT, µs", "in a block, µs", "ratio"], rows)


if __name__ == "__main__":
    main()
