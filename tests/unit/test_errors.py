"""Every exception of ours, whoever it is mixed with, and what pickle and copy make of it.

The exceptions are found by walking the package, and made from the annotations of their constructors: a new one is
covered without a word here.
"""

import copy
import importlib
import inspect
import pickle
import pkgutil
import sqlite3
from collections.abc import Callable
from typing import Any, get_args

import aiosqlite
import asyncpg
import psycopg
import psycopg2
import pymysql
import pytest

import poolhouse
from poolhouse.errors import PoolClosed, PoolhouseError, PoolTimeout, SettingError, TooManyRequests, also
from poolhouse.pool.drivers import driver_for
from poolhouse.pool.drivers.protocol import Traits
from poolhouse.pool.error_classes import errors_for
from poolhouse.pool.holders import Holder
from poolhouse.verdicts.verdict import Verdict

#: What needs something that the tests' environment has not, or does something when it is imported.
NOT_IMPORTED = ("poolhouse.collectd_plugin", "poolhouse.demo.__main__", "poolhouse.auto")

#: The class of which a pool's errors are also instances, for each driver.
BASES = {
    base
    for module in (psycopg, psycopg2, pymysql, sqlite3, aiosqlite, asyncpg)
    if (base := Traits.of(driver_for(module, None, is_async=module in (aiosqlite, asyncpg))).error_base)
    is not None
}

HOLDERS = (Holder("app/views.py:88 in checkout_cart", 6, 41.2, 200.0), Holder("app/jobs.py:7 in run", 1, 2.5, 2.5))

#: A value for a constructor's parameter, by its annotation.
VALUES: dict[Any, Any] = {
    str: "collectd_port",
    int: 7,
    float: 1.25,
    bool: True,
    bytes: b"\x00\xff",
    tuple[Any, ...]: HOLDERS,
    Any: Verdict("leak", 0.0, "shop", evidence=(("kept", 3.0),)),
    BaseException: psycopg.OperationalError("connection refused"),
}


class Unpicklable(Exception):
    """What pickle can take apart, and cannot put together."""

    def __init__(self, host: str, port: int) -> None:
        super().__init__(f"{host}:{port} is gone")


class Own(PoolTimeout):
    """A user's error, whose constructor wants something else."""

    def __init__(self, tenant: str, *, retries: int) -> None:
        super().__init__(f"no connection for {tenant}", waited=2.0)
        self.retries = retries


def found() -> list[type[Exception]]:
    """All exceptions that a module of ours defines, and the mixed ones."""
    for module in pkgutil.walk_packages(poolhouse.__path__, "poolhouse."):
        if not module.name.startswith(NOT_IMPORTED):
            importlib.import_module(module.name)
    for base in BASES:
        errors_for(base)
    kinds: set[type[Exception]] = set()
    further: list[type[Exception]] = [Exception]
    while further:
        kind = further.pop()
        new = {child for child in kind.__subclasses__() if child not in kinds}
        kinds |= new
        further += new
    return sorted(
        (kind for kind in kinds if kind.__module__.split(".")[0] == "poolhouse"),
        key=lambda kind: str(kind.__mro__),
    )


def make(kind: type[Exception]) -> Exception:
    """One of them, with a value in each field."""
    maker = next(base for base in kind.__mro__ if "__init__" in vars(base))
    if maker.__module__.split(".")[0] != "poolhouse":
        return kind("a message")  # A constructor of Python's or of a driver's.
    arguments: list[Any] = []
    keywords: dict[str, Any] = {}
    for parameter in list(inspect.signature(kind.__init__).parameters.values())[1:]:
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY:
            keywords[parameter.name] = value_of(kind, parameter)
        else:
            arguments.append(value_of(kind, parameter))
    return kind(*arguments, **keywords)


def value_of(kind: type[Exception], parameter: inspect.Parameter) -> Any:
    """A value for a constructor's parameter; one of a union's is enough."""
    meant = [one for one in (parameter.annotation, *get_args(parameter.annotation)) if one in VALUES]
    assert meant, f"VALUES has none for {kind.__name__}'s {parameter}"
    return VALUES[meant[0]]


def told(value: Any) -> Any:
    """A value that can be compared: an error is not equal to its copy."""
    if isinstance(value, BaseException):
        fields = {name: told(field) for name, field in vars(value).items()}
        return type(value), str(value), told(value.args), fields
    if type(value) in (tuple, list):
        return [told(item) for item in value]
    return value


WAYS: dict[str, Callable[[Any], Any]] = {
    **{
        f"pickle protocol {number}": lambda error, number=number: pickle.loads(pickle.dumps(error, number))
        for number in range(pickle.HIGHEST_PROTOCOL + 1)
    },
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
}
KINDS = found()


def test_the_walk_finds_the_tree_and_what_is_mixed_with_each_driver() -> None:
    named = {kind.__name__ for kind in KINDS}
    assert {"PoolhouseError", "PoolTimeout", "PacketError", "SettingError", "FairQueueTimeout"} <= named
    for base in BASES:
        assert {kind.__name__ for kind in KINDS if issubclass(kind, base)} >= {
            "PoolClosed",
            "PoolTimeout",
            "TooManyRequests",
        }


def bases_of(kind: type[Exception]) -> str:
    return "+".join(f"{base.__module__}.{base.__name__}" for base in (kind, *kind.__bases__[1:]))


@pytest.mark.parametrize("kind", KINDS, ids=bases_of)
def test_every_exception_survives_with_its_fields(kind: type[Exception]) -> None:
    error = make(kind)
    error.add_note("seen in the night's job")
    for name, way in WAYS.items():
        again = way(error)
        assert again is not error
        assert told(again) == told(error), name


def test_a_users_subclass_survives_whatever_its_constructor_wants() -> None:
    for name, way in WAYS.items():
        again = way(Own("tenant 7", retries=3))
        assert (type(again), str(again)) == (Own, "no connection for tenant 7"), name
        assert (again.waited, again.retries) == (2.0, 3), name


UNPICKLABLE = {"not unpickled": Unpicklable("db", 5432), "not pickled": Exception(lambda: None)}


@pytest.mark.parametrize("connect_error", UNPICKLABLE.values(), ids=UNPICKLABLE)
def test_an_error_that_pickle_cannot_carry_arrives_as_its_text(connect_error: Exception) -> None:
    error = errors_for(psycopg.OperationalError).timeout("no connection", waited=1.5, connect_error=connect_error)
    error.lock = open  # An application may set what it likes.
    error.frame = inspect.currentframe()
    again = pickle.loads(pickle.dumps(error))
    assert isinstance(again, psycopg.OperationalError)
    assert isinstance(again, PoolTimeout)
    assert (again.waited, again.lock) == (1.5, open)
    assert isinstance(again.connect_error, PoolhouseError)
    assert str(again.connect_error) == f"{type(connect_error).__name__}: {connect_error}"
    assert again.frame.startswith("<frame")


def test_where_the_driver_is_not_installed_the_error_is_still_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    module = type(inspect)("a_driver_of_the_worker_only")
    module.OperationalError = type("OperationalError", (Exception,), {"__module__": module.__name__})  # type: ignore[attr-defined]
    with monkeypatch.context() as installed:
        installed.setitem(__import__("sys").modules, module.__name__, module)
        sent = pickle.dumps(also(PoolClosed, module.OperationalError)("the pool is already closed"))  # type: ignore[attr-defined]
    again = pickle.loads(sent)
    assert (type(again), str(again)) == (PoolClosed, "the pool is already closed")


def test_the_class_that_arrives_is_the_one_that_pools_raise() -> None:
    kind = errors_for(sqlite3.OperationalError).too_many
    assert type(pickle.loads(pickle.dumps(kind("full")))) is kind
    assert issubclass(kind, TooManyRequests)


def test_a_copy_shares_the_fields_and_a_deep_copy_does_not() -> None:
    error = SettingError("collectd_port", "expected a port")
    error.seen = ["web1"]  # type: ignore[attr-defined]
    assert copy.copy(error).seen is error.seen  # type: ignore[attr-defined]
    assert copy.deepcopy(error).seen is not error.seen  # type: ignore[attr-defined]
