"""What differs on purpose from psycopg_pool, where no other test shows it: the table in the how-to page."""

import asyncio
import logging
from typing import Any

import psycopg
import pytest

import poolhouse
from support.pool_shells import OURS, AsyncShell, Shell

KINDS = ["", "null"]
BOTH = pytest.mark.parametrize("shell", OURS, ids=lambda shell: shell.__name__)


@BOTH
@pytest.mark.parametrize("timeout", [float("inf"), 1e12])
def test_a_client_with_unlimited_time_waits_as_long_as_it_takes(shell: type[Shell], timeout: float) -> None:
    async def case(s: Shell) -> None:
        pool = await s.opened(min_size=1)
        holder = s.spawn(s.use(pool, hold=900.0))
        await s.sleep(0.1)
        await s.use(pool, timeout=timeout)
        await holder.result()

    shell().run(case)


def test_a_request_that_was_cancelled_is_no_error() -> None:
    async def case(s: Shell) -> None:
        pool = await s.opened(min_size=1)
        conn = await pool.getconn()
        waiting = asyncio.ensure_future(pool.getconn())
        await s.sleep(0.1)
        waiting.cancel()
        await asyncio.wait([waiting])
        assert pool.get_stats().get("requests_errors", 0) == 0
        await pool.putconn(conn)

    AsyncShell().run(case)


@BOTH
def test_a_reconnect_failed_that_raises_is_an_error_in_the_log(
    shell: type[Shell], caplog: pytest.LogCaptureFixture
) -> None:
    async def case(s: Any) -> None:
        def failed(pool: object) -> None:
            raise LookupError("a mistake in the program")

        s.connection_class.is_down = True
        pool = s.pool(min_size=1, reconnect_timeout=5.0, reconnect_failed=s.callback(failed))
        await s.call(pool.open)
        await s.sleep(10.0)

    shell().run(case)
    errors = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert errors
    assert all(record.exc_info and isinstance(record.exc_info[1], LookupError) for record in errors)


@BOTH
@pytest.mark.parametrize("kind", KINDS)
def test_before_it_is_open_a_pool_takes_new_sizes_and_has_nothing_to_check_or_drain(
    shell: type[Shell], kind: str
) -> None:
    async def case(s: Shell) -> None:
        pool = s.pool(kind)
        sizes = (0, 3) if kind else (2, 3)
        await s.call(pool.resize, *sizes)
        await s.call(pool.check)
        await s.call(pool.drain)
        await s.call(pool.open)
        await s.call(pool.wait)
        stats = pool.get_stats()
        assert (stats["pool_min"], stats["pool_max"], stats["pool_size"]) == (*sizes, sizes[0])

    shell().run(case)


@BOTH
def test_a_connection_that_is_closed_inside_its_block_is_returned(shell: type[Shell]) -> None:
    async def case(s: Shell) -> None:
        pool = await s.opened(min_size=1, close_returns=True)
        if isinstance(s, AsyncShell):
            async with pool.connection() as conn:
                await conn.close()
        else:
            with pool.connection() as conn:
                conn.close()
        assert not conn.closed
        assert await s.call(pool.getconn) is conn
        await s.call(pool.putconn, conn)

    shell().run(case)


@BOTH
@pytest.mark.parametrize("kind", KINDS)
def test_a_connection_that_comes_back_closed_is_warned_of(
    shell: type[Shell], kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def case(s: Shell) -> None:
        pool = await s.opened(kind, **({} if kind else {"min_size": 1}))
        await s.use(pool, lambda conn: conn._closed())

    shell().run(case)
    assert [record.levelname for record in caplog.records if "closed connection" in record.getMessage()] == [
        "WARNING"
    ]


@BOTH
def test_whoever_waits_is_served_by_a_pool_that_becomes_larger(shell: type[Shell]) -> None:
    async def case(s: Shell) -> None:
        pool = await s.opened(min_size=1)
        first = await s.call(pool.getconn)
        second = s.spawn(s.use(pool))
        await s.sleep(0.1)
        await s.call(pool.resize, 1, 2)
        assert await second.result() is not first
        await s.call(pool.putconn, first)

    shell().run(case)


@BOTH
def test_the_error_of_a_pool_is_caught_as_its_driver_s(shell: type[Shell]) -> None:
    async def case(s: Shell) -> None:
        pool = await s.opened(min_size=1)
        conn = await s.call(pool.getconn)
        with pytest.raises(psycopg.OperationalError) as caught:
            await s.call(pool.getconn, timeout=0)
        assert isinstance(caught.value, poolhouse.PoolTimeout)
        await s.call(pool.putconn, conn)

    shell().run(case)
    assert not issubclass(poolhouse.PoolTimeout, psycopg.OperationalError)


@BOTH
@pytest.mark.parametrize("kind", KINDS)
def test_a_block_is_no_decorator_and_what_is_for_the_pool_alone_is_not_there(
    shell: type[Shell], kind: str
) -> None:
    async def case(s: Shell) -> None:
        pool = await s.opened(kind, **({} if kind else {"min_size": 1}))
        with pytest.raises(TypeError):
            pool.connection()(len)
        assert not [name for name in ("run_task", "schedule_task", "worker") if hasattr(pool, name)]

    shell().run(case)
