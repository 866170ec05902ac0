"""A driver, or a `connect`, that returns a connection which the pool has already."""

import logging
from typing import Any

import pytest

from poolhouse.errors import PoolError
from support.pool_shells import OURS, Shell, ThreadShell

pytestmark = pytest.mark.parametrize("shell", OURS, ids=lambda shell: shell.__name__)

_SENTENCE = "a connection that the pool already has: <FakePsycopg 1>"


class _Attempts:
    """Has `connect` return the first connection again and again, for as long as it `is_wrong`; counts."""

    def __init__(self, world: Shell) -> None:
        self.number = 0
        self.is_wrong = True
        real = world.connection_class.connect

        def same() -> bool:
            self.number += 1
            return self.is_wrong and bool(world.made)

        if isinstance(world, ThreadShell):

            def connect(*args: Any, **kwargs: Any) -> Any:
                return world.made[0] if same() else real(*args, **kwargs)

            world.connection_class.connect = connect
        else:

            async def connect_soon(*args: Any, **kwargs: Any) -> Any:
                return world.made[0] if same() else await real(*args, **kwargs)

            world.connection_class.connect = connect_soon


def test_a_connection_that_the_pool_has_already_is_a_failed_connect_with_back_off(
    shell: type[Shell], caplog: pytest.LogCaptureFixture
) -> None:
    async def case(world: Shell) -> None:
        attempts = _Attempts(world)
        pool = world.pool(min_size=2, max_size=3)
        await world.call(pool.open)
        await world.sleep(60.0)
        # The first succeeds. The pauses between the others double from 1 s on, give or take a tenth: they are made
        # at 0, 1, 3, 7, 15 and 31 s, and perhaps at 63 s, or a tenth earlier.
        assert 7 <= attempts.number <= 8
        warnings = [record for record in caplog.records if record.levelno >= logging.WARNING]
        assert 1 <= len(warnings) < attempts.number
        first = await world.call(pool.getconn)
        with pytest.raises(PoolError, match=_SENTENCE):
            await world.call(pool.getconn, timeout=1.0)
        assert world.made == [first]
        assert first.calls == []  # Neither closed nor configured: a client has it.
        await world.call(pool.putconn, first)
        assert (await world.use(pool)) is first
        attempts.is_wrong = False
        await world.call(pool.wait, 90.0)  # The next pause is 64 s, and a tenth.
        assert len(world.made) == 2

    shell().run(case)


def test_neither_configure_nor_close_is_called_for_it_since_a_client_may_have_it(shell: type[Shell]) -> None:
    async def case(world: Shell) -> None:
        _Attempts(world)
        configured: list[object] = []

        def configure(conn: Any) -> None:
            configured.append(conn)
            if len(configured) > 1:
                raise OSError("the client's transaction is open")

        pool = world.pool(min_size=1, max_size=2, configure=world.callback(configure))
        await world.call(pool.open)
        first = await world.call(pool.getconn)
        with pytest.raises(PoolError, match=_SENTENCE):
            await world.call(pool.getconn, timeout=1.0)
        assert configured == [first]
        assert first.calls == []
        await world.call(pool.putconn, first)

    shell().run(case)


def test_a_null_pool_tells_the_client_and_leaves_the_connection_to_whoever_has_it(shell: type[Shell]) -> None:
    async def case(world: Shell) -> None:
        attempts = _Attempts(world)
        pool = world.pool("null", max_size=2)
        await world.call(pool.open)
        first = await world.call(pool.getconn)
        for number in range(3):
            with pytest.raises(PoolError, match=_SENTENCE):
                await world.call(pool.getconn, timeout=1.0)
            assert attempts.number == 2 + number
        with pytest.raises(PoolError, match=_SENTENCE):
            await world.call(pool.wait, 0.05)
        assert first.calls == []
        await world.call(pool.putconn, first)
        assert first.calls == ["close"]

    shell().run(case)
