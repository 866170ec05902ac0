"""What the end of a checkout does to a transaction, for each driver: the rows of docs/reference/drivers.md."""

import asyncio
import itertools
import sqlite3
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from textwrap import dedent
from types import ModuleType
from typing import Any, NamedTuple

import aiosqlite
import asyncpg
import psycopg
import psycopg2
import pymysql
import pytest

from poolhouse.clock import SystemClock
from poolhouse.pool import AsyncConnectionPool, ConnectionPool
from support.asyncio_runs import run
from support.mariadb import MariaDB
from support.postgres import Postgres, postgres_server
from support.programs import run as program_run

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "drivers.md"
ENDS = ("block ends", "block ends by an exception", "`putconn`")

#: A module of which the pool knows nothing but PEP 249.
unknown = ModuleType("unknown")
unknown.connect = sqlite3.connect  # type: ignore[attr-defined]
unknown.OperationalError = sqlite3.OperationalError  # type: ignore[attr-defined]


class Row(NamedTuple):
    """One row of the table, for one way to end."""

    driver: str
    statements: tuple[str, ...]
    end: str
    is_kept: bool


def rows(*, on_any_python: bool = False) -> list[Row]:
    """The table of the page, less what another Python is needed for."""
    lines = PAGE.read_text().splitlines()
    start = lines.index("| driver | statements | block ends | block ends by an exception | `putconn` |") + 2
    found = []
    for line in lines[start:]:
        if not line:
            break
        driver, statements, *outcomes = (cell.strip() for cell in line.strip("|").split("|"))
        if driver.endswith("(Python 3.12)") and sys.version_info < (3, 12) and not on_any_python:
            continue
        wanted = tuple(statement.strip("` ") for statement in statements.split(","))
        found += [
            Row(driver, wanted, end, {"kept": True, "undone": False}[o])
            for end, o in zip(ENDS, outcomes, strict=True)
        ]
    return found


class Servers(NamedTuple):
    """What a trial may connect to."""

    postgres: Postgres
    mariadb: MariaDB
    file: Path


def _maria(servers: Servers) -> dict[str, Any]:
    server = servers.mariadb
    return {"host": "127.0.0.1", "port": server.port, "user": server.user, "database": server.database}


def _psycopg(servers: Servers, pool: Callable[..., Any] = ConnectionPool, **kwargs: Any) -> Any:
    return pool(servers.postgres.conninfo, kwargs=kwargs, min_size=1, open=False)


def _psycopg2(servers: Servers, configure: Any = None) -> Any:
    return ConnectionPool(servers.postgres.conninfo, driver=psycopg2, configure=configure, min_size=1, open=False)


def _sqlite(servers: Servers, module: ModuleType = sqlite3, **kwargs: Any) -> Any:
    kwargs |= {"check_same_thread": False}
    return ConnectionPool(str(servers.file), driver=module, kwargs=kwargs, min_size=1, open=False)


def _pymysql(servers: Servers, **kwargs: Any) -> Any:
    return ConnectionPool(driver=pymysql, kwargs=_maria(servers) | kwargs, min_size=1, open=False)


def _asyncpg(servers: Servers) -> Any:
    return AsyncConnectionPool(servers.postgres.url, driver=asyncpg, min_size=1, open=False)


def _aiosqlite(servers: Servers, **kwargs: Any) -> Any:
    return AsyncConnectionPool(str(servers.file), driver=aiosqlite, kwargs=kwargs, min_size=1, open=False)


def _autocommit(conn: Any) -> None:
    conn.autocommit = True


POOLS: dict[str, Callable[[Servers], Any]] = {
    "psycopg": _psycopg,
    "psycopg, `autocommit=True`": partial(_psycopg, autocommit=True),
    "psycopg, asyncio": partial(_psycopg, pool=AsyncConnectionPool),
    "sqlite3": _sqlite,
    "sqlite3, `isolation_level=None`": partial(_sqlite, isolation_level=None),
    "sqlite3, `autocommit=False` (Python 3.12)": partial(_sqlite, autocommit=False),
    "sqlite3, `autocommit=True` (Python 3.12)": partial(_sqlite, autocommit=True),
    "PyMySQL": _pymysql,
    "PyMySQL, `autocommit=True`": partial(_pymysql, autocommit=True),
    "psycopg2": _psycopg2,
    "psycopg2, autocommit in `configure`": partial(_psycopg2, configure=_autocommit),
    "another DB-API module": partial(_sqlite, module=unknown),
    "asyncpg": _asyncpg,
    "aiosqlite": _aiosqlite,
    "aiosqlite, `isolation_level=None`": partial(_aiosqlite, isolation_level=None),
    "aiosqlite, `autocommit=False` (Python 3.12)": partial(_aiosqlite, autocommit=False),
}

#: The words of the table as SQL; each end of each row works in a table of its own.
SQL = {"INSERT": "insert into {table} values (1)", "CREATE TABLE": "create table {table}_more (a int)"}


_numbers = itertools.count(1)


class Give(Exception):
    """What ends a block."""


def _execute(conn: Any, sql: str) -> None:
    cursor = conn.cursor()
    cursor.execute(sql)
    cursor.close()


def _client(pool: Any, row: Row, table: str) -> None:
    statements = [SQL.get(word, word).format(table=table) for word in row.statements]
    if row.end == "`putconn`":
        conn = pool.getconn()
        for sql in statements:
            _execute(conn, sql)
        pool.putconn(conn)
        return
    with pool.connection() as conn:
        for sql in statements:
            _execute(conn, sql)
        if row.end == "block ends by an exception":
            raise Give


async def _async_execute(conn: Any, statement: str, table: str) -> None:
    if statement == "transaction().start()":
        await conn.transaction().start()
    else:
        await conn.execute(SQL.get(statement, statement).format(table=table))


async def _async_client(pool: Any, row: Row, table: str) -> None:
    if row.end == "`putconn`":
        conn = await pool.getconn()
        for statement in row.statements:
            await _async_execute(conn, statement, table)
        await pool.putconn(conn)
        return
    async with pool.connection() as conn:
        for statement in row.statements:
            await _async_execute(conn, statement, table)
        if row.end == "block ends by an exception":
            raise Give


async def _async_trial(pool: Any, row: Row, table: str) -> None:
    async with pool:
        try:
            await _async_client(pool, row, table)
        except Give:
            assert row.end == "block ends by an exception"


def _observer(driver: str, servers: Servers) -> Any:
    if driver.startswith("PyMySQL"):
        return pymysql.connect(**_maria(servers), autocommit=True)
    if driver.startswith(("sqlite3", "aiosqlite", "another")):
        return sqlite3.connect(servers.file, isolation_level=None)
    return psycopg.connect(servers.postgres.conninfo, autocommit=True)


@pytest.mark.parametrize("row", rows(), ids=lambda row: f"{row.driver} {'+'.join(row.statements)} {row.end}")
def test_what_becomes_of_a_transaction_is_what_the_page_says(
    row: Row, postgres: Postgres, mariadb: MariaDB, tmp_path: Path
) -> None:
    servers = Servers(postgres, mariadb, tmp_path / "file.db")
    table = f"trial_{next(_numbers)}"
    observer = _observer(row.driver, servers)
    try:
        _execute(observer, f"create table {table} (a int)")
        pool = POOLS[row.driver](servers)
        if isinstance(pool, AsyncConnectionPool):
            run(_async_trial(pool, row, table))
        else:
            with pool:
                try:
                    _client(pool, row, table)
                except Give:
                    assert row.end == "block ends by an exception"
        cursor = observer.cursor()
        cursor.execute(f"select count(*) from {table}")
        assert bool(cursor.fetchone()[0]) == row.is_kept
    finally:
        observer.close()


def test_every_driver_of_the_page_is_tried() -> None:
    assert {row.driver for row in rows(on_any_python=True)} == set(POOLS)


def test_a_transaction_that_asyncpg_was_left_in_is_not_the_next_clients(postgres: Postgres) -> None:
    """asyncpg remembers who began a transaction in `Connection._top_xact`; this pins that name."""

    async def main() -> None:
        pool = AsyncConnectionPool(postgres.url, driver=asyncpg, min_size=1, open=False)
        async with pool:
            async with pool.connection() as conn:
                await conn.transaction().start()
                assert conn._top_xact is not None
            async with pool.connection() as again:
                assert again is conn
                with pytest.raises(Give):
                    async with again.transaction():
                        await again.execute("create table of_the_next_client (a int)")
                        raise Give
                # Had its transaction been taken for an inner one, this would fail: there is no savepoint.
                assert await again.fetchval("select to_regclass('of_the_next_client')") is None

    run(main())


def test_what_to_connect_to_may_stand_in_kwargs_alone(
    postgres: Postgres, mariadb: MariaDB, tmp_path: Path
) -> None:
    """An empty `conninfo` is not passed on."""
    server = dict(part.split("=") for part in postgres.conninfo.split())
    files = str(tmp_path / "file.db")
    for driver, kwargs in (
        (psycopg, server),
        (psycopg2, {"dsn": postgres.conninfo}),
        (pymysql, _maria(Servers(postgres, mariadb, tmp_path))),
        (sqlite3, {"database": files, "check_same_thread": False}),
    ):
        with ConnectionPool(driver=driver, kwargs=kwargs, min_size=1, timeout=10, open=True) as pool:
            pool.wait(10)

    async def main() -> None:
        for driver, kwargs in (
            (psycopg, server),
            (asyncpg, {"dsn": postgres.url}),
            (aiosqlite, {"database": files}),
        ):
            async with AsyncConnectionPool(driver=driver, kwargs=kwargs, min_size=1, open=False) as pool:
                await pool.wait(10)

    run(main())


class Ahead(SystemClock):
    """The system's clocks, some time ahead: a connection that was idle for half a second is looked at."""

    ahead = 0.0

    def monotonic(self) -> float:  # type: ignore[override]
        return time.monotonic() + self.ahead


def test_a_connection_of_asyncpg_that_its_event_loop_knows_to_be_closed_is_not_served() -> None:
    """It has no socket any more that could be looked at."""

    async def main(server: Postgres) -> None:
        clock = Ahead()
        async with AsyncConnectionPool(server.url, driver=asyncpg, min_size=3, clock=clock, open=False) as pool:
            await pool.wait()
            lost = [slot.conn for slot in pool._core.slots.values()]
            server.stop()
            server.start()
            deadline = time.monotonic() + 30
            while not all(conn.is_closed() for conn in lost):
                assert time.monotonic() < deadline
                await asyncio.sleep(0.001)
            clock.ahead += 1.0
            for _ in range(4):
                async with pool.connection() as conn:
                    assert await conn.fetchval("select 1") == 1
            assert pool.get_stats()["connections_lost"] >= 1

    with postgres_server() as server:
        run(main(server))


@pytest.mark.parametrize("name", ["psycopg", "psycopg2", "PyMySQL", "sqlite3"])
def test_a_connection_that_somebody_closed_behind_the_pools_back_is_not_served(
    name: str, postgres: Postgres, mariadb: MariaDB, tmp_path: Path
) -> None:
    pool = POOLS[name](Servers(postgres, mariadb, tmp_path / "file.db"))
    pool._clock = clock = Ahead()
    pool._now = clock.monotonic
    with pool:
        pool.wait()
        conn = pool.getconn()
        pool.putconn(conn)
        conn.close()
        clock.ahead += 1.0
        with pool.connection() as other:
            assert other is not conn
            _execute(other, "select 1")
        assert pool.get_stats()["connections_lost"] == 1


class Subclass(sqlite3.Connection):
    """Somebody's own."""


def test_a_class_of_connections_decides_the_driver(tmp_path: Path) -> None:
    with (
        ConnectionPool(
            str(tmp_path / "file.db"),
            connection_class=Subclass,
            kwargs={"check_same_thread": False},
            min_size=1,
            open=True,
        ) as pool,
        pool.connection() as conn,
    ):
        assert type(conn) is Subclass


def test_a_class_of_asyncpgs_connections_decides_the_driver(postgres: Postgres) -> None:
    class Own(asyncpg.Connection):
        pass

    async def main() -> None:
        pool = AsyncConnectionPool(postgres.url, connection_class=Own, min_size=1, open=False)
        async with pool, pool.connection() as conn:
            assert type(conn) is Own
            assert await conn.fetchval("select 1") == 1

    run(main())


@pytest.mark.parametrize("module", [pymysql, aiosqlite, unknown])
def test_a_class_of_connections_is_refused_where_the_driver_takes_none(module: ModuleType) -> None:
    pool_class = AsyncConnectionPool if module is aiosqlite else ConnectionPool
    with pytest.raises(TypeError, match=f"connection_class: {module.__name__}.connect takes no class"):
        pool_class("", driver=module, connection_class=Subclass, open=False)


def test_a_pool_imports_its_own_driver_and_no_other() -> None:
    program = """
        import sqlite3, sys
        import poolhouse
        assert not any(name.partition(".")[0] in drivers for name in sys.modules)
        with poolhouse.ConnectionPool(
            ":memory:", driver=sqlite3, kwargs={"check_same_thread": False}, min_size=1, open=True
        ) as pool, pool.connection():
            print([name for name in drivers if name in sys.modules])
        poolhouse.ConnectionPool(open=False)
        print([name for name in drivers if name in sys.modules])
        """
    drivers = 'drivers = ["psycopg", "psycopg2", "pymysql", "asyncpg", "aiosqlite", "sqlalchemy"]'
    assert program_run(f"{drivers}\n{dedent(program)}").splitlines() == ["[]", "['psycopg']"]


@pytest.mark.parametrize(
    ("pool_class", "driver", "words"),
    [
        (ConnectionPool, asyncpg, "asyncpg is a driver for asyncio, and this is a pool for threads"),
        (AsyncConnectionPool, sqlite3, "sqlite3 is a driver for threads, and this is a pool for asyncio"),
        (ConnectionPool, object(), "lacks 'connect'"),
    ],
)
def test_a_driver_that_does_not_fit_is_refused_in_a_sentence(pool_class: Any, driver: Any, words: str) -> None:
    with pytest.raises(TypeError, match=words):
        pool_class("", driver=driver, open=False)


def test_a_cancelled_query_leaves_a_connection_of_asyncpg_that_works(postgres: Postgres) -> None:
    async def main() -> None:
        async with AsyncConnectionPool(postgres.url, driver=asyncpg, min_size=1, open=False) as pool:
            await pool.wait()

            async def client() -> None:
                async with pool.connection() as conn:
                    started.set()
                    await conn.execute("select pg_sleep(60)")

            started = asyncio.Event()
            task = asyncio.create_task(client())
            await started.wait()
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            async with pool.connection() as conn:
                assert await conn.fetchval("select 1") == 1
            assert pool.get_stats()["pool_size"] == 1

    run(main())
