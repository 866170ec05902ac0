"""What holds for every pool that comes with a driver, once it is watched: on real servers, in this process."""

import asyncio
import gc
from collections.abc import Iterator
from typing import Any

import pytest

import poolhouse
from poolhouse.clock import SystemClock
from poolhouse.instrumentation import watching
from poolhouse.instrumentation.driver_pools import DriverPool
from poolhouse.meter.reading import PoolReading
from poolhouse.meter.signs import SiteReading
from poolhouse.report import reporter
from support.driver_pools import KINDS, Pool, run
from support.mariadb import MariaDB
from support.postgres import Postgres
from support.servers import free_tcp_port

#: The kinds whose callers wait for a connection, and those that have a timeout of their own.
WAITING = [pytest.param(kind, id=kind.__name__) for kind in KINDS if kind.waits]
GIVING_UP = [pytest.param(kind, id=kind.__name__) for kind in KINDS if kind.timeout is not None]


class Stream:
    def __init__(self) -> None:
        self.sources: list[Any] = []

    def add(self, source: Any) -> None:
        self.sources.append(source)

    def expect(self, source: Any) -> None:
        """It is there when it is added."""


@pytest.fixture
def stream(monkeypatch: pytest.MonkeyPatch) -> Stream:
    made = Stream()
    monkeypatch.setattr(reporter, "stream", lambda destination: made)
    return made


class World:
    """A pool that is watched, and what is read of it."""

    def __init__(self, pool: Pool, stream: Stream) -> None:
        self.it, self.stream, self.number = pool, stream, 0

    async def open(self, least: int = 1, most: int = 2, port: int | None = None) -> None:
        poolhouse.watch(await self.it.open(least, most, port))
        assert self.source is self.stream.sources[-1]

    @property
    def source(self) -> DriverPool:
        found = watching.source_of(self.it.pool)
        assert found is not None
        return found

    def read(self) -> PoolReading:
        self.number += 1
        return self.stream.sources[-1].read(self.number)

    def sites(self) -> tuple[SiteReading, ...]:
        signs = self.read().signs
        assert signs is not None
        return signs.sites

    def site(self) -> SiteReading:
        (site,) = self.sites()
        return site


@pytest.fixture(params=KINDS, ids=lambda kind: kind.__name__)
def world(request: pytest.FixtureRequest, postgres: Postgres, mariadb: MariaDB, stream: Stream) -> Iterator[World]:
    yield World(request.param(postgres, mariadb), stream)
    gc.collect()


async def takes_one(world: World) -> Any:
    return await world.it.take()


def test_sizes_waits_and_uses_are_counted_under_the_line_of_the_application(world: World) -> None:
    async def steps() -> None:
        await world.open(1, 2)
        first = world.read()
        assert first.gauges[:2] == (1, 0)
        assert (first.limits.max_open, first.limits.min_idle) == (2, 1)
        assert first.limits.max_idle == (2 if world.it.keeps else 1)
        conn = await takes_one(world)
        assert await world.it.ask(conn) == 1
        assert world.site().open == 1
        assert world.site().site.endswith(".take"), "which calls the driver's pool"
        other = await takes_one(world)
        reading = world.read()
        assert (reading.gauges.used, reading.counters.checkouts, reading.counters.connects) == (2, 2, 1)
        await world.it.give(conn)
        await world.it.give(other)
        reading = world.read()
        assert (reading.gauges.used, reading.gauges.idle) == (0, 2 if world.it.keeps else 1)
        assert reading.wait is not None
        assert reading.use is not None
        assert reading.create is not None
        assert (reading.wait.count, reading.use.count, reading.create.count, reading.peak.used) == (2, 2, 1, 2)
        assert reading.counters.disconnects == (0 if world.it.keeps else 1)
        assert (world.site().open, world.site().returned) == (0, 2)
        await world.it.close()

    run(steps())


def test_what_is_unknown_is_not_zero(world: World) -> None:
    async def steps() -> None:
        await world.open()
        counters = world.read().counters
        unknown = {name for name, value in counters._asdict().items() if value is None}
        timeouts = set() if world.it.timeout else {"timeouts"}
        assert unknown == {"commits", "rollbacks", "transactions", "invalidated"} | timeouts
        await world.it.close()

    run(steps())


@pytest.mark.parametrize("world", WAITING, indirect=True)
def test_who_waits_is_counted_while_waiting_and_served_as_ever(world: World) -> None:
    async def steps() -> None:
        await world.open(1, 1)
        conn = await takes_one(world)
        waiter = asyncio.create_task(takes_one(world))
        await asyncio.sleep(0.02)
        assert world.read().gauges.waiting == 1
        await world.it.give(conn)
        other = await waiter
        reading = world.read()
        assert (reading.gauges.waiting, reading.gauges.used, reading.peak.waiting) == (0, 1, 1)
        assert reading.wait is not None
        assert reading.wait.sum_ns > 10e6, "it waited for two looks at least"
        assert sum(site.waited_s for site in world.sites()) > 0.01
        await world.it.give(other)
        await world.it.close()

    run(steps())


@pytest.mark.parametrize("world", GIVING_UP, indirect=True)
def test_who_gives_up_gets_the_pools_own_error_with_a_note(world: World) -> None:
    async def steps() -> None:
        await world.open(1, 1)
        conn = await takes_one(world)
        assert world.it.timeout is not None
        with pytest.raises(world.it.timeout) as raised:
            await world.it.take_or_give_up()
        assert type(raised.value) is world.it.timeout
        (note,) = raised.value.__notes__
        assert note.startswith("poolhouse: 1 in use, 0 waiting; oldest held 0."), note
        assert ".take (1 connection)" in note
        counters = world.read().counters
        assert (counters.timeouts, counters.acquire_errors, counters.checkouts) == (1, 0, 1)
        await world.it.give(conn)
        await world.it.close()

    run(steps())


@pytest.mark.parametrize("world", WAITING, indirect=True)
def test_a_caller_that_is_cancelled_is_an_error_and_loses_no_connection(world: World) -> None:
    async def steps() -> None:
        await world.open(1, 1)
        conn = await takes_one(world)
        waiter = asyncio.create_task(takes_one(world))
        await asyncio.sleep(0.02)
        waiter.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiter
        reading = world.read()
        assert (reading.counters.acquire_errors, reading.gauges.waiting) == (1, 0)
        await world.it.give(conn)
        await world.it.give(await takes_one(world))
        assert world.read().gauges.used == 0
        await world.it.close()

    run(steps())


def test_a_server_that_is_not_there_is_told_by_class(world: World) -> None:
    async def steps() -> None:
        await world.open(0, 2, free_tcp_port())
        with pytest.raises(Exception) as raised:  # Each driver has its own.
            await takes_one(world)
        assert type(raised.value).__module__.partition(".")[0] in ("builtins", "psycopg2", "pymysql")
        reading = world.read()
        counters = reading.counters
        assert (counters.connect_errors, counters.acquire_errors, counters.checkouts) == (1, 1, 0)
        assert reading.signs is not None
        assert reading.signs.connect_errors.refused == 1
        assert reading.gauges.used == reading.gauges.waiting == 0
        await world.it.close()

    run(steps())


def test_connections_that_were_out_before_count_as_in_use_until_they_are_back(world: World) -> None:
    async def steps() -> None:
        await world.it.open(2, 2)
        conn = await takes_one(world)
        poolhouse.watch(world.it.pool)
        reading = world.read()
        assert (reading.gauges.used, reading.gauges.idle, reading.is_bound) == (1, 1, False)
        assert (world.site().site, world.site().open) == ("unknown", 1)
        await world.it.give(conn)
        reading = world.read()
        assert (reading.gauges.used, reading.counters.checkouts, reading.counters.connects) == (0, 0, 0)
        assert reading.use is not None
        assert reading.use.count == 0, "how long it was out is not known"
        await world.it.close()

    run(steps())


def test_watching_twice_is_watching_once(world: World) -> None:
    async def steps() -> None:
        await world.open()
        poolhouse.watch(world.it.pool)
        assert world.stream.sources[0] is world.stream.sources[1]
        await world.it.give(await takes_one(world))
        assert world.read().counters.checkouts == 1
        await world.it.close()

    run(steps())


def test_a_pool_that_is_closed_is_gone(world: World) -> None:
    async def steps() -> None:
        await world.open()
        await world.it.give(await takes_one(world))
        assert not world.source.is_gone()
        await world.it.close()
        assert world.source.is_gone()
        reading = world.read()
        assert (reading.gauges.connections, reading.counters.checkouts) == (0, 1)
        assert reading.counters.disconnects == 1

    run(steps())


def test_terminating_a_pool_ends_what_is_out(world: World) -> None:
    async def steps() -> None:
        await world.open(1, 2)
        await takes_one(world)
        await world.it.terminate()
        assert world.read().gauges.used == 0
        world.read()
        assert not [site for site in world.sites() if site.open]
        assert world.source.is_gone()

    run(steps())


def test_watching_keeps_no_pool_alive(world: World) -> None:
    async def steps() -> None:
        await world.open(0, 2)
        source, key = world.source, id(world.it.pool)
        assert not source.is_gone()
        world.it.forget()
        assert source.is_gone()
        assert key not in watching._sources
        assert world.read().gauges.connections == 0

    run(steps())


def test_a_child_begins_with_zero_and_tells_that_it_has_the_parents_connection(world: World) -> None:
    async def steps() -> None:
        await world.open(1, 2)
        await world.it.give(await takes_one(world))
        world.source.after_fork()  # What a fork calls in the child.
        told = len(world.stream.sources)
        reading = world.read()
        assert (reading.counters.checkouts, reading.peak.used) == (0, 0)
        await world.it.give(await takes_one(world))
        assert world.stream.sources[told:] == [world.source]
        reading = world.read()
        assert reading.counters.checkouts == 1
        assert reading.signs is not None
        assert reading.signs.inherited == 1
        await world.it.close()

    run(steps())


def test_what_measures_never_raises_into_the_application(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def steps() -> None:
        await world.open(1, 1)

        def fails(*_: object) -> None:
            raise RuntimeError("broken")

        monkeypatch.setattr(world.source.checkouts._table, "find", fails)
        monkeypatch.setattr(world.source.checkouts, "_connect_failures", None)
        conn = await takes_one(world)
        assert await world.it.ask(conn) == 1
        await world.it.give(conn)
        if world.it.timeout is not None:
            conn = await takes_one(world)
            monkeypatch.setattr("poolhouse.instrumentation.driver_checkouts.explain", fails)
            with pytest.raises(world.it.timeout):
                await world.it.take_or_give_up()
            await world.it.give(conn)
        await world.it.close()

    run(steps())


def test_looks_find_what_the_holder_of_a_block_does(world: World) -> None:
    async def steps() -> None:
        await world.open(1, 1)

        async def inside(conn: Any) -> None:
            assert world.source.holding().holds, "it is out"
            (hold,) = world.source.holding().holds
            assert hold.code is not None
            assert hold.is_opaque == (world.it.pool.__class__.__module__ == "psycopg2.pool")

        await world.it.use_block(inside)
        assert not world.source.holding().holds
        await world.it.close()

    run(steps())


def test_a_pool_is_ready_unless_it_is_full_cannot_connect_or_is_closed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def steps() -> None:
        unwatched = await world.it.open(1, 1)
        assert "nothing is known" in poolhouse.ready(unwatched).reason
        poolhouse.watch(unwatched)
        assert poolhouse.ready(world.it.pool).reason == ""
        conn = await takes_one(world)
        waiter = None
        if world.it.timeout is not None:
            with pytest.raises(world.it.timeout):
                await world.it.take_or_give_up()
        else:
            waiter = asyncio.create_task(takes_one(world))
            await asyncio.sleep(0.02)
        assert poolhouse.ready(world.it.pool)
        monotonic = SystemClock.monotonic
        monkeypatch.setattr(SystemClock, "monotonic", staticmethod(lambda: monotonic() + 20))
        reason = "1 of 1 connections are in use, and none has come back for 20 s"
        assert poolhouse.ready(world.it.pool).reason.startswith(reason)
        await world.it.give(conn)
        if waiter is not None:
            await world.it.give(await waiter)
        assert poolhouse.ready(world.it.pool)
        closed = world.it.pool
        await world.it.close()
        assert poolhouse.ready(closed).reason == "the pool is closed"
        monkeypatch.undo()
        poolhouse.watch(await world.it.open(0, 1, free_tcp_port()))
        with pytest.raises(Exception):  # noqa: B017  # Each driver has its own.
            await takes_one(world)
        assert poolhouse.ready(world.it.pool).reason.endswith("(refused)")
        await world.it.close()

    run(steps())
