"""Random steps over the pool's core, every invariant after each. A failure names its seed."""

import os
from collections import Counter

import pytest

from poolhouse.meter.meter import Meter
from poolhouse.pool.core import PoolCore
from poolhouse.pool.jobs import Close, Lane
from poolhouse.pool.options import PoolOptions
from support.pool_world import CODE, Conn, World, run

STEPS = int(os.environ.get("POOLHOUSE_SIMULATION_STEPS", "50000"))
STEPS_A_WORLD = 500


@pytest.mark.parametrize("part", range(10))
def test_the_invariants_hold_after_every_random_step(part: int) -> None:
    done: Counter[str] = Counter()
    for number in range(max(1, STEPS // STEPS_A_WORLD // 10)):
        seed = part * 1_000_000 + number
        try:
            done += run(seed, STEPS_A_WORLD).steps
        except Exception as error:
            raise AssertionError(f"seed {seed}") from error
    assert set(done) == set(World.NAMES), "some step was never taken"


def test_a_return_that_is_interrupted_while_the_pool_closes_leaves_nothing_open() -> None:
    """Between its hint and its second look at `attention`, as at any other place."""
    core, conn = PoolCore(PoolOptions(min_size=1, max_size=1), Meter(), lambda: 0.0), Conn()
    core.open(0.0)
    connect = core.next_job(Lane.CONNECT, 0.0)
    assert connect is not None
    core.connected(connect.slot, conn, 0.1, 0.1)
    lease = core.take(0.2, CODE, 0, False)
    assert lease is not None
    core.leases.pop(id(conn))
    core.close(0.3)
    assert core.give(lease, 0.4)
    core.interrupted_give(conn, lease, 0.4)
    (job,) = core.leftovers()
    assert isinstance(job, Close)
    assert job.conn is conn
    assert core.size == 0
