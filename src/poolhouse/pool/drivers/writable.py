"""A check, through a psycopg connection, that the server accepts writes."""

from typing import Any

from psycopg.errors import ReadOnlySqlTransaction

from poolhouse.pool.drivers.psycopg import asked, asked_async

#: True on a standby, and where default_transaction_read_only is set.
_QUERY = b"select current_setting('transaction_read_only')"


def check_writable(conn: Any) -> None:
    """Raise if the server accepts no writes: `ConnectionPool.check_writable`."""
    _demand_off(asked(conn, _QUERY))


async def check_writable_async(conn: Any) -> None:
    """Raise if the server accepts no writes: `AsyncConnectionPool.check_writable`."""
    _demand_off(await asked_async(conn, _QUERY))


def _demand_off(results: list[Any]) -> None:
    if results[0].get_value(0, 0) != b"off":
        raise ReadOnlySqlTransaction("the server takes no writes")
