"""The differences between database drivers, and the choice of the driver for a pool."""

from importlib import import_module
from types import ModuleType
from typing import Any, NamedTuple, get_origin

from poolhouse.conceal import conceal
from poolhouse.pool.drivers.protocol import lacks


class _Home(NamedTuple):
    """Where the drivers of one library are: a module of `poolhouse.pool.drivers` named after the library."""

    for_threads: str | None = None
    for_asyncio: str | None = None


#: The libraries that have drivers of their own. No other place decides anything by a library's name; each driver
#: class declares its own capabilities.
_HOMES = {
    "psycopg": _Home("PsycopgDriver", "AsyncPsycopgDriver"),
    "psycopg2": _Home("Psycopg2Driver"),
    "sqlite3": _Home("Sqlite3Driver"),
    "pymysql": _Home("PymysqlDriver"),
    "asyncpg": _Home(for_asyncio="AsyncpgDriver"),
    "aiosqlite": _Home(for_asyncio="AiosqliteDriver"),
}
_ANY_DBAPI = _Home("DbapiDriver")


def driver_for(driver: Any, connection_class: type[Any] | None, *, is_async: bool) -> Any:
    """The driver that a pool uses.

    Args:
        driver: The pool's argument: ``None``, a module, or a `Driver` (`AsyncDriver` for asyncio).
        connection_class: The pool's argument. If `driver` is ``None``, its base class decides; default psycopg.
        is_async: Whether the pool is one for asyncio.

    Raises:
        TypeError: If there is no such driver.
    """
    if driver is not None and not isinstance(driver, ModuleType):
        if (missing := lacks(driver)) is not None:
            shown = conceal(repr(driver))
            raise TypeError(f"driver must be a module or have the methods of a Driver; {shown} lacks {missing!r}")
        return driver
    module = import_module(_package_of(connection_class)) if driver is None else driver
    library = module.__name__.partition(".")[0]
    home = _HOMES.get(library, _ANY_DBAPI)
    class_name = home.for_asyncio if is_async else home.for_threads
    if class_name is None:
        here, there = ("asyncio", "threads") if is_async else ("threads", "asyncio")
        raise TypeError(f"{module.__name__} is a driver for {there}, and this is a pool for {here}")
    # Imported at first use: a pool over one driver needs no other.
    ours = import_module(f"{__name__}.{library if library in _HOMES else 'dbapi'}")
    return getattr(ours, class_name).of(module, connection_class)


def class_of(connection_class: Any) -> type[Any]:
    """The class itself if a generic alias was given: ``Connection`` for ``Connection[MyRow]``.

    Raises:
        TypeError: If it is not a class.
    """
    found = get_origin(connection_class) or connection_class
    if not isinstance(found, type):
        raise TypeError(f"connection_class must be a class, not {conceal(repr(connection_class))}")
    return found


def _package_of(connection_class: type[Any] | None) -> str:
    """The package of the class that a connection class is derived from; psycopg if none is known."""
    bases = () if connection_class is None else class_of(connection_class).__mro__
    packages = (base.__module__.partition(".")[0] for base in bases)
    return next((name for name in packages if name in _HOMES), "psycopg")
