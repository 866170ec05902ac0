"""In a free-threaded interpreter nothing goes the way without a lock, and no reference is counted."""

import sys

import pytest

from poolhouse.pool.gil import is_gil_enabled
from poolhouse.pool.slot import Slot, abandoned
from support.pool_shells import AsyncShell, Shell, ThreadShell


@pytest.fixture
def no_gil(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "_is_gil_enabled", lambda: False, raising=False)


def test_an_interpreter_that_cannot_say_has_a_gil(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(sys, "_is_gil_enabled", raising=False)
    assert is_gil_enabled()


@pytest.mark.usefixtures("no_gil")
@pytest.mark.parametrize("shell", [ThreadShell, AsyncShell])
def test_every_checkout_and_return_takes_the_lock(shell: type[Shell], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "poolhouse.pool")

    async def case(world: Shell) -> None:
        pool = await world.opened(min_size=2)
        for _ in range(3):
            await world.use(pool)
            conns = [await world.call(pool.getconn) for _ in range(2)]
            for conn in conns:
                await world.call(pool.putconn, conn)
        assert pool._core.attention
        assert not any(slot.takes for slot in pool._core.slots.values())  # Counted on the fast path only.
        assert pool.get_stats()["requests_num"] == 9

    shell().run(case)
    assert any("without the GIL" in record.getMessage() for record in caplog.records)


@pytest.mark.usefixtures("no_gil")
def test_no_block_is_taken_for_abandoned() -> None:
    assert abandoned({1: (Slot(0), 0.0, sys._getframe().f_code, 0, None, True)}) == []
