"""A pool of ours in an exit handler. From CPython 3.12 on no thread can be started there."""

import subprocess
import sys

import pytest

from poolhouse.pool.threads import is_final

_PROGRAM = """
import atexit, logging, sqlite3, sys, time, types
from poolhouse.errors import PoolTimeout
from poolhouse.pool import ConnectionPool, NullConnectionPool


logging.basicConfig(stream=sys.stdout)

# Of a name that the pool does not know: else a null pool's client connects by itself anyway.
driver = types.ModuleType("database")
driver.connect, driver.OperationalError = sqlite3.connect, sqlite3.OperationalError

def make(kind=ConnectionPool, **sizes):
    return kind(":memory:", kwargs={{"check_same_thread": False}}, driver=driver, open=True, **sizes)

def use(pool):
    began = time.monotonic()
    try:
        with pool.connection() as conn:
            print(conn.execute("select 1").fetchone())
    except PoolTimeout as error:
        print(error)
    assert time.monotonic() - began < 10, "it waited"

{body}
"""

#: What the client is told, less how long it waited.
_SENTENCE = "the interpreter ends: no thread can be started that would connect\n"
_MAY_START = sys.version_info < (3, 12)


def _run(body: str) -> str:
    ended = subprocess.run(
        [sys.executable, "-c", _PROGRAM.format(body=body)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.stderr == ""
    return ended.stdout


def test_a_client_of_a_pool_that_is_first_used_there_is_told_at_once() -> None:
    said = _run("atexit.register(lambda: use(make(min_size=1)))")
    if _MAY_START:
        assert said == "(1,)\n"
    else:
        assert said.startswith("couldn't get a connection after 0.0")
        assert said.endswith(f"0 of 1 in use, 0 waiting; {_SENTENCE}")


def test_so_is_whoever_waits_for_it_to_be_full() -> None:
    said = _run("""
def wait():
    try:
        make(min_size=2).wait()
        print("full")
    except PoolTimeout as error:
        print(error)

atexit.register(wait)
""")
    if _MAY_START:
        assert said == "full\n"
    else:
        assert said == f"pool initialization incomplete after 30.0 sec: 0 of 2 idle, 0 in use; {_SENTENCE}"


def test_a_pool_that_has_connections_serves_them_and_one_that_has_lost_all_says_why() -> None:
    """What this driver's connections were used for is not known: each is rolled back before it is served again."""
    said = _run("""
from poolhouse.pool import workers

workers.LINGER = 0.0
pool = make(min_size=1)
pool.wait()
while any(pool._workers._workers.values()):  # One that is there could connect.
    time.sleep(0.001)

def lose_and_use():
    for _ in range(3):
        use(pool)
    conn = pool.getconn()
    conn.close()
    pool.putconn(conn)
    use(pool)

atexit.register(lose_and_use)
""")
    *first, last = [line for line in said.splitlines() if not line.startswith("WARNING:poolhouse.pool:")]
    assert first == ["(1,)"] * 3
    assert last == "(1,)" if _MAY_START else last.endswith(_SENTENCE.strip())


def test_a_null_pools_client_connects_by_itself() -> None:
    assert _run("atexit.register(lambda: use(make(NullConnectionPool)))") == "(1,)\n"


@pytest.mark.parametrize(
    ("error", "is_so"),
    [
        (RuntimeError("can't create new thread at interpreter shutdown"), True),
        (RuntimeError("can't start new thread"), False),
        (OSError("interpreter shutdown"), False),
        (MemoryError(), False),
    ],
    ids=repr,
)
def test_only_the_end_of_the_interpreter_is_final(error: Exception, is_so: bool) -> None:
    assert is_final(error) is is_so
