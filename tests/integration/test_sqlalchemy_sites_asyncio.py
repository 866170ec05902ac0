"""Which lines of the application hold SQLAlchemy's connections: the ways of asyncio, and of frameworks."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Annotated, Any, Self

import pytest
from fastapi import Depends, FastAPI
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession, async_scoped_session, create_async_engine
from sqlalchemy.orm import Session, sessionmaker
from sqlalchemy.pool import AsyncAdaptedQueuePool, NullPool, QueuePool

from poolhouse.instrumentation.watch import PoolWatch
from support.asyncio_runs import run
from support.sqlalchemy_truth import Measured

SELECT = text("select 1")
HERE = "integration/test_sqlalchemy_sites_asyncio.py"


def line_of(function: Callable[..., Any], offset: int) -> str:
    return f"{HERE}:{function.__code__.co_firstlineno + offset} in {function.__qualname__}"


def returned(m: Measured) -> dict[str, int]:
    signs = m.read().signs
    assert signs is not None
    return {site.site: site.returned for site in signs.sites}


async def connect(engine: Any) -> None:
    async with engine.connect() as connection:
        await connection.execute(SELECT)


async def begin(engine: Any) -> None:
    async with engine.begin() as connection:
        await connection.execute(SELECT)


async def session(engine: Any) -> None:
    async with AsyncSession(engine) as session:
        await session.execute(SELECT)
        await session.commit()


async def scoped(engine: Any) -> None:
    sessions: Any = async_scoped_session(sessionmaker(engine, class_=AsyncSession), asyncio.current_task)
    await sessions.execute(SELECT)
    await sessions.remove()


def inside(session: Session) -> None:
    session.execute(SELECT)


async def run_sync(engine: Any) -> None:
    async with AsyncSession(engine) as session:
        await session.run_sync(inside)


@contextlib.asynccontextmanager
async def scope(engine: Any) -> AsyncIterator[Any]:
    async with engine.connect() as connection:
        yield connection


async def helped(engine: Any) -> None:
    async with scope(engine) as connection:
        await connection.execute(SELECT)


class Unit:
    def __init__(self, engine: Any) -> None:
        self.engine = engine

    async def __aenter__(self) -> Self:
        self.connection = await self.engine.connect()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.connection.close()


async def unit_of_work(engine: Any) -> None:
    async with Unit(engine):
        pass


async def after_others(engine: Any) -> None:
    await asyncio.gather(connect(engine), connect(engine))


WAYS = [
    (connect, line_of(connect, 1)),
    (begin, line_of(begin, 1)),
    (session, line_of(session, 2)),
    (scoped, line_of(scoped, 2)),
    (run_sync, line_of(inside, 1)),
    (helped, f"{line_of(helped, 1)} via {line_of(scope.__wrapped__, 2)}"),  # type: ignore[attr-defined]
    (unit_of_work, f"{line_of(unit_of_work, 1)} via {line_of(Unit.__aenter__, 1)}"),
]


@pytest.mark.parametrize("pool", [AsyncAdaptedQueuePool, NullPool])
def test_each_way_is_told_by_the_applications_line_in_whatever_order(pool: Any) -> None:
    m = Measured(create_async_engine, "sqlite+aiosqlite://", poolclass=pool)

    async def main() -> None:
        for _ in range(3):
            for way, _words in WAYS:
                await way(m.engine)
            await after_others(m.engine)
        await m.engine.dispose()

    run(main())
    assert returned(m) == {words: 9 if way is connect else 3 for way, words in WAYS}


async def opened(engine: Any) -> Any:
    return await engine.connect()


async def opened_in_one_of_two_ways(engine: Any, way: Callable[[Any], Any]) -> None:
    connection = await way(engine)
    await connection.close()


def test_a_line_that_takes_connections_itself_is_not_told_of_those_that_a_function_takes_for_it() -> None:
    m = Measured(create_async_engine, "sqlite+aiosqlite://", poolclass=AsyncAdaptedQueuePool)

    async def main() -> None:
        for way in (lambda engine: engine.connect().start(), opened) * 3:
            await opened_in_one_of_two_ways(m.engine, way)
        await m.engine.dispose()

    run(main())
    assert returned(m) == {line_of(opened, 1): 3, line_of(opened_in_one_of_two_ways, 1): 3}


def test_the_holder_is_the_task() -> None:
    m = Measured(create_async_engine, "sqlite+aiosqlite://", poolclass=AsyncAdaptedQueuePool)

    async def main() -> None:
        async with m.engine.connect():
            (source,) = m.stream.sources
            assert isinstance(source, PoolWatch)
            (hold,) = source.holding().holds
            assert not isinstance(hold.holder, int)
            assert hold.holder is not None
            assert hold.holder() is asyncio.current_task()
            assert hold.loop is not None
            assert hold.loop() is asyncio.get_running_loop()
        await m.engine.dispose()

    run(main())


def test_a_synchronous_engine_in_a_coroutine_knows_the_loop() -> None:
    m = Measured(poolclass=QueuePool)

    async def main() -> None:
        with m.engine.connect():
            await asyncio.sleep(0)
            (source,) = m.stream.sources
            assert isinstance(source, PoolWatch)
            (hold,) = source.holding().holds
            assert isinstance(hold.holder, int)
            assert hold.loop is not None
            assert hold.loop() is asyncio.get_running_loop()

    run(main())
    m.engine.dispose()


async def answer(app: Any, path: str) -> bytes:
    """The body of the application's answer to a request."""
    told: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        told.append(message)

    scope = {"type": "http", "method": "GET", "path": path, "raw_path": path.encode(), "query_string": b""}
    await app({**scope, "headers": [], "http_version": "1.1", "scheme": "http", "root_path": ""}, receive, send)
    return b"".join(message.get("body", b"") for message in told)


def test_a_dependency_that_yields_a_connection_is_the_line_and_one_that_yields_a_session_is_not() -> None:
    m = Measured(poolclass=QueuePool)
    app = FastAPI()

    def connection() -> Iterator[Any]:
        with m.engine.connect() as connection:
            yield connection

    def session() -> Iterator[Session]:
        with Session(m.engine) as session:
            yield session

    @app.get("/core")
    def core(connection: Annotated[Any, Depends(connection)]) -> int:
        return int(connection.scalar(SELECT))

    @app.get("/orm")
    def orm(session: Annotated[Any, Depends(session)]) -> int:
        return int(session.scalar(SELECT))

    async def main() -> None:
        for path in ("/core", "/orm") * 3:
            assert await answer(app, path) == b"1"

    run(main())
    # The endpoint is on another stack than the dependency.
    assert returned(m) == {
        f"{HERE}:{connection.__code__.co_firstlineno + 1} in {connection.__qualname__}": 3,
        f"{HERE}:{orm.__code__.co_firstlineno + 2} in {orm.__qualname__}": 3,
    }
    m.engine.dispose()
