"""What is returned is left to a worker for `reset`: to one that is awake, where resets ask the server nothing."""

from collections.abc import Callable
from typing import Any

import pytest

from poolhouse.pool.options import RETURN_LIMIT
from poolhouse.pool.workers import OVERDUE
from support.pool_shells import Shell, ThreadShell


def _run(reset: Callable[[Shell, Any], None], body: Callable[[Shell, Any], Any], size: int = 4) -> None:
    async def case(world: Shell) -> None:
        pool = await world.opened(min_size=size, reset=lambda conn: reset(world, conn), num_workers=3)
        # From now on the pool knows how long a reset takes, and there is a worker.
        await world.use(pool)
        await world.settle()
        await body(world, pool)

    ThreadShell().run(case)


async def _return_all(world: Shell, pool: Any) -> list[Any]:
    """Take all connections and return them in one instant."""
    conns = [await world.call(pool.getconn) for _ in range(pool.max_size)]
    for conn in conns:
        await world.call(pool.putconn, conn)
    return conns


def test_returns_are_left_to_one_worker_who_is_awake() -> None:
    reset: list[int] = []

    async def body(world: Shell, pool: Any) -> None:
        def refuse(*_: object) -> None:
            raise AssertionError("the slow path was taken")

        pool._putconn_slowly = refuse
        await _return_all(world, pool)
        await world.settle()
        assert len(reset) == 5
        assert pool.get_stats()["pool_available"] == 4
        assert sum(len(workers) for workers in pool._workers._workers.values()) <= 4, "nobody was hired for it"
        assert len(pool._workers._workers[1]) == 1

    _run(lambda world, conn: reset.append(conn.number), body)


@pytest.mark.parametrize("stuck", [1, 2, 4])
def test_a_reset_that_is_stuck_keeps_nobody_else_from_coming_back(stuck: int) -> None:
    async def body(world: Shell, pool: Any) -> None:
        is_stuck.append(stuck)
        await _return_all(world, pool)
        await world.sleep(2 * OVERDUE)
        assert pool.get_stats()["pool_available"] == 3
        await world.sleep(RETURN_LIMIT / 2)
        assert pool.get_stats()["pool_available"] == 4

    is_stuck: list[int] = []

    def reset(world: Shell, conn: Any) -> None:
        if conn.number in is_stuck:
            is_stuck.clear()
            world.threads.sleep(10.0)  # type: ignore[attr-defined]

    _run(reset, body)


def test_resets_that_ask_the_server_are_done_at_the_same_time() -> None:
    async def body(world: Shell, pool: Any) -> None:
        await world.sleep(1.0)
        began = world.clock.monotonic()
        await _return_all(world, pool)
        for conn in [await world.call(pool.getconn, timeout=5.0) for _ in range(3)]:
            await world.call(pool.putconn, conn)
        assert world.clock.monotonic() - began == pytest.approx(0.5, abs=0.01)

    _run(lambda world, conn: world.threads.sleep(0.5), body)  # type: ignore[attr-defined]


def test_a_worker_that_rests_is_woken_for_the_next_return() -> None:
    async def body(world: Shell, pool: Any) -> None:
        for pause in (0.0, 0.0005, 0.01, 1.0, 10.0):
            await world.sleep(pause)
            await world.use(pool)
            before = world.clock.monotonic()
            await world.settle()
            assert pool.get_stats()["pool_available"] == 4, f"{pause} s after the last"
            assert world.clock.monotonic() - before < OVERDUE

    _run(lambda world, conn: None, body)


def test_what_a_reset_breaks_is_replaced() -> None:
    async def body(world: Shell, pool: Any) -> None:
        def fail(conn: Any) -> None:
            raise OSError("broken")

        pool._work._reset = fail
        await _return_all(world, pool)
        await world.settle()
        assert pool.get_stats()["returns_bad"] == 4
        assert [conn.closed for conn in world.made] == [True] * 4 + [False] * 4

    _run(lambda world, conn: None, body)
