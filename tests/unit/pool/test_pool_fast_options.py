"""Options stay on the fast path: what they call is called there, and whatever it raises loses no connection."""

from collections.abc import Callable
from typing import Any

import pytest

from poolhouse.pool import PoolHooks
from poolhouse.pool.core import CALLBACKS
from support.pool_shells import AsyncShell, Case, Shell, ThreadShell

BOTH = pytest.mark.parametrize("shell", [ThreadShell, AsyncShell])


class Struck(BaseException):
    """What is no `Exception`: KeyboardInterrupt, gevent's Timeout."""


async def _pair(world: Shell, pool: Any) -> None:
    await world.call(pool.putconn, await world.call(pool.getconn))


async def _block(world: Shell, pool: Any) -> None:
    await world.use(pool)


WAYS = pytest.mark.parametrize("way", [_pair, _block])


def _without_slow_path(pool: Any) -> None:
    """From now on nobody may go the long way."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the slow path was taken")

    for name in ("_getconn_slowly", "_putconn_slowly", "_end_block", "_end_transaction"):
        if hasattr(pool, name):
            setattr(pool, name, refuse)


@BOTH
@WAYS
def test_hooks_are_told_on_the_fast_path(shell: type[Shell], way: Callable[..., Any]) -> None:
    told: list[tuple[object, ...]] = []
    hooks = PoolHooks(
        acquired=lambda conn, waited, size, idle: told.append(("acquired", conn.number, waited, size, idle)),
        released=lambda conn, used: told.append(("released", conn.number, used)),
    )

    async def case(world: Shell) -> None:
        pool = await world.opened(min_size=2, hooks=hooks)
        assert pool._core.attention == CALLBACKS
        _without_slow_path(pool)
        await way(world, pool)
        await way(world, pool)
        assert pool.get_stats()["requests_num"] == 2

    shell().run(case)
    assert told == [
        ("acquired", 1, 0.0, 2, 1),
        ("released", 1, 0.0),
        ("acquired", 2, 0.0, 2, 1),
        ("released", 2, 0.0),
    ]


@BOTH
@WAYS
@pytest.mark.parametrize("name", ["acquired", "released"])
def test_a_hook_that_fails_on_the_fast_path_is_logged_and_changes_nothing(
    shell: type[Shell], way: Callable[..., Any], name: str, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*event: object) -> None:
        raise ZeroDivisionError

    async def case(world: Shell) -> None:
        pool = await world.opened(min_size=1, hooks=PoolHooks(**{name: fail}))
        _without_slow_path(pool)
        await way(world, pool)
        await way(world, pool)

    shell().run(case)
    assert [record.getMessage() for record in caplog.records] == [f"the event hook {fail} failed"] * 2
    assert {record.levelname for record in caplog.records} == {"ERROR"}


def _struck_at(way: Callable[..., Any], name: str) -> Case:
    strikes = [True]

    def strike(conn: Any, *event: object) -> None:
        if strikes.pop():
            if name == "acquired":
                conn.begin()
            raise Struck

    async def case(world: Shell) -> None:
        pool = await world.opened(min_size=1, hooks=PoolHooks(**{name: strike}))
        with pytest.raises(Struck):
            await way(world, pool)
        strikes.append(False)
        await world.settle()
        assert pool.get_stats()["pool_available"] == 1
        assert [conn.calls for conn in world.made] == [["rollback"] if name == "acquired" else []]
        conn = await world.call(pool.getconn, timeout=0.5)
        assert conn is world.made[0]
        strikes.append(False)
        await world.call(pool.putconn, conn)

    return case


@BOTH
@WAYS
@pytest.mark.parametrize("name", ["acquired", "released"])
def test_what_is_no_exception_passes_a_hook_and_its_connection_goes_back(
    shell: type[Shell], way: Callable[..., Any], name: str
) -> None:
    """Whatever the hook had begun on the connection is rolled back."""
    shell().run(_struck_at(way, name))


@BOTH
def test_a_hook_is_told_of_a_connection_that_goes_straight_to_who_waits(shell: type[Shell]) -> None:
    told: list[str] = []
    hooks = PoolHooks(
        acquired=lambda conn, waited, size, idle: told.append(f"acquired after {waited:.1f}"),
        released=lambda conn, used: told.append(f"released after {used:.1f}"),
    )

    async def case(world: Shell) -> None:
        pool = await world.opened(min_size=1, hooks=hooks)
        conn = await world.call(pool.getconn)
        client = world.spawn(world.use(pool))
        await world.sleep(2.0)
        await world.call(pool.putconn, conn)
        await client.result()
        assert pool._core.attention == CALLBACKS, "nobody waits any more"

    shell().run(case)
    assert told == ["acquired after 0.0", "released after 2.0", "acquired after 2.0", "released after 0.0"]
