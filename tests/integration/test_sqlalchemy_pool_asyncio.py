"""`FairQueuePool` in asyncio, with SQLAlchemy's AsyncAdaptedQueuePool as the oracle of all but who is served."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from sqlalchemy import event, exc, text
from sqlalchemy.engine.default import DefaultDialect
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool
from sqlalchemy.util import await_only, greenlet_spawn

from poolhouse.pool.sqlalchemy import FairQueuePool
from support.asyncio_runs import run
from support.postgres import Postgres
from support.waiting import wait_until

DRIVERS = ["asyncpg"] if sqlalchemy.__version__ < "2" else ["asyncpg", "psycopg"]


class Connection:
    """A DB-API connection as SQLAlchemy adapts those of asyncio: it does nothing, and remembers its end."""

    def __init__(self) -> None:
        self.is_open = True

    def close(self) -> None:
        self.is_open = False

    terminate = close

    def commit(self) -> None:
        pass

    rollback = commit


class AsyncDialect(DefaultDialect):
    """What SQLAlchemy's asyncio pools look at."""

    is_async = True
    has_terminate = True

    def do_terminate(self, dbapi_connection: Any) -> None:
        dbapi_connection.terminate()


def fair(creator: Callable[[], Any] = Connection, **options: Any) -> FairQueuePool:
    return FairQueuePool(creator, dialect=AsyncDialect(), **{"pool_size": 1, "max_overflow": 0, **options})


async def queued(pool: FairQueuePool, count: int) -> None:
    """Let other tasks run until so many wait."""
    for _ in range(1000):
        if pool.waiting() == count:
            return
        await asyncio.sleep(0)
    raise AssertionError(f"{pool.waiting()} wait, not {count}")


# Over a server


@pytest.mark.parametrize("driver", DRIVERS)
def test_tasks_share_few_connections_of_a_real_server(driver: str, postgres: Postgres) -> None:
    """Some are cancelled while they wait."""

    async def main() -> None:
        url = postgres.url.replace("postgresql", f"postgresql+{driver}")
        engine = create_async_engine(url, poolclass=FairQueuePool, pool_size=2, max_overflow=1, pool_timeout=30)
        pool: Any = engine.pool
        served: list[int] = []
        is_serving = asyncio.Event()

        async def client(number: int) -> None:
            async with engine.connect() as conn:
                await conn.execute(text("select pg_sleep(0.005)"))
                served.append(number)
                is_serving.set()

        tasks = [asyncio.create_task(client(number)) for number in range(60)]
        await is_serving.wait()
        impatient = tasks[30::5]
        for task in impatient:
            task.cancel()
        await asyncio.wait(tasks)
        assert [task.cancelled() for task in tasks] == [task in impatient for task in tasks]
        assert sorted(served) == [number for number, task in enumerate(tasks) if task not in impatient]
        assert (pool.checkedout(), pool.waiting()) == (0, 0)
        async with engine.connect() as first, engine.connect() as second, engine.connect() as third:
            for conn in (first, second, third):
                assert await conn.scalar(text("select 1")) == 1
            with pytest.raises(exc.TimeoutError, match="3 in use"):
                pool._timeout = 0.01
                await engine.connect()
        await engine.dispose()

    asyncio.run(main())


# Events


EVENTS = ("first_connect", "connect", "checkout", "checkin", "reset", "invalidate", "soft_invalidate", "close")
EVENTS += ("detach", "close_detached")


async def events_of(
    kind: type[Any], scenario: Callable[[Any], Awaitable[None]], file: Path, **options: Any
) -> Any:
    """The pool's events, by name, during the scenario."""
    engine = create_async_engine(
        f"sqlite+aiosqlite:///{file}", poolclass=kind, pool_size=2, max_overflow=1, **options
    )
    heard: list[str] = []
    for name in EVENTS:
        parameters = {"close_detached": 1, "checkout": 3, "reset": 3, "invalidate": 3, "soft_invalidate": 3}
        arguments = ", ".join("abc"[: parameters.get(name, 2)])
        # SQLAlchemy looks at a listener's signature.
        listener = eval(f"lambda {arguments}: heard.append({name!r})", {"heard": heard})
        event.listen(engine.sync_engine, name, listener)
    await scenario(engine)
    await engine.dispose()
    return heard


async def plain(engine: Any) -> None:
    async with engine.connect() as conn:
        await conn.execute(text("select 1"))
    connections = [await engine.connect() for _ in range(3)]
    for conn in connections:
        await conn.close()


async def invalidating(engine: Any) -> None:
    conn = await engine.connect()
    await conn.execute(text("select 1"))
    await conn.invalidate()
    await conn.close()
    await plain(engine)


@pytest.mark.parametrize("scenario", [plain, invalidating])
@pytest.mark.parametrize("options", [{}, {"pool_pre_ping": True}, {"pool_recycle": 0}])
def test_sqlalchemys_events_fire_as_they_do_with_its_own_pool(
    scenario: Callable[[Any], Awaitable[None]], options: dict[str, Any], tmp_path: Path
) -> None:
    async def main() -> None:
        expected = await events_of(AsyncAdaptedQueuePool, scenario, tmp_path / "1.db", **options)
        assert "connect" in expected
        assert await events_of(FairQueuePool, scenario, tmp_path / "2.db", **options) == expected

    run(main())


# What fails, and what ends


def test_a_failed_connect_lets_the_next_task_try() -> None:
    async def main() -> None:
        failures = [OSError("the server is down")]
        may_connect = asyncio.Event()

        def connect() -> Connection:
            await_only(may_connect.wait())
            if failures:
                raise failures.pop()
            return Connection()

        pool = fair(connect)
        first = asyncio.create_task(greenlet_spawn(pool.connect))
        second = asyncio.create_task(greenlet_spawn(pool.connect))
        await queued(pool, 1)
        may_connect.set()
        with pytest.raises(OSError, match="the server is down"):
            await first
        await greenlet_spawn((await second).close)
        assert (pool.checkedin(), pool.checkedout()) == (1, 0)

    asyncio.run(main())


def test_a_task_that_is_cancelled_while_it_connects_lets_the_next_one_try() -> None:
    async def main() -> None:
        never, attempts = asyncio.Event(), []

        def connect() -> Connection:
            attempts.append(None)
            if len(attempts) == 1:
                await_only(never.wait())
            return Connection()

        pool = fair(connect)
        first = asyncio.create_task(greenlet_spawn(pool.connect))
        second = asyncio.create_task(greenlet_spawn(pool.connect))
        await queued(pool, 1)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        await greenlet_spawn((await second).close)
        assert (pool.checkedin(), pool.checkedout()) == (1, 0)
        counters = pool.meter.read(1, pool._core.gauges, pool._core.limits(), name="", kind="").counters
        assert (counters.connects, counters.connect_errors) == (1, 0)

    asyncio.run(main())


def test_a_disposed_pool_serves_the_tasks_that_wait_until_they_are_gone() -> None:
    async def main() -> None:
        pool = fair()
        held = await greenlet_spawn(pool.connect)
        connection, served = held.dbapi_connection, []

        async def client(number: int) -> None:
            conn = await greenlet_spawn(pool.connect)
            served.append((number, conn.dbapi_connection))
            await greenlet_spawn(conn.close)

        tasks = [asyncio.create_task(client(number)) for number in range(3)]
        await queued(pool, 3)
        await greenlet_spawn(pool.dispose)
        await greenlet_spawn(held.close)
        await asyncio.gather(*tasks)
        assert served == [(number, connection) for number in range(3)]
        assert not connection.is_open

    asyncio.run(main())


# More than one event loop


class Elsewhere:
    """A thread with an event loop of its own."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever)
        self._thread.start()

    def begin(self, function: Callable[[], Any]) -> Any:
        """Call it in a greenlet of that loop; a future for what it returns."""

        async def call() -> Any:
            return await greenlet_spawn(function)

        return asyncio.run_coroutine_threadsafe(call(), self.loop)

    def end(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(timeout=30)
        self.loop.close()


def test_what_comes_back_in_one_event_loop_wakes_who_waits_in_another() -> None:
    pool, here, there = fair(), Elsewhere(), Elsewhere()
    held = here.begin(pool.connect).result(timeout=30)
    waiting = there.begin(pool.connect)
    wait_until(lambda: pool.waiting() == 1)
    here.begin(held.close).result(timeout=30)
    got = waiting.result(timeout=30)
    assert (pool.checkedout(), pool.waiting()) == (1, 0)
    there.begin(got.close).result(timeout=30)
    here.end()
    there.end()


def test_who_waited_in_a_loop_that_has_ended_keeps_nobody_from_being_served() -> None:
    pool, here, there = fair(), Elsewhere(), Elsewhere()
    held = here.begin(pool.connect).result(timeout=30)
    waiting = there.begin(pool.connect)
    wait_until(lambda: pool.waiting() == 1)
    waiting.cancel()
    wait_until(lambda: pool.waiting() == 0)
    there.end()
    here.begin(held.close).result(timeout=30)
    here.begin(here.begin(pool.connect).result(timeout=30).close).result(timeout=30)
    assert (pool.checkedin(), pool.checkedout()) == (1, 0)
    here.end()


class Ended:
    """An event loop in which a task waits for a connection, and which goes on only to be closed.

    The task is kept, as by a test suite or a notebook: its end would give everything back.
    """

    def __init__(self, pool: FairQueuePool, count: int = 1) -> None:
        self.loop = asyncio.new_event_loop()
        self.kept: list[Any] = []

        async def main() -> None:
            waiting = pool.waiting()
            self.kept += [asyncio.create_task(greenlet_spawn(pool.connect)) for _ in range(count)]
            await queued(pool, waiting + count)

        self.loop.run_until_complete(main())

    def close(self) -> None:
        for task in self.kept:
            task._log_destroy_pending = False
        self.loop.close()


@pytest.mark.parametrize("count", [1, 500])
def test_a_loop_that_is_closed_while_tasks_wait_in_it_takes_no_connection_with_it(count: int) -> None:
    pool = fair()
    held = pool.connect()
    ended = Ended(pool, count)
    ended.close()
    held.close()
    assert (pool.checkedin(), pool.checkedout(), pool.waiting()) == (1, 0, 0)
    pool.connect().close()
    assert len(ended.kept) == count


def test_nor_does_one_that_is_closed_before_it_has_told_its_task_that_it_is_served() -> None:
    pool = fair()
    held = pool.connect()
    ended = Ended(pool)
    held.close()
    assert pool.checkedout() == 1
    ended.close()

    async def main() -> None:
        await greenlet_spawn((await greenlet_spawn(pool.connect)).close)

    asyncio.run(main())
    assert (pool.checkedin(), pool.checkedout(), pool.waiting()) == (1, 0, 0)


def test_who_waits_behind_a_task_whose_loop_is_closed_is_served() -> None:
    pool, there = fair(timeout=None), Elsewhere()
    held = pool.connect()
    ended = Ended(pool)
    behind = there.begin(pool.connect)
    wait_until(lambda: pool.waiting() == 2)
    held.close()
    ended.close()
    got = behind.result(timeout=30)
    there.begin(got.close).result(timeout=30)
    assert (pool.checkedin(), pool.checkedout(), pool.waiting()) == (1, 0, 0)
    there.end()


def test_threads_without_an_event_loop_wait_as_threads_do() -> None:
    """SQLAlchemy 1.4's ``async_fallback`` has each thread run a loop for each call, and none between them."""
    pool, served = fair(), []
    held = pool.connect()

    def client() -> None:
        conn = pool.connect()
        served.append(conn.dbapi_connection)
        conn.close()

    threads = [threading.Thread(target=client) for _ in range(3)]
    for thread in threads:
        thread.start()
    wait_until(lambda: pool.waiting() == 3)
    connection = held.dbapi_connection
    held.close()
    for thread in threads:
        thread.join(timeout=30)
    assert served == [connection] * 3
    held = pool.connect()
    pool._timeout = 0.01
    with pytest.raises(exc.TimeoutError):
        pool.connect()
    held.close()
