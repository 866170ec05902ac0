"""The names of SQLAlchemy that our pool rests on and that its documentation does not promise, one test each.

A version that changes one of them fails here, under that name, and not somewhere in a program.
"""

import asyncio
import inspect
from typing import Any

import pytest
import sqlalchemy
from sqlalchemy import create_engine, event
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import Pool, QueuePool
from sqlalchemy.util import await_only, greenlet_spawn

from support.asyncio_runs import run


class Recording(Pool):
    """Keeps one record and writes down what SQLAlchemy asks of it."""

    def __init__(self, creator: Any, **parameters: Any) -> None:
        Pool.__init__(self, creator, **parameters)
        self.calls: list[str] = []
        self.record: Any = None

    def _do_get(self) -> Any:
        self.calls.append("_do_get")
        if self.record is None:
            self.record = self._create_connection()
        return self.record

    def _do_return_conn(self, record: Any) -> None:
        self.calls.append("_do_return_conn")
        assert record is self.record

    def status(self) -> str:
        return "recording"

    def dispose(self) -> None:
        self.record.close()


class Connection:
    is_open = True

    def close(self) -> None:
        self.is_open = False

    def commit(self) -> None:
        pass

    def rollback(self) -> None:
        pass


def test_do_get_and_do_return_conn_are_what_a_checkout_and_a_checkin_call() -> None:
    pool = Recording(Connection)
    pool.connect().close()
    assert pool.calls == ["_do_get", "_do_return_conn"]


def test_create_connection_makes_a_record_that_is_connected() -> None:
    assert isinstance(Recording(Connection)._create_connection().dbapi_connection, Connection)


def test_a_record_closes_its_connection_and_reconnects_when_it_is_used_next() -> None:
    pool = Recording(Connection)
    first = pool.connect()
    connection: Any = first.dbapi_connection
    first.close()
    pool.record.close()
    assert not connection.is_open
    assert pool.record.dbapi_connection is None
    pool.record.close()  # A second time does nothing.
    again: Any = pool.connect().dbapi_connection
    assert again is not connection
    assert again.is_open


def test_a_record_older_than_the_pools_invalidate_time_reconnects() -> None:
    pool = Recording(Connection)
    pool.connect().close()
    before = pool.record.dbapi_connection
    pool._invalidate_time = pool.record.starttime + 1
    pool.connect().close()
    assert pool.record.dbapi_connection is not before


def test_detach_gives_back_a_record_without_a_connection() -> None:
    pool = Recording(Connection)
    pool.connect().detach()
    assert pool.calls == ["_do_get", "_do_return_conn"]
    assert pool.record.dbapi_connection is None


def test_a_failed_checkout_gives_its_record_back() -> None:
    pool = Recording(Connection)

    def refuse(connection: Any, record: Any, proxy: Any) -> None:
        raise ValueError

    event.listen(pool, "checkout", refuse)
    with pytest.raises(ValueError):
        pool.connect()
    assert pool.calls == ["_do_get", "_do_return_conn"]


@pytest.mark.parametrize(
    "name", ["_creator", "_recycle", "_pre_ping", "_reset_on_return", "_orig_logging_name", "_dialect", "echo"]
)
def test_what_recreate_passes_on_is_kept_under_its_name(name: str) -> None:
    assert hasattr(QueuePool(Connection), name)


@pytest.mark.parametrize(
    "parameter", ["recycle", "echo", "logging_name", "reset_on_return", "dialect", "pre_ping", "_dispatch"]
)
def test_what_recreate_passes_on_is_a_parameter(parameter: str) -> None:
    assert parameter in inspect.signature(Pool.__init__).parameters


def test_dispatch_carries_the_listeners_over() -> None:
    pool, heard = Recording(Connection), []
    event.listen(pool, "connect", lambda connection, record: heard.append(connection))
    Recording(Connection, _dispatch=pool.dispatch).connect()
    assert len(heard) == 1


def test_an_engine_gives_its_pool_the_dialect_which_knows_whether_it_is_async() -> None:
    assert create_engine("sqlite://", poolclass=QueuePool).pool._dialect.is_async is False
    engine = create_async_engine("sqlite+aiosqlite://", poolclass=Recording)
    assert engine.sync_engine.pool._dialect.is_async is True
    assert sqlalchemy.__version__


def test_await_only_waits_in_a_greenlet_of_greenlet_spawn() -> None:
    async def main() -> None:
        future = asyncio.get_running_loop().create_future()
        future.set_result("waited")
        assert await greenlet_spawn(await_only, future) == "waited"

    run(main())
