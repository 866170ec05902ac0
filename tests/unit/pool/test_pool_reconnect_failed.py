"""`reconnect_failed` as a means to end the program, in asyncio: what it raises there may reach the event loop."""

import asyncio
from typing import Any

import pytest

from poolhouse.pool import AsyncConnectionPool
from poolhouse.testing import AsyncFakeDriver, FakeConnection, VirtualClock
from poolhouse.testing.loop import VirtualLoop
from support.pool_shells import AsyncShell, Shell, ThreadShell, _drive


@pytest.mark.parametrize("is_coroutine", [False, True], ids=["function", "coroutine function"])
def test_an_interrupt_ends_the_event_loop_and_not_the_pool(is_coroutine: bool) -> None:
    """Ctrl-C that comes while the callback runs is not swallowed; where the loop goes on, so does the pool."""
    driver = AsyncFakeDriver()
    driver.is_down = True
    called: list[object] = []

    def interrupt(pool: object) -> None:
        called.append(pool)
        if len(called) == 1:
            raise KeyboardInterrupt

    async def interrupt_later(pool: object) -> None:
        await asyncio.sleep(0)
        interrupt(pool)

    clock = VirtualClock()
    pool: AsyncConnectionPool[FakeConnection] = AsyncConnectionPool(
        driver=driver,
        clock=clock,
        min_size=2,
        reconnect_timeout=10.0,
        reconnect_failed=interrupt_later if is_coroutine else interrupt,
        open=False,
    )

    async def begin() -> None:
        await pool.open()
        await asyncio.sleep(3600.0)

    async def go_on() -> None:
        await asyncio.sleep(60.0)
        assert len(called) > 1
        driver.is_down = False
        await pool.wait(60.0)
        async with pool.connection():
            pass
        await pool.close()

    loop = VirtualLoop(clock)
    with pytest.raises(KeyboardInterrupt):
        loop.run_until_complete(begin())
    assert called == [pool]
    loop.run_until_complete(go_on())
    loop.close()


@pytest.mark.parametrize("is_in_another_task", [False, True])
@pytest.mark.parametrize("shell", [ThreadShell, AsyncShell])
@pytest.mark.parametrize("name", ["reconnect_failed", "configure", "reset"])
def test_a_callback_may_close_its_pool_and_goes_on(
    name: str, shell: type[Shell], is_in_another_task: bool
) -> None:
    """It does not wait for itself; nor does it in a task of its own, as `asyncio.wait_for` makes one on 3.11."""
    told: list[Any] = []

    async def case(world: Shell) -> None:
        async def close(*_: object) -> None:
            began = world.clock.monotonic()
            closing = world.call(pool.close)
            await (asyncio.ensure_future(closing) if is_in_another_task and shell is AsyncShell else closing)
            told.append(world.clock.monotonic() - began)
            await world.sleep(1.0)
            told.append("the rest")

        callback = close if shell is AsyncShell else lambda *_: _drive(close())
        world.connection_class.is_down = name == "reconnect_failed"
        pool = world.pool(min_size=1, reconnect_timeout=1.0, **{name: callback})
        await world.call(pool.open)
        if name == "reset":
            await world.use(pool)
        await world.sleep(20.0)
        assert pool.closed

    shell().run(case)
    assert told == [0.0, "the rest"]


def test_a_subclass_may_say_what_is_done() -> None:
    told: list[str] = []

    class Pool(AsyncConnectionPool[FakeConnection]):
        async def reconnect_failed(self) -> None:
            told.append(self.name)

    driver = AsyncFakeDriver()
    driver.is_down = True
    clock = VirtualClock()

    async def main() -> None:
        async with Pool(driver=driver, clock=clock, min_size=1, reconnect_timeout=10.0, name="mine", open=False):
            await asyncio.sleep(19.0)

    loop = VirtualLoop(clock)
    loop.run_until_complete(main())
    loop.close()
    assert told == ["mine"]
