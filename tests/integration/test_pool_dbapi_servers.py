"""DB-API drivers over real servers that restart, and that do not answer."""

import time
from collections.abc import Iterator
from typing import Any

import psycopg2
import pymysql
import pytest

from poolhouse.errors import PoolTimeout
from poolhouse.pool import ConnectionPool
from poolhouse.pool.drivers.dbapi import DbapiDriver
from support.mariadb import MariaDB, mariadb_server
from support.postgres import Postgres, postgres_server

CEILING = 5.0


@pytest.fixture(scope="module")
def postgresql() -> Iterator[Postgres]:
    with postgres_server() as server:
        yield server


@pytest.fixture(scope="module")
def maria() -> Iterator[MariaDB]:
    with mariadb_server() as server:
        yield server


@pytest.fixture(params=["psycopg2", "pymysql"])
def server(request: pytest.FixtureRequest) -> Any:
    """A server that these tests stop, start and freeze."""
    return request.getfixturevalue({"psycopg2": "postgresql", "pymysql": "maria"}[request.param])


def pool_of(server: Any, **options: Any) -> ConnectionPool[Any]:
    if isinstance(server, Postgres):
        return ConnectionPool(server.conninfo, driver=psycopg2, open=True, **options)
    kwargs = {"host": "127.0.0.1", "port": server.port, "user": server.user, "database": server.database}
    return ConnectionPool(driver=pymysql, kwargs=kwargs, open=True, **options)


def probe_of(server: Any) -> Any:
    return DbapiDriver(psycopg2 if isinstance(server, Postgres) else pymysql).probe


def answer(conn: Any) -> object:
    with conn.cursor() as cursor:
        cursor.execute("select 1")
        return cursor.fetchone()


def test_after_a_restart_no_dead_connection_is_served(server: Any) -> None:
    with pool_of(server, min_size=4, check=probe_of(server)) as pool:
        pool.wait()
        server.stop()
        server.start()
        for _ in range(6):
            with pool.connection() as conn:
                assert answer(conn) == (1,)
        assert pool.get_stats()["connections_lost"] >= 1


def test_a_look_finds_what_the_server_has_closed(server: Any) -> None:
    with pool_of(server, min_size=2) as pool:
        pool.wait()
        server.stop()
        server.start()
        time.sleep(0.6)  # Not for anything to happen: nobody looks at what was idle for less.
        for _ in range(4):
            with pool.connection() as conn:
                assert answer(conn) == (1,)


def test_a_check_that_gets_no_answer_ends_at_the_deadline(server: Any) -> None:
    with pool_of(server, min_size=1, check=probe_of(server)) as pool:
        pool.wait()
        with server.frozen():
            began = time.monotonic()
            with pytest.raises(PoolTimeout):
                pool.getconn(timeout=1)
            assert 0.9 < time.monotonic() - began < CEILING
        with pool.connection() as conn:
            assert answer(conn) == (1,)


def test_a_returned_transaction_is_rolled_back_and_a_broken_connection_replaced(server: Any) -> None:
    with pool_of(server, min_size=1) as pool:
        conn = pool.getconn()
        with conn.cursor() as cursor:
            cursor.execute("create table left_open (a int)")
            conn.commit()
            cursor.execute("insert into left_open values (1)")
        pool.putconn(conn)
        with pool.connection() as again, again.cursor() as cursor:
            assert again is conn
            cursor.execute("select count(*) from left_open")
            assert cursor.fetchone() == (0,)
        broken = pool.getconn()
        broken.close()
        pool.putconn(broken)
        with pool.connection() as other:
            assert other is not broken
            assert answer(other) == (1,)
        assert pool.get_stats()["returns_bad"] == 1


def test_the_pools_errors_are_the_drivers_too(server: Any) -> None:
    module = psycopg2 if isinstance(server, Postgres) else pymysql
    with pool_of(server, min_size=1) as pool, pool.connection(), pytest.raises(module.OperationalError):
        pool.getconn(timeout=0.01)
