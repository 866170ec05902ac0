"""`check_writable` on a server that stops taking writes, as a former primary does."""

import asyncio
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

from poolhouse.errors import PoolTimeout
from poolhouse.pool import AsyncConnectionPool, ConnectionPool
from support.waiting import wait_until


def _set_read_only(conninfo: str, value: str) -> None:
    with psycopg.connect(conninfo, autocommit=True) as conn:
        conn.execute("set default_transaction_read_only = off")
        conn.execute(f"alter system set default_transaction_read_only = {value}")
        conn.execute("select pg_reload_conf()")

    def is_set() -> bool:
        with psycopg.connect(conninfo, autocommit=True) as conn:
            row = conn.execute("show default_transaction_read_only").fetchone()
        return row == (value,)

    wait_until(is_set)


def test_connections_to_a_server_that_takes_no_writes_are_not_served(postgres: Any) -> None:
    with ConnectionPool[Any](
        postgres.conninfo, min_size=2, check=ConnectionPool.check_writable, kwargs={"row_factory": dict_row}
    ) as pool:
        with pool.connection() as conn:
            assert conn.execute("select 1 as one").fetchone() == {"one": 1}
            assert not conn.autocommit
        _set_read_only(postgres.conninfo, "on")
        try:
            with pytest.raises(PoolTimeout, match="ReadOnlySqlTransaction: the server takes no writes"):
                pool.getconn(timeout=0.5)
        finally:
            _set_read_only(postgres.conninfo, "off")
        with pool.connection(timeout=5.0) as conn:
            conn.execute("create temporary table t (n int)")


def test_in_asyncio_it_raises_and_leaves_the_connection_as_it_was(postgres: Any) -> None:
    async def main() -> None:
        async with await psycopg.AsyncConnection.connect(postgres.conninfo) as conn:
            await AsyncConnectionPool.check_writable(conn)
            assert not conn.autocommit
            await conn.set_autocommit(True)
            await conn.execute("set default_transaction_read_only = on")
            with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
                await AsyncConnectionPool.check_writable(conn)
            assert conn.autocommit

    asyncio.run(main())
