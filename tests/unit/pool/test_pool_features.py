"""What our pools have besides: hooks, meter, pictures of their state, and settings that say what is wrong."""

import logging
import sqlite3
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from poolhouse.errors import PoolClosed, PoolTimeout
from poolhouse.meter.reading import PoolReading
from poolhouse.pool import ConnectionPool, NullConnectionPool, PoolHooks
from poolhouse.pool.backoff import FIRST_PAUSE, Outage
from poolhouse.pool.jobs import Reason
from poolhouse.pool.options import PoolOptions
from poolhouse.testing import FakeConnection, FakeDriver, VirtualClock, VirtualThreads

Body = Callable[["ConnectionPool[FakeConnection]", FakeDriver, VirtualThreads], Any]


def _with_pool(body: Body, *, kind: type[Any] = ConnectionPool, **parameters: Any) -> Any:
    """Run `body` with an open pool in virtual time."""
    threads = VirtualThreads(VirtualClock())

    def main() -> Any:
        driver = FakeDriver(threads.sleep, threads.parker)
        pool = kind(driver=driver, clock=threads.clock, threads=threads, open=True, name="mine", **parameters)
        pool.wait()
        try:
            return body(pool, driver, threads)
        finally:
            pool.close()

    return threads.run(main)


def _read(pool: ConnectionPool[FakeConnection], number: int) -> PoolReading:
    """What a reporter does."""
    core = pool._core
    reading = pool.meter.read(number, core.gauges, core.limits(), name=pool.name, kind="ConnectionPool")
    core.interval_closed(reading.marks[0])
    return reading


def test_hooks_are_told_of_every_event() -> None:
    told: list[Any] = []
    hooks = PoolHooks(
        connected=lambda conn, took: told.append(("connected", took)),
        acquired=lambda conn, waited, size, idle: told.append(("acquired", waited, size, idle)),
        released=lambda conn, used: told.append(("released", used)),
        timed_out=lambda waited: told.append(("timed out", round(waited, 6))),
        closed=lambda conn, reason: told.append(("closed", reason)),
    )

    def body(pool: ConnectionPool[FakeConnection], driver: FakeDriver, threads: VirtualThreads) -> None:
        conn = pool.getconn()
        with pytest.raises(PoolTimeout):
            pool.getconn(timeout=0.25)
        threads.sleep(2.0)
        pool.putconn(conn)

    _with_pool(body, min_size=1, hooks=hooks)
    assert told == [
        ("connected", 0.0),
        ("acquired", 0.0, 1, 0),
        ("timed out", 0.25),
        ("released", 2.25),
        ("closed", Reason.CLOSED),
    ]


def test_a_hook_that_fails_is_logged_and_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    def fail(*event: object) -> None:
        raise ZeroDivisionError

    def body(pool: ConnectionPool[FakeConnection], driver: FakeDriver, threads: VirtualThreads) -> None:
        with pool.connection() as conn:
            assert conn.number == 1

    _with_pool(body, min_size=1, hooks=PoolHooks(acquired=fail, released=fail, connected=fail, closed=fail))
    assert len(caplog.records) == 4
    assert {record.levelno for record in caplog.records} == {logging.ERROR}


def test_the_meter_tells_what_the_pool_has_done() -> None:
    def body(pool: ConnectionPool[FakeConnection], driver: FakeDriver, threads: VirtualThreads) -> Any:
        for _ in range(3):
            with pool.connection():
                threads.sleep(0.5)
        conn = pool.getconn()
        with pytest.raises(PoolTimeout):
            pool.getconn(timeout=1.0)
        reading = _read(pool, 7)
        pool.putconn(conn)
        return reading

    reading = _with_pool(body, min_size=1)
    assert (reading.name, reading.kind) == ("mine", "ConnectionPool")
    assert (reading.counters.checkouts, reading.counters.timeouts, reading.counters.connects) == (4, 1, 1)
    assert (reading.gauges.used, reading.gauges.idle, reading.gauges.waiting) == (1, 0, 0)
    assert (reading.limits.max_open, reading.limits.min_idle) == (1, 1)
    assert (reading.marks[0].interval, reading.marks[0].used, reading.marks[0].waiting) == (7, 1, 1)
    assert reading.use is not None
    assert (reading.use.count, reading.use.sum_ns) == (3, int(1.5e9))


def test_an_interval_that_is_read_does_not_make_the_pool_shrink_too_early() -> None:
    def body(pool: ConnectionPool[FakeConnection], driver: FakeDriver, threads: VirtualThreads) -> list[int]:
        sizes = []
        conns = [pool.getconn() for _ in range(3)]
        for conn in conns:
            pool.putconn(conn)
        threads.sleep(6.0)
        _read(pool, 1)
        for _ in range(3):
            threads.sleep(10.0)
            sizes.append(pool.get_stats()["pool_size"])
        return sizes

    assert _with_pool(body, min_size=1, max_size=3, max_idle=10.0) == [3, 2, 1]


def test_a_pool_is_shown_with_its_state() -> None:
    def body(pool: ConnectionPool[FakeConnection], driver: FakeDriver, threads: VirtualThreads) -> None:
        pool.getconn()
        assert repr(pool) == "<ConnectionPool 'mine': 1 used, 1 idle, 0 waiting, max 2>"
        pool.close()
        assert repr(pool) == "<ConnectionPool 'mine' (closed): 1 used, 0 idle, 0 waiting, max 2>"

    _with_pool(body, min_size=2)


def test_holders_are_the_lines_that_have_connections() -> None:
    def body(pool: ConnectionPool[FakeConnection], driver: FakeDriver, threads: VirtualThreads) -> None:
        for _ in range(2):
            pool.getconn()
            threads.sleep(1.0)
        (holder,) = pool.holders()
        assert (holder.connections, holder.oldest_s, holder.total_s) == (2, 2.0, 3.0)
        assert holder.site.startswith("pool/test_pool_features.py:")
        assert holder.site.endswith("test_holders_are_the_lines_that_have_connections.<locals>.body")

    _with_pool(body, min_size=2)


def test_with_check_idle_only_what_was_idle_for_so_long_is_checked() -> None:
    checked: list[int] = []

    def body(pool: ConnectionPool[FakeConnection], driver: FakeDriver, threads: VirtualThreads) -> None:
        for pause in (0.0, 0.1, 4.9, 5.1):
            threads.sleep(pause)
            with pool.connection() as conn:
                assert conn.number == 1

    _with_pool(body, min_size=1, check=lambda conn: checked.append(conn.number), check_idle=5.0)
    assert checked == [1]


def test_a_null_pool_that_cannot_connect_says_so_when_waited_for() -> None:
    threads = VirtualThreads(VirtualClock())

    def main() -> None:
        driver = FakeDriver(threads.sleep, threads.parker)
        driver.is_down = True
        pool: NullConnectionPool[FakeConnection] = NullConnectionPool(
            driver=driver, clock=threads.clock, threads=threads, open=True
        )
        with pytest.raises(PoolTimeout, match="last connect error: FakeError: the server is down"):
            pool.wait(timeout=3.0)
        assert pool.closed
        assert pool.get_stats()["connections_errors"] == 3

    threads.run(main)


def test_errors_are_ours_and_the_drivers() -> None:
    pool: ConnectionPool[sqlite3.Connection] = ConnectionPool(":memory:", driver=sqlite3, open=False)
    with pytest.raises(sqlite3.OperationalError) as caught:
        pool.getconn()
    assert isinstance(caught.value, PoolClosed)
    with pytest.raises(psycopg.OperationalError):
        ConnectionPool(open=False).getconn()


def test_a_pool_that_opens_itself_warns_at_its_first_use_and_not_as_a_context() -> None:
    settings: Any = {"driver": sqlite3, "min_size": 1, "kwargs": {"check_same_thread": False}}
    pool: ConnectionPool[sqlite3.Connection] = ConnectionPool(":memory:", **settings)
    with pytest.warns(DeprecationWarning, match="'open'") as caught:
        conn = pool.getconn()
    assert caught[0].filename == __file__
    pool.putconn(conn)
    pool.close()
    with ConnectionPool(":memory:", **settings) as pool, pool.connection():
        pass


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"max_waiting": -1}, "max_waiting cannot be negative"),
        ({"idle_order": "filo"}, "idle_order must be 'fifo' or 'lifo', not 'filo'"),
        ({"shrink": "some"}, "shrink must be 'one' or 'all', not 'some'"),
        ({"max_lifetime": -1.0}, "max_lifetime cannot be negative"),
        ({"max_idle": float("nan")}, "max_idle must be a number of seconds, not nan"),
        ({"check_idle": 1.0}, "check_idle needs a check callback"),
        ({"check_idle": -1.0, "has_check": True}, "check_idle cannot be negative"),
        ({"hold_warning": 0.0}, "hold_warning must be more than 0"),
    ],
)
def test_an_impossible_option_is_refused_with_its_name(options: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        PoolOptions(**options)


def test_close_returns_needs_psycopg() -> None:
    with pytest.raises(ValueError, match="close_returns needs a driver"):
        ConnectionPool(":memory:", driver=sqlite3, open=False, close_returns=True)


def test_a_driver_that_lacks_a_method_is_refused_with_its_name() -> None:
    with pytest.raises(TypeError, match="lacks 'connect'"):
        ConnectionPool(driver=object(), open=False)


def test_the_pauses_of_an_outage_double_and_a_waiting_client_has_probes() -> None:
    outage = Outage(0, OSError("down"), lambda: 0.5, 300.0)
    assert outage.next_attempt_at(False) == FIRST_PAUSE
    assert outage.next_attempt_at(True) == 0.08
    for times in range(3):
        outage.pause()
        assert outage.next_attempt_at(False) == FIRST_PAUSE * 2 ** (times + 1)
    outage.restart(0.0)
    assert outage.next_attempt_at(False) == FIRST_PAUSE


def test_the_pauses_of_an_outage_differ_by_chance() -> None:
    """So that the pools of many processes do not come all at once."""
    early, late = (Outage(0.0, OSError("down"), lambda draw=draw: draw, 300.0) for draw in (0.0, 1.0))
    assert (early.next_attempt_at(False), late.next_attempt_at(False)) == pytest.approx((0.9, 1.1))
    assert (early.next_attempt_at(True), late.next_attempt_at(True)) == pytest.approx((0.064, 0.096))


def test_an_outage_is_told_of_at_doubling_intervals() -> None:
    outage = Outage(0, OSError("down"), lambda: 0.5, 300.0)
    loud = [at for at in range(1, 64) if outage.fail(at, OSError("down"))]
    assert loud == [1, 3, 7, 15, 31, 63]


def test_what_is_measured_stays_small_though_nobody_reads_it() -> None:
    def body(pool: ConnectionPool[FakeConnection], driver: FakeDriver, threads: VirtualThreads) -> None:
        pool.getconn()
        for _ in range(5_000):
            with pytest.raises(PoolTimeout):
                pool.getconn(timeout=0)
        assert len(pool.meter.timeouts) < 2_048
        assert pool.meter.totals().timeouts == 5_000

    _with_pool(body, min_size=1)
