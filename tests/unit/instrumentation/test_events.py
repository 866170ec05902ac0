"""Listeners that are added while others go through them."""

import threading

import pytest
from sqlalchemy import create_engine, event
from sqlalchemy.pool import QueuePool

from poolhouse.instrumentation.events import listen
from poolhouse.instrumentation.watch import watch
from support.sqlalchemy_truth import FakeStream


def test_an_engine_may_be_instrumented_while_a_connect_goes_through_the_listeners() -> None:
    """Another thread's `connect()` raised `RuntimeError: deque mutated during iteration` here."""
    engine = create_engine("sqlite://", poolclass=QueuePool)
    stream, heard = FakeStream(), []

    @event.listens_for(engine, "connect")
    def instrument_now(*_: object) -> None:
        watch(engine, stream)
        heard.append("first")

    @event.listens_for(engine, "connect")
    def and_go_on(*_: object) -> None:
        heard.append("second")

    engine.connect().close()
    assert heard == ["first", "second"]


@pytest.mark.parametrize("name", ["begin", "rollback"])
def test_an_engine_may_be_instrumented_while_a_transaction_goes_through_the_listeners(name: str) -> None:
    engine = create_engine("sqlite://", poolclass=QueuePool)
    stream, heard = FakeStream(), []

    @event.listens_for(engine, name)
    def instrument_now(*_: object) -> None:
        watch(engine, stream)
        heard.append("first")

    @event.listens_for(engine, name)
    def and_go_on(*_: object) -> None:
        heard.append("second")

    with engine.connect() as connection:
        connection.begin().rollback()
    assert heard == ["first", "second"]


def test_a_listener_of_ours_comes_first_or_last_and_stays_in_the_pools_that_follow() -> None:
    engine = create_engine("sqlite://", poolclass=QueuePool)
    heard: list[str] = []
    event.listen(engine, "checkout", lambda *_: heard.append("the application's"))
    listen(engine.pool, "checkout", lambda *_: heard.append("last"))
    listen(engine.pool, "checkout", lambda *_: heard.append("first"), first=True)
    engine.connect().close()
    assert heard == ["first", "the application's", "last"]
    engine.dispose()
    engine.connect().close()
    assert heard == ["first", "the application's", "last"] * 2


def test_the_applications_listeners_can_be_removed_as_before() -> None:
    engine = create_engine("sqlite://", poolclass=QueuePool)
    heard: list[str] = []

    def listener(*_: object) -> None:
        heard.append("called")

    event.listen(engine.pool, "checkout", listener)
    listen(engine.pool, "checkout", lambda *_: None, first=True)
    event.remove(engine.pool, "checkout", listener)
    engine.connect().close()
    assert heard == []


def test_eight_threads_that_instrument_one_engine_at_once_count_once(busy_switching: None) -> None:
    for _ in range(50):
        engine = create_engine("sqlite://", poolclass=QueuePool, connect_args={"check_same_thread": False})
        stream, barrier = FakeStream(), threading.Barrier(8)

        def instrument(engine=engine, stream=stream, barrier=barrier) -> None:
            barrier.wait()
            watch(engine, stream)

        threads = [threading.Thread(target=instrument) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for _ in range(3):
            with engine.begin() as connection:
                connection.exec_driver_sql("SELECT 1")
        (source,) = stream.sources
        counters = source.read(1).counters
        assert (counters.transactions, counters.commits, counters.checkouts, counters.connects) == (3, 3, 3, 1)
        engine.dispose()
