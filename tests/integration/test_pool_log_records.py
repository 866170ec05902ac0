"""What is logged, beside psycopg_pool: the same events at the same levels, with the words that people look for."""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any

import psycopg
import psycopg_pool
import pytest

import poolhouse
from support.postgres import Postgres
from support.waiting import wait_until

PACKAGES = (poolhouse, psycopg_pool)


def _in_a_transaction(pool: Any, conn: Any) -> None:
    conn.execute("SELECT 1")


def _in_a_failed_transaction(pool: Any, conn: Any) -> None:
    with pytest.raises(psycopg.errors.UndefinedTable):
        conn.execute("SELECT * FROM nowhere")


def _active(pool: Any, conn: Any) -> None:
    conn.pgconn.exec_(b"COPY (SELECT * FROM generate_series(1, 10)) TO STDOUT")


def _closed(pool: Any, conn: Any) -> None:
    conn.close()


def _that_cannot_be_rolled_back(pool: Any, conn: Any) -> None:
    plain = conn.rollback

    def rollback() -> None:
        conn.pgconn.finish()
        plain()

    conn.rollback = rollback
    conn.execute("SELECT 1")


#: What comes back by `putconn`, and the words of the WARNINGs.
RETURNED: dict[Callable[[Any, Any], None], list[tuple[str, ...]]] = {
    _in_a_transaction: [("rolling back returned connection", "INTRANS")],
    _in_a_failed_transaction: [("rolling back returned connection", "INERROR")],
    _active: [("closing returned connection", "ACTIVE"), ("discarding closed connection", "BAD")],
    _closed: [("discarding closed connection", "BAD")],
    _that_cannot_be_rolled_back: [
        ("rolling back returned connection", "INTRANS"),
        ("rollback failed", "OperationalError", "Discarding connection", "BAD"),
        ("discarding closed connection", "BAD"),
    ],
}


def _told(caplog: pytest.LogCaptureFixture, level: int = logging.WARNING) -> list[str]:
    pools = ("poolhouse.pool", "psycopg.pool")
    # As it was formatted then: the text of a connection changes with its state.
    return [each.message for each in caplog.records if each.name in pools and each.levelno >= level]


def _assert_words(told: list[str], words: list[tuple[str, ...]]) -> None:
    assert len(told) == len(words), told
    for message, wanted in zip(told, words, strict=True):
        assert all(word in message for word in wanted), message


@pytest.fixture(autouse=True)
def _levels(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="psycopg.pool")
    caplog.set_level(logging.DEBUG, logger="poolhouse.pool")


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.__name__)
@pytest.mark.parametrize("comes_back", RETURNED, ids=lambda comes: comes.__name__.strip("_"))
def test_a_connection_that_comes_back_in_a_bad_state_is_warned_of(
    comes_back: Callable[[Any, Any], None], package: Any, postgres: Postgres, caplog: pytest.LogCaptureFixture
) -> None:
    with package.ConnectionPool(postgres.conninfo, min_size=1) as pool:
        conn = pool.getconn()
        caplog.clear()
        comes_back(pool, conn)
        pool.putconn(conn)
        pool.wait(5.0)
    _assert_words(_told(caplog), RETURNED[comes_back])


def _reset_that_fails(conn: Any) -> None:
    raise ValueError("no reset")


def _reset_that_leaves_a_transaction(conn: Any) -> None:
    conn.execute("SELECT 1")


def _misspelt(conn: Any) -> None:
    conn.execute("SETT search_path = ''")


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.__name__)
def test_a_command_that_configure_misspells_is_told(
    package: Any, postgres: Postgres, caplog: pytest.LogCaptureFixture
) -> None:
    with package.ConnectionPool(postgres.conninfo, min_size=1, configure=_misspelt, name="mine"):
        wait_until(lambda: bool(_told(caplog)))
    _assert_words(_told(caplog)[:1], [("error connecting in 'mine'", "syntax error", '"SETT"')])


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.__name__)
@pytest.mark.parametrize(
    ("reset", "words"),
    [
        (_misspelt, ("error resetting connection", "syntax error", '"SETT"')),
        (_reset_that_fails, ("error resetting connection", "no reset")),
        (_reset_that_leaves_a_transaction, ("error resetting connection", "left in status INTRANS by reset")),
    ],
)
def test_a_reset_that_fails_is_warned_of(
    reset: Any, words: tuple[str, ...], package: Any, postgres: Postgres, caplog: pytest.LogCaptureFixture
) -> None:
    with package.ConnectionPool(postgres.conninfo, min_size=1, reset=reset) as pool:
        with pool.connection() as conn:
            conn.execute("SELECT 1")
        pool.wait(5.0)
    _assert_words(_told(caplog), [words, ("discarding closed connection", "BAD")])


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.__name__)
def test_what_a_check_finds_dead_is_no_warning_and_what_check_finds_is_one(
    package: Any, postgres: Postgres, caplog: pytest.LogCaptureFixture
) -> None:
    kind = package.ConnectionPool

    def end(pid: int) -> None:
        with psycopg.connect(postgres.conninfo, autocommit=True) as other:
            other.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])

    with kind(postgres.conninfo, min_size=1, check=kind.check_connection) as pool:
        with pool.connection() as conn:
            pid = conn.info.backend_pid
        end(pid)
        with pool.connection() as conn:
            assert conn.info.backend_pid != pid
        assert _told(caplog) == []
        assert any("connection failed check" in message for message in _told(caplog, logging.INFO))
    with kind(postgres.conninfo, min_size=1) as pool:
        with pool.connection() as conn:
            pid = conn.info.backend_pid
        end(pid)
        pool.check()
        pool.wait(5.0)
    _assert_words(_told(caplog), [("discarding broken connection", "BAD")])


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.__name__)
def test_a_series_of_failed_connects_is_warned_of(package: Any, caplog: pytest.LogCaptureFixture) -> None:
    called: list[float] = []
    began = time.monotonic()
    pool = package.ConnectionPool(
        "host=127.0.0.1 port=1",
        min_size=1,
        name="mine",
        reconnect_timeout=0.5,
        reconnect_failed=lambda pool: called.append(time.monotonic() - began),
        open=False,
    )
    pool.open()
    wait_until(lambda: bool(called))
    pool.close()
    told = [message for message in _told(caplog) if "error connecting in 'mine'" not in message]
    _assert_words(told[:1], [("reconnection attempt in pool 'mine' failed after 0.5 sec",)])
    assert called[0] >= 0.5, "with the attempt at its end, and not before"


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.__name__)
def test_the_life_of_a_pool_is_told_at_info(
    package: Any, postgres: Postgres, caplog: pytest.LogCaptureFixture
) -> None:
    with package.ConnectionPool(postgres.conninfo, min_size=1, name="mine", max_lifetime=3600) as pool:
        pool.wait(5.0)
        pool.resize(1, 2)
    told = [message for message in _told(caplog, logging.INFO) if " from " not in message]
    for words in (
        "waiting for pool 'mine' initialization",
        "adding new connection to the pool",
        "pool 'mine' is ready to use",
        "resizing 'mine' to min_size=1 max_size=2",
    ):
        assert any(words in message for message in told), (words, told)


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.__name__)
def test_what_a_pool_closes_of_its_own_accord_is_told_at_info(
    package: Any, postgres: Postgres, caplog: pytest.LogCaptureFixture
) -> None:
    with package.ConnectionPool(postgres.conninfo, min_size=1, max_size=2, max_idle=0.2, name="mine") as pool:
        with pool.connection(), pool.connection():
            pass
        wait_until(lambda: pool.get_stats()["pool_size"] == 1)
        with pool.connection():
            pool.drain()
        wait_until(lambda: any("discarding" in message for message in _told(caplog, logging.INFO)))
    told = _told(caplog, logging.INFO)
    assert any("shrinking pool 'mine'" in message for message in told), told
    assert not any("WARNING" in each.levelname for each in caplog.records)


def test_checkouts_and_returns_are_not_logged(postgres: Postgres, caplog: pytest.LogCaptureFixture) -> None:
    with poolhouse.ConnectionPool(postgres.conninfo, min_size=1) as pool:
        pool.wait(5.0)
        caplog.clear()
        with pool.connection() as conn:
            conn.execute("SELECT 1")
        pool.putconn(pool.getconn())
        assert _told(caplog, logging.DEBUG) == []


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.__name__)
def test_a_pool_for_asyncio_tells_the_same(
    package: Any, postgres: Postgres, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        async with package.AsyncConnectionPool(postgres.conninfo, min_size=1, open=False) as pool:
            conn = await pool.getconn()
            caplog.clear()
            conn.pgconn.exec_(b"COPY (SELECT * FROM generate_series(1, 10)) TO STDOUT")
            await pool.putconn(conn)
            await pool.wait(5.0)

    asyncio.run(main())
    _assert_words(_told(caplog), RETURNED[_active])
