"""Random steps over the pool's core, every invariant after each. A failure names its seed."""

import os
from collections import Counter, deque
from collections.abc import Callable

import pytest

from poolhouse.meter.meter import Meter
from poolhouse.pool.core import PoolCore
from poolhouse.pool.jobs import Close, Lane
from poolhouse.pool.options import PoolOptions
from poolhouse.pool.slot import Slot
from poolhouse.pool.waiter import Waiter
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


class _Idle(deque[Slot]):
    """Hints, and another thread that does something whenever a look at them finds nothing."""

    def __init__(self, meanwhile: Callable[[], None]) -> None:
        super().__init__()
        self._meanwhile = meanwhile

    def __bool__(self) -> bool:
        is_there = len(self) > 0
        if not is_there:
            self._meanwhile()
        return is_there


@pytest.mark.parametrize("look", [1, 2])
@pytest.mark.parametrize("short", [False, True], ids=["request", "enqueue_fast"])
def test_a_return_while_a_client_looks_for_a_connection_is_seen_by_one_of_the_two(look: int, short: bool) -> None:
    """Rule 1. The return is one on the fast path, without the lock, right after a look that found nothing."""
    core, conn = PoolCore(PoolOptions(min_size=1, max_size=1), Meter(), lambda: 0.0), Conn()
    core.open(0.0)
    connect = core.next_job(Lane.CONNECT, 0.0)
    assert connect is not None
    core.connected(connect.slot, conn, 0.1, 0.1)
    lease = core.take(0.2, CODE, 0, False)
    assert lease is not None
    first = Waiter(lambda: None, CODE, 0, 1, 0.2)
    if short:
        core.request(first, 0.2)  # The short way is for the second in the queue.
    looks: list[bool] = []

    def return_it() -> None:
        looks.append(core.attention)
        if len(looks) == look:
            assert core.leases.pop(id(conn)) is lease
            core.give(lease, 0.3)
            looks[-1] = core.attention

    core.idle = _Idle(return_it)
    core._hint = core.idle.append
    waiter = Waiter(lambda: None, CODE, 0, 1, 0.3)
    if not (short and core.enqueue_fast(waiter, 0.3)):
        core.request(waiter, 0.3)
    while len(looks) < look:
        return_it()  # So many looks there are not: the return comes when the client sleeps.
    if looks[look - 1]:
        core.attend(0.3)  # As the returner does when it has the lock.
    assert conn in [each.slot.conn for each in (first, waiter) if each.slot is not None]


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
