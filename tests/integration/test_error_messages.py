"""The page of error messages: each message that can be had here is provoked, and found on the page."""

import asyncio
import contextlib
import gc
import logging
import re
import socket
import sqlite3
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import psycopg
import psycopg_pool
import pymysql
import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.pool import QueuePool

from support.mariadb import MariaDB, mariadb_server
from support.pages import ROOT
from support.postgres import Postgres, postgres_server

PAGE = ROOT / "docs" / "howto" / "error-messages.md"


def headings() -> list[str]:
    return re.findall(r"^## (.*)$", PAGE.read_text(), re.MULTILINE)


def is_told(heading: str, message: str) -> bool:
    """Whether a heading is the message, less what stands before and behind it."""
    pattern = ".*".join(re.escape(part.strip()) for part in heading.split("…"))
    return re.search(pattern, " ".join(message.split())) is not None


@pytest.fixture(scope="module")
def small() -> Iterator[Postgres]:
    """A server for three sessions, of its own: the test uses them up."""
    with postgres_server(max_connections=3) as server:
        yield server


@pytest.fixture(scope="module")
def maria() -> Iterator[MariaDB]:
    with mariadb_server() as server:
        yield server


def told(error: BaseException) -> str:
    kind = type(error)
    return f"{kind.__module__.partition('._')[0]}.{kind.__qualname__}: {error}"


def raised(call: Callable[[], object]) -> str:
    with pytest.raises(Exception) as caught:
        call()
    return told(caught.value)


def assert_told(message: str, heading: str) -> None:
    (found,) = [each for each in headings() if each.startswith(heading)]
    assert is_told(found, message), message


def test_queue_pools_limit(tmp_path: Path) -> None:
    engine = create_engine(
        f"sqlite:///{tmp_path}/a.db", poolclass=QueuePool, pool_size=1, max_overflow=0, pool_timeout=0.01
    )
    with engine.connect():
        assert_told(raised(engine.connect), "QueuePool limit")
    engine.dispose()


def test_psycopg_pools_timeout(postgres: Postgres) -> None:
    with (
        psycopg_pool.ConnectionPool(postgres.conninfo, min_size=1, max_size=1, open=True) as pool,
        pool.connection(),
    ):
        assert_told(raised(lambda: pool.getconn(timeout=0.05)), "couldn't get a connection")


def test_a_full_postgresql(small: Postgres) -> None:
    with contextlib.ExitStack() as sessions:
        for _ in range(3):
            sessions.enter_context(psycopg.connect(small.conninfo))
        assert_told(raised(lambda: psycopg.connect(small.conninfo)), "FATAL: sorry")
        assert_told(raised(lambda: asyncio.run(asyncpg.connect(small.url))), "asyncpg")


def test_postgresqls_reserved_slots(postgres: Postgres) -> None:
    """The server of all tests has none; what it would say stands in its own catalogue of messages."""
    program = Path(f"/proc/{postgres._postmaster.pid}/exe").read_bytes()
    assert b"remaining connection slots are reserved for roles with the %s attribute" in program


def test_a_full_mysql(maria: MariaDB) -> None:
    connect: Any = lambda: pymysql.connect(  # noqa: E731  # Called many times below.
        host="127.0.0.1", port=maria.port, user=maria.user, database=maria.database
    )
    with contextlib.ExitStack() as sessions:
        first = sessions.enter_context(connect())
        with first.cursor() as cursor:
            cursor.execute("set global max_connections = 10")
        refused = raised(lambda: [sessions.enter_context(connect()) for _ in range(15)])
        assert_told(refused, "(1040")


def test_a_session_that_postgresql_has_ended(postgres: Postgres) -> None:
    with psycopg.connect(postgres.conninfo, autocommit=True) as other:
        victim = psycopg.connect(postgres.conninfo)
        other.execute("select pg_terminate_backend(%s)", [victim.info.backend_pid])
        message = raised(lambda: victim.execute("select 1"))
        victim.close()
    assert_told(message, "terminating connection")


def test_a_server_that_closes_the_connection() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        # One connection, or two: libpq may try again.
        closing = threading.Thread(target=_close_each, args=(server,), daemon=True)
        closing.start()
        message = raised(lambda: psycopg.connect(f"host=127.0.0.1 port={port} dbname=a user=a sslmode=disable"))
        server.shutdown(socket.SHUT_RDWR)
        closing.join()
    assert_told(message, "server closed the connection")


def _close_each(server: socket.socket) -> None:
    """Close each connection, until the server is shut down."""
    with contextlib.suppress(OSError):
        while True:
            server.accept()[0].close()


def test_a_session_that_mysql_has_ended(maria: MariaDB) -> None:
    conn = pymysql.connect(host="127.0.0.1", port=maria.port, user=maria.user, database=maria.database)
    conn._sock.shutdown(socket.SHUT_WR)  # type: ignore[attr-defined]  # As if the network had ended it.
    assert_told(raised(lambda: conn.cursor().execute("select 1")), "MySQL server has gone away")


def test_a_locked_sqlite(tmp_path: Path) -> None:
    with (
        contextlib.closing(sqlite3.connect(tmp_path / "a.db", timeout=0.01)) as one,
        contextlib.closing(sqlite3.connect(tmp_path / "a.db", timeout=0.01)) as other,
    ):
        one.execute("begin immediate")
        assert_told(raised(lambda: other.execute("begin immediate")), "sqlite3.OperationalError")


def test_a_connection_that_was_forgotten_in_asyncio(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path}/a.db")
        conn = await engine.connect()
        (worker,) = set(threading.enumerate()) - before
        del conn
        gc.collect()
        await engine.dispose()
        # The thread of the driver answers into this loop, after SQLAlchemy has ceased to wait for it.
        await asyncio.to_thread(worker.join)

    before = set(threading.enumerate())
    with caplog.at_level(logging.ERROR), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        asyncio.run(main())
    assert any(
        is_told("The garbage collector is trying to clean up non-checked-in connection …", line)
        for line in caplog.messages
    )


def test_one_session_in_two_tasks(postgres: Postgres) -> None:
    async def main() -> list[Any]:
        engine = create_async_engine(postgres.url.replace("postgresql", "postgresql+asyncpg"))
        async with AsyncSession(engine) as session:
            both = [session.execute(text("select pg_sleep(0.05)")) for _ in range(2)]
            results = await asyncio.gather(*both, return_exceptions=True)
        await engine.dispose()
        return list(results)

    message = " ".join(told(each) for each in asyncio.run(main()) if isinstance(each, BaseException))
    assert_told(message, "This session is provisioning")


def test_a_connection_of_sqlite_in_another_thread(tmp_path: Path) -> None:
    with contextlib.closing(sqlite3.connect(tmp_path / "a.db")) as conn:
        message = asyncio.run(asyncio.to_thread(lambda: raised(lambda: conn.execute("select 1"))))
    assert_told(message, "sqlite3.ProgrammingError")
