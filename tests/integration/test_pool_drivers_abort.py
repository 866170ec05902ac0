"""`abort(conn)` of each driver: synchronous, never blocking, from any thread; a call that is stuck ends."""

import asyncio
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import aiosqlite
import asyncpg
import psycopg
import psycopg2
import pymysql
import pytest

from poolhouse.pool.drivers import driver_for
from poolhouse.pool.drivers.dbapi import DbapiDriver
from poolhouse.pool.drivers.protocol import BROKEN, IDLE, UNTOLD
from support.asyncio_runs import run
from support.mariadb import MariaDB
from support.postgres import Postgres

#: Far more than ending a call takes, and far less than the call itself would take.
CEILING = 10.0
ENDLESS = "with recursive n(i) as (select 1 union all select i + 1 from n) select count(*) from n"


class Trial(NamedTuple):
    """A driver, how to connect, and a statement that takes a minute or for ever."""

    driver: Any
    conninfo: str
    kwargs: dict[str, Any]
    stuck: str
    #: Whether a socket was cut, so that the connection is of no use any more.
    ends_connection: bool = True

    def connect(self) -> Any:
        return self.driver.connect(self.conninfo, self.kwargs, None)


class Unknown:
    """A DB-API module of which the pool knows nothing but PEP 249, and whose connections have `fileno`."""

    __name__ = "unknown"
    connect = staticmethod(psycopg2.connect)
    OperationalError = psycopg2.OperationalError


@pytest.fixture(params=["psycopg", "psycopg2", "unknown", "pymysql", "sqlite3"])
def trial(request: pytest.FixtureRequest, tmp_path: Path) -> Trial:
    """One driver for threads."""
    if request.param == "pymysql":
        server: MariaDB = request.getfixturevalue("mariadb")
        kwargs = {"host": "127.0.0.1", "port": server.port, "user": server.user, "database": server.database}
        return Trial(driver_for(pymysql, None, is_async=False), "", kwargs, "select sleep(60)")
    if request.param == "sqlite3":
        kwargs = {"check_same_thread": False}
        driver = driver_for(sqlite3, None, is_async=False)
        return Trial(driver, str(tmp_path / "file.db"), kwargs, ENDLESS, ends_connection=False)
    postgres: Postgres = request.getfixturevalue("postgres")
    if request.param == "unknown":
        driver = DbapiDriver(Unknown)
    else:
        driver = driver_for({"psycopg": psycopg, "psycopg2": psycopg2}[request.param], None, is_async=False)
    return Trial(driver, postgres.conninfo, {}, "select pg_sleep(60)")


@pytest.fixture(params=["psycopg", "asyncpg", "aiosqlite"])
def async_trial(request: pytest.FixtureRequest, tmp_path: Path) -> Trial:
    """One driver for asyncio."""
    if request.param == "aiosqlite":
        driver = driver_for(aiosqlite, None, is_async=True)
        return Trial(driver, str(tmp_path / "file.db"), {}, ENDLESS, ends_connection=False)
    postgres: Postgres = request.getfixturevalue("postgres")
    module = psycopg if request.param == "psycopg" else asyncpg
    conninfo = postgres.conninfo if module is psycopg else postgres.url
    return Trial(driver_for(module, None, is_async=True), conninfo, {}, "select pg_sleep(60)")


def took(function: Callable[[], object]) -> float:
    """For how long a call of `function` lasted, in seconds."""
    began = time.monotonic()
    function()
    return time.monotonic() - began


def execute(conn: Any, sql: str) -> object:
    cursor = conn.cursor()
    cursor.execute(sql)
    return cursor.fetchall()


def test_a_call_that_is_stuck_is_ended_from_another_thread(trial: Trial) -> None:
    conn = trial.connect()
    execute(conn, "select 1")
    begun = threading.Event()
    ended: list[tuple[float, BaseException]] = []

    def client() -> None:
        begun.set()
        try:
            execute(conn, trial.stuck)
        except Exception as error:
            ended.append((time.monotonic(), error))

    thread = threading.Thread(target=client)
    thread.start()
    assert begun.wait(timeout=30)
    began = time.monotonic()
    # It may not have sent its statement yet: sqlite3 interrupts only what runs.
    while not ended and time.monotonic() < began + CEILING:
        assert took(lambda: trial.driver.abort(conn)) < 1.0
        thread.join(timeout=0.05)
    thread.join(timeout=CEILING)
    assert len(ended) == 1, "the call went on"
    if trial.ends_connection:
        with pytest.raises(Exception):  # noqa: B017 - each driver has its own
            execute(conn, "select 1")
        assert trial.driver.status(conn) in (BROKEN, UNTOLD)
    else:
        conn.rollback()
        assert trial.driver.status(conn) == IDLE
        assert execute(conn, "select 1") == [(1,)]
    trial.driver.close(conn)


def test_aborting_what_is_idle_or_closed_raises_nothing_and_closing_it_goes_on(trial: Trial) -> None:
    conn = trial.connect()
    assert took(lambda: trial.driver.abort(conn)) < 1.0
    trial.driver.abort(conn)
    trial.driver.close(conn)
    trial.driver.abort(conn)
    trial.driver.close(conn)
    assert trial.driver.status(conn) in (BROKEN, UNTOLD)


def test_a_task_that_is_stuck_is_ended_from_another_thread_and_from_its_own(async_trial: Trial) -> None:
    async def query(conn: Any, sql: str) -> None:
        result = await conn.execute(sql)
        if hasattr(result, "fetchall"):
            await result.fetchall()

    async def main(elsewhere: bool) -> None:
        driver, conn = async_trial.driver, await async_trial.connect()
        await query(conn, "select 1")
        task = asyncio.create_task(query(conn, async_trial.stuck))
        durations: list[float] = []

        def abort() -> None:
            durations.append(took(lambda: driver.abort(conn)))

        deadline = time.monotonic() + CEILING
        while not task.done() and time.monotonic() < deadline:
            await asyncio.sleep(0.05)
            if elsewhere:
                thread = threading.Thread(target=abort)
                thread.start()
                thread.join()
            else:
                abort()
            await asyncio.wait([task], timeout=0.05)
        assert task.done(), "the call went on"
        assert isinstance(task.exception(), Exception)
        assert max(durations) < 1.0
        if async_trial.ends_connection:
            with pytest.raises(Exception):  # noqa: B017 - each driver has its own
                await query(conn, "select 1")
            assert driver.status(conn) == BROKEN
        else:
            await conn.rollback()
            await query(conn, "select 1")
        await driver.close(conn)
        driver.abort(conn)
        assert driver.status(conn) == BROKEN

    run(main(elsewhere=True))
    run(main(elsewhere=False))
