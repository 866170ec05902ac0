"""psycopg2, for threads."""

from typing import ClassVar

from psycopg2.extensions import STATUS_READY, get_wait_callback

from poolhouse.pool.drivers.dbapi import DbapiDriver
from poolhouse.pool.drivers.postgres import RESET_SESSION
from poolhouse.pool.drivers.protocol import ACTIVE, BROKEN, IDLE, IN_TRANSACTION, Conn


class Psycopg2Driver(DbapiDriver):
    """Connections of ``psycopg2.connect``."""

    class_argument: ClassVar[str | None] = "connection_factory"

    def status(self, conn: Conn) -> int:
        """The status by libpq and by psycopg2: ``IDLE`` only if both are idle.

        psycopg2 believes that a transaction is open after a ``COMMIT`` that was executed as a statement, and would
        begin none for the next client; and that one is prepared (`tpc_prepare`) until it is ended.
        """
        if conn.closed:
            return BROKEN
        # libpq's numbers are the pool's; 4, unknown, means that the connection is closed.
        status = int(conn.info.transaction_status)
        return status if status != IDLE or conn.status == STATUS_READY else IN_TRANSACTION

    def commit(self, conn: Conn) -> None:
        """``conn.commit()``; psycopg2 does not notice a transaction that ``BEGIN`` began in autocommit mode."""
        conn.commit()
        self._end_by_hand(conn, "COMMIT")

    def rollback(self, conn: Conn) -> None:
        """``conn.rollback()``, like `commit`."""
        conn.rollback()
        self._end_by_hand(conn, "ROLLBACK")

    def close(self, conn: Conn) -> None:
        """``conn.close()``, after cutting what another thread or greenlet has under way.

        psycopg2 would wait for its end; in a greenlet, whose thread then stands still, forever. With
        `set_wait_callback`, the waiting greenlet gets an error, and libpq closes with the last reference.
        """
        if conn.closed:
            return
        if int(conn.info.transaction_status) == ACTIVE:
            self.abort(conn)
            if conn.async_ or get_wait_callback() is not None:
                return
        conn.close()

    @staticmethod
    def reset_session(conn: Conn) -> None:
        """A `reset` callback for pools: undo what a client has set, created, locked or listened to.

        This switches autocommit on for one statement; if that fails, the pool closes the connection.
        """
        autocommit = conn.autocommit
        conn.autocommit = True
        with conn.cursor() as cursor:
            cursor.execute(RESET_SESSION)
        conn.autocommit = autocommit

    @staticmethod
    def _end_by_hand(conn: Conn, command: str) -> None:
        if conn.autocommit and int(conn.info.transaction_status) != IDLE:
            with conn.cursor() as cursor:
                cursor.execute(command)
