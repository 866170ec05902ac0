"""Engines of an application that says nothing about poolhouse: measured from their first use on."""

import copy
import logging
import threading
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from sqlalchemy import create_engine
from sqlalchemy.engine import Engine
from sqlalchemy.pool import QueuePool
from sqlalchemy.util import queue

from poolhouse.instrumentation import automatic
from poolhouse.instrumentation.automatic import engine_made, pending_of, pool_made
from poolhouse.instrumentation.watch import PoolWatch, is_watched, watch
from poolhouse.report import reporter
from poolhouse.report.destination import Destination
from support.sqlalchemy_truth import FakeStream


@pytest.fixture
def stream(monkeypatch: pytest.MonkeyPatch) -> FakeStream:
    """Where engines are reported that say nothing."""
    made = FakeStream()
    monkeypatch.setattr(reporter, "stream", lambda _: made)
    monkeypatch.setattr(reporter, "default_destination", Destination)
    monkeypatch.setattr(automatic, "_told", set())
    return made


def new_engine(**options: Any) -> Engine:
    return create_engine("sqlite://", poolclass=sqlalchemy.pool.QueuePool, **options)


def attached() -> Engine:
    engine = new_engine()
    engine_made(engine)
    return engine


def watch_of(stream: FakeStream) -> PoolWatch:
    (source,) = stream.sources
    assert isinstance(source, PoolWatch)
    return source


def test_nothing_is_reported_before_the_first_use(stream: FakeStream) -> None:
    engine = attached()
    assert stream.sources == []
    assert not is_watched(engine.pool)
    engine.connect().close()
    engine.connect().close()
    assert watch_of(stream).read(1).counters.checkouts == 2
    assert pending_of(engine.pool) is None


def test_the_lines_are_those_that_made_the_engine_and_took_the_connection(stream: FakeStream) -> None:
    engine = attached()
    with engine.connect():
        held = {reading.site for reading in watch_of(stream).read(1).signs.sites if reading.open}
    assert watch_of(stream).made_at.endswith(" in attached")
    (line,) = held
    assert line.endswith(" in test_the_lines_are_those_that_made_the_engine_and_took_the_connection")


def test_who_measures_it_before_its_first_use_counts_and_finds_no_trace(stream: FakeStream) -> None:
    engine, own = attached(), FakeStream()
    watch(engine, own)
    assert pending_of(engine.pool) is None
    engine.connect().close()
    assert stream.sources == []
    assert watch_of(own).read(1).counters.checkouts == 1


def test_a_pool_that_is_replaced_before_its_first_use_hands_on_what_waits(stream: FakeStream) -> None:
    engine = attached()
    engine.dispose()
    assert pending_of(engine.pool) is not None
    engine.connect().close()
    assert watch_of(stream).read(1).counters.checkouts == 1


def test_engines_that_share_a_pool_are_one(stream: FakeStream) -> None:
    engine = attached()
    other = create_engine("sqlite://", pool=engine.pool)
    engine_made(other)
    other.connect().close()
    third = create_engine("sqlite://", pool=engine.pool)
    engine_made(third)
    third.connect().close()
    assert watch_of(stream).read(1).counters.checkouts == 2


def test_an_engine_in_use_is_measured_at_once(stream: FakeStream) -> None:
    engine = new_engine()
    with engine.connect():
        engine_made(engine)
        assert is_watched(engine.pool)


def test_where_the_application_has_wrapped_the_stand_in_it_is_passed_through(stream: FakeStream) -> None:
    engine = attached()
    pool: Any = engine.pool
    inner, calls = pool.connect, []

    def wrapper() -> Any:
        calls.append(1)
        return inner()

    pool.connect = wrapper
    for _ in range(3):
        engine.connect().close()
    assert len(calls) == 3
    # The first checkout led here: it is the one that is not counted.
    assert watch_of(stream).read(1).counters.checkouts == 2


def test_what_the_application_had_put_there_is_there_again(stream: FakeStream) -> None:
    engine = new_engine()
    pool: Any = engine.pool
    own = pool.connect = lambda: type(pool).connect(pool)
    engine_made(engine)
    pending = pending_of(pool)
    assert pending is not None
    pending.give_way(pool)
    assert vars(pool)["connect"] is own
    assert "recreate" not in vars(pool)


@pytest.mark.parametrize("fault", ["watch", "version", "setting"])
def test_a_pool_works_as_ever_where_it_cannot_be_measured(
    fault: str, stream: FakeStream, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    engines = attached(), attached()
    match fault:
        case "watch":
            monkeypatch.setattr("poolhouse.instrumentation.watch.watch", None)
        case "version":
            monkeypatch.setattr(sqlalchemy, "__version__", "1.3.24")
        case "setting":
            monkeypatch.undo()
            monkeypatch.setattr(automatic, "_told", set())
            monkeypatch.setenv("POOLHOUSE_REPORT", "http://x")
    with caplog.at_level(logging.INFO):
        for engine in engines:
            engine.connect().close()
            engine.connect().close()
            assert pending_of(engine.pool) is None
    assert stream.sources == []
    if fault == "setting":
        (record,) = caplog.records
        assert record.getMessage().startswith("poolhouse reports no pools: POOLHOUSE_REPORT: url: ")


def test_several_threads_may_be_the_first(stream: FakeStream, tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path / 'first.db'}", poolclass=sqlalchemy.pool.QueuePool, pool_size=8)
    engine_made(engine)
    start, failures = threading.Barrier(8), []

    def use() -> None:
        start.wait()
        try:
            with engine.connect():
                pass
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=use) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert pending_of(engine.pool) is None
    assert is_watched(engine.pool)
    engine.dispose()


def test_a_pool_that_is_none_raises_what_poolhouse_raises(stream: FakeStream) -> None:
    with pytest.raises(TypeError, match="expected a pool"):
        pool_made(object())


def test_a_pool_that_a_copy_replaces_before_its_first_use_is_not_the_one_that_is_used(stream: FakeStream) -> None:
    class Copied(QueuePool):
        def recreate(self) -> QueuePool:
            new = copy.copy(self)
            new._pool, new._overflow = queue.Queue(5), -5
            return new

    engine = create_engine("sqlite://", poolclass=Copied)
    engine_made(engine)
    before = engine.pool
    engine.dispose()
    with engine.connect():
        assert (engine.pool.checkedout(), before.checkedout()) == (1, 0)  # type: ignore[attr-defined]
    assert watch_of(stream).read(1).counters.checkouts == 1
    assert pending_of(engine.pool) is None
