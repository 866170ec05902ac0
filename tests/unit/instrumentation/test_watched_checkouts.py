"""psycopg_pool's own classes over connections without a server: what is measured at their checkouts."""

import asyncio
import gc
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any, Self

import psycopg_pool
import pytest
from psycopg.pq import TransactionStatus

from poolhouse.instrumentation.psycopg_pool import StatsSource
from poolhouse.instrumentation.watched_checkouts import WatchedCheckouts
from poolhouse.meter.reading import Gauges, Limits, PoolReading
from poolhouse.meter.signs import ConnectErrors, PoolSigns, SiteReading
from support.waiting import wait_until


class PGconn:
    transaction_status = TransactionStatus.IDLE


class Connection:
    """What psycopg_pool wants of a connection."""

    error: Exception | None = None

    def __init__(self) -> None:
        self.pgconn, self.autocommit, self._pool = PGconn(), True, None

    @classmethod
    def connect(cls, *_: Any, **__: Any) -> "Connection":
        if Connection.error is not None:
            raise Connection.error
        return cls()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing was begun."""

    def close(self) -> None:
        """Nothing is open."""


class AsyncConnection(Connection):
    @classmethod
    async def connect(cls, *_: Any, **__: Any) -> "AsyncConnection":  # type: ignore[override]
        return cls()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        """Nothing was begun."""

    async def close(self) -> None:  # type: ignore[override]
        """Nothing is open."""


class Plain(psycopg_pool.ConnectionPool[Any]):
    """A subclass that changes nothing."""


class Other(psycopg_pool.ConnectionPool[Any]):
    """A subclass whose methods take other arguments, and call those of its base."""

    def getconn(self, timeout: float | None = None, *, label: str = "") -> Any:
        return super().getconn(timeout)

    def putconn(self, conn: Any, *, label: str = "") -> None:
        super().putconn(conn)


class World:
    """A pool that is watched from the beginning."""

    def __init__(self, kind: Any = psycopg_pool.ConnectionPool, size: int = 2) -> None:
        self.uses = 0
        self.pool = kind("", connection_class=Connection, min_size=size, max_size=size, open=True)
        self.pool.wait(30)
        self.checkouts = WatchedCheckouts(self.used)
        assert self.checkouts.wrap(self.pool)

    def used(self) -> None:
        self.uses += 1

    def read(self) -> PoolReading:
        look = self.checkouts.gauges
        return self.checkouts.meter.read(1, lambda: look(self.pool.get_stats()), Limits(), name="", kind="")

    def signs(self) -> PoolSigns:
        return self.checkouts.signs("db/shop", "", 0)

    def site(self) -> SiteReading:
        (site,) = self.signs().sites
        return site


@pytest.fixture(params=[psycopg_pool.ConnectionPool, psycopg_pool.NullConnectionPool, Plain, Other])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    if request.param is psycopg_pool.NullConnectionPool:
        made = World(lambda *a, **k: psycopg_pool.NullConnectionPool(*a, **(k | {"min_size": 0})))
    else:
        made = World(request.param)
    with made.pool:
        yield made


def takes_one(pool: Any) -> Any:
    return pool.getconn()


def takes_a_block(pool: Any) -> None:
    with pool.connection():
        pass


def test_what_fails_in_counting_a_return_is_none_of_the_application_s(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    conn = world.pool.getconn()
    world.checkouts._leases.clear()  # As if it had been taken before the pool was watched.

    def fails() -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(world.checkouts, "_returned_without_lease", fails)
    world.pool.putconn(conn)
    monkeypatch.undo()
    world.pool.putconn(world.pool.getconn())


def test_checkouts_and_returns_are_counted_under_the_line_of_the_application(world: World) -> None:
    world.read()
    conn = takes_one(world.pool)
    assert world.site().site.endswith("in takes_one")
    assert (world.site().open, world.site().returned) == (1, 0)
    assert world.read().gauges.used == 1
    world.pool.putconn(conn)
    reading = world.read()
    assert (reading.counters.checkouts, reading.gauges.used) == (1, 0)
    assert reading.wait is not None
    assert reading.use is not None
    assert (reading.wait.count, reading.use.count, reading.peak.used) == (1, 1, 1)
    assert (world.site().open, world.site().returned) == (0, 1)
    assert world.uses == 1


def test_a_block_is_one_of_the_line_that_has_it(world: World) -> None:
    for _ in range(3):
        takes_a_block(world.pool)
    world.read()
    assert world.site().site.endswith("in takes_a_block")
    assert world.site().returned == 3


def test_who_holds_is_told_to_the_looks(world: World) -> None:
    conn = takes_one(world.pool)
    (hold,) = world.checkouts.holding().holds
    assert (hold.holder, hold.code) == (threading.get_ident(), takes_one.__code__)
    world.pool.putconn(conn)
    assert world.checkouts.holding().holds == []


def test_timeouts_and_other_errors_are_told_apart(world: World) -> None:
    held = [world.pool.getconn() for _ in range(2)]
    with pytest.raises(psycopg_pool.PoolTimeout):
        world.pool.getconn(timeout=0.001)
    for conn in held:
        world.pool.putconn(conn)
    world.pool.close()
    with pytest.raises(psycopg_pool.PoolClosed):
        world.pool.getconn()
    counters = world.read().counters
    assert (counters.timeouts, counters.acquire_errors, counters.checkouts) == (1, 1, 2)


def test_who_waits_is_seen_and_the_wait_is_the_sites() -> None:
    world = World(size=1)
    with world.pool:
        held = world.pool.getconn()
        thread = threading.Thread(target=takes_a_block, args=(world.pool,))
        thread.start()
        wait_until(lambda: world.checkouts.holding().waiting == 1)
        assert world.read().gauges.waiting == 1
        world.pool.putconn(held)
        thread.join()
        reading = world.read()
        assert (reading.gauges.waiting, reading.peak.waiting) == (0, 1)
        waited = {site.site.rpartition(" ")[2]: site.waited_s for site in world.signs().sites}
        assert waited["takes_a_block"] > 0


def test_who_found_a_connection_idle_and_was_too_late_waits_too() -> None:
    world = World(size=1)
    with world.pool:
        held: list[Any] = []
        check = world.pool._check_open_getconn

        def overtaken() -> None:
            check()
            if not held:
                held.append(world.pool._pool.popleft())  # As another thread would between the two looks.

        world.pool._check_open_getconn = overtaken
        thread = threading.Thread(target=takes_a_block, args=(world.pool,))
        thread.start()
        wait_until(lambda: world.checkouts.holding().waiting == 1)
        assert world.read().gauges.waiting == 1
        world.pool._add_to_pool(held[0])
        thread.join()
        assert (world.read().gauges.waiting, world.read().counters.checkouts) == (0, 1)


def test_a_function_that_the_application_has_put_into_the_pool_is_called() -> None:
    pool = psycopg_pool.ConnectionPool("", connection_class=Connection, min_size=1, open=True)  # type: ignore[type-var]
    calls: list[str] = []
    own = pool.getconn
    pool.getconn = lambda *a, **k: (calls.append("getconn"), own(*a, **k))[1]  # type: ignore[method-assign]
    checkouts = WatchedCheckouts(int)  # type: ignore[arg-type]
    with pool:
        assert checkouts.wrap(pool)
        takes_a_block(pool)
    assert calls == ["getconn"]
    assert checkouts.meter.totals().checkouts == 1


def test_what_is_out_when_the_pool_is_watched_is_unknown_until_it_is_back() -> None:
    pool = psycopg_pool.ConnectionPool("", connection_class=Connection, min_size=2, open=True)  # type: ignore[type-var]
    with pool:
        pool.wait()
        held = pool.getconn()
        checkouts = WatchedCheckouts(int)  # type: ignore[arg-type]
        checkouts.expect_unknown(pool.get_stats())
        checkouts.wrap(pool)
        assert (checkouts.gauges(pool.get_stats()), checkouts.is_bound) == (Gauges(1, 1), True)
        (site,) = checkouts.signs("", "", 0).sites
        assert (site.site, site.open) == ("unknown", 1)
        pool.putconn(held)
        assert (checkouts.gauges(pool.get_stats()), checkouts.is_bound) == (Gauges(2, 0), False)


def test_a_pool_is_kept_alive_by_nobody() -> None:
    world = World()
    takes_a_block(world.pool)
    world.pool.close()
    gc.collect()
    gc.disable()
    try:
        reference = weakref.ref(world.pool)
        del world.pool
        assert reference() is None
    finally:
        gc.enable()


def test_in_a_child_everything_begins_anew_and_what_is_the_parents_is_counted() -> None:
    world = World(size=1)
    with world.pool:
        world.pool.putconn(world.pool.getconn())
        world.checkouts.after_fork(world.pool)
        assert (world.read().counters.checkouts, world.signs().sites) == (0, ())
        takes_a_block(world.pool)
        assert world.signs().inherited == 1
        assert world.read().counters.checkouts == 1


def test_connects_are_timed_and_failed_ones_have_their_class() -> None:
    world = World(size=1)
    try:
        world.pool.drain()
        wait_until(lambda: world.checkouts.meter.totals().connects == 1)
        Connection.error = ConnectionRefusedError(111, "refused")
        world.pool.drain()
        wait_until(lambda: sum(world.signs().connect_errors) > 0)
        assert world.signs().connect_errors._replace(refused=0) == ConnectErrors()
    finally:
        Connection.error = None
        world.pool.close()


async def until(is_true: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not is_true():  # noqa: ASYNC110  # A condition of time, which has no event.
            await asyncio.sleep(0.001)


def test_in_asyncio_tasks_hold_and_wait() -> None:
    async def takes(pool: Any, taken: asyncio.Event, over: asyncio.Event) -> None:
        async with pool.connection():
            taken.set()
            await over.wait()

    async def main() -> None:
        pool: Any = psycopg_pool.AsyncConnectionPool(
            "",
            connection_class=AsyncConnection,
            min_size=1,
            max_size=1,
            open=False,  # type: ignore[type-var]
        )
        checkouts = WatchedCheckouts(int)  # type: ignore[arg-type]
        async with pool:
            assert checkouts.wrap(pool)
            taken, over = asyncio.Event(), asyncio.Event()
            tasks = [asyncio.create_task(takes(pool, taken, over)) for _ in range(2)]
            async with asyncio.timeout(30):
                await taken.wait()
            (hold,) = checkouts.holding().holds
            assert hold.holder == weakref.ref(tasks[0])
            assert hold.code is takes.__code__
            await until(lambda: checkouts.holding().waiting == 1)
            over.set()
            await asyncio.gather(*tasks)
            with pytest.raises(psycopg_pool.PoolTimeout):
                conn = await pool.getconn()
                try:
                    await pool.getconn(timeout=0.001)
                finally:
                    await pool.putconn(conn)
        totals = checkouts.meter.totals()
        waited = {site.site.rpartition(".")[2]: site.waited_s for site in checkouts.signs("", "", 0).sites}
        assert waited["takes"] > 0
        assert sum(seconds >= 0.001 for words, seconds in waited.items() if words == "main") == 1
        assert (totals.checkouts, totals.timeouts, checkouts.gauges({})) == (3, 1, Gauges())

    asyncio.run(main())


@pytest.mark.parametrize("wrong", [object(), type("NoPut", (), {"getconn": print})()])
def test_what_cannot_be_measured_is_left_as_it_is(wrong: object) -> None:
    before = dict(getattr(wrong, "__dict__", {}))
    assert not WatchedCheckouts(int).wrap(wrong)  # type: ignore[arg-type]
    assert dict(getattr(wrong, "__dict__", {})) == before


def test_a_timeout_says_who_has_the_connections_and_what_is_wrong() -> None:
    import psycopg_pool

    from poolhouse.verdicts.verdict import Verdict

    pool = psycopg_pool.ConnectionPool("host=127.0.0.1 port=1", min_size=1, open=False)
    checkouts = WatchedCheckouts(lambda: None)
    assert checkouts.wrap(pool)
    checkouts.verdict = Verdict(
        "pool_too_small", 0.0, "shop", evidence=(("used", 4.0), ("max", 4.0), ("size", 9.0))
    )
    checkouts._not_acquired(error := psycopg_pool.PoolTimeout("couldn't get a connection after 1.00 sec"), 0.0)
    told: Any = error
    assert told.verdict == checkouts.verdict
    assert told.holders == ()
    assert told.__notes__ == [
        "poolhouse: 0 in use, 0 waiting; pool_too_small: 4 of 4 connections in use; held for 0 ms each, as ever: "
        "9 would do"
    ]


def test_what_a_pool_has_done_is_told_although_it_was_collected_since() -> None:
    pool = psycopg_pool.ConnectionPool("", connection_class=Connection, min_size=1, max_size=1, open=True)
    pool.wait(30)
    source = StatsSource(pool, Stream())
    source.begin(pool)
    assert source.read(1).counters.checkouts == 0
    takes_a_block(pool)
    takes_a_block(pool)
    pool.close()
    del pool
    gc.collect()
    assert source.is_gone()
    reading = source.read(2)
    assert (reading.counters.checkouts, reading.use and reading.use.count) == (2, 2)
    assert reading.gauges == Gauges()
    assert source.read(3).counters.checkouts == 2


class Stream:
    """Where a pool is reported."""

    def add(self, source: Any, /) -> None: ...

    def expect(self, source: Any, /) -> None: ...
