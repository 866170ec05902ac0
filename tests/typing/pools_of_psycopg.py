"""Read by type checkers, not run: what a pool serves is known from its `connection_class`."""

from typing import Any, assert_type

from psycopg import AsyncConnection, Connection
from psycopg.rows import DictRow, TupleRow

from poolhouse import AsyncConnectionPool, AsyncNullConnectionPool, ConnectionPool, NullConnectionPool

plain = ConnectionPool("dbname=x", open=False)
with plain.connection() as conn:
    assert_type(conn, Connection[TupleRow])
assert_type(plain.getconn(), Connection[TupleRow])

dicts = ConnectionPool("dbname=x", connection_class=Connection[DictRow], open=False)
with dicts as opened, opened.connection(timeout=1.0) as conn_of_dicts:
    assert_type(opened, ConnectionPool[Connection[DictRow]])
    assert_type(conn_of_dicts, Connection[DictRow])
    row = conn_of_dicts.execute("select 1 as one").fetchone()
    assert_type(row, dict[str, Any] | None)
dicts.putconn(dicts.getconn())

null = NullConnectionPool(connection_class=Connection[DictRow])
pool: ConnectionPool[Connection[DictRow]] = null
assert_type(null.getconn(), Connection[DictRow])


def check(conn: Connection[DictRow]) -> None:
    conn.execute("select 1")


checked: ConnectionPool[Connection[DictRow]] = ConnectionPool(check=check, connection_class=Connection[DictRow])
default_check = ConnectionPool("", check=ConnectionPool.check_connection)


async def tasks() -> None:
    async_dicts = AsyncConnectionPool("dbname=x", connection_class=AsyncConnection[DictRow], open=False)
    async with async_dicts as opened, opened.connection() as conn:
        assert_type(conn, AsyncConnection[DictRow])
    assert_type(await async_dicts.getconn(), AsyncConnection[DictRow])
    async with AsyncNullConnectionPool("dbname=x") as without, without.connection() as conn_of_tuples:
        assert_type(conn_of_tuples, AsyncConnection[TupleRow])
