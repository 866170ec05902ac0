"""What a block does when it is used in ways that it was not made for: whoever else has a connection keeps it."""

from typing import Any

import pytest

from support.pool_shells import OURS, Shell


async def _entered(shell: Shell, pool: Any) -> tuple[Any, Any]:
    """A block by hand, and its connection."""
    block = pool.connection()
    return block, await shell.call(getattr(block, "__enter__", None) or block.__aenter__)


async def _left(shell: Shell, block: Any) -> None:
    await shell.call(getattr(block, "__exit__", None) or block.__aexit__, None, None, None)


@pytest.mark.parametrize("is_in_transaction", [False, True])
@pytest.mark.parametrize("is_waited_for", [False, True])
@pytest.mark.parametrize("kind", OURS)
def test_a_block_whose_connection_was_put_back_takes_nothing_from_the_next_client(
    kind: type[Any], is_waited_for: bool, is_in_transaction: bool
) -> None:
    async def case(shell: Shell) -> None:
        pool = await shell.opened(min_size=1)
        block, conn = await _entered(shell, pool)
        await shell.call(pool.putconn, conn)
        assert await shell.call(pool.getconn) is conn, "the next client's"
        if is_in_transaction:
            conn.begin()
        served: list[Any] = []
        client = shell.spawn(shell.use(pool, served.append)) if is_waited_for else None
        await shell.settle()
        with pytest.raises(ValueError, match="can't return connection"):
            await _left(shell, block)
        await shell.settle()
        assert (served, conn.calls) == ([], [])
        assert pool.get_stats()["pool_available"] == 0
        await shell.call(pool.putconn, conn)
        if client is not None:
            assert await client.result() is conn

    kind().run(case)


@pytest.mark.parametrize("kind", OURS)
def test_a_block_that_is_left_twice_takes_nothing_from_the_next_client(kind: type[Any]) -> None:
    async def case(shell: Shell) -> None:
        pool = await shell.opened(min_size=1)
        block, conn = await _entered(shell, pool)
        await _left(shell, block)
        assert await shell.call(pool.getconn) is conn, "the next client's"
        with pytest.raises(ValueError, match="can't return connection"):
            await _left(shell, block)
        await shell.call(pool.putconn, conn)

    kind().run(case)


@pytest.mark.parametrize("kind", OURS)
def test_a_block_is_entered_once(kind: type[Any]) -> None:
    """Else the connection of the first time had nobody who would end its lease."""

    async def case(shell: Shell) -> None:
        pool = await shell.opened(min_size=2)
        block, conn = await _entered(shell, pool)
        with pytest.raises(RuntimeError, match="entered once"):
            await shell.call(getattr(block, "__enter__", None) or block.__aenter__)
        await shell.call(pool.drain)
        assert conn.calls == []
        await _left(shell, block)
        assert pool.get_stats()["requests_num"] == 1

    kind().run(case)


@pytest.mark.parametrize("kind", OURS)
def test_what_the_pool_itself_works_on_is_not_in_use(kind: type[Any]) -> None:
    """The high-water mark of connections in use counts clients, on whichever path they come."""

    async def case(shell: Shell) -> None:
        pool = await shell.opened(min_size=2)
        slot = pool._core.claim_for_check(set(), pool._now())
        await shell.call(pool.putconn, await shell.call(pool.getconn))
        await shell.use(pool)
        assert pool.meter.used.highest() == 1
        pool._core.probed(slot, True, pool._now())

    kind().run(case)
