"""sqlite3, for threads."""

from typing import ClassVar

from poolhouse.pool.drivers.dbapi import DbapiDriver
from poolhouse.pool.drivers.protocol import BROKEN, IDLE, IN_TRANSACTION, UNTOLD, Conn


class Sqlite3Driver(DbapiDriver):
    """Connections of ``sqlite3.connect``."""

    class_argument: ClassVar[str | None] = "factory"
    #: Unless `check_same_thread` is false; with it, a null pool's client may connect by itself all the same.
    is_thread_bound: ClassVar[bool] = True

    def status(self, conn: Conn) -> int:
        """SQLite itself tells whether a transaction is open, and each call has ended when it returns."""
        try:
            if not conn.in_transaction:
                return IDLE
            # With `autocommit=False` (Python 3.12) there always is one, at least an empty one.
            return UNTOLD if getattr(conn, "autocommit", None) is False else IN_TRANSACTION
        except Exception:  # sqlite3.ProgrammingError: closed
            return BROKEN
