"""Pools that come with drivers, in a program that says nothing of poolhouse, and in its child."""

import os
import subprocess
import sys
from pathlib import Path

from poolhouse.fleet.snapshot import PoolRow, Snapshot
from support.connmond import Connmond, Watcher, program
from support.mariadb import MariaDB
from support.postgres import Postgres

PROGRAM = """
import asyncio, os, sys, threading
import aiomysql, asyncpg, psycopg2.pool

postgres, mariadb, user, database = sys.argv[1:]

def use(pool):
    conn = pool.getconn()
    with conn.cursor() as cursor:
        cursor.execute("select 1")
    pool.putconn(conn)

async def main():
    url = f"postgresql://postgres@127.0.0.1:{postgres}/postgres"
    orders = await asyncpg.create_pool(url, min_size=1, max_size=3)
    stock = await aiomysql.create_pool(
        minsize=1, maxsize=3, host="127.0.0.1", port=int(mariadb), user=user, db=database
    )
    assert await orders.fetchval("select 1") == 1
    async with stock.acquire() as conn, orders.acquire() as other:
        await asyncio.to_thread(sys.stdin.readline)
    await orders.close()
    stock.close()
    await stock.wait_closed()

where = {"host": "127.0.0.1", "port": postgres, "user": "postgres", "dbname": "postgres"}
items = psycopg2.pool.ThreadedConnectionPool(1, 3, **where)
use(items)
if child := os.fork():
    asyncio.run(main())
    items.closeall()
    os.waitpid(child, 0)
else:
    items = psycopg2.pool.SimpleConnectionPool(0, 3, **where)
    use(items)
    use(items)
    sys.stdin.readline()
"""


def pools(snapshot: Snapshot) -> dict[tuple[str, int | None], PoolRow]:
    """The program's pools, by kind and checkouts."""
    rows = [pool for process in snapshot.processes for pool in process.pools if pool.reading.pools]
    return {(pool.reading.kind, pool.reading.counters.checkouts): pool for pool in rows}


def held(snapshot: Snapshot) -> set[str]:
    """The lines that have connections."""
    return {holder.site.site for holder in snapshot.holders if holder.site.open}


def test_a_program_that_says_nothing_shows_all_three_and_so_does_its_child(
    tmp_path: Path, postgres: Postgres, mariadb: MariaDB
) -> None:
    (tmp_path / "shop.py").write_text(PROGRAM)
    with Connmond() as daemon, Watcher(daemon.consoles, program="shop") as watcher:
        report = f"collectd://127.0.0.1:{daemon.reports}/?interval=0.2"
        poolhouse = str(Path(sys.executable).parent / "poolhouse")
        options = ("--report", report, "--program", "shop")
        arguments = (str(postgres.port), str(mariadb.port), mariadb.user, mariadb.database)
        process = subprocess.Popen(
            [poolhouse, "run", *options, "--", sys.executable, "-W", "error", "shop.py", *arguments],
            cwd=tmp_path,
            env=os.environ,
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        seen = watcher.wait_for(
            lambda seen: (
                pools(seen).keys()
                >= {
                    ("Pool", 1),
                    ("Pool", 2),
                    ("ThreadedConnectionPool", 1),
                    ("SimpleConnectionPool", 2),
                }
                and (row := program(seen, "shop"))
                and row.processes == 2
                and row.used == 2
            )
        )
        found = pools(seen)
        assert found["Pool", 1].reading.name == f"127.0.0.1:{mariadb.port}/{mariadb.database}"
        assert found["Pool", 1].reading.counters.timeouts is None, "aiomysql's pools have none"
        assert found["Pool", 2].reading.name == f"127.0.0.1:{postgres.port}/postgres"
        assert found["Pool", 2].reading.counters.timeouts == 0
        watcher.wait_for(
            lambda seen: (
                {holder.site.site.rpartition(" ")[2] for holder in seen.holders if holder.site.open} == {"main"}
            )
        )
        _, errors = process.communicate("\n\n", timeout=60)
        assert (process.returncode, errors) == (0, "")
