"""Fork, and the end of the interpreter."""

import os
import subprocess
import sys
import time

import pytest

from poolhouse.pool.sync import ConnectionPool
from poolhouse.testing import FakeConnection, FakeDriver


def _driver() -> FakeDriver:
    from poolhouse.pool.threads import SystemThreads

    return FakeDriver(time.sleep, SystemThreads().parker)


@pytest.mark.filterwarnings("ignore:This process.*multi-threaded:DeprecationWarning")  # 3.12 on: that is the test
def test_a_forked_child_begins_anew_and_leaves_the_parents_connections_alone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Trap 56; psycopg/psycopg#395, #518, #651."""
    driver = _driver()
    pool: ConnectionPool[FakeConnection] = ConnectionPool(driver=driver, min_size=2, open=True, name="mine")
    pool.wait()
    taken = pool.getconn()
    inherited = list(driver.connections)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            caplog.clear()
            mine = pool.getconn(timeout=5.0)
            assert mine not in inherited
            pool.putconn(mine)
            pool.putconn(taken)
            assert len(caplog.records) == 1
            assert "belongs to the parent" in caplog.text
            assert not any(conn.calls for conn in inherited)
            pool.close()
            assert not any(conn.calls for conn in inherited)
            os.write(writer, b"well")
        except BaseException as error:
            os.write(writer, repr(error).encode()[:500])
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as answer:
        assert answer.read() == b"well"
    os.waitpid(child, 0)
    pool.putconn(taken)
    assert {pool.getconn(timeout=1.0), pool.getconn(timeout=1.0)} == set(inherited)
    pool.close()


FORGETFUL = """
import time
from poolhouse.pool.sync import ConnectionPool
from poolhouse.pool.threads import SystemThreads
from poolhouse.testing import Does, FakeDriver
driver = FakeDriver(time.sleep, SystemThreads().parker)
pool = ConnectionPool(driver=driver, min_size=2, max_size=4, open=True, reset=lambda conn: None)
pool.wait()
with pool.connection():
    pass
{more}
print("the end")
"""


@pytest.mark.parametrize(
    "more", ["", "driver.always('connect', Does.NEVER); pool.resize(4)", "held = pool.getconn()"]
)
def test_a_program_that_forgets_to_close_its_pool_ends_at_once_and_without_a_word(more: str) -> None:
    # psycopg/psycopg#930, #954, #1043, #1309.
    began = time.monotonic()
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-c", FORGETFUL.format(more=more)],
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "the end\n", "")
    assert time.monotonic() - began < 20


def test_an_idle_pool_has_at_most_one_thread_and_a_forgotten_one_none() -> None:
    import threading

    from support.waiting import wait_until

    before = threading.active_count()
    pool: ConnectionPool[FakeConnection] | None = ConnectionPool(driver=_driver(), min_size=4, open=True)
    assert pool is not None
    pool.wait()
    wait_until(lambda: threading.active_count() <= before + 1)
    with pool.connection():
        pass
    assert threading.active_count() <= before + 1
    del pool
    wait_until(lambda: threading.active_count() <= before)


def test_a_closed_pool_has_no_thread_left() -> None:
    """A program that forks next is warned of threads by Python 3.12 and later."""
    import threading

    before = set(threading.enumerate())
    for timeout in (5.0, 5, 60.0, 1e12, float("inf")):
        pool: ConnectionPool[FakeConnection] = ConnectionPool(
            driver=_driver(), min_size=4, open=True, reset=lambda conn: None, check=lambda conn: None
        )
        pool.wait()
        with pool.connection(timeout=1.0):  # So short that the check has a thread of its own.
            pass
        pool.close(timeout)
        assert set(threading.enumerate()) <= before


def test_a_worker_that_closes_its_pool_does_not_wait_for_itself() -> None:
    import threading

    from support.waiting import wait_until

    before = set(threading.enumerate())
    closed = []

    def reset(conn: FakeConnection) -> None:
        began = time.monotonic()
        pool.close()
        closed.append(time.monotonic() - began)

    pool: ConnectionPool[FakeConnection] = ConnectionPool(driver=_driver(), min_size=1, open=True, reset=reset)
    pool.wait()
    with pool.connection():
        pass
    wait_until(lambda: closed and set(threading.enumerate()) <= before)
    assert closed[0] < 4, "less than the timeout of `close`"
