"""Our own pools: which lines have their connections, for how long, and who waits."""

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from poolhouse.errors import PoolTimeout
from poolhouse.instrumentation.own_sites import OwnSites
from poolhouse.meter.signs import PoolSigns
from poolhouse.pool import ConnectionPool
from poolhouse.pool.threads import LockParker
from poolhouse.sites.tally import PoolLooks
from poolhouse.testing.driver import FakeDriver
from support.waiting import wait_until


class World:
    def __init__(self, **more: Any) -> None:
        self.pool: Any = ConnectionPool(
            "", driver=FakeDriver(time.sleep, LockParker), min_size=1, max_size=1, open=True, **more
        )
        self.pool.wait()
        self.sites = OwnSites()
        self.signs()

    def signs(self) -> PoolSigns:
        return self.sites.signs(self.pool, PoolLooks(), "db/shop")

    def by_name(self) -> dict[str, Any]:
        return {site.site.rpartition(" ")[2]: site for site in self.signs().sites}


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    with made.pool:
        yield made


def one(pool: Any) -> None:
    with pool.connection():
        pass


def other(pool: Any) -> None:
    pool.putconn(pool.getconn())


def test_each_return_is_told_where_there_are_few(world: World) -> None:
    for _ in range(20):
        one(world.pool)
        other(world.pool)
    found = world.by_name()
    assert (found["one"].returned, found["other"].returned) == (20, 20)
    assert found["one"].held_s > 0
    assert found["one"].use.count == 20


def test_where_there_are_many_some_stand_for_all_also_if_lines_take_turns(world: World) -> None:
    world.pool._core.sample_from(0, 31)
    for _ in range(3_100):
        one(world.pool)
        other(world.pool)
    found = world.by_name()
    assert found["one"].returned + found["other"].returned == pytest.approx(6_200, abs=100)
    assert found["one"].returned == pytest.approx(3_100, rel=0.1)


def test_what_nobody_reads_any_more_is_bounded(world: World) -> None:
    """The last reader asked for each return."""
    most = world.pool._core.samples.maxlen
    for _ in range(most + 100):
        other(world.pool)
    assert len(world.pool._core.samples) == most


def test_what_is_out_is_told_with_its_line(world: World) -> None:
    conn = world.pool.getconn()
    (hold,) = world.sites.holding(world.pool).holds
    assert (hold.code, hold.holder) == (test_what_is_out_is_told_with_its_line.__code__, None)
    (site,) = world.signs().sites
    assert (site.open, site.site.rpartition(" ")[2]) == (1, "test_what_is_out_is_told_with_its_line")
    world.pool.putconn(conn)


def test_waits_are_their_lines_and_a_holder_that_waited_is_known(world: World) -> None:
    held = world.pool.getconn()
    over = threading.Event()

    def waits() -> None:
        with world.pool.connection():
            over.wait(30)

    thread = threading.Thread(target=waits)
    thread.start()
    wait_until(lambda: world.sites.holding(world.pool).waiting == 1)
    world.pool.putconn(held)
    wait_until(lambda: world.sites.holding(world.pool).holds != [])
    (hold,) = world.sites.holding(world.pool).holds
    assert hold.holder == thread.ident
    over.set()
    thread.join()
    with world.pool.connection(), pytest.raises(PoolTimeout):
        world.pool.getconn(timeout=0.001)
    waited = [site for site in world.signs().sites if site.site.endswith("waits")]
    assert waited[0].waited_s > 0


def test_failed_connects_have_their_class() -> None:
    class Refuses(FakeDriver):
        def connect(self, *_: Any) -> Any:
            raise ConnectionRefusedError(111, "refused")

    with ConnectionPool("", driver=Refuses(time.sleep, LockParker), min_size=1, open=True) as pool:
        sites = OwnSites()
        wait_until(lambda: sites.signs(pool, PoolLooks(), "").connect_errors.refused > 0)
        told = sites.signs(pool, PoolLooks(), "").connect_errors
        assert told._replace(refused=0) == told.__class__()
        assert sites.signs(None, PoolLooks(), "").connect_errors == told, "of a pool that was collected, too"
