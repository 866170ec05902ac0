"""The interface is psycopg_pool's: looked at from outside, class by class."""

import asyncio
import inspect
import sqlite3
import time
from typing import Any, Generic, TypeVar

import psycopg
import psycopg_pool
import pytest

import poolhouse
from support.pool_shells import async_connection_class, sync_connection_class

Row = TypeVar("Row")

CLASSES = ("ConnectionPool", "AsyncConnectionPool", "NullConnectionPool", "AsyncNullConnectionPool")


def _parameters(kind: type, name: str) -> dict[str, inspect.Parameter]:
    return dict(inspect.signature(getattr(kind, name)).parameters)


@pytest.mark.parametrize("name", CLASSES)
def test_every_parameter_of_the_constructor_is_there_with_its_default(name: str) -> None:
    """psycopg/psycopg#493: those of null pools too, so that a misspelt one is found by a type checker."""
    ours = _parameters(getattr(poolhouse, name), "__init__")
    theirs = _parameters(getattr(psycopg_pool, name), "__init__")
    assert inspect.Parameter.VAR_KEYWORD not in {parameter.kind for parameter in ours.values()}
    for parameter in theirs.values():
        assert parameter.name in ours
        mine = ours[parameter.name]
        assert mine.kind is parameter.kind, parameter
        if parameter.name == "connection_class":
            continue  # Ours is `None`: psycopg is imported at the first use.
        assert mine.default == parameter.default, parameter


#: What psycopg_pool's documentation tells of.
METHODS = (
    *("connection", "getconn", "putconn", "open", "close", "wait", "resize", "check", "check_connection", "drain"),
    *("get_stats", "pop_stats"),
)
#: What psycopg_pool's own workers call, and no documentation tells of.
INTERNALS = {"run_task", "schedule_task", "worker"}


@pytest.mark.parametrize("name", CLASSES)
def test_every_method_is_there_with_its_parameters_in_their_order(name: str) -> None:
    ours, theirs = getattr(poolhouse, name), getattr(psycopg_pool, name)
    for method in METHODS:
        mine = [(each.name, each.kind, each.default) for each in _parameters(ours, method).values()]
        their = [(each.name, each.kind, each.default) for each in _parameters(theirs, method).values()]
        assert mine[: len(their)] == their, method
        assert all(default is not inspect.Parameter.empty for _, _, default in mine[len(their) :])


@pytest.mark.parametrize("name", CLASSES)
def test_what_is_awaited_there_is_awaited_here(name: str) -> None:
    ours, theirs = getattr(poolhouse, name), getattr(psycopg_pool, name)
    for method in (*METHODS, "__aenter__", "__aexit__") if "Async" in name else METHODS:
        is_awaited = inspect.iscoroutinefunction(getattr(theirs, method))
        assert inspect.iscoroutinefunction(getattr(ours, method)) == is_awaited, method


#: Other than every default.
UNUSUAL: dict[str, Any] = {
    "conninfo": "dbname=x",
    "kwargs": {"autocommit": True},
    "max_size": 7,
    "name": "mine",
    "close_returns": True,
    "timeout": 3.0,
    "max_waiting": 5,
    "max_lifetime": 60.0,
    "max_idle": 6.0,
    "reconnect_timeout": 9.0,
    "num_workers": 2,
}


@pytest.mark.parametrize("parameters", [{}, UNUSUAL], ids=["defaults", "unusual"])
@pytest.mark.parametrize("name", CLASSES)
def test_what_can_be_read_of_a_pool_there_can_be_read_here_with_the_same_value(
    name: str, parameters: dict[str, Any]
) -> None:
    ours = getattr(poolhouse, name)(open=False, **parameters)
    theirs = getattr(psycopg_pool, name)(open=False, **parameters)
    public = {attribute for attribute in dir(theirs) if not attribute.startswith("_")} - INTERNALS
    assert public >= {"connection_class", "max_idle", "closed"} | UNUSUAL.keys()
    for attribute in public:
        mine, their = getattr(ours, attribute), getattr(theirs, attribute)
        if callable(their) and not isinstance(their, type):
            assert callable(mine), attribute
            assert inspect.iscoroutinefunction(mine) == inspect.iscoroutinefunction(their), attribute
        elif attribute == "name" and not parameters:
            assert mine.startswith("pool-")
            assert their.startswith("pool-")
        elif attribute == "close_returns":
            assert mine == parameters.get(attribute, False)  # psycopg_pool's null pools ignore it.
        else:
            assert mine == their, attribute


def test_the_class_of_connections_is_the_one_that_was_given_or_the_drivers() -> None:
    class Mine(psycopg.Connection[Any]):
        pass

    assert poolhouse.ConnectionPool(connection_class=Mine, open=False).connection_class is Mine
    assert poolhouse.ConnectionPool(driver=sqlite3, open=False).connection_class is None


@pytest.mark.parametrize("close_returns", [False, True])
@pytest.mark.parametrize("name", CLASSES)
def test_a_generic_class_of_connections_is_served(name: str, close_returns: bool) -> None:
    base = async_connection_class() if "Async" in name else sync_connection_class(time.sleep)

    class Mine(base, Generic[Row]):  # type: ignore[misc, valid-type]
        pass

    async def in_tasks(pool: Any) -> None:
        async with pool, pool.connection() as conn:
            assert isinstance(conn, Mine)

    for package in (poolhouse, psycopg_pool):
        pool = getattr(package, name)(connection_class=Mine[int], close_returns=close_returns, open=False)
        assert pool.connection_class == Mine[int]
        if "Async" in name:
            asyncio.run(in_tasks(pool))
            continue
        with pool, pool.connection() as conn:
            assert isinstance(conn, Mine)


@pytest.mark.parametrize("wrong", [5, "psycopg.Connection", dict, list[int]])
def test_what_is_no_class_of_connections_is_refused_at_once(wrong: Any) -> None:
    for name in CLASSES:
        with pytest.raises(TypeError, match="connection_class must"):
            getattr(poolhouse, name)(connection_class=wrong, open=False)


@pytest.mark.parametrize(("kind", "base"), [(CLASSES[2], CLASSES[0]), (CLASSES[3], CLASSES[1])])
def test_null_pools_are_pools(kind: str, base: str) -> None:
    assert issubclass(getattr(poolhouse, kind), getattr(poolhouse, base))
    assert issubclass(getattr(psycopg_pool, kind), getattr(psycopg_pool, base))


@pytest.mark.parametrize("name", ["PoolClosed", "PoolTimeout", "TooManyRequests"])
def test_every_error_has_its_name(name: str) -> None:
    assert issubclass(getattr(psycopg_pool, name), Exception)
    assert issubclass(getattr(poolhouse, name), poolhouse.PoolError)
