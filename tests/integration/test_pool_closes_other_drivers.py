"""Connections of psycopg2, sqlite3, PyMySQL and asyncpg that the pool closes while another client uses them.

psycopg2 and PyMySQL wait for the end of what is under way; sqlite3 frees what the other thread reads next, and the
process ends with a segmentation fault.
"""

import asyncio
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import asyncpg
import psycopg2
import pymysql
import pytest

from poolhouse.pool import AsyncConnectionPool
from poolhouse.pool.drivers import driver_for
from poolhouse.pool.drivers.protocol import ACTIVE
from poolhouse.pool.drivers.sockets import cut
from support.mariadb import MariaDB
from support.postgres import Postgres
from support.programs import run
from support.waiting import wait_until

#: Far more than closing takes, and far less than the statements last.
CEILING = 20.0


def _closed_while(conn: Any, driver: Any, use: Callable[[], object], is_in_use: Callable[[], bool]) -> Exception:
    """What `use`, in a thread, ends with when the pool's driver closes the connection meanwhile."""
    failures: list[Exception] = []

    def client() -> None:
        try:
            use()
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=client), threading.Thread(target=driver.close, args=(conn,))]
    threads[0].start()
    wait_until(is_in_use)
    threads[1].start()
    for thread in threads:
        thread.join(CEILING)
        assert not thread.is_alive()
    [failure] = failures
    return failure


def test_psycopg2_does_not_wait_for_the_end_of_another_threads_command(postgres: Postgres) -> None:
    driver = driver_for(psycopg2, None, is_async=False)
    conn = psycopg2.connect(postgres.conninfo)

    def is_in_use() -> bool:
        return bool(driver.status(conn) == ACTIVE)

    failure = _closed_while(conn, driver, lambda: conn.cursor().execute("select pg_sleep(60)"), is_in_use)
    # An OperationalError, unless libpq has put the loss of the connection into a result, which has no SQLSTATE.
    assert isinstance(failure, psycopg2.DatabaseError)
    assert "server closed the connection unexpectedly" in str(failure)
    assert conn.closed


def test_a_greenlet_that_returns_what_another_uses_does_not_stop_the_thread(postgres: Postgres) -> None:
    printed = run(
        """
        from gevent import monkey
        monkey.patch_all()
        import logging
        import sys
        import gevent
        import psycopg2
        from gevent.socket import wait_read, wait_write
        from psycopg2 import extensions
        from poolhouse.pool import ConnectionPool

        def wait(conn):
            while (state := conn.poll()) != extensions.POLL_OK:
                (wait_read if state == extensions.POLL_READ else wait_write)(conn.fileno())

        logging.disable()  # The pool says of a connection that is returned in use that it closes it.
        extensions.set_wait_callback(wait)

        def use(conn):
            try:
                conn.cursor().execute("select pg_sleep(60)")
            except psycopg2.OperationalError:
                print("the other greenlet is told")

        with ConnectionPool(sys.argv[1], driver=psycopg2, min_size=1, max_size=1) as pool:
            conn = pool.getconn()
            other = gevent.spawn(use, conn)
            while conn.info.transaction_status != extensions.TRANSACTION_STATUS_ACTIVE:
                gevent.sleep(0)
            pool.putconn(conn)
            other.join(20)
            with pool.connection(timeout=20) as conn:
                cursor = conn.cursor()
                cursor.execute("select 1")
                print("the next client has", cursor.fetchone())
        """,
        postgres.conninfo,
    )
    assert printed.splitlines() == ["the other greenlet is told", "the next client has (1,)"]


def _maria(mariadb: MariaDB) -> Any:
    return pymysql.connect(
        host="127.0.0.1", port=mariadb.port, user=mariadb.user, database=mariadb.database, autocommit=True
    )


def test_pymysql_does_not_wait_for_the_end_of_another_threads_command(mariadb: MariaDB) -> None:
    driver, conn = driver_for(pymysql, None, is_async=False), _maria(mariadb)

    def is_in_use() -> bool:
        return bool(driver.status(conn) == ACTIVE)

    failure = _closed_while(conn, driver, lambda: conn.cursor().execute("select sleep(60)"), is_in_use)
    assert isinstance(failure, pymysql.err.Error)
    assert not conn.open


def test_a_rollback_takes_no_row_from_a_thread_that_reads(mariadb: MariaDB) -> None:
    """Rows of 1 MB, of which the server makes one a second after the first: the thread waits in the middle."""
    driver, conn = driver_for(pymysql, None, is_async=False), _maria(mariadb)
    query = "select repeat('x', 1000000), sleep(seq > 1) * 30 from seq_1_to_60"

    def is_in_use() -> bool:
        return bool(conn._result is None and conn._next_seq_id > 3 and driver.status(conn) == ACTIVE)

    def use() -> None:
        with pytest.raises(pymysql.err.Error):
            conn.cursor().execute(query)

    thread = threading.Thread(target=use)
    thread.start()
    wait_until(is_in_use)
    for end in (driver.rollback, driver.commit):
        with pytest.raises(pymysql.err.OperationalError):
            end(conn)
    driver.close(conn)
    thread.join(CEILING)
    assert not thread.is_alive()


def test_a_thread_that_reads_closes_pymysqls_file_itself(mariadb: MariaDB) -> None:
    """Closed under its hands, the file raises ValueError: its buffer has gone."""
    driver, conn = driver_for(pymysql, None, is_async=False), _maria(mariadb)
    file, readers, closers, is_over = conn._rfile, set(), set(), threading.Event()

    class Watched:
        """The connection's file; it notes which threads read and close it."""

        def read(self, size: int) -> bytes:
            readers.add(threading.get_ident())
            read: bytes = file.read(size)
            if not read:
                is_over.wait(CEILING)
            return read

        def close(self) -> None:
            closers.add(threading.get_ident())
            file.close()

    class Pool:
        """Closes the connection before the thread gets to know that it is cut."""

        @staticmethod
        def close(conn: Any) -> None:
            driver.close(conn)
            is_over.set()

    conn._rfile = Watched()

    def is_in_use() -> bool:
        return bool(sys.getrefcount(conn._rfile) > 2)

    failure = _closed_while(conn, Pool, lambda: conn.cursor().execute("select sleep(60)"), is_in_use)
    assert isinstance(failure, pymysql.err.Error)
    assert readers == closers
    assert not conn.open


def test_after_an_error_pymysql_has_nothing_under_way(mariadb: MariaDB) -> None:
    driver, conn = driver_for(pymysql, None, is_async=False), _maria(mariadb)
    with pytest.raises(pymysql.err.ProgrammingError):
        conn.cursor().execute("select nonsense from nowhere")
    driver.rollback(conn)
    driver.close(conn)


def test_sqlite3_is_not_closed_in_the_middle_of_a_statement(tmp_path: Path) -> None:
    """A function of the application's stands for another thread: it is called while a cursor is at work."""
    printed = run(
        """
        import sqlite3, sys
        from poolhouse.pool.drivers import driver_for

        driver = driver_for(sqlite3, None, is_async=False)
        conn = sqlite3.connect(sys.argv[1], isolation_level=None)
        conn.execute("create table t (a)")
        conn.create_function("closing", 0, lambda: driver.close(conn))
        try:
            conn.execute("insert into t select closing() from (select 1 union select 2)")
        except sqlite3.OperationalError as error:
            print(error)
        print(conn.execute("select count(*) from t").fetchone())
        driver.close(conn)
        try:
            conn.execute("select 1")
        except sqlite3.ProgrammingError as error:
            print(error)
        """,
        str(tmp_path / "file.db"),
    )
    assert printed.splitlines() == ["interrupted", "(0,)", "Cannot operate on a closed database."]


def test_a_number_that_means_another_connection_meanwhile_is_not_cut(postgres: Postgres) -> None:
    """The owner closes its connection, and another gets the number, between two steps of who cuts it."""
    owner, other = psycopg2.connect(postgres.conninfo), psycopg2.connect(postgres.conninfo)
    numbers = iter([other.fileno()])

    def fileno() -> int:
        number = next(numbers, None)
        return int(owner.fileno()) if number is None else number

    cut(fileno)
    for conn in (owner, other):
        conn.cursor().execute("select 1")
        conn.close()


def test_the_number_of_nothing_is_not_cut() -> None:
    cut(lambda: None)
    cut(lambda: -1)


def test_a_task_of_asyncpgs_that_waits_while_its_connection_is_returned_is_told(postgres: Postgres) -> None:
    async def main() -> None:
        async with (
            asyncio.timeout(CEILING),
            AsyncConnectionPool[Any](postgres.url, driver=asyncpg, min_size=1, max_size=1) as pool,
        ):
            conn = await pool.getconn()
            answer = asyncio.ensure_future(conn.execute("select pg_sleep(60)"))
            await asyncio.sleep(0)
            await pool.putconn(conn)
            with pytest.raises(asyncpg.QueryCanceledError):
                await answer
            async with pool.connection() as other:
                assert other is not conn
                assert await other.fetchval("select 1") == 1

    asyncio.run(main())
