"""A `creator` that returns a connection which the FairQueuePool has already."""

import asyncio
import sqlite3
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import create_engine, exc, text
from sqlalchemy.engine.default import DefaultDialect

from poolhouse.pool.sqlalchemy import FairQueuePool
from support.asyncio_runs import run

_SENTENCE = "the creator returned a connection that the pool already has: .*; for one .* use StaticPool"


class _Creator:
    """Makes one connection, and returns it again and again."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self.calls = 0
        self.conn = make()

    def __call__(self) -> Any:
        self.calls += 1
        return self.conn


def test_a_caller_is_told_of_it_and_whoever_has_the_connection_keeps_it() -> None:
    creator = _Creator(lambda: sqlite3.connect(":memory:", check_same_thread=False))
    engine = create_engine("sqlite://", creator=creator, poolclass=FairQueuePool, pool_size=3, future=True)
    pool: Any = engine.pool
    with engine.connect() as first:
        first.execute(text("create table t (x)"))
        for number in range(3):
            with pytest.raises(exc.InvalidRequestError, match=_SENTENCE):
                engine.connect()
            assert creator.calls == 2 + number  # One attempt for each caller, and none behind.
        first.execute(text("insert into t values (1)"))
        first.commit()
        assert (pool.size(), pool.checkedout(), pool.checkedin()) == (3, 1, 0)
    with engine.connect() as again:
        assert again.execute(text("select x from t")).scalar() == 1
    assert creator.calls == 4
    engine.dispose()
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        creator.conn.execute("select 1")


class _Adapted:
    """What SQLAlchemy makes of an asyncio driver's connection: a new one for each connect."""

    def __init__(self, conn: object) -> None:
        self.conn = conn

    def close(self) -> None:
        pass

    rollback = commit = close


class _AsyncDialect(DefaultDialect):
    is_async = True
    driver = "pretended"

    def get_driver_connection(self, connection: Any) -> Any:
        return connection.conn


def test_an_asyncio_drivers_connection_is_known_again_behind_what_sqlalchemy_makes_of_it() -> None:
    async def main() -> None:
        shared = _Creator(object)
        pool = FairQueuePool(lambda: _Adapted(shared()), pool_size=2, dialect=_AsyncDialect())
        first = pool.connect()
        with pytest.raises(exc.InvalidRequestError, match=_SENTENCE):
            pool.connect()
        first.close()
        await asyncio.sleep(0)
        pool.connect().close()
        assert shared.calls == 2

    run(main())


def test_one_that_was_given_up_may_come_again() -> None:
    creator = _Creator(lambda: sqlite3.connect(":memory:", check_same_thread=False))
    pool = FairQueuePool(creator, pool_size=2)
    first = pool.connect()
    first.detach()
    assert pool.connect().dbapi_connection is creator.conn
