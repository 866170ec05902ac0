"""A connection of psycopg's whose client waits for an answer while the pool closes it.

psycopg's generators keep libpq's pointer while they wait: whoever frees it meanwhile ends the process with a
segmentation fault, sooner or later, or has them wait for ever. So nobody frees it but who uses it last.
"""

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from poolhouse.pool import AsyncConnectionPool, ConnectionPool
from poolhouse.pool.drivers import driver_for
from stress.in_use import child
from support.postgres import Postgres
from support.waiting import wait_until

#: Each client gives its connection back while a task of its waits for an answer. The event loop tells the task
#: of the answer in the turn in which the pool closes the connection.
_ROUNDS = """
import asyncio, select, sys
from poolhouse.pool import AsyncConnectionPool

async def main():
    async with AsyncConnectionPool(sys.argv[1], min_size=1, max_size=1) as pool:
        for _ in range(10):
            conn = await pool.getconn(timeout=20)
            answer = asyncio.ensure_future(conn.execute("select repeat('x', 20000)"))
            await asyncio.sleep(0)
            select.select([conn.fileno()], [], [], 10)
            await asyncio.sleep(0)
            await pool.putconn(conn)
            await asyncio.gather(answer, return_exceptions=True)

asyncio.run(main())
print("alive")
"""


def test_tasks_that_wait_while_their_connection_is_closed_end_by_themselves(postgres: Postgres) -> None:
    command = [sys.executable, "-X", "faulthandler", "-c", _ROUNDS, postgres.conninfo]
    # glibc then overwrites what is freed: reading it is an end at once.
    environment = {**os.environ, "MALLOC_PERTURB_": "165"}
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment)
    assert ran.stdout == "alive\n", ran.stderr


@pytest.mark.parametrize("seed", [2, 104])
def test_random_clients_that_share_a_connection_outlive_its_return(seed: int, postgres: Postgres) -> None:
    child(postgres.conninfo, seed, rounds=20)


def test_libpqs_memory_is_left_to_a_task_that_uses_it(postgres: Postgres) -> None:
    async def main() -> None:
        driver = driver_for(psycopg, None, is_async=True)
        for close in (driver.close, _in_a_coroutine(driver.close_at_once)):
            conn = await psycopg.AsyncConnection.connect(postgres.conninfo)
            answer = asyncio.ensure_future(conn.execute("select pg_sleep(60)"))
            await asyncio.sleep(0.01)
            await close(conn)
            assert _is_open(conn)
            with pytest.raises(psycopg.OperationalError):
                await asyncio.wait_for(answer, 20)
            assert conn.closed

    asyncio.run(main())


def _is_open(conn: Any) -> bool:
    """Whether libpq's memory is still there."""
    return conn.pgconn.pgconn_ptr is not None


def _in_a_coroutine(close: Callable[[Any], object]) -> Any:
    async def closing(conn: Any) -> None:
        close(conn)

    return closing


def test_libpqs_memory_is_left_to_a_thread_that_uses_it(postgres: Postgres) -> None:
    driver = driver_for(psycopg, None, is_async=False)
    conn = psycopg.connect(postgres.conninfo)
    failures: list[BaseException] = []

    def client() -> None:
        try:
            conn.execute("select pg_sleep(60)")
        except psycopg.OperationalError as error:
            failures.append(error)

    thread = threading.Thread(target=client)
    thread.start()
    wait_until(conn.lock.locked)
    driver.close(conn)
    assert _is_open(conn)
    thread.join(20)
    assert not thread.is_alive()
    assert len(failures) == 1
    assert conn.closed


#: Its first row is longer than what the server sends at a time: a client that has begun waits for the rest of it.
_COPY = "copy (select repeat('x', 20000), null union all select null, pg_sleep(60)::text) to stdout"


def test_a_task_that_waits_for_a_copy_ends_when_its_connection_is_returned(postgres: Postgres) -> None:
    async def main() -> None:
        begun = asyncio.Event()

        async def copy_rows(conn: Any) -> None:
            async with conn.cursor().copy(_COPY) as copy:
                begun.set()
                async for _ in copy:
                    pass

        async with AsyncConnectionPool[Any](postgres.conninfo, min_size=1, max_size=1) as pool:
            conn = await pool.getconn(timeout=20)
            copying = asyncio.ensure_future(copy_rows(conn))
            await begun.wait()
            await pool.putconn(conn)
            async with pool.connection(timeout=20) as other:
                assert other is not conn
            with pytest.raises(psycopg.OperationalError):
                await asyncio.wait_for(copying, 20)

    asyncio.run(main())


def test_a_thread_that_waits_for_a_copy_ends_when_its_connection_is_returned(postgres: Postgres) -> None:
    begun = threading.Event()
    failures: list[BaseException] = []

    def copy_rows() -> None:
        try:
            with conn.cursor().copy(_COPY) as copy:
                begun.set()
                for _ in copy:
                    pass
        except psycopg.OperationalError as error:
            failures.append(error)

    with ConnectionPool[Any](postgres.conninfo, min_size=1, max_size=1) as pool:
        conn = pool.getconn(timeout=20)
        copying = threading.Thread(target=copy_rows, daemon=True)
        copying.start()
        assert begun.wait(20)
        pool.putconn(conn)
        with pool.connection(timeout=20) as other:
            assert other is not conn
        copying.join(20)
        assert not copying.is_alive()
    assert len(failures) == 1


def test_a_thread_that_begins_while_the_pool_closes_has_to_wait(postgres: Postgres) -> None:
    driver = driver_for(psycopg, None, is_async=False)
    conn = psycopg.connect(postgres.conninfo)
    libpqs: Any = conn.pgconn

    class Watched:
        """libpq's connection; it notes whether the lock is held when it is closed."""

        was_locked: bool | None = None

        def __getattr__(self, name: str) -> Any:
            return getattr(libpqs, name)

        def finish(self) -> None:
            self.was_locked = conn.lock.locked()
            libpqs.finish()

    watched: Any = Watched()
    conn.pgconn = watched
    driver.close(conn)
    assert watched.was_locked
    assert not conn.lock.locked()
    with pytest.raises(psycopg.OperationalError, match="the connection is closed"):
        conn.execute("select 1")


def test_a_close_of_the_users_own_may_ask_the_server(postgres: Postgres) -> None:
    class Polite(psycopg.Connection[Any]):
        """Says something at its end."""

        said: Any = None

        def close(self) -> None:
            if not self.closed:
                self.said = self.execute("select 'goodbye'").fetchone()
            super().close()

    conn = Polite.connect(postgres.conninfo)
    driver_for(psycopg, Polite, is_async=False).close(conn)
    assert conn.said == ("goodbye",)
    assert conn.closed


def test_a_stream_that_a_client_left_does_not_keep_the_server_s_session(postgres: Postgres) -> None:
    with ConnectionPool[Any](postgres.conninfo, min_size=1, max_size=1) as pool:
        conn = pool.getconn(timeout=20)
        pid = conn.info.backend_pid
        stream = conn.cursor().stream("select generate_series(1, 3)")
        next(stream)
        pool.putconn(conn)
        with pool.connection(timeout=20) as other:
            assert other.info.backend_pid != pid
            query = f"select count(*) from pg_stat_activity where pid = {pid}"
            wait_until(lambda: other.execute(query).fetchone() == (0,))
        stream.close()
