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
    #: Unless `check_same_thread` is false; with it, a null pool's client may connect by itself all the same.
    is_thread_bound: ClassVar[bool] = True

    def __init__(self, *arguments: Any, **options: Any) -> None:
        """A driver, as `DbapiDriver`."""
        super().__init__(*arguments, **options)
        self._inherited: list[Conn] = []
        self._closing = threading.Lock()

    def inherit(self, conns: list[Conn]) -> None:
        """In the child of a fork: close these connections of the parent's before the first of its own is made.

        SQLite believes that this process has the locks of a file that inherited connections had, and takes none
        for further ones. In WAL mode an idle connection has one: the parent, when it closes its last connection,
        would find nobody there and delete the log into which the child writes.
        """
        self._closing = threading.Lock()
        self._inherited.extend(conns)

    def connect(self, conninfo: str, kwargs: Mapping[str, Any], timeout: float | None) -> Conn:
        """As `DbapiDriver.connect`."""
        if self._inherited:
            with self._closing:
                for conn in self._inherited:
                    # A transaction would be rolled back in the file, which is the parent's.
                    with suppress(sqlite3.Error):
                        if not conn.in_transaction:
                            conn.close()
                self._inherited.clear()
        return super().connect(conninfo, kwargs, timeout)

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

    def close(self, conn: Conn) -> None:
        """``conn.close()``; one that another thread uses is interrupted, and closed by who lets go of it last.

        sqlite3 would close it under that thread, which reads freed memory next: the process ends with a
        segmentation fault. A cursor at work refuses to be closed, and one that is read has rows left.
        """
        if self.status(conn) == BROKEN:
            return
        # The statement cache is among them: without it sqlite3 would have other threads run before it has closed.
        held = gc.get_referents(conn)
        closings = map(sqlite3.Cursor.close, filter(None, map(call, _cursors_in(held))))
        try:
            if _has_unread_rows_still(conn):
                return
            # No other thread runs meanwhile: this is one call of C, and none of it waits for SQLite.
            deque(chain(closings, map(call, [conn.close])), maxlen=0)
        except sqlite3.ProgrammingError:
            self.abort(conn)
        del held


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


def _has_unread_rows_still(conn: Conn) -> bool:
    """Whether a ``SELECT`` is not at its end though its thread had the time to end by an interruption."""
    if not _has_unread_rows(conn):
        return False
    time.sleep(_TIME_TO_END)
    return _has_unread_rows(conn)


def _close_cursors(conn: Conn) -> None:
    """Close the cursors of a connection if any has unread rows."""
    if not _has_unread_rows_still(conn):
        return
    for ref in _cursors_in(gc.get_referents(conn)).copy():
        with suppress(sqlite3.Error, TypeError):  # TypeError: the cursor is no more.
            sqlite3.Cursor.close(ref())


def _cursors_in(referents: list[Any]) -> list[Any]:
    """The weak references of a connection to its cursors: the list that it adds to. A second one has its blobs."""
    return next((held for held in referents if type(held) is list), [])
