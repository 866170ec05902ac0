"""Who has the connections of `FairQueuePool`: the lines of the application, whichever way they took to it."""

import asyncio
import contextlib
import itertools
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, exc, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession, create_async_engine
from sqlalchemy.orm import Session, scoped_session, sessionmaker
from sqlalchemy.util import greenlet_spawn

from poolhouse.errors import PoolTimeout
from poolhouse.pool.sqlalchemy import FairQueuePool
from support.asyncio_runs import run
from support.waiting import wait_until

HERE = "integration/test_sqlalchemy_pool_holders.py"
QUERY = text("select 1")


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Any]:
    engine = create_engine(f"sqlite:///{tmp_path}/file.db", poolclass=FairQueuePool, pool_size=2, max_overflow=0)
    yield engine
    engine.dispose()


def functions(pool: Any) -> list[str]:
    """The names of the functions that have connections."""
    sites = [holder.site.split(" in ") for holder in pool.holders()]
    assert all(place.startswith(f"{HERE}:") for place, _ in sites), sites
    return [function.rpartition(".")[2] for _, function in sites]


# Each way to a connection, in a function of its own; a generator, which stops while it has one.


def engine_connect(engine: Any) -> Iterator[None]:
    with engine.connect():
        yield


def engine_begin(engine: Any) -> Iterator[None]:
    with engine.begin():
        yield


def raw_connection(engine: Any) -> Iterator[None]:
    with contextlib.closing(engine.raw_connection()):
        yield


def pool_connect(engine: Any) -> Iterator[None]:
    with contextlib.closing(engine.pool.connect()):
        yield


def session_execute(engine: Any) -> Iterator[None]:
    with Session(engine) as session:
        session.execute(QUERY)
        yield


def session_begin(engine: Any) -> Iterator[None]:
    with Session(engine) as session, session.begin():
        session.connection()
        yield


def scoped(engine: Any) -> Iterator[None]:
    sessions = scoped_session(sessionmaker(engine))
    sessions().execute(QUERY)
    yield
    sessions.remove()


WAYS = [engine_connect, engine_begin, raw_connection, pool_connect, session_execute, session_begin, scoped]


@pytest.mark.parametrize("plugins", [[], ["collectd"]], ids=["", "measured"])
@pytest.mark.parametrize("way", WAYS)
def test_each_way_to_a_connection_is_told_by_the_applications_line(
    way: Any, plugins: list[str], tmp_path: Path
) -> None:
    settings: dict[str, Any] = {"collectd_host": "127.0.0.1", "plugins": plugins} if plugins else {}
    engine: Any = create_engine(f"sqlite:///{tmp_path}/file.db", poolclass=FairQueuePool, **settings)
    # Twice: the first connects, the second takes what is idle.
    for _ in range(2):
        held = way(engine)
        next(held)
        assert functions(engine.pool) == [way.__name__]
        next(held, None)
        assert engine.pool.holders() == ()
    engine.dispose()


def test_ways_may_alternate(engine: Any) -> None:
    """What was found last is tried first, and must not be mistaken for what is asked for now."""
    for way, after in itertools.product(WAYS, WAYS):
        for each in (way, after, after):
            held = each(engine)
            next(held)
            assert functions(engine.pool) == [each.__name__]
            next(held, None)


def test_two_lines_of_one_function_are_told_apart(engine: Any) -> None:
    sites = set()
    for _ in range(2):
        with engine.connect():
            sites.add(engine.pool.holders()[0].site)
        with engine.connect():
            sites.add(engine.pool.holders()[0].site)
    assert len(sites) == 2


async def async_connect(engine: Any) -> Any:
    async with engine.connect():
        yield


async def async_begin(engine: Any) -> Any:
    async with engine.begin():
        yield


async def async_session(engine: Any) -> Any:
    async with AsyncSession(engine) as session:
        await session.execute(QUERY)
        yield


async def awaited(engine: Any) -> Any:
    conn: AsyncConnection = await engine.connect()
    yield
    await conn.close()


def synchronous(session: Any) -> None:
    session.execute(QUERY)


async def run_sync(engine: Any) -> Any:
    async with AsyncSession(engine) as session:
        await session.run_sync(synchronous)
        yield


@pytest.mark.parametrize("way", [async_connect, async_begin, async_session, awaited, run_sync])
def test_so_is_each_way_of_asyncio(way: Any, tmp_path: Path) -> None:
    async def main() -> None:
        engine: Any = create_async_engine(f"sqlite+aiosqlite:///{tmp_path}/file.db", poolclass=FairQueuePool)
        for _ in range(2):
            held = way(engine)
            await anext(held)
            assert functions(engine.pool) == ["synchronous" if way is run_sync else way.__name__]
            await anext(held, None)
            assert engine.pool.holders() == ()
        await engine.dispose()

    run(main())


def test_a_checkout_that_only_sqlalchemy_asked_for_is_sqlalchemys(tmp_path: Path) -> None:
    """No frame of the application is there; it is counted all the same."""

    async def main() -> None:
        engine: Any = create_async_engine(f"sqlite+aiosqlite:///{tmp_path}/file.db", poolclass=FairQueuePool)
        conn = await asyncio.create_task(greenlet_spawn(engine.sync_engine.pool.connect))
        (holder,) = engine.pool.holders()
        assert holder.connections == 1
        await greenlet_spawn(conn.close)
        await engine.dispose()

    run(main())


def test_holders_are_grouped_by_line_the_oldest_first(engine: Any) -> None:
    first = engine.connect()
    others = [engine.connect() for _ in range(1)]
    older, younger = engine.pool.holders()
    assert older.oldest_s >= younger.oldest_s
    line = int(older.site.partition(":")[2].partition(" ")[0])
    assert int(younger.site.partition(":")[2].partition(" ")[0]) == line + 1
    for conn in (first, *others):
        conn.close()
    both = [engine.connect() for _ in range(2)]
    (holder,) = engine.pool.holders()
    assert holder.connections == 2
    assert 0 < holder.oldest_s <= holder.total_s <= 2 * holder.oldest_s
    for conn in both:
        conn.close()


def test_who_waited_is_told_by_the_line_that_asked(engine: Any) -> None:
    held = [engine.connect() for _ in range(2)]
    is_over, has_it = threading.Event(), threading.Event()

    def patient() -> None:
        with engine.connect():
            has_it.set()
            assert is_over.wait(timeout=30)

    thread = threading.Thread(target=patient)
    thread.start()
    wait_until(lambda: engine.pool.waiting() == 1)
    for conn in held:
        conn.close()
    assert has_it.wait(timeout=30)
    assert functions(engine.pool) == ["patient"]
    is_over.set()
    thread.join(timeout=30)


def hold(engine: Any) -> Any:
    return engine.connect()


def test_a_timeout_names_who_has_the_connections_in_words_and_as_fields(tmp_path: Path) -> None:
    """Trap 58."""
    engine = create_engine(
        f"sqlite:///{tmp_path}/file.db", poolclass=FairQueuePool, pool_size=1, max_overflow=1, pool_timeout=0.01
    )
    held = [hold(engine), hold(engine)]
    with pytest.raises(exc.TimeoutError) as caught:
        engine.connect()
    assert isinstance(caught.value, PoolTimeout)
    error: Any = caught.value
    assert error.code == "3o7r"
    assert re.search(rf"; oldest held \d+\.\d s by {re.escape(HERE)}:", str(error))
    assert " in hold (2 connections)" in str(error)
    assert "https://sqlalche.me/e/" in str(error)
    assert 0.01 <= error.waited < 30
    assert (error.size, error.max_size, error.in_use, error.waiting) == (2, 2, 2, 0)
    assert [(holder.connections, holder.site.rpartition(" ")[2]) for holder in error.holders] == [(2, "hold")]
    assert error.connect_error is None
    for conn in held:
        conn.close()
    engine.dispose()


def test_a_tasks_timeout_names_who_has_the_connections(tmp_path: Path) -> None:
    async def main() -> None:
        engine: Any = create_async_engine(
            f"sqlite+aiosqlite:///{tmp_path}/file.db",
            poolclass=FairQueuePool,
            pool_size=1,
            max_overflow=0,
            pool_timeout=0.01,
        )
        async with engine.connect():
            with pytest.raises(exc.TimeoutError, match=r"oldest held 0\.\d s by .* \(1 connection\)") as caught:
                await engine.connect()
        error: Any = caught.value
        assert error.holders[0].site.endswith(".main")
        assert (error.in_use, error.max_size) == (1, 1)
        await engine.dispose()

    run(main())


def test_a_timeout_tells_what_connecting_failed_with(tmp_path: Path) -> None:
    """One connects and is not told yet whether it can; another's time is over."""
    failures = iter([OSError("the server is down")])
    is_trying, is_over = threading.Event(), threading.Event()

    class Connection:
        def close(self) -> None:
            pass

        rollback = commit = close

    def connect() -> Any:
        for failure in failures:
            raise failure
        is_trying.set()
        assert is_over.wait(timeout=30)
        return Connection()

    pool = FairQueuePool(connect, pool_size=1, max_overflow=0, timeout=0.01)
    with pytest.raises(OSError, match="the server is down"):
        pool.connect()
    thread = threading.Thread(target=lambda: pool.connect().close())
    thread.start()
    assert is_trying.wait(timeout=30)
    with pytest.raises(exc.TimeoutError) as caught:
        pool.connect()
    error: Any = caught.value
    assert "0 in use, 1 connecting, 0 waiting; last connect error: OSError: the server is down" in str(error)
    assert str(error.connect_error) == "the server is down"
    assert error.__cause__ is error.connect_error
    is_over.set()
    thread.join(timeout=30)


def test_a_checkout_keeps_no_frame_of_the_application_alive(engine: Any) -> None:
    """Only the code and the place in it: what the function had in its variables goes when it ends."""
    import weakref

    class Local:
        pass

    def function() -> "weakref.ref[Local]":
        local = Local()
        held.append(engine.connect())
        return weakref.ref(local)

    held: list[Any] = []
    assert function()() is None
    held.pop().close()
