"""What differs between databases' drivers, and which driver serves a pool."""

from types import ModuleType
from typing import Any


def driver_for(driver: Any, connection_class: type[Any] | None, *, is_async: bool) -> Any:
    """The driver that a pool uses.

    Args:
        driver: The pool's argument: ``None``, a DB-API 2.0 module, or a `Driver` (`AsyncDriver` for asyncio).
        connection_class: The pool's argument; it decides if `driver` is ``None``; psycopg's by default.
        is_async: Whether the pool is one for asyncio.

    Raises:
        TypeError: If there is no such driver.
    """
    if driver is None or (isinstance(driver, ModuleType) and driver.__name__ == "psycopg"):
        return _psycopg(connection_class, is_async=is_async)
    if isinstance(driver, ModuleType):
        if is_async:
            raise TypeError(
                f"the module {driver.__name__} is not known as a driver for asyncio; pass an AsyncDriver"
            )
        from poolhouse.pool.drivers.dbapi import DbapiDriver

        return DbapiDriver(driver)
    missing = [
        name
        for name in ("connect", "status", "commit", "rollback", "probe", "close", "fileno", "abort", "error_base")
        if not hasattr(driver, name)
    ]
    if missing:
        raise TypeError(
            f"driver must be a module or have the methods of a Driver; {driver!r} lacks {missing[0]!r}"
        )
    return driver


def _psycopg(connection_class: type[Any] | None, *, is_async: bool) -> Any:
    # Imported at first use: a pool over another driver needs no psycopg.
    import psycopg

    from poolhouse.pool.drivers.psycopg import AsyncPsycopgDriver, PsycopgDriver

    if is_async:
        return AsyncPsycopgDriver(connection_class or psycopg.AsyncConnection)
    return PsycopgDriver(connection_class or psycopg.Connection)
