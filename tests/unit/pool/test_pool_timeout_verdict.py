"""A timeout says what is wrong with the pool, if anybody has found that."""

import gc
import pickle
import sqlite3
import weakref
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import create_engine

import poolhouse
from poolhouse.errors import PoolTimeout
from poolhouse.pool.sqlalchemy import FairQueuePool
from poolhouse.verdicts import current
from poolhouse.verdicts.verdict import Verdict, parse_line

LEAK = Verdict(
    "leak",
    0.0,
    "shop",
    culprit=parse_line("app/export.py:88 in rows"),
    evidence=(("kept", 1.0), ("max", 1.0), ("oldest_s", 9.1), ("waiting", 2.0)),
)
SENTENCE = "; leak: app/export.py:88 in rows keeps 1 of 1 connections, oldest 9 s; its call has ended; oldest"


def fair() -> tuple[Any, Callable[[], Any]]:
    engine = create_engine(
        "sqlite://", poolclass=FairQueuePool, pool_size=1, max_overflow=0, pool_timeout=0.01,
        connect_args={"check_same_thread": False},
    )  # fmt: skip
    return engine.pool, engine.pool.connect


def own() -> tuple[Any, Callable[[], Any]]:
    pool: Any = poolhouse.ConnectionPool(
        ":memory:",
        driver=sqlite3,
        max_size=1,
        min_size=1,
        timeout=0.01,
        kwargs={"check_same_thread": False},
        open=True,
    )
    return pool, pool.getconn


@pytest.fixture(params=[fair, own])
def taken(request: pytest.FixtureRequest) -> Any:
    """A pool whose only connection is out, and the function that asks for another one."""
    pool, get = request.param()
    held = get() if request.param is fair else pool.getconn(timeout=5)
    yield pool, get
    if request.param is fair:
        held.close()
        pool.dispose()
    else:
        pool.putconn(held)
        pool.close()


def timeout_of(get: Callable[[], Any]) -> PoolTimeout:
    with pytest.raises(PoolTimeout) as caught:
        get()
    return caught.value


def test_it_is_in_the_text_and_a_field_which_another_process_gets_too(taken: Any) -> None:
    pool, get = taken
    current.tell(pool, (LEAK, Verdict("pool_too_small", 0.0, "shop")))
    error = timeout_of(get)
    assert SENTENCE in str(error)
    assert error.verdict == LEAK
    assert pickle.loads(pickle.dumps(error)).verdict == LEAK


def test_without_a_verdict_the_text_is_as_ever(taken: Any) -> None:
    pool, get = taken
    current.tell(pool, (LEAK,))
    current.tell(pool, ())
    error = timeout_of(get)
    assert "leak" not in str(error)
    assert error.verdict is None


def test_what_is_told_keeps_no_pool_alive() -> None:
    class Any:
        pass

    pool = Any()
    current.tell(pool, (LEAK,))
    assert current.main_of(pool) == LEAK
    reference = weakref.ref(pool)
    del pool
    gc.collect()
    assert reference() is None


def test_what_cannot_be_referred_to_has_no_verdict() -> None:
    assert current.main_of(5) is None
