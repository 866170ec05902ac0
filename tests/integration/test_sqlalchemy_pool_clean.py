"""What a client of FairQueuePool leaves, SQLAlchemy ends at its return (`reset_on_return`)."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from sqlalchemy import create_engine, text
from sqlalchemy.ext.asyncio import create_async_engine

from poolhouse.pool.sqlalchemy import FairQueuePool
from support.asyncio_runs import run
from support.mariadb import MariaDB
from support.postgres import Postgres


class Give(Exception):
    """What ends a block."""


#: SQLAlchemy 1.4 does not know psycopg 3.
DRIVERS = ["asyncpg", "aiosqlite"] if sqlalchemy.__version__ < "2" else ["asyncpg", "psycopg", "aiosqlite"]
ONE: dict[str, Any] = {"poolclass": FairQueuePool, "pool_size": 1, "max_overflow": 0}


def test_a_plain_select_of_pymysql_leaves_no_snapshot_in_fair_queue_pool(mariadb: MariaDB) -> None:
    url = f"mysql+pymysql://{mariadb.user}@127.0.0.1:{mariadb.port}/{mariadb.database}"
    other = create_engine(url, isolation_level="AUTOCOMMIT")
    engine = create_engine(url, **ONE)
    with other.connect() as o:
        o.execute(text("create table fair (v int) engine=innodb"))
        o.execute(text("insert into fair values (0)"))
        for number, fails in enumerate((False, True), 1):
            try:
                with engine.connect() as conn:
                    conn.execute(text("select v from fair")).all()
                    if fails:
                        raise Give
            except Give:
                pass
            o.execute(text(f"update fair set v = {number}"))
            with engine.connect() as conn:
                assert conn.execute(text("select v from fair")).scalar() == number
        o.execute(text("drop table fair"))
    engine.dispose()
    other.dispose()


@pytest.mark.parametrize("driver", DRIVERS)
def test_nothing_of_a_cancelled_client_of_fair_queue_pool_is_committed(
    driver: str, postgres: Postgres, tmp_path: Path
) -> None:
    url = postgres.url.replace("postgresql", f"postgresql+{driver}")
    if driver == "aiosqlite":
        url = f"sqlite+aiosqlite:///{tmp_path}/f.db"

    async def main() -> None:
        engine = create_async_engine(url, **ONE)
        async with engine.begin() as conn:
            await conn.execute(text(f"create table fair_{driver} (n int)"))
        for number in range(60):

            async def client() -> None:
                async with engine.begin() as conn:
                    await conn.execute(text(f"insert into fair_{driver} values (1)"))
                    await asyncio.sleep(3600)

            task = asyncio.ensure_future(client())
            for _ in range(number % 12):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait({task})
            async with engine.begin() as conn:
                await conn.execute(text("select 1"))
        async with engine.connect() as conn:
            assert (await conn.execute(text(f"select count(*) from fair_{driver}"))).scalar() == 0
        await engine.dispose()

    run(main())
