"""Any DB-API 2.0 driver: a module with ``connect``, its connections with ``commit``, ``rollback``, ``close``.

What DB-API 2.0 does not know is looked for under the names that drivers use: whether a transaction is open
(`status`), and the descriptor of the socket (`fileno`).
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from types import ModuleType
from typing import Any

from poolhouse.pool.drivers.protocol import BROKEN, IDLE, IN_TRANSACTION, UNTOLD, Conn
from poolhouse.pool.drivers.sockets import cut

#: Flag of MySQL's protocol in ``conn.server_status``: a transaction is open.
_SERVER_STATUS_IN_TRANS = 1


class DbapiDriver:
    """The connections of one DB-API 2.0 module."""

    marks_connections = False

    def __init__(
        self, module: ModuleType | Any, defaults: Mapping[str, Any] | None = None, probe_query: str = "SELECT 1"
    ) -> None:
        """A driver for `module`.

        Args:
            module: What has ``connect`` and, as PEP 249 demands, ``OperationalError``.
            defaults: Arguments of ``connect``, unless the pool's `kwargs` say otherwise.
            probe_query: What `probe` sends, and of which it fetches the answer.
        """
        self._module = module
        self._defaults: dict[str, Any] = {} if defaults is None else dict(defaults)
        self._probe_query = probe_query
        self.error_base: type[Exception] | None = getattr(module, "OperationalError", None)
        #: Unless told otherwise, sqlite3's connections may only be used by the thread that made them: in a null
        #: pool, the client itself.
        self.is_thread_bound = module.__name__ == "sqlite3"
        self.status: Callable[[Conn], int] = _STATUS.get(module.__name__.partition(".")[0], _unknown_status)

    def connect(self, conninfo: str, kwargs: Mapping[str, Any], timeout: float | None) -> Conn:
        """``module.connect(conninfo, **kwargs)``, without `conninfo` if it is empty.

        The time limit is the driver's own, in `kwargs`: DB-API 2.0 knows none.
        """
        return self._module.connect(*((conninfo,) if conninfo else ()), **(self._defaults | dict(kwargs)))

    def commit(self, conn: Conn) -> None:
        """See `Driver.commit`."""
        conn.commit()

    def rollback(self, conn: Conn) -> None:
        """See `Driver.rollback`."""
        conn.rollback()

    def probe(self, conn: Conn) -> None:
        """See `Driver.probe`."""
        cursor = conn.cursor()
        try:
            cursor.execute(self._probe_query)
            cursor.fetchall()
        finally:
            cursor.close()
        conn.rollback()

    def close(self, conn: Conn) -> None:
        """See `Driver.close`."""
        if self.status(conn) != BROKEN:
            conn.close()

    def fileno(self, conn: Conn) -> int | None:
        """The descriptor of drivers that tell it, or of PyMySQL's socket."""
        owner = conn if hasattr(conn, "fileno") else getattr(conn, "_sock", None)
        if owner is None:
            return None
        try:
            return int(owner.fileno())
        except Exception:  # Closed, in one of several ways.
            return None

    def abort(self, conn: Conn) -> None:
        """See `Driver.abort`. A driver without a socket (sqlite3) is interrupted where it can be."""
        descriptor = self.fileno(conn)
        if descriptor is not None:
            cut(descriptor)
        elif hasattr(conn, "interrupt"):
            with suppress(Exception):  # It is closed.
                conn.interrupt()


def _unknown_status(conn: Conn) -> int:
    """Of a driver that does not tell: there may be a transaction, so it is ended on return."""
    return UNTOLD


def _sqlite3_status(conn: Conn) -> int:
    try:
        if not conn.in_transaction:
            return IDLE
        # With `autocommit=False` (Python 3.12) there always is one, at least an empty one.
        return UNTOLD if getattr(conn, "autocommit", None) is False else IN_TRANSACTION
    except Exception:  # sqlite3.ProgrammingError: closed
        return BROKEN


def _psycopg2_status(conn: Conn) -> int:
    # libpq's numbers, which the pool uses too; 4, unknown, for a connection that is closed.
    return BROKEN if conn.closed else int(conn.info.transaction_status)


def _pymysql_status(conn: Conn) -> int:
    if not conn.open:
        return BROKEN
    return IN_TRANSACTION if conn.server_status & _SERVER_STATUS_IN_TRANS else IDLE


_STATUS: dict[str, Callable[[Conn], int]] = {
    "sqlite3": _sqlite3_status,
    "psycopg2": _psycopg2_status,
    "pymysql": _pymysql_status,
}
