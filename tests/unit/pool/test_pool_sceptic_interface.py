"""The interface is psycopg_pool's: looked at from outside, class by class."""

import asyncio
import inspect
import linecache
import sqlite3
import time
import warnings
from typing import Any

import psycopg
import psycopg_pool
import pytest

import poolhouse
from support.pool_shells import async_connection_class, sync_connection_class

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


@pytest.mark.parametrize(("kind", "base"), [(CLASSES[2], CLASSES[0]), (CLASSES[3], CLASSES[1])])
def test_null_pools_are_pools(kind: str, base: str) -> None:
    assert issubclass(getattr(poolhouse, kind), getattr(poolhouse, base))
    assert issubclass(getattr(psycopg_pool, kind), getattr(psycopg_pool, base))


@pytest.mark.parametrize("name", ["PoolClosed", "PoolTimeout", "TooManyRequests"])
def test_every_error_has_its_name(name: str) -> None:
    assert issubclass(getattr(psycopg_pool, name), Exception)
    assert issubclass(getattr(poolhouse, name), poolhouse.PoolError)


@pytest.mark.parametrize(
    "name", ["connection", "getconn", "wait", "check", "resize", "get_stats", "close", "drain"]
)
@pytest.mark.parametrize("kind", CLASSES[::2])
def test_the_first_use_of_a_pool_that_was_opened_unasked_warns_where_psycopg_pool_does(
    kind: str, name: str
) -> None:
    def use(package: Any) -> list[warnings.WarningMessage]:
        sizes = {"max_size": 3} if kind.startswith("Null") else {"min_size": 1, "max_size": 3}
        pool = getattr(package, kind)(connection_class=sync_connection_class(time.sleep), **sizes)
        method = getattr(pool, name)
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                if name == "connection":
                    with method():
                        pass
                elif name == "resize":
                    method(0 if kind.startswith("Null") else 1, 2)
                else:
                    method()
        finally:
            pool.close()
        return caught

    ours, theirs = use(poolhouse), use(psycopg_pool)
    assert [each.category for each in ours] == [each.category for each in theirs]
    # The line that uses it, so that it can be found.
    assert {linecache.getline(each.filename, each.lineno).strip() for each in ours} <= {
        "method()",
        "with method():",
    }


@pytest.mark.parametrize("kind", CLASSES[1::2])
def test_a_pool_for_asyncio_that_is_opened_by_its_constructor_warns(kind: str) -> None:
    async def main(package: Any) -> list[warnings.WarningMessage]:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            pool = getattr(package, kind)(connection_class=async_connection_class(), open=True)
        await pool.close()
        return caught

    ours, theirs = asyncio.run(main(poolhouse)), asyncio.run(main(psycopg_pool))
    assert [each.category for each in ours] == [each.category for each in theirs] == [RuntimeWarning]
    assert ours[0].filename == __file__


@pytest.mark.parametrize("kind", CLASSES[1::2])
def test_a_pool_for_asyncio_is_not_opened_by_its_constructor_without_a_running_loop(kind: str) -> None:
    for package in (poolhouse, psycopg_pool):
        with pytest.raises(RuntimeError, match="running loop"):
            getattr(package, kind)(connection_class=async_connection_class())
