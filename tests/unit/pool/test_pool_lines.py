"""Which line holds a connection of ours: the application's, also where a library or a helper asks for it."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from types import ModuleType
from typing import Any, Self

import pytest

from poolhouse.instrumentation.own_sites import OwnSites
from poolhouse.pool import AsyncConnectionPool, ConnectionPool
from poolhouse.pool.threads import LockParker
from poolhouse.sites.tally import PoolLooks
from poolhouse.testing.driver import AsyncFakeDriver, FakeDriver

HERE = "pool/test_pool_lines.py"


def line_of(function: Callable[..., Any], offset: int) -> str:
    return f"{HERE}:{function.__code__.co_firstlineno + offset} in {function.__qualname__}"


def library(name: str, source: str) -> ModuleType:
    """A module as if it were installed."""
    module = ModuleType(name)
    file = f"/usr/lib/python3/site-packages/{name.replace('.', '/')}.py"
    exec(compile(source, file, "exec"), vars(module))
    return module


DJANGO = library("django.db.backends.postgresql.base", "def connect(pool):\n    return pool.getconn()")
FRAMEWORK = library(
    "framework", "def answer(endpoint, dependency):\n    with dependency() as it:\n        return endpoint(it)"
)


@pytest.fixture
def pool() -> Iterator[Any]:
    driver = FakeDriver(time.sleep, LockParker)
    with ConnectionPool("", driver=driver, min_size=1, max_size=2, open=True) as pool:
        pool.wait()
        yield pool


def held_by(pool: Any) -> list[str]:
    """What the pool itself says, and what it reports."""
    told = sorted(holder.site for holder in pool.holders())
    signs = OwnSites().signs(pool, PoolLooks(), "")
    assert sorted(site.site for site in signs.sites if site.open) == told
    return told


def direct(pool: Any) -> list[str]:
    with pool.connection():
        return held_by(pool)


def by_a_library(pool: Any) -> list[str]:
    connection = DJANGO.connect(pool)
    found = held_by(pool)
    pool.putconn(connection)
    return found


@contextmanager
def scope(pool: Any) -> Iterator[Any]:
    with pool.connection() as connection:
        yield connection


def helped(pool: Any) -> list[str]:
    with scope(pool):
        return held_by(pool)


class Unit:
    def __init__(self, pool: Any) -> None:
        self._pool = pool

    def __enter__(self) -> Self:
        self._connection = self._pool.getconn()
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.putconn(self._connection)


def unit_of_work(pool: Any) -> list[str]:
    with Unit(pool):
        return held_by(pool)


SCOPE = line_of(scope.__wrapped__, 2)  # type: ignore[attr-defined]
WAYS: list[tuple[Callable[[Any], list[str]], str]] = [
    (by_a_library, line_of(by_a_library, 1)),
    (helped, f"{line_of(helped, 1)} via {SCOPE}"),
    (unit_of_work, f"{line_of(unit_of_work, 1)} via {line_of(Unit.__enter__, 1)}"),
    (direct, line_of(direct, 1)),
]


@pytest.mark.parametrize("first", WAYS[:-1], ids=lambda way: way[0].__name__)
def test_the_line_is_the_applications_whoever_asks_for_it(pool: Any, first: Any) -> None:
    for way, line in (first, *WAYS * 3):
        assert way(pool) == [line]


def test_where_the_application_asks_itself_no_checkout_is_looked_at(pool: Any) -> None:
    for _ in range(3):
        assert direct(pool) == [line_of(direct, 1)]
    assert pool._core.attention == 0


def test_a_dependency_that_a_framework_runs_holds_its_connection_and_slows_nothing(pool: Any) -> None:
    for _ in range(3):
        told = FRAMEWORK.answer(lambda _: held_by(pool), lambda: scope(pool))
        assert told == [SCOPE]
    assert pool._core.attention == 0


def test_a_pool_whose_methods_are_overridden_finds_the_line_too(pool: Any) -> None:
    getconn = pool.getconn
    pool.getconn = lambda timeout=None: getconn(timeout)
    for _ in range(2):
        assert direct(pool) == [line_of(direct, 1)]
        assert helped(pool) == [f"{line_of(helped, 1)} via {SCOPE}"]


def test_in_asyncio_it_is_the_same() -> None:
    @asynccontextmanager
    async def scope(pool: Any) -> AsyncIterator[Any]:
        async with pool.connection() as connection:
            yield connection

    async def helped(pool: Any) -> list[str]:
        async with scope(pool):
            return held_by(pool)

    async def direct(pool: Any) -> list[str]:
        async with pool.connection():
            return held_by(pool)

    async def main() -> None:
        async with AsyncConnectionPool("", driver=AsyncFakeDriver(asyncio.sleep), min_size=1) as pool:
            await pool.wait()
            for _ in range(3):
                via = line_of(scope.__wrapped__, 2)  # type: ignore[attr-defined]
                assert await helped(pool) == [f"{line_of(helped, 1)} via {via}"]
                assert await direct(pool) == [line_of(direct, 1)]
            assert pool._core.attention == 1

    asyncio.run(main())


def test_a_line_is_told_also_if_looking_for_it_fails(pool: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise RuntimeError("a module's name may be anything")

    monkeypatch.setattr("poolhouse.pool.lines.asks_for_itself", fails)
    assert direct(pool) == [line_of(direct, 1)]
