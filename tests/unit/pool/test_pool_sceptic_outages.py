"""What a pool logs, and survives, while connecting fails: in threads and in tasks, in virtual time."""

import asyncio
import logging
from typing import Any

import pytest

from poolhouse.pool.status import ACTIVE
from support.pool_shells import OURS, AsyncShell, Shell

pytestmark = pytest.mark.parametrize("shell", OURS, ids=lambda shell: shell.__name__)


@pytest.mark.parametrize(
    "error",
    [SystemExit(1), KeyboardInterrupt(), GeneratorExit(), asyncio.CancelledError(), MemoryError()],
    ids=repr,
)
def test_whatever_reconnect_failed_raises_the_pool_goes_on(
    error: BaseException, shell: type[Shell], caplog: pytest.LogCaptureFixture
) -> None:
    """Trap 54. psycopg/psycopg#1315: a pool that recovers whatever became of its workers."""
    if shell is AsyncShell and isinstance(error, KeyboardInterrupt):
        error = RuntimeError("where KeyboardInterrupt is raised, asyncio itself ends the loop")

    async def case(s: Any) -> None:
        called: list[object] = []

        def failed(pool: object) -> None:
            called.append(pool)
            raise error

        s.connection_class.is_down = True
        pool = s.pool(min_size=2, reconnect_timeout=10.0, reconnect_failed=s.callback(failed))
        await s.call(pool.open)
        await s.sleep(60.0)
        assert called
        s.connection_class.is_down = False
        await s.call(pool.wait, 60.0)
        await s.use(pool)

    shell().run(case)


def test_a_callable_that_raises_is_a_failed_connect_and_called_again(shell: type[Shell]) -> None:
    """psycopg/psycopg#851, #1042, MagicStack/asyncpg#553, aio-libs/aiomysql#285: passwords expire.

    long2ice/asyncmy#139, sqlalchemy/sqlalchemy#7850, aws/aws-advanced-python-wrapper#1231.
    """

    async def case(s: Any) -> None:
        tokens = iter([OSError("no token"), ValueError("a bad token"), "password=one", "password=two"])

        def conninfo() -> str:
            token = next(tokens)
            if isinstance(token, Exception):
                raise token
            return str(token)

        pool = s.pool(conninfo=conninfo, min_size=1)
        await s.call(pool.open)
        with pytest.raises(Exception, match="last connect error: ValueError: a bad token"):
            # The second attempt comes at 96 ms at the latest, the third at 128 ms at the earliest.
            await s.call(pool.getconn, timeout=0.12)
        conn = await s.call(pool.getconn, timeout=30.0)
        assert conn.conninfo == "password=one"
        conn.is_dead = True
        conn._closed()
        await s.call(pool.putconn, conn)
        assert (await s.use(pool)).conninfo == "password=two"

    shell().run(case)


@pytest.mark.long
def test_a_long_outage_is_told_of_ever_more_rarely(shell: type[Shell], caplog: pytest.LogCaptureFixture) -> None:
    """psycopg/psycopg#1315: the reason is never empty. WARNINGs at doubling times, the other failures at DEBUG."""

    async def case(s: Any) -> None:
        s.connection_class.is_down = True
        pool = s.pool(min_size=1, name="mine")
        await s.call(pool.open)
        with pytest.raises(Exception, match="connection refused"):
            await s.call(pool.getconn, timeout=600.0)

    with caplog.at_level(logging.DEBUG, logger="poolhouse.pool"):
        shell().run(case)
    told = [record for record in caplog.records if "error connecting" in record.getMessage()]
    warnings = [record for record in told if record.levelno == logging.WARNING]
    assert {record.getMessage() for record in told} == {"error connecting in 'mine': OSError: connection refused"}
    assert len(told) > 600 / 0.096
    assert 5 <= len(warnings) <= 16, "log2 of 600 s in units of a probe"
    assert {record.levelno for record in told} == {logging.WARNING, logging.DEBUG}


def _closed(s: Any, conn: Any) -> None:
    conn._closed()


def _busy(s: Any, conn: Any) -> None:
    conn.pgconn.transaction_status = ACTIVE


def _dead_in_a_transaction(s: Any, conn: Any) -> None:
    conn.begin()
    conn.is_dead = True


def _dead_when_it_is_reset(s: Any, conn: Any) -> None:
    conn.is_dead = True


def _left_in_a_transaction_by_reset(s: Any, conn: Any) -> None:
    """See `reset` in the test."""


LOST = "server closed the connection unexpectedly"


@pytest.mark.parametrize(
    ("becomes", "reason"),
    [
        (_closed, "discarding closed connection"),
        (_busy, "discarding closed connection"),
        (_dead_in_a_transaction, "rollback failed: OSError: " + LOST),
        (_dead_when_it_is_reset, "error resetting connection"),
        (_left_in_a_transaction_by_reset, "left in status INTRANS by reset function"),
    ],
)
def test_a_connection_that_is_discarded_on_its_way_back_is_named_with_the_reason(
    becomes: Any, reason: str, shell: type[Shell], caplog: pytest.LogCaptureFixture
) -> None:
    async def case(s: Any) -> None:
        def reset(conn: Any) -> None:
            conn._end("reset")
            if becomes is _left_in_a_transaction_by_reset:
                conn.begin()

        pool = await s.opened(min_size=1, reset=s.callback(reset))
        conn = await s.call(pool.getconn)
        becomes(s, conn)
        await s.call(pool.putconn, conn)
        await s.settle()
        assert conn.closed
        assert pool.get_stats()["returns_bad"] == 1

    shell().run(case)
    told = [record for record in caplog.records if "<FakePsycopg 1>" in record.getMessage()]
    assert any(reason in record.getMessage() for record in told)
    assert told[-1].getMessage() == "discarding closed connection: <FakePsycopg 1>"
    assert {(record.levelno, record.name) for record in told} == {(logging.WARNING, "poolhouse.pool")}


@pytest.mark.parametrize("finds", ["checkout", "check()", "sister"])
def test_a_connection_that_is_found_dead_is_named_with_the_reason(
    finds: str, shell: type[Shell], caplog: pytest.LogCaptureFixture
) -> None:
    async def case(s: Any) -> None:
        check = None if finds == "check()" else s.callback(lambda conn: conn._end("check"))
        pool = await s.opened(min_size=2, check=check)
        for conn in s.made[: 2 if finds == "sister" else 1]:
            conn.is_dead = True
        if finds == "check()":
            await s.call(pool.check)
        else:
            await s.use(pool)
        await s.settle()

    with caplog.at_level(logging.INFO, logger="poolhouse.pool"):
        shell().run(case)
    told = [record for record in caplog.records if LOST in record.getMessage()]
    assert len(told) == (2 if finds == "sister" else 1)
    for number, record in enumerate(told, 1):
        assert f"<FakePsycopg {number}>" in record.getMessage()
        level = logging.WARNING if finds == "check()" else logging.INFO  # Those of `check=` are no news.
        assert (record.levelno, record.name) == (level, "poolhouse.pool")


def test_an_error_in_closing_names_the_connection(shell: type[Shell], caplog: pytest.LogCaptureFixture) -> None:
    async def case(s: Any) -> None:
        pool = await s.opened(min_size=1)

        def close(self: Any) -> None:
            raise OSError("no socket")

        s.connection_class.close = close
        await s.call(pool.close)

    shell().run(case)
    (told,) = [record for record in caplog.records if "closing" in record.getMessage()]
    assert told.levelno == logging.WARNING
    assert "<FakePsycopg 1>" in told.getMessage()
    assert "no socket" in told.getMessage()


def test_a_connection_that_configure_spoils_is_named(shell: type[Shell], caplog: pytest.LogCaptureFixture) -> None:
    async def case(s: Any) -> None:
        pool = s.pool(min_size=1, configure=s.callback(lambda conn: conn.begin()))
        await s.call(pool.open)
        await s.settle()

    shell().run(case)
    told = caplog.records[0]
    assert told.levelno == logging.WARNING
    assert "<FakePsycopg 1> left in status INTRANS by configure function" in told.getMessage()


def test_nobody_waits_for_ever_unless_told_to(shell: type[Shell]) -> None:
    """hushh-labs/hushh-research#5869, #5871: a client that waited six hours, because that was the default."""

    async def case(s: Any) -> None:
        for kind in ("", "null"):
            pool = await s.opened(kind, max_size=1, **({} if kind else {"min_size": 1}))
            conn = await s.call(pool.getconn)
            began = s.clock.monotonic()
            with pytest.raises(Exception, match="couldn't get a connection after 30"):
                await s.call(pool.getconn)
            assert 30.0 <= s.clock.monotonic() - began < 30.1
            await s.call(pool.putconn, conn)

    shell().run(case)
