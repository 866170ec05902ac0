"""`poolhouse.ready`: of pools of ours, engines, and pools of psycopg_pool, what is known and what follows."""

import sqlite3
import time
from typing import Any

import psycopg_pool as foreign
import pytest
from sqlalchemy import create_engine
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import QueuePool

import poolhouse
from poolhouse.instrumentation import psycopg_pool, readiness
from poolhouse.pool.sqlalchemy import FairQueuePool
from poolhouse.report import reporter
from poolhouse.verdicts import current
from poolhouse.verdicts.verdict import Verdict
from support.unread import Stream


@pytest.fixture(autouse=True)
def stream(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reporter, "stream", lambda destination: Stream())


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock of the function is 20 seconds ahead of that of the pools."""
    monkeypatch.setattr(readiness.SystemClock, "monotonic", staticmethod(lambda: time.monotonic() + 20))


def reason(thing: Any) -> str:
    found = poolhouse.ready(thing)
    assert bool(found) is not bool(found.reason), found
    return found.reason


def test_of_a_pool_of_ours() -> None:
    pool = poolhouse.ConnectionPool(
        ":memory:", driver=sqlite3, kwargs={"check_same_thread": False}, min_size=1, max_size=1, open=False
    )
    assert reason(pool) == "the pool is not open yet"
    pool.open(wait=True)
    assert poolhouse.ready(pool)
    conn = pool.getconn()
    with pytest.raises(poolhouse.PoolTimeout):
        pool.getconn(timeout=0.01)
    assert poolhouse.ready(pool), "for 10 seconds it may be full"
    now = pool._now
    pool._now = lambda: now() + 20  # type: ignore[method-assign]
    leak = Verdict("leak", 0.0, "shop", evidence=(("kept", 1.0), ("max", 1.0), ("oldest_s", 20.0)))
    current.tell(pool, [leak])
    text = "1 of 1 connections are in use, and none has come back for 20 s; 0 wait; leak: a line keeps 1 of 1"
    assert reason(pool).startswith(text)
    assert poolhouse.ready(pool).verdict is leak
    pool._now = now  # type: ignore[method-assign]
    pool.putconn(conn)
    assert poolhouse.ready(pool)
    pool.close()
    assert reason(pool) == "the pool is closed"


def test_of_a_pool_of_ours_that_cannot_connect(tmp_path: Any) -> None:
    where = str(tmp_path / "missing" / "shop.db")
    with poolhouse.ConnectionPool(where, driver=sqlite3, min_size=1, open=True) as pool:
        with pytest.raises(poolhouse.PoolTimeout):
            pool.getconn(timeout=0.2)
        assert reason(pool).startswith("no connection could be made for ")
        assert reason(pool).endswith(" (no_database)")


@pytest.mark.parametrize(
    "options", [{"poolclass": FairQueuePool}, {"poolclass": QueuePool}], ids=["FairQueuePool", "QueuePool"]
)
@pytest.mark.parametrize("plugin", ["?plugin=poolhouse", ""])
def test_of_an_engine(tmp_path: Any, options: Any, plugin: str, later: None) -> None:
    engine = create_engine(
        f"sqlite:///{tmp_path}/shop.db{plugin}", pool_size=1, max_overflow=0, pool_timeout=0.01, **options
    )
    is_known = bool(plugin) or options["poolclass"] is FairQueuePool
    assert poolhouse.ready(engine)
    assert bool(poolhouse.ready(engine).reason) is not is_known
    with engine.connect(), pytest.raises(Exception, match="limit of size 1"):
        engine.connect()
    with engine.connect():
        assert poolhouse.ready(engine), "somebody wanted one, but that was before"
        with pytest.raises(Exception, match="limit of size 1"):
            engine.connect()
        if plugin:
            assert reason(engine).startswith("1 of 1 connections are in use, and none has come back for 20 s")
    assert poolhouse.ready(engine)
    engine.dispose()
    assert poolhouse.ready(engine)


def test_of_an_engine_that_cannot_connect(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = create_engine(f"sqlite:///{tmp_path}/missing/shop.db?plugin=poolhouse")
    with pytest.raises(OperationalError):
        engine.connect()
    assert reason(engine).startswith("no connection could be made for ")
    monkeypatch.setattr(readiness.SystemClock, "monotonic", staticmethod(lambda: time.monotonic() + 40))
    assert poolhouse.ready(engine), "somebody has to try"


class Connection:
    """What psycopg_pool wants of a connection."""

    @classmethod
    def connect(cls, *_: Any, **__: Any) -> Any:
        raise ConnectionRefusedError(111, "Connection refused")


def test_of_a_pool_of_psycopg_pool() -> None:
    pool: Any = foreign.ConnectionPool("", connection_class=Connection, min_size=0, max_size=1, open=False)  # type: ignore[type-var]
    assert "nothing is known" in poolhouse.ready(pool).reason
    poolhouse.watch(pool)
    assert reason(pool) == "the pool is not open yet"
    pool.open()
    assert poolhouse.ready(pool)
    with pytest.raises(foreign.PoolTimeout):
        pool.getconn(timeout=0.05)
    assert reason(pool).startswith("no connection could be made for ")
    assert reason(pool).endswith(" (refused)")
    pool.close()
    assert reason(pool) == "the pool is closed"
    assert psycopg_pool.source_of(pool) is not None


@pytest.mark.parametrize("thing", [None, 5, "pool", object()])
def test_what_is_no_pool_is_refused(thing: Any) -> None:
    with pytest.raises(TypeError, match="expected a pool or an engine"):
        poolhouse.ready(thing)
