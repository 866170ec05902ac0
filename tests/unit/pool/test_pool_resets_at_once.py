"""In asyncio a reset begins when its connection is given back; only one that waits needs a task."""

import asyncio
from typing import Any

import pytest

from poolhouse.errors import PoolTimeout
from poolhouse.pool.options import RETURN_LIMIT
from support.pool_shells import AsyncShell, Shell


class Struck(BaseException):
    """What is no `Exception`."""


def _idle(pool: Any) -> int:
    return int(pool.get_stats()["pool_available"])


async def _pair(pool: Any) -> None:
    await pool.putconn(await pool.getconn())


def test_one_that_waits_for_nothing_is_done_when_putconn_returns() -> None:
    resets: list[int] = []

    async def reset(conn: Any) -> None:
        resets.append(conn.number)

    async def case(world: Shell) -> None:
        pool = await world.opened(min_size=1, reset=reset)
        before = asyncio.all_tasks()
        for _ in range(50):
            await _pair(pool)
            assert _idle(pool) == 1
        # One task at most: the one in which a reset would have gone on.
        assert len(asyncio.all_tasks() - before) <= 1
        assert resets == [1] * 50

    AsyncShell().run(case)


def test_one_that_waits_keeps_its_connection_and_not_its_client() -> None:
    go_on = asyncio.Event()

    async def reset(conn: Any) -> None:
        await go_on.wait()

    async def case(world: Shell) -> None:
        pool = await world.opened(min_size=1, reset=reset)
        await _pair(pool)
        assert _idle(pool) == 0
        with pytest.raises(PoolTimeout):
            await pool.getconn(timeout=1.0)
        go_on.set()
        async with pool.connection() as conn:
            assert conn.number == 1

    AsyncShell().run(case)


def test_one_that_does_not_end_is_cut_off_after_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    cut = asyncio.Event()

    async def reset(conn: Any) -> None:
        if conn.number == 1:
            await cut.wait()

    async def case(world: Shell) -> None:
        pool = await world.opened(min_size=1, reset=reset)
        monkeypatch.setattr(type(pool._driver), "abort", lambda driver, conn: cut.set())
        await _pair(pool)
        await world.sleep(RETURN_LIMIT - 0.1)
        assert not cut.is_set()
        await world.sleep(0.2)
        assert cut.is_set()
        async with pool.connection() as conn:
            assert conn.number == 2  # Although the reset ended well in the same moment.

    AsyncShell().run(case)


def test_its_own_time_limit_ends_it_and_not_the_client() -> None:
    async def reset(conn: Any) -> None:
        async with asyncio.timeout(0.1):
            await asyncio.sleep(1.0 if conn.number == 1 else 0.0)

    async def case(world: Shell) -> None:
        pool = await world.opened(min_size=1, reset=reset)
        await _pair(pool)
        await world.sleep(0.5)
        async with pool.connection() as conn:
            assert conn.number == 2
        assert world.made[0].closed

    AsyncShell().run(case)


@pytest.mark.parametrize("error", [ValueError, SystemExit, asyncio.CancelledError, Struck])
@pytest.mark.parametrize("pause", [None, 0.1])
def test_what_it_raises_is_not_the_clients_and_its_connection_is_replaced(
    error: type[BaseException], pause: float | None
) -> None:
    async def reset(conn: Any) -> None:
        if conn.number == 1:
            if pause is not None:
                await asyncio.sleep(pause)
            raise error

    async def case(world: Shell) -> None:
        pool = await world.opened(min_size=1, reset=reset)
        await _pair(pool)
        await world.sleep(1.0)
        async with pool.connection() as conn:
            assert conn.number == 2
        assert _idle(pool) == 1

    AsyncShell().run(case)


def test_one_may_use_its_own_pool() -> None:
    depths: list[int] = []

    async def case(world: Shell) -> None:
        async def reset(conn: Any) -> None:
            depths.append(len(depths))
            if len(depths) < 10:
                async with pool.connection(timeout=0.5):
                    pass

        pool = await world.opened(min_size=3, reset=reset)
        await _pair(pool)
        await world.sleep(5.0)
        assert _idle(pool) == 3
        assert len(depths) >= 4  # Its own, and one for each connection that it could have.

    AsyncShell().run(case)


def test_any_number_may_be_done_in_one_turn_behind_those_that_waited() -> None:
    """Far more than Python's limit of calls within calls."""
    go_on = asyncio.Event()

    async def reset(conn: Any) -> None:
        if conn.number <= 3:  # As many as there are workers.
            await go_on.wait()

    async def case(world: Shell) -> None:
        pool = await world.opened(min_size=1_500, reset=reset)
        held = [await pool.getconn() for _ in range(1_500)]
        for conn in sorted(held, key=lambda one: one.number):
            await pool.putconn(conn)
        assert _idle(pool) == 0
        go_on.set()
        await world.sleep(0.1)
        assert _idle(pool) == 1_500
        assert len(world.made) == 1_500

    AsyncShell().run(case)
