"""`hold_warning` and `hooks` of `FairQueuePool`: what the application is told of its connections."""

import asyncio
import gc
import logging
import os
import threading
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import Pool

from poolhouse.pool.hooks import PoolHooks
from poolhouse.pool.jobs import Reason
from poolhouse.pool.sqlalchemy import FairQueuePool, FairQueueTimeout
from poolhouse.pool.sqlalchemy_keeper import Keeper, keeper
from support.asyncio_runs import run
from support.waiting import wait_until

HERE = "integration/test_sqlalchemy_pool_watched.py"


class Connection:
    def close(self) -> None:
        pass

    rollback = commit = close


class Messages(logging.Handler):
    """What was logged, and by which thread."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.threads: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())
        self.threads.add(threading.current_thread().name)


@pytest.fixture
def messages() -> Iterator[Messages]:
    handler = Messages()
    logger = logging.getLogger("poolhouse.pool")
    logger.addHandler(handler)
    yield handler
    logger.removeHandler(handler)


def holds(pool: Any) -> Any:
    return pool.connect()


def engine_for(tmp_path: Path, **options: Any) -> Any:
    return create_engine(
        f"sqlite:///{tmp_path}/file.db",
        poolclass=FairQueuePool,
        connect_args={"check_same_thread": False},
        **options,
    )


# Held for too long


def test_a_connection_held_too_long_is_told_by_the_applications_line_and_so_is_its_return(
    tmp_path: Path, messages: Messages
) -> None:
    engine = engine_for(tmp_path, hold_warning=0.02)
    held = holds(engine)
    wait_until(lambda: messages.lines)
    (warning,) = messages.lines
    assert warning.startswith("FairQueuePool: a connection has been held for 0.")
    assert f" s by {HERE}:" in warning
    assert " in holds" in warning
    held.close()
    wait_until(lambda: len(messages.lines) == 2)
    assert messages.lines[1].startswith(f"FairQueuePool: the connection held by {HERE}:")
    assert " was returned after all, after 0." in messages.lines[1]
    # Never by the thread that returns: that may be anywhere in the application.
    assert messages.threads == {"poolhouse-holds"}
    engine.dispose()


def test_a_connection_is_warned_of_once_and_each_time_it_is_taken_again(messages: Messages) -> None:
    pool = FairQueuePool(Connection, hold_warning=0.02, logging_name="orders")
    for round_ in (1, 2):
        held = holds(pool)
        wait_until(lambda number=round_: sum("has been held" in line for line in messages.lines) == number)
        held.close()
        wait_until(lambda number=round_: len(messages.lines) == 2 * number)
    assert all(line.startswith("pool 'orders': ") for line in messages.lines)


def test_a_task_that_holds_too_long_is_told_by_its_line(tmp_path: Path, messages: Messages) -> None:
    async def main() -> None:
        engine = create_async_engine(
            f"sqlite+aiosqlite:///{tmp_path}/file.db", poolclass=FairQueuePool, hold_warning=0.02
        )
        async with engine.connect() as conn:
            await conn.execute(text("select 1"))
            await asyncio.to_thread(wait_until, lambda: messages.lines)
        await engine.dispose()

    run(main())
    assert f" s by {HERE}:" in messages.lines[0]
    assert ".main" in messages.lines[0]


def test_the_pool_that_follows_a_disposed_one_warns_too(tmp_path: Path, messages: Messages) -> None:
    engine = engine_for(tmp_path, hold_warning=0.02)
    engine.connect().close()
    engine.dispose()
    held = holds(engine)
    wait_until(lambda: messages.lines)
    held.close()
    engine.dispose()


def test_a_filter_that_raises_ends_no_warnings(messages: Messages) -> None:
    """flask#2838: a filter that reads the request, which a background thread does not have."""

    def refuse(record: logging.LogRecord) -> bool:
        if not refused:
            refused.append(record)
            raise RuntimeError("working outside of request context")
        return True

    refused: list[logging.LogRecord] = []
    logger = logging.getLogger("poolhouse.pool")
    logger.addFilter(refuse)
    try:
        pool = FairQueuePool(Connection, hold_warning=0.02)
        first = holds(pool)
        wait_until(lambda: refused)
        second = holds(pool)
        wait_until(lambda: any("has been held" in line for line in messages.lines))
        first.close()
        second.close()
    finally:
        logger.removeFilter(refuse)


def threads_of_ours() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "poolhouse-holds"]


def is_nobody_left() -> bool:
    """Whether the pools of other tests are gone, those too that the thread has just looked at, and the thread."""
    gc.collect()
    keeper.wake()
    return not threads_of_ours()


def test_one_thread_looks_for_all_pools_and_ends_with_the_last_of_them() -> None:
    wait_until(is_nobody_left)
    pools = [FairQueuePool(Connection, hold_warning=0.02) for _ in range(5)]
    assert not threads_of_ours()
    for pool in pools:
        pool.connect().close()
    assert len(threads_of_ours()) == 1
    last = weakref.ref(pools[-1])
    del pool
    pools.clear()
    wait_until(lambda: gc.collect() >= 0 and last() is None)
    wait_until(lambda: not threads_of_ours())
    again = FairQueuePool(Connection, hold_warning=0.02)
    again.connect().close()
    assert len(threads_of_ours()) == 1


def test_without_it_there_is_no_thread() -> None:
    wait_until(is_nobody_left)
    FairQueuePool(Connection).connect().close()
    assert not threads_of_ours()


def test_a_checkout_does_not_leave_the_fast_path_for_it() -> None:
    pool = FairQueuePool(Connection, hold_warning=100)
    pool.connect().close()
    before = pool._core.taken_at_once()
    for _ in range(3):
        pool.connect().close()
    assert pool._core.taken_at_once() == before + 3


def test_a_forked_child_warns_of_its_own_connections(messages: Messages) -> None:
    pool = FairQueuePool(Connection, hold_warning=0.02)
    held = holds(pool)
    wait_until(lambda: messages.lines)
    child = os.fork()
    if child == 0:
        messages.lines.clear()
        mine = holds(pool)
        wait_until(lambda: messages.lines)
        os._exit(0 if mine and "in holds" in messages.lines[0] else 1)
    assert os.waitpid(child, 0)[1] == 0
    held.close()


def test_where_no_thread_can_be_started_the_pool_works_and_the_next_one_tries_again(messages: Messages) -> None:
    class NoThreads:
        attempts = 0

        def start(self, target: Callable[[], None], name: str) -> None:
            self.attempts += 1
            raise RuntimeError("can't start new thread")

        def parker(self) -> Any:
            raise AssertionError("nobody parks")

    class Pool_:
        def look(self, now: float) -> float:
            raise AssertionError("nobody looks")

        def tell(self) -> None:
            raise AssertionError("nothing is to be told")

    threads, pools = NoThreads(), [Pool_(), Pool_()]
    mine = Keeper(threads)
    for pool in pools:
        mine.watch(pool)
    assert threads.attempts == 2
    told = [line for line in messages.lines if line.startswith("cannot look")]
    assert told == ["cannot look for connections that are held too long: RuntimeError: can't start new thread"] * 2


# Hooks


class Heard:
    """What the hooks were told."""

    def __init__(self) -> None:
        self.events: list[tuple[Any, ...]] = []
        self.hooks = PoolHooks(
            connected=lambda conn, took: self.events.append(("connected", conn, took)),
            acquired=lambda conn, waited, size, idle: self.events.append(("acquired", conn, waited, size, idle)),
            released=lambda conn, used: self.events.append(("released", conn, used)),
            timed_out=lambda waited: self.events.append(("timed_out", waited)),
            closed=lambda conn, reason: self.events.append(("closed", conn, reason)),
        )

    def names(self) -> list[str]:
        names = [event[0] for event in self.events]
        self.events.clear()
        return names


def test_each_event_is_told_with_the_record_of_the_connection() -> None:
    heard = Heard()
    pool = FairQueuePool(Connection, pool_size=1, max_overflow=1, timeout=0.01, hooks=heard.hooks)
    first = pool.connect()
    connected, acquired = heard.events
    record = connected[1]
    assert record.dbapi_connection is first.dbapi_connection
    assert connected[2] >= 0
    assert acquired[:2] == ("acquired", record)
    assert acquired[3:] == (1, 0)
    second = pool.connect()
    heard.events.clear()
    with pytest.raises(FairQueueTimeout):
        pool.connect()
    ((name, waited),) = heard.events
    assert (name, waited >= 0.01) == ("timed_out", True)
    heard.events.clear()
    first.close()
    second.close()
    assert [event[0] for event in heard.events] == ["released", "closed", "released"]
    assert heard.events[0][1] is record
    assert heard.events[1][2] is Reason.NOT_KEPT
    heard.events.clear()
    pool.connect().close()
    assert heard.names() == ["acquired", "released"]
    pool.dispose()
    assert heard.names() == ["closed"]


def test_they_are_told_in_tasks_and_of_what_the_garbage_collector_gives_back(tmp_path: Path) -> None:
    heard = Heard()

    async def main() -> None:
        engine = create_async_engine(
            f"sqlite+aiosqlite:///{tmp_path}/file.db", poolclass=FairQueuePool, hooks=heard.hooks
        )
        async with engine.connect():
            pass
        await engine.dispose()

    run(main())
    assert heard.names() == ["connected", "acquired", "released", "closed"]
    pool: Pool = FairQueuePool(Connection, hooks=heard.hooks)
    forgotten: list[Any] = [pool.connect()]
    forgotten.append(forgotten)
    del forgotten
    gc.collect()
    assert heard.names() == ["connected", "acquired", "released"]


def test_the_pool_that_follows_a_disposed_one_has_the_same_hooks(tmp_path: Path) -> None:
    heard = Heard()
    engine = engine_for(tmp_path, hooks=heard.hooks)
    engine.connect().close()
    engine.dispose()
    heard.events.clear()
    engine.connect().close()
    assert heard.names() == ["connected", "acquired", "released"]
    engine.dispose()


def raise_an_error(*_: object) -> None:
    raise ValueError("a hook's")


NAMES = ["connected", "acquired", "released", "closed"]


@pytest.mark.parametrize("name", NAMES)
def test_what_a_hook_raises_is_logged_and_harms_nobody(name: str, messages: Messages) -> None:
    pool = FairQueuePool(
        Connection, pool_size=1, max_overflow=0, timeout=0, hooks=PoolHooks(**{name: raise_an_error})
    )
    pool.connect().close()
    pool.connect().close()
    pool.dispose()
    assert all("hook" in line for line in messages.lines)
    assert messages.lines
    assert (pool.checkedin(), pool.checkedout()) == (0, 0)


@pytest.mark.parametrize("name", NAMES)
def test_an_interrupt_that_strikes_in_a_hook_loses_no_connection(name: str) -> None:
    interrupts = [KeyboardInterrupt()]

    def interrupt(*_: object) -> None:
        for each in interrupts:
            interrupts.clear()
            raise each

    hooks = PoolHooks(**{name: interrupt})
    pool = FairQueuePool(Connection, pool_size=1, max_overflow=0, timeout=0, hooks=hooks)
    with pytest.raises(KeyboardInterrupt):
        pool.connect().close()
        pool.dispose()
    gc.collect()
    assert pool.checkedout() == 0
    pool.connect().close()


def test_a_subclass_that_knows_queue_pools_parameters_only_is_recreated() -> None:
    class Mine(FairQueuePool):
        def __init__(
            self, creator: Any, pool_size: int, max_overflow: int, timeout: float, **parameters: Any
        ) -> None:
            assert not {"hold_warning", "hooks"} & parameters.keys()
            super().__init__(creator, pool_size, max_overflow, timeout, **parameters)

    assert type(Mine(Connection, 1, 0, 1.0).recreate()) is Mine


@pytest.mark.parametrize(
    ("hold_warning", "sentence"),
    [
        (0, "hold_warning must be more than 0, not 0"),
        (-1, "hold_warning cannot be negative: -1"),
        (float("nan"), "hold_warning must be a number of seconds, not nan"),
    ],
)
def test_a_hold_warning_that_cannot_be_is_refused_in_a_sentence(hold_warning: float, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        FairQueuePool(Connection, hold_warning=hold_warning)
