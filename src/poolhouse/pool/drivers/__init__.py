"""What differs between databases' drivers, and which driver serves a pool."""

from importlib import import_module
from types import ModuleType
from typing import Any, get_origin

#: What every driver has: the attributes of `poolhouse.pool.drivers.protocol.Driver`.
_METHODS = (
    "connect",
    "status",
    "commit",
    "rollback",
    "probe",
    "close",
    "fileno",
    "abort",
    "error_base",
    "marks_connections",
)


#: The argument of ``connect`` that takes a class of connections.
_CLASS_ARGUMENT = {"asyncpg": "connection_class", "psycopg2": "connection_factory", "sqlite3": "factory"}
_FOR_ASYNCIO = ("aiosqlite", "asyncpg")


def driver_for(driver: Any, connection_class: type[Any] | None, *, is_async: bool) -> Any:
    """The driver that a pool uses.

    Args:
        driver: The pool's argument: ``None``, a module, or a `Driver` (`AsyncDriver` for asyncio).
        connection_class: The pool's argument; if `driver` is ``None``, its base decides; psycopg's by default.
        is_async: Whether the pool is one for asyncio.

    Raises:
        TypeError: If there is no such driver.
    """
    if driver is not None and not isinstance(driver, ModuleType):
        return _checked(driver)
    module = import_module(_package_of(connection_class)) if driver is None else driver
    name = module.__name__
    if name == "psycopg":
        return _psycopg(connection_class, is_async=is_async)
    if (name in _FOR_ASYNCIO) != is_async:
        here, there = ("asyncio", "threads") if is_async else ("threads", "asyncio")
        raise TypeError(f"{name} is a driver for {there}, and this is a pool for {here}")
    if connection_class is not None and name not in _CLASS_ARGUMENT:
        raise TypeError(f"connection_class: {name}.connect takes no class of connections")
    more = {} if connection_class is None else {_CLASS_ARGUMENT[name]: class_of(connection_class)}
    # Imported at first use: a pool over one driver needs no other.
    if name == "asyncpg":
        from poolhouse.pool.drivers.asyncpg import AsyncpgDriver

        return AsyncpgDriver(more)
    if name == "aiosqlite":
        from poolhouse.pool.drivers.aiosqlite import AiosqliteDriver

        return AiosqliteDriver()
    from poolhouse.pool.drivers.dbapi import DbapiDriver

    return DbapiDriver(module, more)


def class_of(connection_class: Any) -> type[Any]:
    """The class itself, where a generic alias was given: of ``Connection[MyRow]`` it is ``Connection``.

    Raises:
        TypeError: If it is not a class.
    """
    found = get_origin(connection_class) or connection_class
    if not isinstance(found, type):
        raise TypeError(f"connection_class must be a class, not {connection_class!r}")
    return found


def _package_of(connection_class: type[Any] | None) -> str:
    """The package that a class of connections is derived from; psycopg if none is known."""
    bases = () if connection_class is None else class_of(connection_class).__mro__
    packages = (base.__module__.partition(".")[0] for base in bases)
    return next((name for name in packages if name in _FOR_ASYNCIO or name in _CLASS_ARGUMENT), "psycopg")


def _checked(driver: Any) -> Any:
    missing = [name for name in _METHODS if not hasattr(driver, name)]
    if missing:
        raise TypeError(
            f"driver must be a module or have the methods of a Driver; {driver!r} lacks {missing[0]!r}"
        )
    return driver


def _psycopg(connection_class: type[Any] | None, *, is_async: bool) -> Any:
    import psycopg

    from poolhouse.pool.drivers.psycopg import AsyncPsycopgDriver, PsycopgDriver

    if connection_class is not None and not hasattr(class_of(connection_class), "connect"):
        raise TypeError(f"connection_class must have a method connect(), and {connection_class!r} has none")
    if is_async:
        return AsyncPsycopgDriver(connection_class or psycopg.AsyncConnection)
    return PsycopgDriver(connection_class or psycopg.Connection)
