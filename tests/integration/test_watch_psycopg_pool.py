"""Real pools of psycopg_pool over a real PostgreSQL, watched, reporting to a real connmond."""

from collections.abc import Iterator

import pytest

from poolhouse.fleet.snapshot import PoolRow, Snapshot
from poolhouse.meter.reading import Gauges, Limits
from support.connmon import connmon
from support.connmond import Connmond, Watcher, program
from support.postgres import Postgres
from support.session import Session

SETUP = """
    import gc, os, sys, threading
    import poolhouse
    from psycopg_pool import ConnectionPool, PoolTimeout

    def use(pool, times=1):
        for _ in range(times):
            with pool.connection() as conn:
                conn.execute("SELECT 1")
"""

ASYNC_SETUP = """
    import asyncio
    import poolhouse
    from psycopg_pool import AsyncConnectionPool

    loop = asyncio.new_event_loop()

    async def begin(conninfo):
        orders = AsyncConnectionPool(conninfo, min_size=1, max_size=2, open=False)
        poolhouse.watch(orders)
        await orders.open(wait=True)
        for _ in range(5):
            async with orders.connection() as conn:
                await conn.execute("SELECT 1")
        return orders, await orders.getconn()

    async def end(orders, held):
        await orders.putconn(held)
        await orders.close()
"""


@pytest.fixture
def daemon() -> Iterator[Connmond]:
    with Connmond() as daemon:
        yield daemon


@pytest.fixture
def watcher(daemon: Connmond) -> Iterator[Watcher]:
    with Watcher(daemon.consoles, program="shop") as watcher:
        yield watcher


@pytest.fixture
def session(daemon: Connmond, postgres: Postgres) -> Iterator[Session]:
    """A program that uses psycopg_pool."""
    url = f"collectd://127.0.0.1:{daemon.reports}/?program_name=shop&interval=0.2"
    with Session(
        f"conninfo = {postgres.conninfo!r}", env={"POOLHOUSE_REPORT": url}, has_libraries=True
    ) as session:
        yield session


def has(**expected: int):
    """Whether the program's row and totals have these values."""

    def is_right(snapshot: Snapshot) -> bool:
        row = program(snapshot, "shop")
        told = row.totals._asdict() if row else {}
        return row is not None and all(
            (told[name] if name in told else getattr(row, name)) == value for name, value in expected.items()
        )

    return is_right


def the_pool(snapshot: Snapshot) -> PoolRow:
    """The only living pool."""
    (found,) = [pool for process in snapshot.processes for pool in process.pools if pool.reading.pools]
    return found


def test_a_pool_of_threads_that_is_in_use_is_shown_with_a_bound_until_its_connection_is_back(
    daemon: Connmond, watcher: Watcher, session: Session, postgres: Postgres
) -> None:
    session.do(SETUP)
    session.do("orders = ConnectionPool(conninfo, min_size=2, max_size=4, open=True); orders.wait()")
    session.do("use(orders, 7); held = orders.getconn(); poolhouse.watch(orders)")
    reading = the_pool(watcher.wait_for(has(checkouts=8, used=1))).reading
    assert (reading.name, reading.kind) == (f"127.0.0.1:{postgres.port}/postgres", "ConnectionPool")
    assert (reading.limits, reading.gauges, reading.is_bound) == (Limits(4, 4, 2), Gauges(idle=1, used=1), True)
    counters = reading.counters
    assert (counters.checkouts, counters.connects, counters.disconnects, counters.connect_errors) == (8, 2, 0, 0)
    assert (counters.timeouts, counters.acquire_errors, counters.commits) == (0, 0, None)
    once = connmon("connect", "--port", str(daemon.consoles), "--once").stdout
    (line,) = [line.split() for line in once.splitlines() if "shop" in line and "/4" in line]
    assert "≤1/4" in line
    session.do("orders.putconn(held); use(orders, 2)")
    reading = the_pool(watcher.wait_for(has(checkouts=10, used=0))).reading
    assert (reading.gauges, reading.is_bound) == (Gauges(idle=2), False)
    assert reading.wait is not None
    assert reading.use is not None
    assert (reading.wait.count, reading.use.count) == (2, 2), "of those that were taken since it is watched"
    session.do("orders.close()")
    watcher.wait_for(has(pools=0, connections=0, disconnects=2))


def test_waits_and_timeouts_are_exact(watcher: Watcher, session: Session) -> None:
    session.do(SETUP)
    session.do("orders = ConnectionPool(conninfo, min_size=1, open=True); poolhouse.watch(orders)")
    session.do("held = orders.getconn()")
    for _ in range(3):
        assert "PoolTimeout" in session.ask("orders.getconn(timeout=0.02)")["error"]
    reading = the_pool(watcher.wait_for(has(timeouts=3, waiting=0))).reading
    assert (reading.is_bound, reading.counters.acquire_errors) == (False, 0)
    assert reading.peak.waiting == 1
    session.do("thread = threading.Thread(target=use, args=(orders,)); thread.start()")
    watcher.wait_for(has(waiting=1))
    session.do("orders.putconn(held); thread.join()")
    reading = the_pool(watcher.wait_for(has(waiting=0, checkouts=2, used=0))).reading
    assert reading.wait is not None
    assert reading.wait.count == 5
    assert reading.peak.used == 1
    session.do("orders.close(); orders.getconn() if False else None")
    assert "PoolClosed" in session.ask("orders.getconn()")["error"]


def test_what_the_application_pops_goes_on_here(watcher: Watcher, session: Session) -> None:
    session.do(SETUP)
    session.do("orders = ConnectionPool(conninfo, min_size=1, open=True); poolhouse.watch(orders); use(orders, 7)")
    watcher.wait_for(has(checkouts=7))
    # All that the application has counted is there for it: we pop nothing.
    assert session.ask("orders.pop_stats()['requests_num']") == 7
    session.do("use(orders, 3)")
    watcher.wait_for(has(checkouts=10, connects=1))
    assert session.ask("orders.get_stats()['requests_num']") == 3
    session.do("orders.close()")


def test_a_pool_of_asyncio_that_is_watched_before_it_is_open(watcher: Watcher, session: Session) -> None:
    session.do(ASYNC_SETUP)
    session.do("state = loop.run_until_complete(begin(conninfo))")
    reading = the_pool(watcher.wait_for(has(checkouts=6, used=1))).reading
    assert (reading.kind, reading.limits) == ("AsyncConnectionPool", Limits(2, 2, 1))
    session.do("loop.run_until_complete(end(*state)); loop.close()")
    watcher.wait_for(has(pools=0, checkouts=6))


def test_watching_keeps_no_pool_alive(watcher: Watcher, session: Session) -> None:
    session.do(SETUP)
    session.do("orders = ConnectionPool(conninfo, min_size=1, open=True); poolhouse.watch(orders); use(orders, 7)")
    watcher.wait_for(has(checkouts=7, pools=1))
    session.do("orders.close(); del orders; gc.collect()")
    watcher.wait_for(has(checkouts=7, pools=0))


def test_a_child_watches_the_pool_that_it_opens(watcher: Watcher, session: Session) -> None:
    session.do(SETUP)
    session.do("orders = ConnectionPool(conninfo, min_size=1, open=False); poolhouse.watch(orders)")
    watcher.wait_for(has(pools=1, processes=1))
    session.do(
        """
        ends = os.pipe()
        child = os.fork()
        if not child:
            orders.open(wait=True)
            poolhouse.watch(orders)
            use(orders, 5)
            poolhouse.flush(5)
            os.read(ends[0], 1)
            orders.close()
            poolhouse.flush(5, goodbye=True)
            os._exit(0)
        """
    )
    watcher.wait_for(has(processes=2, pools=2, checkouts=5, connections=1))
    session.do("os.write(ends[1], b'.'); os.waitpid(child, 0)")
    watcher.wait_for(has(processes=1, checkouts=5, connections=0))


SYNC_CHILD = """
    ends = os.pipe()
    child = os.fork()
    if not child:
        orders.open(wait=True)
        use(orders, 5)
        poolhouse.flush(5)
        os.read(ends[0], 1)
        orders.close()
        poolhouse.flush(5, goodbye=True)
        os._exit(0)
"""


def test_a_pool_that_was_watched_before_a_fork_is_reported_by_the_child_that_uses_it(
    watcher: Watcher, session: Session
) -> None:
    """Django's pool under a server that loads the application before it forks."""
    session.do(SETUP)
    session.do("orders = ConnectionPool(conninfo, min_size=1, open=False); poolhouse.watch(orders)")
    session.do(SYNC_CHILD)
    watcher.wait_for(has(processes=2, pools=2, checkouts=5, connections=1))
    session.do("os.write(ends[1], b'.'); os.waitpid(child, 0)")
    watcher.wait_for(has(processes=1, checkouts=5, connections=0))
    session.do("orders.open(wait=True); use(orders, 2)")
    watcher.wait_for(has(processes=1, checkouts=7, connections=1))
    session.do("orders.close()")


def test_a_child_that_uses_no_pool_is_no_process_and_a_grandchild_that_does_is_one(
    watcher: Watcher, session: Session
) -> None:
    session.do(SETUP)
    session.do("orders = ConnectionPool(conninfo, min_size=1, open=False); poolhouse.watch(orders)")
    session.do(
        """
        ends = os.pipe()
        child = os.fork()
        if not child:
            grandchild = os.fork()
            if not grandchild:
                orders.open(wait=True)
                use(orders, 3)
                poolhouse.flush(5)
                os.read(ends[0], 1)
                orders.close()
                poolhouse.flush(5, goodbye=True)
                os._exit(0)
            os.waitpid(grandchild, 0)
            os._exit(0)
        """
    )
    watcher.wait_for(has(processes=2, pools=2, checkouts=3, connections=1))
    session.do("os.write(ends[1], b'.'); os.waitpid(child, 0)")
    watcher.wait_for(has(processes=1, checkouts=3, connections=0))


def test_a_pool_of_asyncio_that_was_watched_before_a_fork_is_reported_by_the_child(
    watcher: Watcher, session: Session
) -> None:
    session.do("import os")
    session.do(ASYNC_SETUP)
    session.do(
        """
        async def make(conninfo):
            return AsyncConnectionPool(conninfo, min_size=1, open=False)

        async def work(orders):
            await orders.open(wait=True)
            for _ in range(4):
                async with orders.connection() as conn:
                    await conn.execute("SELECT 1")
            poolhouse.flush(5)
            os.read(ends[0], 1)
            await orders.close()

        orders = loop.run_until_complete(make(conninfo))
        loop.close()
        poolhouse.watch(orders)
        ends = os.pipe()
        child = os.fork()
        if not child:
            asyncio.run(work(orders))
            poolhouse.flush(5, goodbye=True)
            os._exit(0)
        """
    )
    watcher.wait_for(has(processes=2, pools=2, checkouts=4, connections=1))
    session.do("os.write(ends[1], b'.'); os.waitpid(child, 0)")
    watcher.wait_for(has(processes=1, checkouts=4, connections=0))


def test_nothing_of_ours_imports_psycopg_pool(daemon: Connmond) -> None:
    url = f"collectd://127.0.0.1:{daemon.reports}/?program_name=shop"
    with Session(env={"POOLHOUSE_REPORT": url}) as session:
        session.do(
            """
        import sys
        import poolhouse

        class Pool:
            def get_stats(self):
                return {"pool_size": 1}

        pool = Pool()
        poolhouse.watch(pool)
        """
        )
        assert session.ask("poolhouse.flush(5)") is True
        assert not session.ask("[name for name in sys.modules if name.startswith(('psycopg', 'sqlalchemy'))]")


def test_statistics_that_fail_cost_one_line_in_the_log(watcher: Watcher, session: Session) -> None:
    session.do(SETUP)
    session.do(
        """
        class Broken(ConnectionPool):
            is_broken = False
            def get_stats(self):
                if self.is_broken:
                    raise RuntimeError("no stats today")
                return super().get_stats()

        orders = Broken(conninfo, min_size=1, open=True, name="orders")
        poolhouse.watch(orders)
        use(orders, 7)
        """
    )
    watcher.wait_for(has(checkouts=7))
    session.do("Broken.is_broken = True")
    received = watcher.snapshots[-1].health.received
    watcher.wait_for(lambda snapshot: snapshot.health.received > received + 8)
    watcher.wait_for(has(checkouts=7, pools=1))
    session.do("Broken.is_broken = False; use(orders, 1)")
    watcher.wait_for(has(checkouts=8))
    session.do("orders.close()")
    errors = session.end_complaining()
    assert errors.count("cannot read a pool") == 1
    assert "<Broken 'orders', watched>" in errors
    assert errors.count("no stats today") == 1
