"""Any DB-API 2.0 driver: a module with ``connect``, its connections with ``commit``, ``rollback``, ``close``.

DB-API 2.0 does not reveal whether a transaction is open, so each return rolls back. Modules that reveal more have
drivers of their own, derived from this one. The socket's descriptor is sought under the names in use.
"""

from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from types import ModuleType
from typing import Any, ClassVar, Self

from poolhouse.pool.drivers import class_of
from poolhouse.pool.drivers.protocol import BROKEN, UNTOLD, Conn
from poolhouse.pool.drivers.sockets import cut


class DbapiDriver:
    """The connections of one DB-API 2.0 module."""

    #: The argument of the module's ``connect`` that takes a connection class, if there is one.
    class_argument: ClassVar[str | None] = None

    def __init__(
        self, module: ModuleType | Any, defaults: Mapping[str, Any] | None = None, probe_query: str = "SELECT 1"
    ) -> None:
        """A driver for `module`.

        Args:
            module: An object with ``connect`` and, as PEP 249 demands, ``OperationalError``.
            defaults: Arguments of ``connect``, which the pool's `kwargs` override.
            probe_query: The query that `probe` sends; its answer is fetched.
        """
        self._module = module
        self._defaults: dict[str, Any] = {} if defaults is None else dict(defaults)
        self._probe_query = probe_query
        self.error_base: type[Exception] | None = getattr(module, "OperationalError", None)

    @classmethod
    def of(cls, module: ModuleType, connection_class: type[Any] | None) -> Self:
        """The driver of a pool that was given `module` and `connection_class`."""
        return cls(module, class_as_argument(module, cls.class_argument, connection_class))

    def connect(self, conninfo: str, kwargs: Mapping[str, Any], timeout: float | None) -> Conn:
        """``module.connect(conninfo, **kwargs)``; `conninfo` is left out if it is empty.

        The time limit must be the driver's own, in `kwargs`: DB-API 2.0 has none.
        """
        return self._module.connect(*((conninfo,) if conninfo else ()), **(self._defaults | dict(kwargs)))

    def status(self, conn: Conn) -> int:
        """Always ``UNTOLD``: there may be a transaction."""
        return UNTOLD

    def commit(self, conn: Conn) -> None:
        """``conn.commit()``."""
        conn.commit()

    def rollback(self, conn: Conn) -> None:
        """``conn.rollback()``."""
        conn.rollback()

    def probe(self, conn: Conn) -> None:
        """Run `probe_query`, and roll back."""
        cursor = conn.cursor()
        try:
            cursor.execute(self._probe_query)
            cursor.fetchall()
        finally:
            cursor.close()
        conn.rollback()

    def close(self, conn: Conn) -> None:
        """``conn.close()``, unless the connection is closed already."""
        if self.status(conn) != BROKEN:
            conn.close()

    def fileno(self, conn: Conn) -> int | None:
        """The descriptor, from drivers that reveal it, or of PyMySQL's socket; otherwise ``None``."""
        owner = conn if hasattr(conn, "fileno") else getattr(conn, "_sock", None)
        if owner is None:
            return None
        try:
            return int(owner.fileno())
        except Exception:  # It is closed, in one of several ways.
            return None

    def abort(self, conn: Conn) -> None:
        """Shut the socket down; interrupt a connection without one (sqlite3's) if it can be interrupted."""
        if self.fileno(conn) is not None:
            cut(partial(self.fileno, conn))
        elif hasattr(conn, "interrupt"):
            with suppress(Exception):  # It is closed.
                conn.interrupt()


def class_as_argument(
    module: ModuleType, argument: str | None, connection_class: type[Any] | None
) -> dict[str, Any]:
    """A connection class as an argument of ``module.connect``.

    Raises:
        TypeError: If the module's ``connect`` has no such argument.
    """
    if connection_class is None:
        return {}
    if argument is None:
        raise TypeError(f"connection_class: {module.__name__}.connect takes no class of connections")
    return {argument: class_of(connection_class)}
