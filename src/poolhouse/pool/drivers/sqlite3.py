"""sqlite3, for threads."""

import gc
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from itertools import chain
from operator import call
from typing import Any, ClassVar

from poolhouse.pool.drivers.dbapi import DbapiDriver
from poolhouse.pool.drivers.protocol import BROKEN, IDLE, IN_TRANSACTION, UNSETTLED, UNTOLD, Conn

#: How long another thread has to notice that it is interrupted, in seconds.
_TIME_TO_END = 0.001


class Sqlite3Driver(DbapiDriver):
    """Connections of ``sqlite3.connect``."""

    class_argument: ClassVar[str | None] = "factory"
    #: Unless `check_same_thread` is false. Even with it, a null pool's client may connect for itself.
    is_thread_bound: ClassVar[bool] = True

    def __init__(self, *arguments: Any, **options: Any) -> None:
        """A driver, as `DbapiDriver`."""
        super().__init__(*arguments, **options)
        self._inherited: list[Conn] = []
        self._closing = threading.Lock()

    def inherit(self, conns: list[Conn]) -> None:
        """In a forked child: close these connections of the parent's before the child makes its first own.

        SQLite believes that this process holds the file locks of the inherited connections, and takes none for
        further ones. In WAL mode an idle connection holds one: when the parent closes its last connection, it
        would find no other user and delete the log into which the child writes.
        """
        self._closing = threading.Lock()
        self._inherited.extend(conns)

    def connect(self, conninfo: str, kwargs: Mapping[str, Any], timeout: float | None) -> Conn:
        """As `DbapiDriver.connect`."""
        if self._inherited:
            with self._closing:
                for conn in self._inherited:
                    # Otherwise a transaction would be rolled back in the file, which is the parent's.
                    with suppress(sqlite3.Error):
                        if not conn.in_transaction:
                            conn.close()
                self._inherited.clear()
        return super().connect(conninfo, kwargs, timeout)

    def status(self, conn: Conn) -> int:
        """SQLite's own answer about an open transaction and, by an interruption, about unread rows of a cursor."""
        try:
            if not conn.in_transaction:
                return UNSETTLED if _has_unread_rows(conn) else IDLE
            # With `autocommit=False` (Python 3.12) there always is one, if only an empty one.
            return UNTOLD if getattr(conn, "autocommit", None) is False else IN_TRANSACTION
        except Exception:  # sqlite3.ProgrammingError: closed
            return BROKEN

    def commit(self, conn: Conn) -> None:
        """``conn.commit()``, and close the cursors with unread rows."""
        conn.commit()
        _close_cursors(conn)

    def rollback(self, conn: Conn) -> None:
        """``conn.rollback()``, and close the cursors with unread rows."""
        conn.rollback()
        _close_cursors(conn)

    def close(self, conn: Conn) -> None:
        """``conn.close()``. If another thread uses the connection, it is interrupted; the last user closes it.

        sqlite3 would close it under that thread, which then reads freed memory: the process ends with a
        segmentation fault. A cursor at work refuses to be closed, and a cursor that is being read has rows left.
        """
        if self.status(conn) == BROKEN:
            return
        # These include the statement cache: without it, sqlite3 would let other threads run before it has closed.
        held = gc.get_referents(conn)
        closings = map(sqlite3.Cursor.close, filter(None, map(call, _cursors_in(held))))
        try:
            if _has_unread_rows_still(conn):
                return
            # No other thread runs meanwhile: this is one call of C, and no part of it waits for SQLite.
            deque(chain(closings, map(call, [conn.close])), maxlen=0)
        except sqlite3.ProgrammingError:
            self.abort(conn)
        del held


def _has_unread_rows(conn: Conn) -> bool:
    """Whether a ``SELECT`` is unfinished; until it finishes, it keeps its lock on the file, and its snapshot.

    sqlite3 does not tell. But SQLite keeps an interruption in force until no statement runs any more: if one is
    unfinished, the next is interrupted with it; otherwise none is (https://sqlite.org/c3ref/interrupt.html).
    """
    conn.interrupt()
    try:
        conn.execute("select 1")
    except sqlite3.ProgrammingError:
        raise
    except sqlite3.Error as error:
        return error.sqlite_errorcode == sqlite3.SQLITE_INTERRUPT
    return False


def _has_unread_rows_still(conn: Conn) -> bool:
    """Whether a ``SELECT`` is unfinished although its thread had time to end it after an interruption."""
    if not _has_unread_rows(conn):
        return False
    time.sleep(_TIME_TO_END)
    return _has_unread_rows(conn)


def _close_cursors(conn: Conn) -> None:
    """Close the cursors of a connection if any has unread rows."""
    if not _has_unread_rows_still(conn):
        return
    for ref in _cursors_in(gc.get_referents(conn)).copy():
        with suppress(sqlite3.Error, TypeError):  # TypeError: the cursor no longer exists.
            sqlite3.Cursor.close(ref())


def _cursors_in(referents: list[Any]) -> list[Any]:
    """A connection's list of weak references to its cursors, to which it adds; a second list has its blobs."""
    return next((held for held in referents if type(held) is list), [])
