"""Options stay on the fast path: what they call is called there, and whatever it raises loses no connection."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from poolhouse.errors import PoolTimeout
from poolhouse.pool import PoolHooks
from poolhouse.pool.backoff import PROBE_PAUSE
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


@BOTH
@WAYS
def test_a_check_that_passes_is_one_call_on_the_fast_path(shell: type[Shell], way: Callable[..., Any]) -> None:
    told: list[object] = []
    hooks = PoolHooks(acquired=lambda conn, waited, size, idle: told.append(round(waited, 3)))

    async def case(world: Shell) -> None:
        pool = await world.opened(min_size=1, check=world.callback(lambda conn: told.append("check")), hooks=hooks)
        assert pool._core.attention == CALLBACKS
        _without_slow_path(pool)
        await way(world, pool)
        await way(world, pool)
        assert pool.get_stats()["requests_num"] == 2

    shell().run(case)
    assert told == ["check", 0.0, "check", 0.0]


@BOTH
@WAYS
def test_the_time_of_a_check_is_time_that_the_client_has_waited(
    shell: type[Shell], way: Callable[..., Any]
) -> None:
    told: list[float] = []
    hooks = PoolHooks(acquired=lambda conn, waited, size, idle: told.append(round(waited, 3)))

    async def case(world: Shell) -> None:
        pool = await world.opened(min_size=1, check=world.slow_callback(0.25), hooks=hooks)
        await way(world, pool)
        waits = pool.meter.totals().wait
        assert (waits.count, round(waits.sum_ns / 1e9, 3)) == (1, 0.25)

    shell().run(case)
    assert told == [0.25]


class _Check:
    """A check that fails, or is slow, as a test says for each call; what is left out passes at once."""

    def __init__(self, world: Shell, *calls: float | BaseException) -> None:
        self._world, self._calls = world, list(calls)
        self.checked: list[int] = []

    async def _run(self, conn: Any) -> None:
        self.checked.append(conn.number)
        does = self._calls.pop(0) if self._calls else 0.0
        if isinstance(does, BaseException):
            raise does
        if does:
            await self._world.sleep(does)
        if conn.closed:
            raise OSError("the connection was shut down")

    @property
    def callback(self) -> Any:
        if isinstance(self._world, AsyncShell):
            return self._run

        def check(conn: Any) -> None:
            with pytest.raises(StopIteration):
                self._run(conn).send(None)

        return check


@BOTH
@WAYS
def test_who_has_checked_a_dead_connection_goes_before_those_who_have_come_since(
    shell: type[Shell], way: Callable[..., Any]
) -> None:
    order: list[str] = []

    async def client(world: Shell, pool: Any, name: str) -> None:
        await way(world, pool)
        order.append(name)

    async def case(world: Shell) -> None:
        check = _Check(world, 1.0)
        pool = await world.opened(min_size=1, check=check.callback)
        first = world.spawn(client(world, pool, "first"))
        await world.sleep(0.5)
        others = [world.spawn(client(world, pool, name)) for name in ("second", "third")]
        await world.sleep(0.1)
        world.made[0]._closed()  # Found out by the check that the first client has made meanwhile.
        for each in (first, *others):
            await each.result()
        assert check.checked == [1, 2, 2, 2]
        assert pool.get_stats()["connections_lost"] == 1

    shell().run(case)
    assert order == ["first", "second", "third"]


@BOTH
@WAYS
def test_a_check_that_does_not_end_loses_its_connection(shell: type[Shell], way: Callable[..., Any]) -> None:
    async def case(world: Shell) -> None:
        pool = await world.opened(min_size=1, check=_Check(world, 40.0).callback, timeout=20.0)
        aborted: list[int] = []

        def abort(conn: Any) -> None:
            aborted.append(conn.number)
            conn._closed()

        pool._driver.abort = abort
        if not isinstance(world, AsyncShell):
            pool._workers._abort = abort
        began = world.clock.monotonic()
        with pytest.raises(PoolTimeout):
            await way(world, pool)
        # A thread cannot leave its call, which ends when the connection is shut down; nothing here wakes it.
        waited = world.clock.monotonic() - began
        assert waited == pytest.approx(20.0 if isinstance(world, AsyncShell) else 40.0, abs=0.1)
        await world.sleep(30.0)
        assert aborted == [1]
        await way(world, pool)
        assert [conn.closed for conn in world.made] == [True, False]

    shell().run(case)


@BOTH
@WAYS
def test_what_is_no_exception_passes_a_check_and_its_connection_is_closed(
    shell: type[Shell], way: Callable[..., Any]
) -> None:
    async def case(world: Shell) -> None:
        pool = await world.opened(min_size=1, check=_Check(world, Struck()).callback)
        with pytest.raises(Struck):
            await way(world, pool)
        await way(world, pool)
        assert [conn.closed for conn in world.made] == [True, False]

    if shell is ThreadShell:  # In asyncio it ends the event loop.
        shell().run(case)


@pytest.mark.long
@BOTH
@pytest.mark.parametrize("size", [1, 2, 4])
def test_a_check_that_fails_at_once_does_not_make_the_pool_connect_without_pause(
    shell: type[Shell], size: int
) -> None:
    """However many connections are made in turn: each that comes ends what the check of another had begun."""

    def fail(conn: Any) -> None:
        raise OSError("no good")

    async def case(world: Shell) -> None:
        world.connection_class.connect_s = 0.001
        pool = await world.opened(min_size=size, check=world.callback(fail))
        for _ in range(3):
            before = len(world.made)
            with pytest.raises(PoolTimeout, match="last connect error: OSError: no good"):
                await world.call(pool.getconn, timeout=10.0)
            # Two for each pause: the second may be begun before the first is checked.
            assert 10.0 / PROBE_PAUSE / 2 < len(world.made) - before < 2 * 10.0 / (0.8 * PROBE_PAUSE)

    shell().run(case)


@BOTH
def test_a_check_that_has_failed_once_does_not_slow_down_connecting(shell: type[Shell]) -> None:
    async def case(world: Shell) -> None:
        world.connection_class.connect_s = 0.05
        check = _Check(world, OSError("a blip"))
        pool = await world.opened(min_size=1, max_size=10, check=check.callback)
        await world.use(pool)
        await world.sleep(5.0)
        began = world.clock.monotonic()
        clients = [world.spawn(world.use(pool, hold=1.0)) for _ in range(10)]
        for each in clients:
            await each.result()
        assert world.clock.monotonic() - began < 1.5

    shell().run(case)


@WAYS
@pytest.mark.parametrize("pause", [0.0, 0.2])
def test_a_check_may_have_a_time_limit_of_its_own(way: Callable[..., Any], pause: float) -> None:
    """`asyncio.timeout` cancels the task in which it began: the check's, not the client's."""
    checked: list[float] = []

    async def case(world: Shell) -> None:
        async def check(conn: Any) -> None:
            async with asyncio.timeout(0.1):
                await asyncio.sleep(pause if conn.number == 1 else 0.0)
            checked.append(conn.number)

        pool = await world.opened(min_size=1, check=check)
        await way(world, pool)
        assert checked == ([1] if pause < 0.1 else [2])

    AsyncShell().run(case)


@WAYS
@pytest.mark.parametrize("status", [2, 4])
def test_what_a_check_leaves_open_is_ended_and_what_it_closes_is_dead(
    way: Callable[..., Any], status: int
) -> None:
    for shell in (ThreadShell, AsyncShell):

        async def case(world: Shell) -> None:
            def check(conn: Any) -> None:
                if conn.number == 1:
                    conn.pgconn.transaction_status = status

            pool = await world.opened(min_size=1, check=world.callback(check))
            await way(world, pool)
            assert [conn.calls[:1] for conn in world.made] == ([["rollback"]] if status == 2 else [["close"], []])
            assert pool.get_stats().get("connections_lost", 0) == (status == 4)

        shell().run(case)
