"""PyMySQL, for threads.

Most of MySQL's answers say whether a transaction is open. PyMySQL keeps that only for answers without rows, and
errors do not say it. So after a plain ``SELECT`` with autocommit off, and after an error, the pool must roll back.
"""

import sys
from collections.abc import Mapping
from typing import Any

from pymysql.constants import SERVER_STATUS
from pymysql.err import OperationalError

from poolhouse.pool.drivers.dbapi import DbapiDriver
from poolhouse.pool.drivers.protocol import ACTIVE, BROKEN, IDLE, IN_TRANSACTION, UNSETTLED, Conn

_COM_RESET_CONNECTION = 0x1F
_AUTOCOMMIT = SERVER_STATUS.SERVER_STATUS_AUTOCOMMIT
_IN_TRANS = SERVER_STATUS.SERVER_STATUS_IN_TRANS


class _Untouched:
    """Takes the place of ``conn._result`` while nothing has been sent since the pool last ended a transaction.

    PyMySQL replaces it in the first step of the next command. It has the attributes that PyMySQL reads of a
    result.
    """

    unbuffered_active = False
    has_next = False
    insert_id = 0


_UNTOUCHED = _Untouched()


class PymysqlDriver(DbapiDriver):
    """Connections of ``pymysql.connect``."""

    def connect(self, conninfo: str, kwargs: Mapping[str, Any], timeout: float | None) -> Conn:
        """``pymysql.connect(**kwargs)``."""
        conn = super().connect(conninfo, kwargs, timeout)
        if conn.init_command is not None:
            conn.rollback()
        conn._result = _UNTOUCHED
        return conn

    def status(self, conn: Conn) -> int:
        """The status by the last answer, if that is enough; otherwise ``UNSETTLED`` or ``ACTIVE``."""
        if not conn.open:
            return BROKEN
        result = conn._result
        if result is _UNTOUCHED:
            return IDLE
        if result is None:
            # After an error, after a commit of the client's own, or in the middle of an answer.
            return ACTIVE if self._is_under_way(conn) else UNSETTLED
        if result.unbuffered_active:
            return ACTIVE
        if conn.server_status & _IN_TRANS:
            return IN_TRANSACTION
        if result.has_next or (result.server_status is None and not conn.server_status & _AUTOCOMMIT):
            return UNSETTLED
        return IDLE

    def commit(self, conn: Conn) -> None:
        """``conn.commit()``, after reading what was left unread.

        Raises:
            OperationalError: If none of an answer has arrived, or if another thread is reading it: it would be
                mistaken for the answer to the commit.
        """
        if conn._result is None and self._is_under_way(conn):
            raise OperationalError("the last command has not been answered")
        conn.commit()
        conn._result = _UNTOUCHED

    def rollback(self, conn: Conn) -> None:
        """``conn.rollback()``, unless an answer would have to be read first: it may have any number of rows.

        Raises:
            OperationalError: If there is such an answer. The connection is then useless.
        """
        if self.status(conn) == ACTIVE:
            raise OperationalError("the answer to the last command was not read")
        conn.rollback()
        conn._result = _UNTOUCHED

    def close(self, conn: Conn) -> None:
        """``conn.close()``. Work under way is cut: PyMySQL would wait until another thread has read the answer.

        A thread that is reading closes the connection itself after the cut. Closing the file under it would give
        it a ``ValueError`` or an ``AttributeError`` instead of a connection error.
        """
        status = self.status(conn)
        is_read = status == ACTIVE and self._is_read(conn)
        if status == ACTIVE:
            self.abort(conn)
        if status != BROKEN and not is_read:
            conn.close()

    def probe(self, conn: Conn) -> None:
        """A ping: one round trip, and no transaction."""
        was_untouched = conn._result is _UNTOUCHED
        conn.ping(reconnect=False)
        if was_untouched:
            conn._result = _UNTOUCHED

    @staticmethod
    def reset_session(conn: Conn) -> None:
        """A `reset` callback for pools: undo what a client has set, created or locked in its session.

        PyMySQL has no method for MySQL's ``COM_RESET_CONNECTION``. Afterwards this repeats PyMySQL's own set-up.
        """
        conn._execute_command(_COM_RESET_CONNECTION, b"")
        conn._read_ok_packet()
        conn.set_character_set(conn.charset, conn.collation)
        statements = [] if conn.sql_mode is None else [f"SET sql_mode={conn.escape(conn.sql_mode)}"]
        statements += [] if conn.init_command is None else [conn.init_command]
        for statement in statements:
            with conn.cursor() as cursor:
                cursor.execute(statement)
        if conn.autocommit_mode is not None:
            conn.autocommit(conn.autocommit_mode)

    @staticmethod
    def _is_under_way(conn: Conn) -> bool:
        """Whether a command was sent and none of its answer was read, or another thread is reading it now.

        The next packet has number 1 only if nothing was read.
        """
        return conn._next_seq_id == 1 or PymysqlDriver._is_read(conn)

    @staticmethod
    def _is_read(conn: Conn) -> bool:
        """Whether another thread is reading now: it then holds one more reference to the file."""
        return sys.getrefcount(conn._rfile) > 2
