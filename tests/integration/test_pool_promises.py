"""What the documentation of psycopg_pool promises its users, and what only a real server or process can show."""

import asyncio
import select
import signal
import threading
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import psycopg
import psycopg_pool
import pytest
import uvicorn
from uvicorn.lifespan.on import LifespanOn

import poolhouse
from poolhouse import AsyncConnectionPool, ConnectionPool, NullConnectionPool, PoolTimeout, TooManyRequests
from support.collectd import free_port
from support.pages import ROOT, under
from support.postgres import Postgres, postgres_server
from support.programs import run, start
from support.waiting import wait_until

#: Ours, and where it comes from.
BOTH = pytest.mark.parametrize("package", [poolhouse, psycopg_pool], ids=lambda package: package.__name__)


def backend(conn: psycopg.Connection[Any]) -> int:
    """The server's process that serves this connection."""
    return conn.info.backend_pid


def test_a_pool_is_closed_at_exit_where_the_program_says_so(postgres: Postgres) -> None:
    code = f"""
        import atexit
        from poolhouse import ConnectionPool

        pool = ConnectionPool({postgres.conninfo!r}, min_size=2, open=True)
        atexit.register(lambda: print(pool))
        atexit.register(pool.close)
        pool.wait()
    """
    assert "(closed): 0 used, 0 idle" in run(code)


def test_the_callbacks_of_a_web_server_open_and_close_a_pool(postgres: Postgres) -> None:
    pools: list[AsyncConnectionPool] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        pool = AsyncConnectionPool(postgres.conninfo, open=False, min_size=1)
        pools.append(pool)
        assert (await receive())["type"] == "lifespan.startup"
        await pool.open(wait=True)
        await send({"type": "lifespan.startup.complete"})
        assert (await receive())["type"] == "lifespan.shutdown"
        await pool.close()
        await send({"type": "lifespan.shutdown.complete"})

    async def serve() -> None:
        lifespan = LifespanOn(uvicorn.Config(app, lifespan="on"))
        await lifespan.startup()
        assert not lifespan.should_exit
        async with pools[0].connection() as conn:
            assert await (await conn.execute("SELECT 1")).fetchone() == (1,)
        await lifespan.shutdown()
        assert pools[0].closed

    asyncio.run(serve())


def test_pools_for_different_purposes_live_side_by_side(postgres: Postgres) -> None:
    def read_only(conn: psycopg.Connection[Any]) -> None:
        conn.read_only = True

    with (
        ConnectionPool(postgres.conninfo, min_size=1, configure=read_only) as readers,
        ConnectionPool(postgres.conninfo, min_size=1) as writers,
    ):
        with writers.connection() as conn:
            conn.execute("CREATE TEMPORARY TABLE basket (item text)")
        with readers.connection() as conn, pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            conn.execute("CREATE TABLE basket (item text)")


def test_a_program_may_start_before_its_server(tmp_path: Path) -> None:
    with postgres_server() as server:
        server.stop()
        began = time.monotonic()
        with ConnectionPool(server.conninfo, min_size=2, timeout=60.0) as pool:
            assert time.monotonic() - began < 5.0  # at once: nothing is waited for
            with pytest.raises(PoolTimeout, match="last connect error: OperationalError"):
                pool.getconn(timeout=0.1)
            server.start()
            with pool.connection() as conn:
                assert conn.execute("SELECT 1").fetchone() == (1,)
            wait_until(lambda: pool.get_stats()["pool_available"] == 2)


def test_reconnect_failed_may_end_the_program() -> None:
    (page,) = under(
        ROOT / "docs" / "howto" / "pool-from-psycopg-pool.md",
        "Ending the program when the database stays away",
        "python",
    )
    nowhere = f"host=127.0.0.1 port={free_port()}"
    code = page.replace("host=db.example dbname=shop", nowhere).replace("timeout=60, open=False", "timeout=0.2")
    program = start(f"{code}\npool.open()\nimport time; time.sleep(60)")
    program.communicate(timeout=60)
    assert program.returncode == -signal.SIGTERM


@BOTH
def test_a_reset_does_not_hold_up_who_gives_back(package: ModuleType, postgres: Postgres) -> None:
    threads: list[int] = []
    goes_on = threading.Event()

    def reset(conn: psycopg.Connection[Any]) -> None:
        goes_on.wait(30)
        threads.append(threading.get_ident())

    with package.ConnectionPool(postgres.conninfo, min_size=1, open=True, reset=reset) as pool:
        with pool.connection():
            pass
        assert threads == []  # given back, and not reset yet
        goes_on.set()
        with pool.connection():
            assert threads
            assert threading.get_ident() not in threads


@BOTH
def test_who_waits_gets_what_comes_back_though_a_new_connection_is_being_made(
    package: ModuleType, postgres: Postgres
) -> None:
    makes = threading.Event()
    connected: list[int] = []

    def configure(conn: psycopg.Connection[Any]) -> None:
        connected.append(backend(conn))
        if len(connected) > 1:
            makes.wait(60)

    with package.ConnectionPool(
        postgres.conninfo, min_size=1, max_size=2, open=True, configure=configure, timeout=60
    ) as pool:
        first = pool.getconn()
        served: list[Any] = []
        client = threading.Thread(target=lambda: served.append(pool.getconn()))
        client.start()
        wait_until(lambda: len(connected) == 2, what="the second connection to be under way")
        pool.putconn(first)
        client.join(60)
        assert served == [first]
        makes.set()
        pool.putconn(first)


@BOTH
def test_a_null_pool_configures_counts_and_limits_as_others_do(package: ModuleType, postgres: Postgres) -> None:
    configured: list[Any] = []
    with package.NullConnectionPool(
        postgres.conninfo, max_size=1, max_waiting=1, open=True, configure=configured.append
    ) as pool:
        held = pool.getconn()
        assert configured == [held]
        with pytest.raises(package.PoolTimeout):
            pool.getconn(timeout=0.05)
        client = threading.Thread(target=lambda: pool.putconn(pool.getconn(timeout=60)))
        # (psycopg_pool counts who has timed out until somebody is served.)
        pool.putconn(held)
        held = pool.getconn()
        client.start()
        wait_until(lambda: pool.get_stats()["requests_waiting"] == 1)
        with pytest.raises(package.TooManyRequests):
            pool.getconn()
        pool.putconn(held)
        client.join(60)
        assert not client.is_alive()


def test_a_null_pool_is_a_pool_so_that_a_setting_can_choose() -> None:
    assert issubclass(NullConnectionPool, ConnectionPool)
    assert issubclass(poolhouse.AsyncNullConnectionPool, AsyncConnectionPool)
    assert issubclass(TooManyRequests, poolhouse.PoolError)


def test_a_pool_sends_no_statement_that_its_clients_did_not_send(postgres: Any, tmp_path: Path) -> None:
    """libpq writes down whatever it sends."""
    with (tmp_path / "trace").open("w+") as trace:

        def configure(conn: psycopg.Connection[Any]) -> None:
            conn.pgconn.trace(trace.fileno())

        options: dict[str, Any] = {"min_size": 1, "max_size": 1, "kwargs": {"autocommit": True}}
        with ConnectionPool(postgres.conninfo, configure=configure, **options) as pool:
            for _ in range(3):
                with pool.connection() as conn:
                    conn.execute("SELECT 1")
            conn.pgconn.untrace()
        trace.seek(0)
        sent = [line.split("\t")[1:] for line in trace if line.split("\t")[1] == "F"]
    assert [(message, text.strip()) for _, _, message, text in sent] == [("Query", '"SELECT 1"')] * 3


@BOTH
def test_a_thread_that_watches_one_connection_keeps_the_others_from_being_served_broken(
    package: ModuleType, postgres: Postgres
) -> None:
    """The recipe: reserve a connection, wait for anything to happen on it, then have the pool checked."""
    with package.ConnectionPool(postgres.conninfo, min_size=4, open=True) as pool:
        pool.wait()
        noticed = threading.Event()
        watched = pool.getconn()

        def watch() -> None:
            select.select([watched.fileno()], [], [], 60)
            with pytest.raises(psycopg.OperationalError):
                watched.execute("SELECT 1")
            pool.check()
            noticed.set()

        thread = threading.Thread(target=watch)
        thread.start()
        with psycopg.connect(postgres.conninfo, autocommit=True) as administrator:
            mine = [administrator.info.backend_pid, backend(watched)]
            others = "FROM pg_stat_activity WHERE backend_type = 'client backend' AND NOT pid = ANY(%s)"
            administrator.execute(f"SELECT pg_terminate_backend(pid) {others}", [mine])
            wait_until(lambda: administrator.execute(f"SELECT count(*) {others}", [mine]).fetchone() == (0,))
            administrator.execute("SELECT pg_terminate_backend(%s)", [backend(watched)])
        assert noticed.wait(60)
        thread.join()
        # (Ours asks the last ones in the background, as soon as one is found dead.)
        wait_until(lambda: pool.get_stats().get("connections_lost") == 3)
        pool.putconn(watched)
        for _ in range(8):
            with pool.connection() as conn:
                assert conn.execute("SELECT 1").fetchone() == (1,)


@BOTH
def test_each_figure_means_what_is_documented(package: ModuleType, postgres: Postgres) -> None:
    with package.ConnectionPool(postgres.conninfo, min_size=2, max_size=3, open=True, max_waiting=1) as pool:
        pool.wait()
        stats = pool.get_stats()
        assert (stats["pool_min"], stats["pool_max"]) == (2, 3)
        assert (stats["pool_size"], stats["pool_available"], stats["connections_num"]) == (2, 2, 2)
        assert stats["connections_ms"] > 0
        never = ("requests_queued", "requests_wait_ms", "requests_errors", "returns_bad", "connections_lost")
        assert [stats.get(key, 0) for key in (*never, "connections_errors", "requests_num")] == [0] * 7

        with pool.connection():
            time.sleep(0.03)  # so that the use lasts
        held = [pool.getconn(), pool.getconn(), pool.getconn(timeout=60)]
        stats = pool.get_stats()
        assert (stats["pool_size"], stats["pool_available"], stats["connections_num"]) == (3, 0, 3)
        assert stats["requests_num"] == 4
        assert stats["requests_queued"] == 1
        assert stats["usage_ms"] >= 30

        client = threading.Thread(target=lambda: pool.putconn(pool.getconn(timeout=60)))
        client.start()
        wait_until(lambda: pool.get_stats()["requests_waiting"] == 1)
        with pytest.raises(package.TooManyRequests):
            pool.getconn()
        assert pool.get_stats()["requests_errors"] == 1
        pool.putconn(held[0])
        client.join(60)
        held[0] = pool.getconn()
        with pytest.raises(package.PoolTimeout):
            pool.getconn(timeout=0.05)
        stats = pool.get_stats()
        assert stats["requests_errors"] == 2
        assert stats["requests_wait_ms"] >= 50
        pool.putconn(held[0])
        held[1].close()
        pool.putconn(held[1])
        assert pool.get_stats()["returns_bad"] == 1
        pool.putconn(held[2])

        assert pool.pop_stats()["requests_num"] == 8
        stats = pool.get_stats()
        assert (stats["pool_min"], stats["pool_max"]) == (2, 3)
        counters = ("requests_num", "requests_errors", "usage_ms", "returns_bad", "requests_queued")
        assert [stats.get(key, 0) for key in counters] == [0] * 5


@BOTH
def test_what_is_lost_is_replaced_in_a_pool_that_has_grown_too(package: ModuleType, postgres: Postgres) -> None:
    with package.ConnectionPool(postgres.conninfo, min_size=2, max_size=3, open=True) as pool:
        held = [pool.getconn(timeout=60) for _ in range(3)]
        held[0].close()
        pool.putconn(held[0])
        wait_until(lambda: pool.get_stats()["pool_available"] == 1, timeout=10, what="a new connection")
        assert pool.get_stats()["pool_size"] == 3
        for conn in held[1:]:
            pool.putconn(conn)


@BOTH
def test_failed_attempts_to_connect_are_counted(package: ModuleType) -> None:
    nowhere = f"host=127.0.0.1 port={free_port()}"
    with package.ConnectionPool(nowhere, min_size=1, open=True) as pool:
        wait_until(lambda: pool.get_stats().get("connections_errors", 0) >= 1)
        stats = pool.get_stats()
        assert stats["connections_num"] >= stats["connections_errors"] >= 1
        assert stats.get("connections_ms", 0) == 0
