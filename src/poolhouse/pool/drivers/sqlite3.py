"""sqlite3, for threads."""

import gc
import sqlite3
import weakref
from contextlib import suppress
from typing import ClassVar

from poolhouse.pool.drivers.dbapi import DbapiDriver
from poolhouse.pool.drivers.protocol import BROKEN, IDLE, IN_TRANSACTION, UNSETTLED, UNTOLD, Conn


class Sqlite3Driver(DbapiDriver):
    """Connections of ``sqlite3.connect``."""

    class_argument: ClassVar[str | None] = "factory"
    #: Unless `check_same_thread` is false; with it, a null pool's client may connect by itself all the same.
    is_thread_bound: ClassVar[bool] = True

    def status(self, conn: Conn) -> int:
        """SQLite itself tells whether a transaction is open, and, asked, whether rows of a cursor are unread."""
        try:
            if not conn.in_transaction:
                return UNSETTLED if _has_unread_rows(conn) else IDLE
            # With `autocommit=False` (Python 3.12) there always is one, at least an empty one.
            return UNTOLD if getattr(conn, "autocommit", None) is False else IN_TRANSACTION
        except Exception:  # sqlite3.ProgrammingError: closed
            return BROKEN

    def commit(self, conn: Conn) -> None:
        """``conn.commit()``, and close the cursors that have unread rows."""
        conn.commit()
        _close_cursors(conn)

    def rollback(self, conn: Conn) -> None:
        """``conn.rollback()``, and close the cursors that have unread rows."""
        conn.rollback()
        _close_cursors(conn)


def _has_unread_rows(conn: Conn) -> bool:
    """Whether a ``SELECT`` is not at its end: until it is, it keeps its lock on the file, and its snapshot.

    sqlite3 does not tell. But SQLite keeps an interruption in force until no statement runs any more: if one has
    begun, the next is interrupted with it, and else nothing is (https://sqlite.org/c3ref/interrupt.html).
    """
    conn.interrupt()
    try:
        conn.execute("select 1")
    except sqlite3.ProgrammingError:
        raise
    except sqlite3.Error as error:
        return error.sqlite_errorcode == sqlite3.SQLITE_INTERRUPT
    return False


def _close_cursors(conn: Conn) -> None:
    """Close the cursors of a connection if any has unread rows; it refers to them weakly."""
    if not _has_unread_rows(conn):
        return
    lists = [held for held in gc.get_referents(conn) if type(held) is list]
    cursors = [ref() for held in lists for ref in held if isinstance(ref, weakref.ref)]
    for cursor in cursors:
        if isinstance(cursor, sqlite3.Cursor):
            with suppress(sqlite3.Error):
                cursor.close()
