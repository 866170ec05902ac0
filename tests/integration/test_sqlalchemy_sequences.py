"""Sequences of everything an application may do with a pool, made by hypothesis, against the driver's truth."""

import asyncio
import gc
import sqlite3
import threading
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool, NullPool, QueuePool
from sqlalchemy.util import greenlet_spawn

from poolhouse.meter.reading import Gauges
from support.asyncio_runs import connections_ended
from support.sqlalchemy_truth import Measured

which = st.integers(0, 7)
LIMITS = {"pool_size": 2, "max_overflow": 2, "pool_timeout": 0}


class PoolMachine(RuleBasedStateMachine):
    """An application with one pool, which keeps an account of what it has done."""

    def __init__(self) -> None:
        super().__init__()
        self.m = self.measured()
        self.held: list[Any] = []
        self.detached: list[Any] = []
        self.checkouts = self.invalidated = self.timeouts = self.errors = 0

    @staticmethod
    def measured() -> Measured:
        """The application's engine."""
        return Measured(poolclass=QueuePool, **LIMITS)

    def do(self, step: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Have the application take a step."""
        return step(*args, **kwargs)

    def taken(self, number: int) -> Any:
        return self.held.pop(number % len(self.held))

    @rule()
    def checkout(self) -> None:
        try:
            self.held.append(self.do(self.m.sync_engine.raw_connection))
            self.checkouts += 1
        except PoolTimeoutError:
            self.timeouts += 1

    @rule()
    def checkout_while_the_server_is_down(self) -> None:
        with self.m.truth.down():
            try:
                self.held.append(self.do(self.m.sync_engine.raw_connection))
                self.checkouts += 1
            except PoolTimeoutError:
                self.timeouts += 1
            except (OperationalError, sqlite3.OperationalError):
                self.errors += 1

    @precondition(lambda self: self.held)
    @rule(number=which)
    def checkin(self, number: int) -> None:
        self.do(self.taken(number).close)

    @precondition(lambda self: self.held)
    @rule(number=which)
    def drop(self, number: int) -> None:
        self.taken(number)
        gc.collect()

    @precondition(lambda self: self.held)
    @rule(number=which)
    def invalidate(self, number: int) -> None:
        self.do(self.taken(number).invalidate)
        self.invalidated += 1

    @precondition(lambda self: self.held)
    @rule(number=which)
    def invalidate_softly(self, number: int) -> None:
        self.do(self.held[number % len(self.held)].invalidate, soft=True)
        self.invalidated += 1

    @precondition(lambda self: self.held)
    @rule(number=which)
    def detach(self, number: int) -> None:
        raw = self.taken(number)
        self.do(raw.detach)
        self.detached.append(raw)

    @precondition(lambda self: self.detached)
    @rule(number=which)
    def close_detached(self, number: int) -> None:
        self.do(self.detached.pop(number % len(self.detached)).close)

    @precondition(lambda self: self.detached)
    @rule(number=which)
    def drop_detached(self, number: int) -> None:
        self.detached.pop(number % len(self.detached))
        gc.collect()

    @rule(close=st.booleans())
    def dispose(self, close: bool) -> None:
        self.do(self.m.sync_engine.dispose, close=close)
        gc.collect()

    @invariant()
    def what_is_told_is_true(self) -> None:
        if not self.m.stream.sources:
            return
        reading = self.m.read()
        used, detached = len(self.held), len(self.detached)
        assert reading.gauges == Gauges(self.m.truth.open - used - detached, used, detached, 0)
        counters = reading.counters
        assert (counters.connects, counters.disconnects) == (self.m.truth.opened, self.m.truth.ended)
        assert (counters.checkouts, counters.invalidated) == (self.checkouts, self.invalidated)
        assert (counters.timeouts, counters.acquire_errors) == (self.timeouts, self.errors)
        assert counters.connect_errors == self.errors
        assert reading.use is not None
        assert reading.use.count == self.checkouts - used
        assert reading.marks[0].used >= used

    def teardown(self) -> None:
        for raw in (*self.held, *self.detached):
            self.do(raw.close)


class NullPoolMachine(PoolMachine):
    @staticmethod
    def measured() -> Measured:
        return Measured(poolclass=NullPool)


class AsyncPoolMachine(PoolMachine):
    """The same in greenlets of one event loop; what is not closed there goes on for ever, and is not tried."""

    drop = drop_detached = None

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.before = set(threading.enumerate())

    @staticmethod
    def measured() -> Measured:
        return Measured(create_async_engine, "sqlite+aiosqlite://", poolclass=AsyncAdaptedQueuePool, **LIMITS)

    @precondition(lambda self: not self.held)
    @rule()
    def dispose(self) -> None:
        self.do(self.m.sync_engine.dispose)
        gc.collect()

    def do(self, step: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        return self.runner.run(greenlet_spawn(step, *args, **kwargs))

    def teardown(self) -> None:
        super().teardown()
        self.do(self.m.sync_engine.dispose)
        self.runner.run(connections_ended(self.before))
        self.runner.close()


@pytest.mark.parametrize("machine", [PoolMachine, NullPoolMachine, AsyncPoolMachine])
def test_no_sequence_of_uses_makes_the_figures_drift(machine: type[PoolMachine]):
    """Trap 21. And every other drift of what adds and subtracts."""
    case = machine.TestCase
    case.settings = settings(max_examples=40, stateful_step_count=30)
    gc.collect()
    gc.freeze()  # What is there already need not be looked through at each collection.
    try:
        case("runTest").runTest()
    finally:
        gc.unfreeze()
