"""Whether a server takes writes, asked through a psycopg connection."""

from typing import Any

from psycopg.errors import ReadOnlySqlTransaction
from psycopg.rows import tuple_row

#: True on a standby, and where default_transaction_read_only is set.
_QUERY = "select current_setting('transaction_read_only')"


def check_writable(conn: Any) -> None:
    """See `ConnectionPool.check_writable`."""
    was_autocommit = conn.autocommit
    # One round trip instead of three: no BEGIN before, no ROLLBACK after.
    conn.autocommit = True
    try:
        row = conn.cursor(row_factory=tuple_row).execute(_QUERY).fetchone()
    finally:
        if not conn.closed:
            conn.autocommit = was_autocommit
    _demand_off(row)


async def check_writable_async(conn: Any) -> None:
    """See `ConnectionPool.check_writable`."""
    was_autocommit = conn.autocommit
    await conn.set_autocommit(True)
    try:
        cursor = await conn.cursor(row_factory=tuple_row).execute(_QUERY)
        row = await cursor.fetchone()
    finally:
        if not conn.closed:
            await conn.set_autocommit(was_autocommit)
    _demand_off(row)


def _demand_off(row: tuple[str] | None) -> None:
    if row != ("off",):
        raise ReadOnlySqlTransaction("the server takes no writes")
