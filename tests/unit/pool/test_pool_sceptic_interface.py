"""The interface is psycopg_pool's: looked at from outside, class by class."""

import inspect

import psycopg_pool
import pytest

import poolhouse

CLASSES = ("ConnectionPool", "AsyncConnectionPool", "NullConnectionPool", "AsyncNullConnectionPool")


def _parameters(kind: type, name: str) -> dict[str, inspect.Parameter]:
    return {
        parameter.name: parameter
        for parameter in inspect.signature(getattr(kind, name)).parameters.values()
        if parameter.kind is not inspect.Parameter.VAR_KEYWORD
    }


def _all_parameters(kind: type) -> dict[str, inspect.Parameter]:
    """Those of the constructor, those that it passes on to its base class included."""
    found: dict[str, inspect.Parameter] = {}
    for each in kind.__mro__:
        if "__init__" in vars(each) and each is not object:
            for name, parameter in _parameters(each, "__init__").items():
                found.setdefault(name, parameter)
            if inspect.Parameter.VAR_KEYWORD not in {
                parameter.kind
                for parameter in inspect.signature(each.__init__).parameters.values()  # type: ignore[misc]
            }:
                break
    return found


@pytest.mark.parametrize("name", CLASSES)
def test_every_parameter_of_the_constructor_is_there_with_its_default(name: str) -> None:
    ours, theirs = _all_parameters(getattr(poolhouse, name)), _parameters(getattr(psycopg_pool, name), "__init__")
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
ATTRIBUTES = ("name", "closed", "min_size", "max_size", "kwargs", "conninfo", "timeout")


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


@pytest.mark.parametrize("name", CLASSES)
def test_every_attribute_is_there_with_the_same_value(name: str) -> None:
    parameters = {"name": "mine", "max_size": 7, "open": False, "kwargs": {"autocommit": True}, "timeout": 3.0}
    ours = getattr(poolhouse, name)("dbname=x", **parameters)
    theirs = getattr(psycopg_pool, name)("dbname=x", **parameters)
    for attribute in ATTRIBUTES:
        assert getattr(ours, attribute) == getattr(theirs, attribute), attribute


@pytest.mark.parametrize(("kind", "base"), [(CLASSES[2], CLASSES[0]), (CLASSES[3], CLASSES[1])])
def test_null_pools_are_pools(kind: str, base: str) -> None:
    assert issubclass(getattr(poolhouse, kind), getattr(poolhouse, base))
    assert issubclass(getattr(psycopg_pool, kind), getattr(psycopg_pool, base))


@pytest.mark.parametrize("name", ["PoolClosed", "PoolTimeout", "TooManyRequests"])
def test_every_error_has_its_name(name: str) -> None:
    assert issubclass(getattr(psycopg_pool, name), Exception)
    assert issubclass(getattr(poolhouse, name), poolhouse.PoolError)
