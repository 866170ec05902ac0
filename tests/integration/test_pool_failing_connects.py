"""What clients are told when connecting to PostgreSQL fails, is slow, or is refused for want of room."""

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from poolhouse.errors import PoolTimeout
from poolhouse.pool import AsyncConnectionPool, AsyncNullConnectionPool, ConnectionPool, NullConnectionPool
from support.postgres import Postgres, postgres_server
from support.waiting import wait_until

CEILING = 5.0
MAX_CONNECTIONS = 6


@pytest.fixture(scope="module")
def small() -> Iterator[Postgres]:
    """A server with room for few."""
    with postgres_server(max_connections=MAX_CONNECTIONS) as server:
        yield server


@pytest.fixture(scope="module")
def guarded(postgres: Postgres) -> str:
    """A conninfo that the server refuses: the password is wrong."""
    with psycopg.connect(postgres.conninfo, autocommit=True) as admin:
        admin.execute("create role locked login password 'right'")
    return f"{postgres.conninfo} user=locked password=wrong"


@pytest.fixture
def silent() -> Iterator[str]:
    """The conninfo of a server that accepts connections and says nothing, ever."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"host=127.0.0.1 port={listener.getsockname()[1]} user=postgres sslmode=disable gssencmode=disable"


def nobody(_: str) -> str:
    """A host name that does not exist, by the rule of RFC 2606."""
    return "host=nobody.invalid user=postgres"


async def _open_and_wait(conninfo: str) -> None:
    pool = AsyncConnectionPool(conninfo, min_size=1, open=False)
    await pool.open(wait=True, timeout=1)


def _threads(conninfo: str) -> None:
    ConnectionPool(conninfo, min_size=1, open=False).open(wait=True, timeout=1)


def _tasks(conninfo: str) -> None:
    asyncio.run(_open_and_wait(conninfo))


@pytest.mark.parametrize("open_and_wait", [_threads, _tasks])
@pytest.mark.parametrize(
    ("conninfo", "words"),
    [
        (str, 'password authentication failed for user "locked"'),
        (nobody, "Name or service not known"),
        (lambda _: "host=127.0.0.1 port=1 user=postgres", "Connection refused"),
    ],
    ids=["a wrong password", "an unknown host", "nobody listens"],
)
def test_opening_with_wait_tells_why_it_cannot_connect(
    open_and_wait: Callable[[str], None], conninfo: Callable[[str], str], words: str, guarded: str
) -> None:
    """psycopg#556, psycopg#1026: there, the reason is in the log only."""
    with pytest.raises(PoolTimeout) as caught:
        open_and_wait(conninfo(guarded))
    assert isinstance(caught.value.__cause__, psycopg.OperationalError)
    assert words in str(caught.value.__cause__)
    assert words in str(caught.value)


def test_a_clients_timeout_tells_why_the_pool_cannot_connect(guarded: str) -> None:
    """Trap 58. psycopg#218: whether the queue was long or connecting failed is in the error."""
    with ConnectionPool(guarded, min_size=1, open=True) as pool:
        with pytest.raises(PoolTimeout) as caught:
            pool.getconn(timeout=1)
        assert "password authentication failed" in str(caught.value)
        assert isinstance(caught.value.connect_error, psycopg.OperationalError)
        assert (caught.value.in_use, caught.value.holders) == (0, ())


def test_a_clients_timeout_tells_who_has_the_connections(postgres: Postgres) -> None:
    """Trap 58. psycopg#218."""
    with ConnectionPool(postgres.conninfo, min_size=1, open=True) as pool, pool.connection():
        with pytest.raises(PoolTimeout) as caught:
            pool.getconn(timeout=0.05)
        assert caught.value.connect_error is None
        assert [holder.connections for holder in caught.value.holders] == [1]
        assert "test_a_clients_timeout_tells_who_has_the_connections" in str(caught.value)


def test_a_password_that_is_corrected_is_used_without_a_new_pool(guarded: str) -> None:
    """psycopg#1042, psycopg#851: tokens that expire; conninfo and kwargs may be functions."""
    secrets = iter(["wrong", "right"])
    used: list[str] = []

    def kwargs() -> dict[str, Any]:
        used.append(next(secrets, "right"))
        return {"password": used[-1]}

    with ConnectionPool(lambda: guarded, kwargs=kwargs, min_size=1, open=True) as pool, pool.connection() as conn:
        assert conn.info.user == "locked"
    assert used[:2] == ["wrong", "right"]


#: libpq's `connect_timeout` counts in whole seconds, from two on: less than that is the pool's own doing.
TIMEOUT, SOONER_THAN_LIBPQ = 0.5, 1.9


@pytest.mark.parametrize("pool_class", [ConnectionPool, NullConnectionPool])
def test_a_server_that_accepts_and_says_nothing_costs_no_more_than_the_timeout(
    pool_class: Any, silent: str
) -> None:
    pool = pool_class(silent, min_size=0, max_size=1, open=True)
    for _ in range(2):
        began = time.monotonic()
        with pytest.raises(PoolTimeout, match="1 connecting"):
            pool.getconn(timeout=TIMEOUT)
        assert TIMEOUT <= time.monotonic() - began < SOONER_THAN_LIBPQ
    pool.close(timeout=0)


@pytest.mark.parametrize("pool_class", [ConnectionPool, NullConnectionPool])
def test_waiting_for_a_pool_of_a_server_that_says_nothing_ends_in_time(pool_class: Any, silent: str) -> None:
    sizes = {"max_size": 1} if pool_class is NullConnectionPool else {"min_size": 1}
    began = time.monotonic()
    with pytest.raises(PoolTimeout, match=f"incomplete after {TIMEOUT} sec"):
        pool_class(silent, open=False, **sizes).open(wait=True, timeout=TIMEOUT)
    assert time.monotonic() - began < SOONER_THAN_LIBPQ


@pytest.mark.parametrize("pool_class", [AsyncConnectionPool, AsyncNullConnectionPool])
def test_a_task_too_is_not_kept_by_a_server_that_says_nothing(pool_class: Any, silent: str) -> None:
    async def main() -> None:
        pool = pool_class(silent, min_size=0, max_size=2, open=False)
        await pool.open()
        began = time.monotonic()
        with pytest.raises(PoolTimeout, match="1 connecting"):
            await pool.getconn(timeout=TIMEOUT)
        assert TIMEOUT <= time.monotonic() - began < SOONER_THAN_LIBPQ
        # Cancelled while it connects, or waits for one who does: told at once.
        waiting = asyncio.create_task(pool.getconn(timeout=30))
        await asyncio.sleep(0)
        began = time.monotonic()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert time.monotonic() - began < 0.5
        await pool.close(timeout=0)

    asyncio.run(main())


@pytest.mark.parametrize("pool_class", [AsyncConnectionPool, AsyncNullConnectionPool])
def test_a_task_that_waits_for_a_pool_of_a_server_that_says_nothing_is_told_in_time(
    pool_class: Any, silent: str
) -> None:
    sizes = {"max_size": 1} if pool_class is AsyncNullConnectionPool else {"min_size": 1}

    async def main() -> float:
        began = time.monotonic()
        with pytest.raises(PoolTimeout, match=f"incomplete after {TIMEOUT} sec"):
            await pool_class(silent, open=False, **sizes).open(wait=True, timeout=TIMEOUT)
        return time.monotonic() - began

    assert asyncio.run(main()) < SOONER_THAN_LIBPQ


def test_slow_connects_are_made_at_the_same_time(postgres: Postgres) -> None:
    """Trap 51: there, 3 clients wait for 3 connects one after the other."""
    kwargs = {"options": "-c post_auth_delay=1"}
    with ConnectionPool(
        postgres.conninfo, kwargs=kwargs, min_size=0, max_size=3, num_workers=3, open=True
    ) as pool:
        together = threading.Barrier(3, timeout=30)

        def client() -> None:
            with pool.connection():
                # Each has a connection of its own while the others have theirs.
                together.wait()

        began = time.monotonic()
        clients = [threading.Thread(target=client) for _ in range(3)]
        for thread in clients:
            thread.start()
        for thread in clients:
            thread.join(timeout=30)
        assert not together.broken
        assert time.monotonic() - began < 2.9


def test_slow_connects_of_tasks_are_made_at_the_same_time(postgres: Postgres) -> None:
    async def main() -> None:
        kwargs = {"options": "-c post_auth_delay=1"}
        async with AsyncConnectionPool(
            postgres.conninfo, kwargs=kwargs, min_size=0, max_size=3, num_workers=3, open=False
        ) as pool:
            together = asyncio.Barrier(3)

            async def client() -> None:
                async with pool.connection():
                    await together.wait()

            began = time.monotonic()
            await asyncio.wait_for(asyncio.gather(*(client() for _ in range(3))), 30)
            assert time.monotonic() - began < 2.9

    asyncio.run(main())


def test_tasks_are_served_with_what_there_is_where_the_server_has_no_room(small: Postgres) -> None:
    async def main() -> None:
        async with AsyncConnectionPool(
            small.conninfo, min_size=2, max_size=MAX_CONNECTIONS + 4, open=False
        ) as pool:
            await pool.wait()
            taken = [psycopg.connect(small.conninfo) for _ in range(MAX_CONNECTIONS - 2)]
            held = [await pool.getconn(), await pool.getconn()]
            with pytest.raises(PoolTimeout, match="too many clients already"):
                await pool.getconn(timeout=0.5)
            client = asyncio.create_task(pool.getconn(timeout=30))
            await asyncio.sleep(0)
            await pool.putconn(held[0])
            assert await client is held[0]
            for conn in taken:
                conn.close()
            held.append(await pool.getconn(timeout=30))
            for each in held:
                await pool.putconn(each)
            assert pool.get_stats()["pool_size"] <= pool.max_size

    asyncio.run(main())


def test_with_no_room_on_the_server_the_pool_serves_with_what_it_has(small: Postgres) -> None:
    """psycopg#438: it goes on, asks for no more than it may, and fills up later."""
    with ConnectionPool(small.conninfo, min_size=2, max_size=MAX_CONNECTIONS + 4, open=True) as pool:
        pool.wait()
        taken = [psycopg.connect(small.conninfo) for _ in range(MAX_CONNECTIONS - 2)]
        held = [pool.getconn(), pool.getconn()]
        with pytest.raises(PoolTimeout, match="too many clients already"):
            pool.getconn(timeout=0.5)
        waiting: list[Any] = []
        client = threading.Thread(target=lambda: waiting.append(pool.getconn(timeout=30)))
        client.start()
        wait_until(lambda: pool.get_stats().get("requests_waiting") == 1)
        pool.putconn(held.pop())
        client.join(timeout=30)
        assert waiting
        assert pool.get_stats()["pool_size"] <= pool.max_size
        for conn in taken:
            conn.close()
        # There is room now: the next client gets a connection of its own.
        third = pool.getconn(timeout=30)
        for conn in [*held, *waiting, third]:
            pool.putconn(conn)
