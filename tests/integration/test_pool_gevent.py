"""Pools in programs that gevent has patched: their threads are greenlets, and nothing may hold up the hub.

Each test is a program of its own, because patches are for good. `Ticks` counts the turns of a greenlet that does
nothing but wait for 1 ms: were the hub held up, there would be none.
"""

import pytest

from support.mariadb import MariaDB
from support.postgres import Postgres, postgres_server
from support.programs import finish, run, start

#: gevent 26 imports what Python 3.11 deprecates.
OPTIONS = ("-W", "error", "-W", "ignore::DeprecationWarning")

BEGIN = """
from gevent import monkey; monkey.patch_all()
import contextlib, logging, random, sys, time
import gevent
from gevent import Timeout
from poolhouse.errors import PoolClosed, PoolTimeout
from poolhouse.pool import ConnectionPool, NullConnectionPool

conninfo = sys.argv[1]
# Connections that are lost are told of, as everywhere; that is not the subject here.
logging.getLogger("poolhouse.pool").addHandler(logging.NullHandler())

@contextlib.contextmanager
def ticks():
    count = [0]
    def tick():
        while True:
            gevent.sleep(0.001)
            count[0] += 1
    ticking = gevent.spawn(tick)
    yield count
    ticking.kill()

def until(condition):
    with Timeout(30):
        while not condition():
            gevent.sleep(0.001)

def is_whole(pool, size):
    \"\"\"All connections are idle, and each works.\"\"\"
    until(lambda: pool.get_stats()["pool_available"] == size)
    stats = pool.get_stats()
    assert (stats["pool_size"], stats["requests_waiting"]) == (size, 0), stats
    held = [pool.getconn(timeout=5) for _ in range(size)]
    for conn in held:
        assert conn.execute("select 1").fetchone() == (1,)
        conn.rollback()
        pool.putconn(conn)
    return True
"""


def printed(program: str, *arguments: str) -> list[str]:
    """What a patched program printed; it must end well and without a word."""
    return run(BEGIN + program, *arguments, options=OPTIONS).splitlines()


@pytest.mark.parametrize("kind", ["ConnectionPool", "NullConnectionPool"])
def test_greenlets_that_want_more_than_there_are_are_served_in_order(kind: str, postgres: Postgres) -> None:
    lines = printed(
        f"""
served, out, most = [], set(), 0

def client(number):
    global most
    with pool.connection() as conn:
        assert conn not in out
        out.add(conn)
        most = max(most, len(out))
        served.append(number)
        conn.execute("select pg_sleep(0.005)")
        out.discard(conn)

with {kind}(conninfo, min_size=0, max_size=3, open=True) as pool, ticks() as count:
    held = [pool.getconn() for _ in range(3)]
    clients = [gevent.spawn(client, number) for number in range(60)]
    until(lambda: pool.get_stats()["requests_waiting"] == 60)
    for conn in held:
        pool.putconn(conn)
    gevent.joinall(clients, raise_error=True)
    print(served == list(range(60)), most, count[0] > 20)
    print(pool.get_stats()["requests_num"], pool.get_stats().get("requests_errors", 0))
""",
        postgres.conninfo,
    )
    assert lines == ["True 3 True", "63 0"]


def test_a_greenlet_whose_time_is_over_is_told_and_the_hub_goes_on(postgres: Postgres) -> None:
    lines = printed(
        """
with ConnectionPool(conninfo, min_size=1, open=True) as pool, ticks() as count:
    with pool.connection():
        began = time.monotonic()
        try:
            pool.getconn(timeout=0.2)
        except PoolTimeout as error:
            took = time.monotonic() - began
            print(0.2 <= took < 5, error.in_use, error.holders[0].connections, count[0] > 20)
        # Each at its own deadline.
        order = []
        def impatient(timeout):
            try:
                pool.getconn(timeout=timeout)
            except PoolTimeout:
                order.append(timeout)
        gevent.joinall([gevent.spawn(impatient, timeout) for timeout in (0.3, 0.1, 0.2)], raise_error=True)
        print(order)
    print(is_whole(pool, 1))
""",
        postgres.conninfo,
    )
    assert lines == ["True 1 1 True", "[0.1, 0.2, 0.3]", "True"]


def test_a_greenlet_that_is_killed_while_it_waits_leaves_its_place(postgres: Postgres) -> None:
    lines = printed(
        """
served = []

def client(number):
    with pool.connection():
        served.append(number)

with ConnectionPool(conninfo, min_size=1, open=True) as pool:
    with pool.connection():
        waiting = [gevent.spawn(client, number) for number in range(5)]
        until(lambda: pool.get_stats()["requests_waiting"] == 5)
        for number in (0, 2, 4):
            waiting[number].kill()
        print(pool.get_stats()["requests_waiting"])
    gevent.joinall(waiting)
    print(served, is_whole(pool, 1))
    # It is to be killed as soon as others run, and is served before that.
    with pool.connection():
        late = gevent.spawn(client, 5)
        until(lambda: pool.get_stats()["requests_waiting"] == 1)
        late.kill(block=False)
    assert pool.get_stats()["pool_available"] == 0
    late.join()
    print(served, is_whole(pool, 1))
""",
        postgres.conninfo,
    )
    assert lines == ["2", "[1, 3] True", "[1, 3] True"]


def test_a_greenlet_that_is_killed_while_it_has_a_connection_gives_it_back(postgres: Postgres) -> None:
    """At rest, in the middle of a statement, and with a transaction of which nothing may be left."""
    lines = printed(
        """
has_it = []

def resting():
    with pool.connection() as conn:
        conn.execute("insert into of_the_killed values (1)")
        has_it.append(conn)
        gevent.sleep(60)

def busy():
    with pool.connection() as conn:
        conn.execute("insert into of_the_killed values (2)")
        has_it.append(conn)
        conn.execute("select pg_sleep(60)")

with ConnectionPool(conninfo, min_size=2, open=True) as pool:
    with pool.connection() as conn:
        conn.execute("create table of_the_killed (a int)")
    for client in (resting, busy):
        has_it.clear()
        greenlet = gevent.spawn(client)
        until(lambda: has_it)
        gevent.sleep(0.05)
        greenlet.kill()
        print(type(greenlet.value).__name__, is_whole(pool, 2))
    with pool.connection() as conn:
        print(conn.execute("select count(*) from of_the_killed").fetchone())
""",
        postgres.conninfo,
    )
    assert lines == ["GreenletExit True", "GreenletExit True", "(0,)"]


@pytest.mark.parametrize("kind", ["ConnectionPool", "NullConnectionPool"])
def test_gevents_timeout_may_end_a_client_anywhere(kind: str, postgres: Postgres) -> None:
    """While it waits, connects (in null pools), works or gives back: each is told, and nothing is lost."""
    lines = printed(
        f"""
random.seed(20261123)
ends = {{"served": 0, "interrupted": 0}}

def client(number):
    for _ in range(15):
        try:
            with Timeout(30 if number % 2 else random.uniform(0, 0.02)):
                with pool.connection() as conn:
                    conn.execute("select pg_sleep(0.001)")
            ends["served"] += 1
        except Timeout:
            ends["interrupted"] += 1

with {kind}(conninfo, min_size=0, max_size=3, open=True) as pool:
    with Timeout(100):
        gevent.joinall([gevent.spawn(client, number) for number in range(20)], raise_error=True)
    assert sum(ends.values()) == 300 and min(ends.values()) > 0, ends
    held = [pool.getconn(timeout=10) for _ in range(3)]
    print(sorted(conn.execute("select 1").fetchone()[0] for conn in held))
    for conn in held:
        pool.putconn(conn)
    stats = pool.get_stats()
    print(stats["requests_waiting"], stats["pool_size"] <= 3)
""",
        postgres.conninfo,
    )
    assert lines == ["[1, 1, 1]", "0 True"]


def test_closing_tells_the_greenlets_that_wait(postgres: Postgres) -> None:
    lines = printed(
        """
told = []

def client():
    try:
        pool.getconn()
    except PoolClosed:
        told.append(True)

pool = ConnectionPool(conninfo, min_size=1, open=True)
held = pool.getconn()
waiting = [gevent.spawn(client) for _ in range(5)]
until(lambda: pool.get_stats()["requests_waiting"] == 5)
pool.close()
gevent.joinall(waiting, raise_error=True)
print(len(told))
pool.putconn(held)
print(held.closed)
""",
        postgres.conninfo,
    )
    assert lines == ["5", "True"]


def test_a_server_that_does_not_answer_holds_up_neither_client_nor_hub() -> None:
    with postgres_server() as server:
        program = """
import os
pid, = map(int, sys.argv[2:])
with ConnectionPool(conninfo, min_size=2, check=ConnectionPool.check_connection, open=True) as pool:
    pool.wait()
    print("ready", flush=True)
    sys.stdin.readline()
    with ticks() as count:
        began = time.monotonic()
        try:
            pool.getconn(timeout=0.5)
        except PoolTimeout:
            print(0.5 <= time.monotonic() - began < 5, count[0] > 50, flush=True)
    sys.stdin.readline()
    print(is_whole(pool, 2))
"""

        running = start(BEGIN + program, server.conninfo, "0", options=OPTIONS)
        assert running.stdin is not None
        assert running.stdout is not None
        assert running.stdout.readline() == "ready\n"
        with server.frozen():
            running.stdin.write("\n")
            running.stdin.flush()
            assert running.stdout.readline() == "True True\n"
        running.stdin.write("\n")
        running.stdin.flush()
        assert finish(running) == "True\n"


PSYCOPG2 = """
import psycopg2, psycopg2.extensions

def wait(conn, timeout=None):
    # psycopg2's documentation, "Coroutine support"; the package psycogreen is no more than this.
    while True:
        state = conn.poll()
        if state == psycopg2.extensions.POLL_OK:
            return
        watch = gevent.socket.wait_read if state == psycopg2.extensions.POLL_READ else gevent.socket.wait_write
        watch(conn.fileno(), timeout=timeout)

import gevent.socket
if sys.argv[2] == "cooperative":
    psycopg2.extensions.set_wait_callback(wait)
kwargs, driver = {}, psycopg2
"""
PYMYSQL = """
import pymysql
kwargs = dict(host="127.0.0.1", port=int(sys.argv[2]), user=sys.argv[3], database=sys.argv[4])
conninfo, driver = "", pymysql
"""
#: The same for each DB-API driver: more greenlets than connections, and one that is killed while it waits.
DBAPI = """
served = []

def execute(conn, sql):
    cursor = conn.cursor()
    cursor.execute(sql)
    row = cursor.fetchone()
    cursor.close()
    return row

def client(number):
    with pool.connection() as conn:
        execute(conn, sleep)
        served.append(number)

with ConnectionPool(conninfo, driver=driver, kwargs=kwargs, min_size=2, open=True) as pool, ticks() as count:
    pool.wait()
    clients = [gevent.spawn(client, number) for number in range(20)]
    until(lambda: served)
    clients[-1].kill()
    gevent.joinall(clients)
    print(set(served) >= set(range(19)), count[0] > 20)
    until(lambda: pool.get_stats()["pool_available"] == 2)
    with pool.connection() as conn:
        print(execute(conn, "select 1"))
"""


@pytest.mark.parametrize("way", ["cooperative", "blocking"])
def test_greenlets_use_psycopg2_with_and_without_a_wait_callback(way: str, postgres: Postgres) -> None:
    """Without one its calls hold up the hub, as they do without a pool, and everybody is served all the same."""
    lines = printed(f"{PSYCOPG2}\nsleep = 'select pg_sleep(0.01)'\n{DBAPI}", postgres.conninfo, way)
    assert lines[1] == "(1,)"
    assert lines[0].startswith("True ")
    assert lines[0] == "True True" or way == "blocking"


def test_greenlets_use_pymysql(mariadb: MariaDB) -> None:
    program = f"{PYMYSQL}\nsleep = 'select sleep(0.01)'\n{DBAPI}"
    assert printed(program, "", str(mariadb.port), mariadb.user, mariadb.database) == ["True True", "(1,)"]


def test_greenlets_on_the_pool_for_sqlalchemy(postgres: Postgres) -> None:
    lines = printed(
        """
from sqlalchemy import create_engine, exc, text
from poolhouse.pool.sqlalchemy import FairQueuePool

engine = create_engine(sys.argv[2], poolclass=FairQueuePool, pool_size=2, max_overflow=1, pool_timeout=20)
pool, served = engine.pool, []

def client(number):
    with engine.connect() as conn:
        served.append(number)
        conn.execute(text("select pg_sleep(0.005)"))

held = [engine.connect() for _ in range(3)]
clients = [gevent.spawn(client, number) for number in range(60)]
until(lambda: pool.waiting() == 60)
with ticks() as count:
    for conn in held:
        conn.close()
    gevent.joinall(clients, raise_error=True)
    print(served == list(range(60)), count[0] > 20, pool.checkedout(), pool.waiting())

held = [engine.connect() for _ in range(3)]
waiting = [gevent.spawn(client, number) for number in range(4)]
until(lambda: pool.waiting() == 4)
waiting[1].kill()
try:
    with Timeout(0.05):
        engine.connect()
except Timeout:
    print("interrupted", pool.waiting())
served.clear()
for conn in held:
    conn.close()
gevent.joinall(waiting)
print(served, pool.checkedout(), pool.waiting())
engine.dispose()
""",
        postgres.conninfo,
        postgres.url.replace("postgresql", "postgresql+psycopg"),
    )
    assert lines == ["True True 0 0", "interrupted 3", "[0, 2, 3] 0 0"]
