"""Connections that a forked child inherits, of others than psycopg: the parent's go on, the child has its own."""

import contextlib
import sqlite3
from pathlib import Path

from support.postgres import Postgres
from support.programs import run

#: What Python warns of at a fork of a process with threads is the subject of nobody here.
FORKING = ("-W", "error", "-W", "ignore:This process:DeprecationWarning")

#: A pool.
_SQLITE = """
    import logging, os, sqlite3, sys
    from poolhouse.pool import ConnectionPool

    logging.basicConfig(stream=sys.stdout, format="%(levelname)s")
    pool = ConnectionPool(
        sys.argv[1], driver=sqlite3, kwargs={"check_same_thread": False}, min_size=2, max_size=2, open=True
    )
    pool.wait()
    """


def test_what_a_child_commits_to_sqlite_outlives_the_parents_pool(tmp_path: Path) -> None:
    """In WAL mode: the parent closes its last connection while the child has one, and deletes no log."""
    printed = run(
        f"""{_SQLITE}
    with pool.connection() as conn:
        conn.execute("pragma journal_mode=wal")
        conn.execute("create table t (a)")
    to_parent, to_child = os.pipe(), os.pipe()
    child = os.fork()
    with pool.connection() as conn:
        conn.execute("insert into t values (1)")
    if not child:
        os.write(to_parent[1], b" ")
        os.read(to_child[0], 1)
        with pool.connection() as conn:
            conn.execute("insert into t values (10)")
        pool.close()
        sys.exit()
    os.read(to_parent[0], 1)
    pool.close()
    os.write(to_child[1], b" ")
    assert os.waitpid(child, 0)[1] == 0
    """,
        str(tmp_path / "file.db"),
        options=FORKING,
    )
    assert printed == ""
    with contextlib.closing(sqlite3.connect(tmp_path / "file.db")) as conn:
        assert conn.execute("select a from t order by a").fetchall() == [(1,), (1,), (10,)]


def test_a_child_leaves_the_parents_transaction_in_sqlite_alone(tmp_path: Path) -> None:
    """One whose pages are in the file already: a rollback would undo them there, by the journal."""
    printed = run(
        f"""{_SQLITE}
    conn = pool.getconn()
    conn.execute("create table t (a, b)")
    conn.executemany("insert into t values (?, ?)", [(1, "x" * 500)] * 2000)
    conn.commit()
    conn.execute("pragma cache_size=1")
    conn.execute("update t set a = 2, b = b || 'y'")
    child = os.fork()
    if not child:
        pool.putconn(conn)
        pool.close()
        del conn, pool
        sys.exit()
    assert os.waitpid(child, 0)[1] == 0
    conn.commit()
    print(conn.execute("pragma integrity_check").fetchall())
    print(conn.execute("select count(*), total(a) from t").fetchone())
    pool.putconn(conn)
    pool.close()
    """,
        str(tmp_path / "file.db"),
        options=FORKING,
    )
    assert printed.splitlines() == ["WARNING", "[('ok',)]", "(2000, 4000.0)"]


def test_a_child_leaves_asyncpgs_connections_alone(postgres: Postgres) -> None:
    printed = run(
        """
        import asyncio, asyncpg, gc, os, sys
        from poolhouse.pool import AsyncConnectionPool

        pool = AsyncConnectionPool(sys.argv[1], driver=asyncpg, min_size=2, max_size=2, open=False)
        loop = asyncio.new_event_loop()
        do = loop.run_until_complete
        do(pool.open(wait=True))
        mine = do(pool.getconn())
        do(mine.execute("begin; create temp table t as select 1"))

        async def backend():
            async with pool.connection() as conn:
                return conn.get_server_pid()

        async def use():
            assert await backend() not in pids
            await pool.close()

        pids = {mine.get_server_pid(), do(backend())}
        child = os.fork()
        if not child:
            asyncio.run(use())
            del mine, pool
            gc.collect()
            sys.exit()
        assert os.waitpid(child, 0)[1] == 0
        print(do(mine.fetchval("select count(*) from t")))
        do(mine.execute("commit"))
        do(pool.putconn(mine))
        print(do(backend()) in pids)
        do(pool.close())
        loop.close()
        """,
        postgres.url,
        options=(*FORKING, "-W", "ignore::ResourceWarning"),
    )
    assert printed.splitlines() == ["1", "True"]
