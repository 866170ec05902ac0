"""Pools that their constructor opens: what psycopg_pool warns of, this warns of, at the same call."""

import asyncio
import linecache
import time
import warnings
from collections.abc import Awaitable, Callable
from typing import Any

import psycopg
import psycopg_pool
import pytest

import poolhouse
from support.pool_shells import async_connection_class, sync_connection_class

THREADS = ("ConnectionPool", "NullConnectionPool")
TASKS = ("AsyncConnectionPool", "AsyncNullConnectionPool")


def _block(pool: Any) -> None:
    with pool.connection():
        pass


def _getconn(pool: Any) -> None:
    pool.putconn(pool.getconn())


def _block_twice(pool: Any) -> None:
    _block(pool)
    _block(pool)


def _open_and_use(pool: Any) -> None:
    pool.open()
    _block(pool)


def _wait_and_use(pool: Any) -> None:
    pool.wait()
    _block(pool)


def _use_inside(pool: Any) -> None:
    with pool:
        _block(pool)


def _close_and_use(pool: Any) -> None:
    pool.close()
    with pytest.raises(psycopg.OperationalError):
        pool.getconn()


#: How a pool may be used, and whether that deserves a warning: looked at in psycopg_pool by the tests.
USES: dict[str, Callable[[Any], object]] = {
    "not at all": lambda pool: None,
    "connection": _block,
    "getconn": _getconn,
    "connection twice": _block_twice,
    "wait": lambda pool: pool.wait(),
    "wait, connection": _wait_and_use,
    "open": lambda pool: pool.open(),
    "open(wait=True)": lambda pool: pool.open(wait=True),
    "open, connection": _open_and_use,
    "with": _use_inside,
    "close, getconn": _close_and_use,
    "check": lambda pool: pool.check(),
    "drain": lambda pool: pool.drain(),
    "resize": lambda pool: pool.resize(pool.min_size, 5),
    "get_stats": lambda pool: pool.get_stats(),
    "pop_stats": lambda pool: pool.pop_stats(),
}


def _in_threads(package: Any, kind: str, use: Callable[[Any], object], **opens: Any) -> list[Any]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        pool = getattr(package, kind)(connection_class=sync_connection_class(time.sleep), **opens)
        try:
            use(pool)
        finally:
            pool.close()
    return caught


@pytest.mark.parametrize("opens", [{}, {"open": True}], ids=str)
@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("kind", THREADS)
def test_a_pool_for_threads_warns_where_psycopg_pool_does(kind: str, use: str, opens: dict[str, Any]) -> None:
    ours = _in_threads(poolhouse, kind, USES[use], **opens)
    theirs = _in_threads(psycopg_pool, kind, USES[use], **opens)
    assert [each.category for each in ours] == [each.category for each in theirs]
    for each in ours:
        _names_the_parameter_and_the_line(each, kind)


async def _ablock(pool: Any) -> None:
    async with pool.connection():
        pass


async def _agetconn(pool: Any) -> None:
    await pool.putconn(await pool.getconn())


async def _ablock_twice(pool: Any) -> None:
    await _ablock(pool)
    await _ablock(pool)


async def _aopen_and_use(pool: Any) -> None:
    await pool.open()
    await _ablock(pool)


async def _await_and_use(pool: Any) -> None:
    await pool.wait()
    await _ablock(pool)


async def _ause_inside(pool: Any) -> None:
    async with pool:
        await _ablock(pool)


async def _aclose_and_use(pool: Any) -> None:
    await pool.close()
    with pytest.raises(psycopg.OperationalError):
        await pool.getconn()


async def _anothing(pool: Any) -> None:
    pool.get_stats()


#: `USES` for asyncio.
AUSES: dict[str, Callable[[Any], Awaitable[object]]] = {
    "not at all": _anothing,
    "connection": _ablock,
    "getconn": _agetconn,
    "connection twice": _ablock_twice,
    "wait": lambda pool: pool.wait(),
    "wait, connection": _await_and_use,
    "open": lambda pool: pool.open(),
    "open(wait=True)": lambda pool: pool.open(wait=True),
    "open, connection": _aopen_and_use,
    "with": _ause_inside,
    "close, getconn": _aclose_and_use,
    "check": lambda pool: pool.check(),
    "drain": lambda pool: pool.drain(),
    "resize": lambda pool: pool.resize(pool.min_size, 5),
}


async def _in_tasks(package: Any, kind: str, use: Callable[[Any], Awaitable[object]], **opens: Any) -> list[Any]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        pool = getattr(package, kind)(connection_class=async_connection_class(), **opens)
        try:
            await use(pool)
        finally:
            await pool.close()
    return caught


@pytest.mark.parametrize("opens", [{}, {"open": True}], ids=str)
@pytest.mark.parametrize("use", AUSES)
@pytest.mark.parametrize("kind", TASKS)
def test_a_pool_for_asyncio_warns_where_psycopg_pool_does(kind: str, use: str, opens: dict[str, Any]) -> None:
    ours = asyncio.run(_in_tasks(poolhouse, kind, AUSES[use], **opens))
    theirs = asyncio.run(_in_tasks(psycopg_pool, kind, AUSES[use], **opens))
    assert [each.category for each in ours] == [each.category for each in theirs]
    for each in ours:
        _names_the_parameter_and_the_line(each, kind)


def _names_the_parameter_and_the_line(warning: warnings.WarningMessage, kind: str) -> None:
    assert kind in str(warning.message)
    assert "open=" in str(warning.message)
    assert warning.filename == __file__, "the line that uses the pool, so that it can be found"
    line = linecache.getline(warning.filename, warning.lineno)
    assert any(word in line for word in ("connection()", "getconn()", "wait", "open(", "**opens"))


@pytest.mark.parametrize("opens", [{}, {"open": True}, {"open": False}], ids=str)
@pytest.mark.parametrize("kind", TASKS)
def test_outside_of_an_event_loop_a_pool_for_asyncio_does_what_psycopg_pools_does(
    kind: str, opens: dict[str, Any]
) -> None:
    def outcome(package: Any) -> tuple[list[type[Warning]], str]:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                getattr(package, kind)(connection_class=async_connection_class(), **opens)
                said = ""
            except RuntimeError as error:
                said = str(error)
        return [each.category for each in caught], said

    assert outcome(poolhouse) == outcome(psycopg_pool)


def test_where_warnings_are_errors_the_second_use_works() -> None:
    pool = poolhouse.ConnectionPool(connection_class=sync_connection_class(time.sleep), min_size=1)
    try:
        with pytest.raises(DeprecationWarning):
            pool.getconn()
        pool.putconn(pool.getconn())
        assert pool.get_stats()["pool_available"] == 1
    finally:
        pool.close()
