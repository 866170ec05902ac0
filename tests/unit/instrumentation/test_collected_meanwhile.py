"""Pools are looked at while the garbage collector ends some of what is looked at."""

import gc
import time
from collections.abc import Callable
from functools import partial

import pytest
from sqlalchemy import create_engine
from sqlalchemy.pool import QueuePool

from poolhouse.instrumentation.driver_checkouts import DriverCheckouts
from poolhouse.instrumentation.records import LiveSet, Records
from poolhouse.instrumentation.watch import PoolWatch, watch, watch_of
from support.collecting import collected_meanwhile
from support.sqlalchemy_truth import FakeStream

LOOKS: dict[str, Callable[[PoolWatch], int]] = {
    "holds": lambda watch: len(watch.holds()),
    "holding": lambda watch: len(watch.holding().holds),
    "condition": lambda watch: watch.condition().used,
    "reading": lambda watch: watch.read(1).gauges.used,
}


class Thing:
    """Something that can be referred to weakly; only the collector ends it."""

    dbapi_connection, in_use = object(), True

    def __init__(self, last_words: Callable[[], object] = object) -> None:
        self.cycle, self.last_words = self, last_words

    def __del__(self) -> None:
        self.last_words()


def fill(living: LiveSet, things: list[Thing]) -> None:
    living.clear()
    for thing in (Thing(), *things, Thing()):
        living.add(thing)


def test_a_set_of_the_living_has_all_that_live_on():
    living, things = LiveSet(), [Thing() for _ in range(10)]
    for found in collected_meanwhile(lambda: fill(living, things), lambda: list(living)):
        assert {*things} <= {*found}


def test_the_records_of_a_pool_are_counted():
    records, things = Records(), [Thing() for _ in range(10)]
    for look in collected_meanwhile(lambda: fill(records, things), records.look):
        assert 10 <= look.used <= 12


@pytest.mark.parametrize("look", LOOKS.values(), ids=LOOKS)
def test_who_has_the_connections_of_an_engine_is_known(look: Callable[[PoolWatch], int]):
    engine = create_engine("sqlite://", poolclass=QueuePool, pool_size=4)
    watch(engine, FakeStream())
    found = watch_of(engine.pool)
    assert found is not None

    def lose_one() -> None:
        lost = [engine.connect(), engine.connect()]
        lost.append(lost)  # type: ignore[arg-type]

    with engine.connect(), engine.connect():
        for used in collected_meanwhile(lose_one, lambda: look(found)):
            assert 2 <= used <= 4
    # The lost ones go back to this pool: it must be the one that is disposed of.
    gc.collect()
    engine.dispose()


def test_who_has_the_connections_of_a_driver_s_pool_is_known():
    checkouts = DriverCheckouts(lambda: None, is_async=False, between="driver")
    kept, lost = [object() for _ in range(5)], [object() for _ in range(2)]

    def lose_two() -> None:
        checkouts.after_fork(())
        for connection in (*lost, *kept):
            checkouts.took(connection, *checkouts.asker(), time.monotonic())
        for connection in lost:
            Thing(partial(checkouts.gives_back, connection))

    for holding in collected_meanwhile(lose_two, checkouts.holding):
        assert 5 <= len(holding.holds) <= 7
