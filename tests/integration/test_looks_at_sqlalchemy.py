"""What looks find of real engines of SQLAlchemy on SQLite, in threads and in asyncio."""

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session

from poolhouse.instrumentation.watch import PoolWatch, _watches, watch
from poolhouse.meter.signs import Looks
from poolhouse.sites.looker import Looker
from support.waiting import wait_until

BUSY, IDLE, ASKS, ENDED = Looks(busy=1), Looks(idle=1), Looks(asks=1), Looks(ended=1)


class Stream:
    def add(self, source: Any) -> None:
        """Nobody reports."""

    def expect(self, source: Any) -> None:
        """Nobody forks."""


def look(pool: Any) -> dict[str, tuple[Looks, str]]:
    """One look: by the function that holds, the states found, and the function at whose line holders are idle."""
    watched: PoolWatch = _watches[pool]
    for site in watched._table.sites():
        site.looks.__init__()  # type: ignore[misc]  # Only this look counts.
    Looker().look([(watched.looks, watched.holding())], 0.1)
    found = {}
    for site in watched._table.sites():
        if any(site.looks.looks):
            line = site.looks.idle_line
            found[site.words.rpartition(" ")[2].rpartition(".")[2]] = (
                site.looks.looks,
                "" if line is None else line[0].co_name,
            )
    return found


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Any]:
    engine = create_engine(f"sqlite:///{tmp_path}/shop.db", pool_size=2, max_overflow=0, pool_timeout=30)
    watch(engine, Stream())
    yield engine
    engine.dispose()


def test_a_statement_a_pause_and_a_connection_that_was_forgotten(engine: Any) -> None:
    begun, over = threading.Semaphore(0), threading.Event()

    def stands() -> int:
        begun.release()
        over.wait(30)
        return 1

    def runs_a_statement() -> None:
        with engine.connect() as conn:
            conn.connection.driver_connection.create_function("stands", 0, stands)
            conn.execute(text("SELECT stands()"))

    def pauses() -> None:
        with Session(engine) as session:
            session.execute(text("SELECT 1"))
            works_elsewhere()

    def works_elsewhere() -> None:
        stands()

    threads = [threading.Thread(target=each) for each in (runs_a_statement, pauses)]
    for thread in threads:
        thread.start()
    for _ in threads:
        assert begun.acquire(timeout=30)
    assert look(engine.pool) == {"runs_a_statement": (BUSY, ""), "pauses": (IDLE, "stands")}
    over.set()
    for thread in threads:
        thread.join()

    kept: list[Any] = []

    def forgets() -> None:
        kept.append(engine.connect())

    forgets()
    assert look(engine.pool) == {"forgets": (ENDED, "")}
    kept.pop().close()


def test_who_holds_one_and_asks_for_another(engine: Any) -> None:
    held = engine.connect()
    begun = threading.Event()

    def holds() -> None:
        with engine.connect():
            begun.set()
            asks()

    def asks() -> None:
        with engine.connect():
            pass

    thread = threading.Thread(target=holds)
    thread.start()
    assert begun.wait(30)
    wait_until(lambda: _watches[engine.pool]._waiting)
    assert look(engine.pool)["holds"] == (ASKS, "asks")
    held.close()
    thread.join()


def run_async(tmp_path: Path, scenario: Any) -> Any:
    async def main() -> Any:
        url = f"sqlite+aiosqlite:///{tmp_path}/shop.db"
        engine = create_async_engine(url, pool_size=5, max_overflow=0)
        watch(engine.sync_engine, Stream())
        try:
            return await scenario(engine)
        finally:
            await engine.dispose()

    return asyncio.run(main())


async def pauses(engine: Any, begun: asyncio.Event) -> None:
    async with AsyncSession(engine) as session:
        await session.execute(text("SELECT 1"))
        begun.set()
        await asyncio.sleep(3600)


async def pauses_within_run_sync(engine: Any, begun: asyncio.Event) -> None:
    def inner(conn: Any) -> None:
        from sqlalchemy.util import await_only

        conn.execute(text("SELECT 1"))
        begun.set()
        await_only(asyncio.sleep(3600))

    async with engine.connect() as conn:
        await conn.run_sync(inner)


async def begins_in_another_task(engine: Any, begun: asyncio.Event) -> None:
    async with AsyncSession(engine) as session:
        await asyncio.create_task(session.execute(text("SELECT 1")))
        begun.set()
        await asyncio.sleep(3600)


@pytest.mark.parametrize(
    ("goes", "expected"),
    [
        (pauses, {"pauses": (IDLE, "pauses")}),
        (pauses_within_run_sync, {"pauses_within_run_sync": (IDLE, "inner")}),
        # The statement ran in a task that the application has no line in: nothing is said of it.
        (begins_in_another_task, {}),
    ],
)
def test_tasks_that_hold_a_connection_and_wait_for_something_else(
    tmp_path: Path, goes: Any, expected: dict[str, Any]
) -> None:
    async def scenario(engine: Any) -> dict[str, Any]:
        begun = asyncio.Event()
        task = asyncio.create_task(goes(engine, begun))
        await begun.wait()
        await asyncio.sleep(0)
        found = look(engine.sync_engine.pool)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return found

    assert run_async(tmp_path, scenario) == expected


def test_a_synchronous_engine_in_a_coroutine(engine: Any) -> None:
    async def holds(begun: asyncio.Event) -> None:
        with Session(engine) as session:
            session.execute(text("SELECT 1"))
            begun.set()
            await asyncio.sleep(3600)

    async def main() -> dict[str, Any]:
        begun = asyncio.Event()
        task = asyncio.create_task(holds(begun))
        await begun.wait()
        await asyncio.sleep(0)
        found = look(engine.pool)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return found

    assert asyncio.run(main()) == {"holds": (IDLE, "holds")}
