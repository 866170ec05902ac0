"""A client with less time than a server may be silent is told in time, and its check cuts nothing that is well."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from poolhouse.errors import PoolTimeout
from poolhouse.pool import ConnectionPool
from poolhouse.pool.options import PROBE_LIMIT
from poolhouse.testing import FakeConnection, FakeDriver, VirtualClock, VirtualThreads
from support.pool_shells import AsyncShell, Shell, ThreadShell

BOTH = pytest.mark.parametrize("shell", [ThreadShell, AsyncShell])
#: What a client waits; less than a server may be silent.
BRIEF = 0.3


class Silence:
    """A server that says nothing until a certain time; a check then succeeds, unless it has been aborted."""

    def __init__(self, world: Shell) -> None:
        self._world = world
        self.ends_at = 0.0
        self.checks: list[int] = []
        self.aborted: list[int] = []

    async def _check(self, conn: Any) -> None:
        self.checks.append(conn.number)
        while self._world.clock.monotonic() < self.ends_at:
            await self._world.sleep(0.05)
            if conn.closed:
                raise OSError("the connection was shut down")

    def check(self) -> Any:
        if isinstance(self._world, AsyncShell):
            return self._check

        def check(conn: Any) -> None:
            with pytest.raises(StopIteration):
                self._check(conn).send(None)

        return check

    def watch(self, pool: Any) -> None:
        """Have an aborted connection fail its check."""

        def abort(conn: Any) -> None:
            self.aborted.append(conn.number)
            conn._closed()

        pool._driver.abort = abort
        if not isinstance(self._world, AsyncShell):
            pool._workers._abort = abort

    async def begin(self, seconds: float) -> None:
        self.ends_at = self._world.clock.monotonic() + seconds


def _run(
    shell: type[Shell], kind: str, body: Callable[[Shell, Any, Silence], Coroutine[Any, Any, None]], **more: Any
) -> None:
    async def case(world: Shell) -> None:
        silence = Silence(world)
        sizes: dict[str, Any] = {"max_size": 3} if kind else {"min_size": 3}
        pool = await world.opened(kind, check=silence.check(), **sizes, **more)
        silence.watch(pool)
        await body(world, pool, silence)

    shell().run(case)


async def _timed_out(world: Shell, pool: Any, timeout: float) -> None:
    began = world.clock.monotonic()
    with pytest.raises(PoolTimeout):
        await world.call(pool.getconn, timeout=timeout)
    assert world.clock.monotonic() - began == pytest.approx(timeout, abs=0.01)


@BOTH
def test_a_short_silence_cuts_nothing(shell: type[Shell]) -> None:
    async def body(world: Shell, pool: Any, silence: Silence) -> None:
        await silence.begin(2.0)
        # The first three have a connection to check each, the others none.
        clients = [world.spawn(_timed_out(world, pool, BRIEF)) for _ in range(6)]
        for client in clients:
            await client.result()
        assert sorted(silence.checks) == [1, 2, 3]
        await world.sleep(2.0)
        for conn in [await world.call(pool.getconn, timeout=BRIEF) for _ in range(3)]:
            await world.call(pool.putconn, conn)
        assert silence.aborted == []
        assert len(world.made) == 3
        assert pool.get_stats().get("connections_lost", 0) == 0

    _run(shell, "", body)


@BOTH
def test_a_client_that_waits_gets_what_the_check_behind_another_has_found_good(shell: type[Shell]) -> None:
    async def body(world: Shell, pool: Any, silence: Silence) -> None:
        await silence.begin(2.0)
        for client in [world.spawn(_timed_out(world, pool, BRIEF)) for _ in range(3)]:
            await client.result()
        conn = await world.call(pool.getconn, timeout=3.0)
        assert world.clock.monotonic() <= silence.ends_at + 0.1
        await world.call(pool.putconn, conn)

    _run(shell, "", body)


@BOTH
def test_a_server_that_stays_silent_loses_the_connection_and_keeps_no_thread(shell: type[Shell]) -> None:
    async def body(world: Shell, pool: Any, silence: Silence) -> None:
        await silence.begin(60.0)
        for client in [world.spawn(_timed_out(world, pool, BRIEF)) for _ in range(3)]:
            await client.result()
        await world.sleep(PROBE_LIMIT - 0.2)
        assert silence.aborted == []
        await world.sleep(0.3)
        assert sorted(silence.aborted) == [1, 2, 3]
        silence.ends_at = 0.0
        await world.sleep(3.0)
        assert pool.get_stats()["connections_lost"] == 3
        assert len(world.made) == 6
        await world.use(pool, timeout=BRIEF)

    _run(shell, "", body)


@BOTH
def test_a_client_that_may_not_wait_has_the_connection_cut_after_the_limit(shell: type[Shell]) -> None:
    async def body(world: Shell, pool: Any, silence: Silence) -> None:
        await silence.begin(60.0)
        began = world.clock.monotonic()
        with pytest.raises(PoolTimeout):
            await world.call(pool.getconn, timeout=0)
        assert world.clock.monotonic() - began == pytest.approx(PROBE_LIMIT, abs=0.1)
        assert len(silence.aborted) == 1

    _run(shell, "", body)


@BOTH
def test_in_a_null_pool_what_was_connected_is_not_cut_either(shell: type[Shell]) -> None:
    async def body(world: Shell, pool: Any, silence: Silence) -> None:
        await silence.begin(2.0)
        await _timed_out(world, pool, BRIEF)
        assert silence.aborted == []
        await world.sleep(3.0)
        assert [conn.closed for conn in world.made] == [True]  # Nobody waits for it: a null pool keeps nothing.
        assert pool.get_stats().get("connections_lost", 0) == 0
        await world.use(pool, timeout=BRIEF)

    _run(shell, "null", body)


@BOTH
def test_closing_ends_a_check_that_goes_on_behind_its_client(shell: type[Shell]) -> None:
    async def body(world: Shell, pool: Any, silence: Silence) -> None:
        await silence.begin(60.0)
        await _timed_out(world, pool, BRIEF)
        await world.call(pool.close, timeout=0.5)
        await world.sleep(1.0)
        assert len(silence.aborted) == 1
        assert all(conn.closed for conn in world.made)

    _run(shell, "", body)


@BOTH
@pytest.mark.parametrize("kind", ["", "null"])
def test_a_check_that_ends_after_closing_leaves_no_connection_open(shell: type[Shell], kind: str) -> None:
    """Nobody may be left then but the thread or task that has checked."""

    async def body(world: Shell, pool: Any, silence: Silence) -> None:
        pool._driver.abort = lambda conn: None  # It frees nobody at once.
        if not isinstance(world, AsyncShell):
            pool._workers._abort = pool._driver.abort
        await silence.begin(30.0)
        await _timed_out(world, pool, BRIEF)
        await world.call(pool.close, timeout=1.0)
        await world.sleep(60.0)
        assert [conn.number for conn in world.made if not conn.closed] == []

    _run(shell, kind, body)


@BOTH
def test_what_a_check_behind_its_client_fails_with_is_logged(
    shell: type[Shell], caplog: pytest.LogCaptureFixture
) -> None:
    async def body(world: Shell, pool: Any, silence: Silence) -> None:
        await silence.begin(2.0)
        await _timed_out(world, pool, BRIEF)
        next(conn for conn in world.made if conn.number == silence.checks[0])._closed()
        await world.sleep(1.0)
        assert pool.get_stats()["connections_lost"] == 1

    caplog.set_level("DEBUG", "poolhouse.pool")
    _run(shell, "", body)
    assert "the connection was shut down" in caplog.text


def test_where_no_thread_can_be_started_the_client_checks_by_itself() -> None:
    class Crowded(VirtualThreads):
        def start(self, target: Callable[[], None], name: str, *, is_daemon: bool = True) -> None:
            if name.endswith("-check"):
                raise RuntimeError("can't start new thread")
            super().start(target, name, is_daemon=is_daemon)

    threads = Crowded(VirtualClock())

    def main() -> None:
        driver = FakeDriver(threads.sleep, threads.parker)
        checked: list[FakeConnection] = []
        pool: ConnectionPool[FakeConnection] = ConnectionPool(
            driver=driver, clock=threads.clock, threads=threads, min_size=1, check=checked.append, open=True
        )
        pool.wait()
        with pool.connection(timeout=BRIEF) as conn:
            assert checked == [conn]
        pool.close()

    threads.run(main)


def test_a_thread_that_comes_too_late_to_check_leaves_the_connection_alone() -> None:
    """The machine is busy: the client's time is over before the thread beside it has begun."""

    class Late(VirtualThreads):
        def start(self, target: Callable[[], None], name: str, *, is_daemon: bool = True) -> None:
            def late() -> None:
                if name.endswith("-check"):
                    self.sleep(1.0)
                target()

            super().start(late, name, is_daemon=is_daemon)

    threads = Late(VirtualClock())

    def main() -> None:
        driver = FakeDriver(threads.sleep, threads.parker)
        pool: ConnectionPool[FakeConnection] = ConnectionPool(
            driver=driver, clock=threads.clock, threads=threads, min_size=1, check=driver.probe, open=True
        )
        pool.wait()
        with pytest.raises(PoolTimeout):
            pool.getconn(timeout=BRIEF)
        (conn,) = driver.connections
        assert conn.calls == []
        assert pool.getconn(timeout=10.0) is conn
        pool.putconn(conn)
        threads.sleep(3.0)
        assert conn.calls == ["probe"]
        pool.close()

    threads.run(main)


def test_a_task_that_is_cancelled_in_the_instant_its_time_is_over_loses_nothing() -> None:
    async def body(world: Shell, pool: Any, silence: Silence) -> None:
        await silence.begin(2.0)
        client = asyncio.ensure_future(pool.getconn(timeout=BRIEF))
        asyncio.get_running_loop().call_later(BRIEF, client.cancel)
        await asyncio.wait([client])
        await world.sleep(3.0)
        assert silence.aborted == []
        for conn in [await pool.getconn(timeout=BRIEF) for _ in range(3)]:
            await pool.putconn(conn)

    _run(AsyncShell, "", body)
