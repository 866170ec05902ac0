"""A connection is served only when it is clean: what each driver knows of a connection that comes back."""

import asyncio
import itertools
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress
from pathlib import Path
from types import CodeType
from typing import Any, Self

import aiosqlite
import asyncpg
import psycopg
import psycopg2
import pymysql
import pymysql.cursors
import pytest

from poolhouse.pool import AsyncConnectionPool, ConnectionPool
from poolhouse.pool.drivers import asyncpg as asyncpg_driver
from poolhouse.pool.drivers import psycopg as psycopg_driver
from poolhouse.pool.drivers import writable
from poolhouse.pool.status import ACTIVE, IDLE, IN_TRANSACTION, UNSETTLED, UNTOLD
from support.asyncio_runs import run
from support.mariadb import MariaDB
from support.postgres import Postgres
from support.waiting import wait_until

_numbers = itertools.count(1)


class Give(Exception):
    """What ends a block."""


@pytest.fixture
def table(postgres: Postgres) -> str:
    """The name of an empty table with one column, in PostgreSQL."""
    name = f"clean_{next(_numbers)}"
    with psycopg.connect(postgres.conninfo, autocommit=True) as conn:
        conn.execute(f"create table {name} (n int)")
    return name


def rows(postgres: Postgres, table: str) -> int:
    with psycopg.connect(postgres.conninfo, autocommit=True) as conn:
        row = conn.execute(f"select count(*) from {table}").fetchone()
    assert row is not None
    return int(row[0])


# -- PyMySQL ------------------------------------------------------------------------------------------------------


@pytest.fixture
def maria(mariadb: MariaDB) -> dict[str, Any]:
    """Arguments of ``pymysql.connect``."""
    return {"host": "127.0.0.1", "port": mariadb.port, "user": mariadb.user, "database": mariadb.database}


@pytest.fixture
def other(maria: dict[str, Any]) -> Iterator[Any]:
    """Another session, with a table ``plain`` that has one row: 1, 0."""
    conn = pymysql.connect(**maria, autocommit=True)
    with conn.cursor() as cursor:
        cursor.execute("create table plain (n int primary key, v int) engine=innodb")
        cursor.execute("insert into plain values (1, 0)")
        cursor.execute("set innodb_lock_wait_timeout = 1")
    yield conn
    with conn.cursor() as cursor:
        cursor.execute("drop table plain")
    conn.close()


def fetch(conn: Any, sql: str) -> Any:
    with conn.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchall()


def mysql_pool(maria: dict[str, Any], **options: Any) -> Any:
    return ConnectionPool(driver=pymysql, kwargs=maria, min_size=1, max_size=1, open=True, **options)


@pytest.mark.parametrize("sql", ["select v from plain", "select v from plain where n = 1 for update"])
@pytest.mark.parametrize("end", ["block", "block raises", "putconn"])
def test_a_plain_select_of_pymysql_leaves_neither_a_snapshot_nor_a_lock(
    sql: str, end: str, maria: dict[str, Any], other: Any
) -> None:
    with mysql_pool(maria) as pool:
        if end == "putconn":
            conn = pool.getconn()
            assert fetch(conn, sql) == ((0,),)
            pool.putconn(conn)
        else:
            try:
                with pool.connection() as conn:
                    assert fetch(conn, sql) == ((0,),)
                    if end == "block raises":
                        raise Give
            except Give:
                pass
        with pool.connection() as conn:
            # Not before this client had its turn is the rollback of what putconn brought certain to be over.
            fetch(other, "update plain set v = 7 where n = 1")
            assert fetch(conn, "select v from plain") == ((7,),)


def test_in_a_null_pool_the_next_client_of_pymysql_meets_no_snapshot(maria: dict[str, Any], other: Any) -> None:
    import threading

    from poolhouse.pool import NullConnectionPool

    seen: list[Any] = []
    with NullConnectionPool[Any](driver=pymysql, kwargs=maria, max_size=1, open=True) as pool:

        def next_client() -> None:
            with pool.connection() as conn:
                fetch(other, "update plain set v = 7 where n = 1")
                seen.append((id(conn), fetch(conn, "select v from plain")))

        thread = threading.Thread(target=next_client)
        with pool.connection() as conn:
            assert fetch(conn, "select v from plain") == ((0,),)
            thread.start()
            wait_until(lambda: pool.get_stats()["requests_waiting"] == 1)
        thread.join(timeout=30)
        assert seen == [(id(conn), ((7,),))], "it is the same connection, and sees what was committed meanwhile"


def test_pymysql_in_autocommit_mode_is_idle_after_a_select_without_being_asked(
    maria: dict[str, Any], other: Any
) -> None:
    with mysql_pool(maria | {"autocommit": True}) as pool:
        status = pool._driver.status
        with pool.connection() as conn:
            assert status(conn) == IDLE
            fetch(conn, "select v from plain")
            assert status(conn) == IDLE
            fetch(conn, "begin")
            assert status(conn) == IN_TRANSACTION
            fetch(conn, "select v from plain")
            assert status(conn) == IN_TRANSACTION
            with pytest.raises(pymysql.err.ProgrammingError):
                fetch(conn, "select v from missing")
            assert status(conn) == UNSETTLED
            conn.rollback()
            assert status(conn) == UNSETTLED  # PyMySQL cannot tell a commit of the client's own from an error.


def test_pymysql_knows_which_connection_was_not_touched(maria: dict[str, Any]) -> None:
    with mysql_pool(maria) as pool:
        status = pool._driver.status
        with pool.connection() as conn:
            assert status(conn) == IDLE
            fetch(conn, "select 1")
            assert status(conn) == UNSETTLED
        with pool.connection() as again:
            assert again is conn
            assert status(conn) == IDLE
            assert conn.insert_id() == 0
            pool._driver.probe(conn)
            assert status(conn) == IDLE


def test_rows_of_an_unbuffered_cursor_that_nobody_read_are_not_the_next_clients(
    maria: dict[str, Any], other: Any
) -> None:
    with mysql_pool(maria) as pool:
        kept = []
        for how in ("block raises", "putconn"):
            conn = pool.getconn() if how == "putconn" else None
            try:
                with pool.connection() if conn is None else nullcontext(conn) as conn:
                    cursor = conn.cursor(pymysql.cursors.SSCursor)
                    kept.append(cursor)
                    cursor.execute("insert into plain values (2, 2)")
                    cursor.execute("select 1 union select 2 union select 3")
                    assert cursor.fetchone() == (1,)
                    assert pool._driver.status(conn) == ACTIVE
                    raise Give
            except Give:
                pass
            if how == "putconn":
                pool.putconn(conn)
            with pool.connection() as innocent:
                assert innocent is not conn
                assert fetch(innocent, "select count(*) from plain") == ((1,),)
        for cursor in kept:
            cursor._result.unbuffered_active = False  # Its finalizer would read on, though PyMySQL has closed it.


def test_a_block_that_ends_well_with_unread_rows_is_committed(maria: dict[str, Any], other: Any) -> None:
    with mysql_pool(maria) as pool:

        def client() -> Any:
            with pool.connection() as conn:
                cursor = conn.cursor(pymysql.cursors.SSCursor)
                cursor.execute("insert into plain values (2, 2)")
                cursor.execute("select 1 union select 2")
                return conn, cursor

        with pytest.warns(UserWarning, match="unbuffered result was left incomplete"):
            conn, _cursor = client()
        assert fetch(other, "select count(*) from plain") == ((2,),)
        with pool.connection() as again:
            assert again is conn


def test_further_results_that_nobody_read_may_hide_a_transaction(maria: dict[str, Any], other: Any) -> None:
    many = maria | {"autocommit": True, "client_flag": pymysql.constants.CLIENT.MULTI_STATEMENTS}
    with mysql_pool(many) as pool:
        conn = pool.getconn()
        cursor = conn.cursor()
        cursor.execute("select 1; begin; insert into plain values (2, 2)")
        assert pool._driver.status(conn) == UNSETTLED
        pool.putconn(conn)
        with pool.connection() as innocent:
            assert fetch(innocent, "select count(*) from plain") == ((1,),)
        assert fetch(other, "select count(*) from plain") == ((1,),)


def test_an_answer_of_which_nothing_has_arrived_is_not_the_next_clients(
    maria: dict[str, Any], other: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An exception strikes between the command and its answer; ROLLBACK would take that for its own."""
    with mysql_pool(maria) as pool:
        with pytest.raises(Give), pool.connection() as conn:

            def struck(**_: object) -> None:
                raise Give

            conn._read_query_result = struck
            fetch(conn, "insert into plain values (2, 2)")
        with pool.connection() as innocent:
            assert innocent is not conn
            assert fetch(innocent, "select 5") == ((5,),)
            assert fetch(innocent, "select count(*) from plain") == ((1,),)


@pytest.mark.parametrize("last", ["start", "end", "prepare"])
@pytest.mark.parametrize("end", ["block", "block raises", "putconn"])
def test_a_transaction_in_two_phases_is_told_to_who_left_it_and_no_client_of_pymysql_meets_it(
    end: str, last: str, maria: dict[str, Any], other: Any
) -> None:
    name = f"left-{next(_numbers)}"

    def leave(conn: Any) -> None:
        for word in ("start", "end", "prepare"):
            fetch(conn, f"xa {word} '{name}'")
            if word == "start":
                fetch(conn, "insert into plain values (2, 2)")
            if word == last:
                break

    with mysql_pool(maria) as pool:
        if end == "putconn":
            conn = pool.getconn()
            leave(conn)
            pool.putconn(conn)
        else:
            error = pymysql.OperationalError if end == "block" else Give
            with pytest.raises(error), pool.connection() as conn:
                leave(conn)
                if end == "block raises":
                    raise Give
        with pool.connection() as innocent:
            assert innocent is not conn
            assert fetch(innocent, "select @@in_transaction") == ((0,),)
            fetch(innocent, "update plain set v = 1 where n = 1")
    if last == "prepare":
        fetch(other, f"xa rollback '{name}'")


@pytest.mark.parametrize("configure", [lambda conn: fetch(conn, "select v from plain"), lambda c: c.autocommit(0)])
def test_what_configure_and_reset_may_have_begun_is_ended(
    configure: Callable[[Any], object], maria: dict[str, Any], other: Any
) -> None:
    for options in ({"configure": configure}, {"reset": configure}):
        with mysql_pool(maria, **options) as pool:
            with pool.connection():
                pass
            with pool.connection() as conn:
                fetch(other, "update plain set v = v + 1 where n = 1")
                assert fetch(conn, "select v from plain") == fetch(other, "select v from plain")


# -- psycopg and psycopg2 -----------------------------------------------------------------------------------------


def two_phases(conn: Any) -> None:
    """Prepare a transaction, and leave it."""
    conn.tpc_begin(conn.xid(1, f"left-{next(_numbers)}", "behind"))
    conn.cursor().execute("select 1")
    conn.tpc_prepare()


@pytest.mark.parametrize("module", [psycopg, psycopg2])
@pytest.mark.parametrize("end", ["block", "block raises", "putconn"])
def test_a_prepared_transaction_is_told_to_who_left_it_and_nobody_else_meets_it(
    module: Any, end: str, postgres: Postgres
) -> None:
    with ConnectionPool[Any](postgres.conninfo, driver=module, min_size=1, max_size=1, open=True) as pool:
        if end == "putconn":
            conn = pool.getconn()
            two_phases(conn)
            pool.putconn(conn)
        else:
            error = module.ProgrammingError if end == "block" else Give
            with pytest.raises(error), pool.connection() as conn:
                two_phases(conn)
                if end == "block raises":
                    raise Give
        for _ in range(3):
            with pool.connection() as innocent:
                assert innocent is not conn
                innocent.cursor().execute("select 1")
    _rollback_prepared(postgres)


def test_in_asyncio_too_a_prepared_transaction_is_told_and_nobody_else_meets_it(postgres: Postgres) -> None:
    async def main() -> None:
        async with AsyncConnectionPool(postgres.conninfo, min_size=1, max_size=1, open=False) as pool:
            with pytest.raises(psycopg.ProgrammingError):
                async with pool.connection() as conn:
                    await conn.tpc_begin(conn.xid(1, f"left-{next(_numbers)}", "behind"))
                    await conn.execute("select 1")
                    await conn.tpc_prepare()
            for _ in range(3):
                async with pool.connection() as innocent:
                    assert innocent is not conn
                    await innocent.execute("select 1")

    run(main())
    _rollback_prepared(postgres)


def _rollback_prepared(postgres: Postgres) -> None:
    with psycopg.connect(postgres.conninfo, autocommit=True) as conn:
        for (name,) in conn.execute("select gid from pg_prepared_xacts").fetchall():
            conn.execute(f"rollback prepared '{name}'")


@pytest.mark.parametrize("end", ["block", "putconn"])
def test_a_connection_in_pipeline_mode_is_not_served(end: str, postgres: Postgres) -> None:
    with ConnectionPool[Any](postgres.conninfo, min_size=1, max_size=1, open=True) as pool:
        conn = pool.getconn()
        pipeline = conn.pipeline()
        if end == "putconn":
            pipeline.__enter__()
            pool.putconn(conn)
        else:
            pool.putconn(conn)
            with pool.connection() as again:
                assert again is conn
                pipeline.__enter__()
        with pool.connection() as innocent:
            assert innocent is not conn
            assert innocent.pgconn.pipeline_status == 0
            assert innocent.execute("select 1").fetchone() == (1,)


def test_in_asyncio_too_a_connection_in_pipeline_mode_is_not_served(postgres: Postgres) -> None:
    async def main() -> None:
        async with AsyncConnectionPool(postgres.conninfo, min_size=1, max_size=1, open=False) as pool:
            conn = await pool.getconn()
            await conn.pipeline().__aenter__()
            await pool.putconn(conn)
            async with pool.connection() as innocent:
                assert innocent is not conn
                assert innocent.pgconn.pipeline_status == 0

    run(main())


def test_a_commit_by_hand_does_not_leave_psycopg2_without_a_transaction(postgres: Postgres, table: str) -> None:
    """psycopg2 would begin none for the next client, whose failed block could then not be undone."""
    with ConnectionPool[Any](postgres.conninfo, driver=psycopg2, min_size=1, max_size=1, open=True) as pool:
        with pool.connection() as conn:
            conn.cursor().execute("select 1; commit")
        with pytest.raises(Give), pool.connection() as innocent:
            assert innocent is conn
            innocent.cursor().execute(f"insert into {table} values (1)")
            raise Give
    assert rows(postgres, table) == 0


@pytest.mark.parametrize("module", [psycopg, psycopg2])
def test_a_copy_that_was_left_is_not_the_next_clients(
    module: Any, postgres: Postgres, table: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(psycopg_driver, "RETURN_LIMIT", 0.05)
    with ConnectionPool[Any](postgres.conninfo, driver=module, min_size=1, max_size=1, open=True) as pool:
        error = Give if module is psycopg else psycopg2.errors.QueryCanceled
        with pytest.raises(error), pool.connection() as conn:
            if module is psycopg:
                copying = conn.cursor().copy(f"copy {table} from stdin")
                copying.__enter__().write("1\n")
                raise Give
            conn.cursor().copy_expert(f"copy {table} from stdin", _Broken())
        with pool.connection() as innocent:
            innocent.cursor().execute("select 1")
    assert rows(postgres, table) == 0


def test_a_block_that_ends_in_the_middle_of_a_stream_is_told_and_does_not_wait_for_ever(
    postgres: Postgres, table: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """psycopg's lock is held by the generator, in the same thread."""
    monkeypatch.setattr(psycopg_driver, "RETURN_LIMIT", 0.05)
    with ConnectionPool[Any](postgres.conninfo, min_size=1, max_size=1, open=True) as pool:
        with pytest.raises(psycopg.OperationalError, match="stream"), pool.connection() as conn:
            conn.execute(f"insert into {table} values (1)")
            stream = conn.cursor().stream("select generate_series(1, 3)")
            assert next(stream) == (1,)
        with pool.connection() as innocent:
            assert innocent is not conn
        del stream
    assert rows(postgres, table) == 0


@pytest.mark.parametrize("end", ["break", "raise"])
def test_in_asyncio_a_stream_that_was_left_is_waited_for(end: str, postgres: Postgres, table: str) -> None:
    """The event loop ends a generator that was dropped, and psycopg then lets go of its lock."""

    async def main() -> None:
        async with AsyncConnectionPool(postgres.conninfo, min_size=1, max_size=1, open=False) as pool:
            with suppress(Give):
                async with pool.connection() as conn:
                    await conn.execute(f"insert into {table} values (1)")
                    async for _ in conn.cursor().stream("select generate_series(1, 3)"):
                        if end == "raise":
                            raise Give
                        break
            async with pool.connection() as again:
                assert again is conn

    run(main())
    assert rows(postgres, table) == (1 if end == "break" else 0)


class _Broken:
    """A file that gives one line and then fails."""

    def __init__(self) -> None:
        self._lines = iter(["1\n"])

    def read(self, _size: int = -1) -> str:
        for line in self._lines:
            return line
        raise Give


# -- Probes that an exception interrupts --------------------------------------------------------------------------


class Stop(BaseException):
    """Like KeyboardInterrupt: strikes anywhere."""


class Striking:
    """Raises `Stop` at one instruction of one function."""

    def __init__(self, codes: set[CodeType], at: int) -> None:
        self._codes, self._left = codes, at

    def __enter__(self) -> Self:
        sys.settrace(self._on_call)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(None)

    @property
    def has_struck(self) -> bool:
        return self._left <= 0

    def _on_call(self, frame: Any, event: str, _arg: Any) -> Any:
        if frame.f_code not in self._codes:
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        return self._on_opcode

    def _on_opcode(self, _frame: Any, event: str, _arg: Any) -> Any:
        if event == "opcode":
            self._left -= 1
            if self._left == 0:
                sys.settrace(None)
                raise Stop
        return self._on_opcode


PROBES: dict[str, tuple[Any, Any, set[CodeType]]] = {
    "check_connection": (
        ConnectionPool.check_connection,
        AsyncConnectionPool.check_connection,
        {
            psycopg_driver.PsycopgDriver.probe.__code__,
            psycopg_driver.AsyncPsycopgDriver.probe.__code__,
            psycopg_driver.asked.__code__,
            psycopg_driver.asked_async.__code__,
            psycopg_driver._asking.__code__,
        },
    ),
    "check_writable": (
        ConnectionPool.check_writable,
        AsyncConnectionPool.check_writable,
        {
            writable.check_writable.__code__,
            writable.check_writable_async.__code__,
            psycopg_driver.asked.__code__,
            psycopg_driver.asked_async.__code__,
            psycopg_driver._asking.__code__,
        },
    ),
}


@pytest.mark.parametrize("name", PROBES)
def test_an_exception_at_any_instruction_of_our_own_checks_leaves_a_clean_connection(
    name: str, postgres: Postgres, table: str
) -> None:
    check, _, codes = PROBES[name]
    with ConnectionPool[Any](postgres.conninfo, min_size=1, max_size=1, check=check, open=True) as pool:
        pool.wait()
        for at in itertools.count(1):
            with Striking(codes, at) as striking:
                try:
                    conn = pool.getconn(timeout=10)
                except Stop:
                    pass
                else:
                    pool.putconn(conn)
            if not striking.has_struck:
                break
            with pytest.raises(Give), pool.connection(timeout=10) as innocent:
                assert not innocent.autocommit, at
                assert innocent.execute(f"insert into {table} values ({at}) returning n").fetchone() == (at,)
                raise Give
        assert at > 20, "the check has instructions"
    assert rows(postgres, table) == 0


@pytest.mark.parametrize("name", PROBES)
def test_a_task_that_is_cancelled_in_our_own_checks_leaves_a_clean_connection(
    name: str, postgres: Postgres, table: str
) -> None:
    _, check, _ = PROBES[name]

    async def main() -> None:
        options: dict[str, Any] = {"min_size": 1, "max_size": 1, "check": check, "open": False}
        async with AsyncConnectionPool(postgres.conninfo, **options) as pool:
            await pool.wait()
            for steps in range(20):
                task = asyncio.ensure_future(pool.getconn(timeout=10))
                for _ in range(steps):
                    await asyncio.sleep(0)
                if not task.cancel():
                    await pool.putconn(task.result())
                await asyncio.wait({task})
                with pytest.raises(Give):
                    async with pool.connection(timeout=10) as innocent:
                        assert not innocent.autocommit
                        await innocent.execute(f"insert into {table} values (1)")
                        raise Give

    run(main())
    assert rows(postgres, table) == 0


@pytest.mark.parametrize("autocommit", [False, True])
def test_our_own_checks_begin_no_transaction_and_change_no_mode(autocommit: bool, postgres: Postgres) -> None:
    with psycopg.connect(postgres.conninfo, autocommit=autocommit) as conn:
        for check in (ConnectionPool.check_connection, ConnectionPool.check_writable):
            check(conn)
            assert conn.pgconn.transaction_status == 0
            assert conn.autocommit is autocommit
        conn.close()
        for check in (ConnectionPool.check_connection, ConnectionPool.check_writable):
            with pytest.raises(psycopg.OperationalError):
                check(conn)


# -- asyncpg ------------------------------------------------------------------------------------------------------


def asyncpg_pool(postgres: Postgres, **options: Any) -> Any:
    return AsyncConnectionPool(postgres.url, driver=asyncpg, min_size=1, max_size=1, open=False, **options)


def test_a_begin_of_asyncpg_that_was_cancelled_is_not_in_force_for_the_next_client(
    postgres: Postgres, table: str
) -> None:
    rounds = 60

    async def main() -> None:
        async with asyncpg_pool(postgres) as pool:
            await pool.wait()

            async def client() -> None:
                async with pool.connection() as conn, conn.transaction():
                    await asyncio.sleep(3600)

            for number in range(rounds):
                task = asyncio.ensure_future(client())
                for _ in range(1 + number % 3):
                    await asyncio.sleep(0)
                task.cancel()
                await asyncio.wait({task})
                conn = await pool.getconn()
                assert not conn.is_in_transaction()
                await conn.execute(f"insert into {table} values ($1)", number)
                await pool.putconn(conn)
                # Nor does asyncpg believe that a transaction is open.
                async with pool.connection() as conn:
                    with pytest.raises(Give):
                        async with conn.transaction():
                            await conn.execute(f"insert into {table} values (-1)")
                            raise Give

    run(main())
    assert rows(postgres, table) == rounds


def test_a_query_of_asyncpg_that_goes_on_after_its_block_is_not_met_by_the_next_client(postgres: Postgres) -> None:
    async def main() -> None:
        async with asyncpg_pool(postgres) as pool:
            with pytest.raises(Give):
                async with pool.connection() as conn:
                    left = asyncio.ensure_future(conn.execute("select pg_sleep(60)"))
                    await asyncio.sleep(0)
                    assert pool._driver.status(conn) == ACTIVE
                    raise Give
            async with pool.connection(timeout=10) as innocent:
                assert innocent is not conn
                assert await innocent.fetchval("select 1") == 1
            with pytest.raises(asyncpg.QueryCanceledError):
                await left

            # A block that ends well is told that its work was not finished.
            with pytest.raises(asyncpg.InterfaceError, match="another operation is in progress"):
                async with pool.connection() as conn:
                    left = asyncio.ensure_future(conn.execute("select pg_sleep(60)"))
                    await asyncio.sleep(0)
            await asyncio.wait({left})

    run(main())


@pytest.mark.parametrize("way", ["time limit", "cancelled"])
def test_a_statement_of_asyncpg_that_its_client_gave_up_is_waited_for(
    way: str, postgres: Postgres, table: str
) -> None:
    async def main() -> None:
        async with asyncpg_pool(postgres) as pool:
            conn = await pool.getconn()
            if way == "time limit":
                with pytest.raises(TimeoutError):
                    await conn.execute("begin; select pg_sleep(60)", timeout=0.01)
            else:
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.01):
                        await conn.execute("begin; select pg_sleep(60)")
            assert pool._driver.status(conn) == UNSETTLED
            await pool.putconn(conn)
            async with pool.connection(timeout=10) as innocent:
                assert innocent is conn
                assert not innocent.is_in_transaction()
                await innocent.execute(f"insert into {table} values (1)")

    run(main())
    assert rows(postgres, table) == 1


def test_where_asyncpg_does_not_show_what_is_under_way_each_return_rolls_back(
    postgres: Postgres, table: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asyncpg_driver.gc, "get_referents", lambda *_: [])

    async def main() -> None:
        async with asyncpg_pool(postgres) as pool:
            async with pool.connection() as conn:
                assert pool._driver.status(conn) == UNTOLD
                await conn.execute(f"insert into {table} values (1)")
            async with pool.connection() as again:
                assert again is conn

    run(main())
    assert rows(postgres, table) == 1


# -- aiosqlite ----------------------------------------------------------------------------------------------------


def test_what_a_cancelled_client_of_aiosqlite_has_queued_is_committed_by_nobody(tmp_path: Path) -> None:
    path = tmp_path / "file.db"

    async def main() -> None:
        async with AsyncConnectionPool(str(path), driver=aiosqlite, min_size=1, max_size=1, open=False) as pool:
            async with pool.connection() as conn:
                await conn.execute("create table t (n integer)")
            for number in range(300):

                async def client() -> None:
                    async with pool.connection() as conn:
                        await conn.execute("insert into t values (1)")
                        await asyncio.sleep(3600)

                task = asyncio.ensure_future(client())
                for _ in range(number % 4):
                    await asyncio.sleep(0)
                task.cancel()
                await asyncio.wait({task})
                async with pool.connection() as reader:
                    assert not reader.in_transaction
                    await reader.execute_fetchall("select 1")

    run(main())
    with sqlite3.connect(path) as conn:
        assert conn.execute("select count(*) from t").fetchone() == (0,)
    conn.close()


def test_aiosqlite_is_not_idle_before_its_thread_has_done_all_that_was_asked(tmp_path: Path) -> None:
    import threading

    async def main() -> None:
        pool = AsyncConnectionPool(str(tmp_path / "f.db"), driver=aiosqlite, min_size=1, max_size=1, open=False)
        async with pool:
            async with pool.connection() as conn:
                go_on, has_begun = threading.Event(), threading.Event()

                def slow() -> int:
                    has_begun.set()
                    return int(go_on.wait(30))

                await conn.create_function("slow", 0, slow)
                assert pool._driver.status(conn) == IDLE
                task = asyncio.ensure_future(conn.execute_fetchall("select slow()"))
                await asyncio.to_thread(has_begun.wait, 30)
                assert pool._driver.status(conn) == UNSETTLED
                task.cancel()
                await asyncio.wait({task})
                assert pool._driver.status(conn) == UNSETTLED
                go_on.set()
            async with pool.connection() as again:
                assert again is conn
                assert pool._driver.status(conn) == IDLE

    run(main())


# -- Unread rows of SQLite ----------------------------------------------------------------------------------------


@pytest.fixture
def wal(tmp_path: Path) -> Iterator[tuple[str, Any]]:
    """A file in WAL mode with a table of three rows, and another connection to it."""
    path = str(tmp_path / "wal.db")
    other = sqlite3.connect(path, isolation_level=None, timeout=0)
    other.execute("pragma journal_mode = wal")
    other.execute("create table t (n integer)")
    other.execute("insert into t values (1), (2), (3)")
    yield path, other
    other.close()


COUNT = "select count(*) from t"


@pytest.mark.parametrize("end", ["block", "block raises", "putconn"])
def test_unread_rows_of_sqlite_leave_no_snapshot_to_the_next_client(wal: tuple[str, Any], end: str) -> None:
    path, other = wal
    kwargs = {"check_same_thread": False}
    with ConnectionPool[Any](path, driver=sqlite3, kwargs=kwargs, min_size=1, max_size=1, open=True) as pool:
        if end == "putconn":
            conn = pool.getconn()
            cursor = conn.execute("select n from t")
            cursor.fetchone()
            pool.putconn(conn)
        else:
            with suppress(Give), pool.connection() as conn:
                cursor = conn.execute("select n from t")
                cursor.fetchone()
                if end == "block raises":
                    raise Give
        with pool.connection() as innocent:
            assert innocent is conn
            other.execute("insert into t values (4)")
            assert innocent.execute(COUNT).fetchone() == (4,)
        with pytest.raises(sqlite3.ProgrammingError, match="closed cursor"):
            cursor.fetchone()
        # Nothing reads any more: the log can be emptied.
        assert other.execute("pragma wal_checkpoint(truncate)").fetchone()[0] == 0


def test_a_cursor_of_sqlite_that_was_read_to_its_end_is_left_alone(wal: tuple[str, Any]) -> None:
    path, _ = wal
    kwargs = {"check_same_thread": False}
    with ConnectionPool[Any](path, driver=sqlite3, kwargs=kwargs, min_size=1, max_size=1, open=True) as pool:
        with pool.connection() as conn:
            cursor = conn.execute("select n from t")
            assert len(cursor.fetchall()) == 3
        assert cursor.fetchone() is None
        assert pool._driver.status(conn) == IDLE


@pytest.mark.parametrize("keeps", [True, False])
def test_unread_rows_of_aiosqlite_leave_no_snapshot_to_the_next_client(wal: tuple[str, Any], keeps: bool) -> None:
    """If the client keeps no cursor, the connection's thread does, until it is asked for something else."""
    path, other = wal

    async def main() -> None:
        async with AsyncConnectionPool(path, driver=aiosqlite, min_size=1, max_size=1, open=False) as pool:
            async with pool.connection() as conn:
                cursor = await conn.execute("select n from t")
                if keeps:
                    await cursor.fetchone()
                else:
                    del cursor
            async with pool.connection() as innocent:
                assert innocent is conn
                other.execute("insert into t values (4)")
                assert await innocent.execute_fetchall(COUNT) == [(4,)]
            assert other.execute("pragma wal_checkpoint(truncate)").fetchone()[0] == 0
            if keeps:
                with pytest.raises(sqlite3.ProgrammingError, match="closed cursor"):
                    await cursor.fetchone()

    run(main())


def test_aiosqlite_is_idle_once_its_cursors_were_read_or_closed(wal: tuple[str, Any]) -> None:
    path, _ = wal

    async def main() -> None:
        async with AsyncConnectionPool(path, driver=aiosqlite, min_size=1, max_size=1, open=False) as pool:
            status = pool._driver.status
            async with pool.connection() as conn:
                cursor = await conn.execute("select n from t")
                assert status(conn) == UNSETTLED
                await cursor.fetchall()
                assert status(conn) == IDLE
                cursor = await conn.execute("select n from t")
                assert [row async for row in cursor] == [(1,), (2,), (3,)]
                assert status(conn) == IDLE
                async with conn.execute("select n from t") as cursor:
                    await cursor.fetchone()
                    assert status(conn) == UNSETTLED
                assert status(conn) == IDLE
                await conn.execute("create table u (n integer)")
                assert status(conn) == IDLE

    run(main())


# -- Sessions -----------------------------------------------------------------------------------------------------

#: What a client leaves in a session of PostgreSQL that no transaction takes back.
DIRT = (
    "set application_name = 'dirt'; set session authorization somebody; reset session authorization; "
    "create temporary table dirt (n int); select pg_advisory_lock(77); listen dirt; "
    "declare dirt cursor with hold for select 1"
)
CLEAN_SESSION = (
    "select current_setting('application_name') = '' and to_regclass('pg_temp.dirt') is null"
    " and not exists (select from pg_locks where locktype = 'advisory' and pid = pg_backend_pid())"
    " and not exists (select from pg_listening_channels())"
    " and not exists (select from pg_cursors where is_holdable)"
)


@pytest.mark.parametrize("module", [psycopg, psycopg2])
def test_reset_session_undoes_what_a_client_has_left_in_its_session(module: Any, postgres: Postgres) -> None:
    from poolhouse.pool.drivers.psycopg2 import Psycopg2Driver

    reset = {psycopg: psycopg_driver.PsycopgDriver, psycopg2: Psycopg2Driver}[module].reset_session
    with psycopg.connect(postgres.conninfo, autocommit=True) as conn:
        conn.execute("drop role if exists somebody")
        conn.execute("create role somebody")
    for one in (None, reset):
        options: dict[str, Any] = {"min_size": 1, "max_size": 1, "reset": one, "open": True}
        with ConnectionPool[Any](postgres.conninfo, driver=module, **options) as pool:
            with pool.connection() as conn:
                conn.cursor().execute(DIRT)
            with pool.connection() as again:
                assert again is conn
                assert not again.autocommit
                cursor = again.cursor()
                cursor.execute(CLEAN_SESSION)
                assert cursor.fetchone() == (one is reset,)


@pytest.mark.parametrize("module", [psycopg, asyncpg])
def test_in_asyncio_too_reset_session_undoes_what_a_client_has_left(module: Any, postgres: Postgres) -> None:
    reset: Any = {
        psycopg: psycopg_driver.AsyncPsycopgDriver.reset_session,
        asyncpg: asyncpg_driver.AsyncpgDriver.reset_session,
    }[module]
    conninfo = postgres.conninfo if module is psycopg else postgres.url
    dirt = "set application_name = 'dirt'; select pg_advisory_lock(77); listen dirt"

    async def main() -> None:
        for one in (None, reset):
            options: dict[str, Any] = {"min_size": 1, "max_size": 1, "reset": one, "open": False}
            async with AsyncConnectionPool(conninfo, driver=module, **options) as pool:
                async with pool.connection() as conn:
                    await conn.execute(dirt)
                async with pool.connection() as again:
                    assert again is conn
                    found = await again.execute(CLEAN_SESSION) if module is psycopg else again
                    is_clean = (
                        (await found.fetchone())[0] if module is psycopg else await again.fetchval(CLEAN_SESSION)
                    )
                    assert is_clean == (one is reset)

    run(main())


def test_reset_session_of_pymysql_begins_the_session_anew(maria: dict[str, Any]) -> None:
    from poolhouse.pool.drivers.pymysql import PymysqlDriver

    for one in (None, PymysqlDriver.reset_session):
        arguments = maria | {"charset": "utf8mb4", "sql_mode": "ANSI_QUOTES", "init_command": "set @mine = 1"}
        with mysql_pool(arguments, reset=one) as pool:
            with pool.connection() as conn:
                fetch(conn, "set @left = 7, sql_mode = '', names latin1")
                fetch(conn, "create temporary table dirt (n int)")
                fetch(conn, "select get_lock('dirt', 0)")
            with pool.connection() as again:
                assert again is conn
                held = fetch(
                    again, "select @left, @mine, @@sql_mode, @@character_set_client, is_used_lock('dirt')"
                )
                if one is None:
                    assert held == ((7, 1, "", "latin1", again.thread_id()),)
                else:
                    assert held == ((None, 1, "ANSI_QUOTES", "utf8mb4", None),)
                assert not again.get_autocommit()


# -- The drivers' protocol ----------------------------------------------------------------------------------------


def test_the_status_of_psycopg_is_what_the_pool_reads_by_itself(postgres: Postgres) -> None:
    """`Traits.has_pgconn`: in every state the two agree on what is idle."""
    with ConnectionPool[Any](postgres.conninfo, min_size=1, open=True) as pool, pool.connection() as conn:
        status = pool._driver.status

        def is_idle() -> bool:
            return not (conn.pgconn.transaction_status or conn._tpc or conn._pipeline)

        assert status(conn) == IDLE
        assert is_idle()
        conn.execute("select 1")
        assert (status(conn), is_idle()) == (IN_TRANSACTION, False)
        conn.rollback()
        with conn.pipeline():
            assert (status(conn), is_idle()) == (ACTIVE, False)
        assert (status(conn), is_idle()) == (IDLE, True)
        xid = conn.xid(1, f"seen-{next(_numbers)}", "")
        conn.tpc_begin(xid)
        conn.tpc_prepare()
        assert (status(conn), is_idle()) == (IN_TRANSACTION, False)
        conn.tpc_rollback()
        assert (status(conn), is_idle()) == (IDLE, True)
