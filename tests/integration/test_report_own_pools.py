"""Programs with pools of ours over sqlite3, reporting to a real connmond: seen as they are, each once."""

import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from poolhouse.fleet.snapshot import PoolRow, Row, Snapshot
from poolhouse.meter.reading import Gauges, Limits
from support.collectd import Collectd, free_port, server_block
from support.connmon import connmon
from support.connmond import Connmond, Watcher, program
from support.session import Session

#: `use(pool, n)` checks out and in n times.
SETUP = """
    import gc, os, sqlite3, sys, threading, time
    import poolhouse
    from poolhouse import ConnectionPool, NullConnectionPool

    def pool(kind=ConnectionPool, **parameters):
        kwargs = {"check_same_thread": False}
        return kind("shop.db", driver=sqlite3, kwargs=kwargs, **{"open": True, **parameters})

    def use(pool, times=1):
        for _ in range(times):
            with pool.connection() as conn:
                conn.execute("SELECT 1")
"""


@pytest.fixture
def daemon() -> Iterator[Connmond]:
    with Connmond() as daemon:
        yield daemon


@pytest.fixture
def watcher(daemon: Connmond) -> Iterator[Watcher]:
    with Watcher(daemon.consoles, program="shop") as watcher:
        yield watcher


def url(daemon: Connmond) -> str:
    return f"collectd://127.0.0.1:{daemon.reports}/?program_name=shop&interval=0.2"


def in_folder(folder: Path) -> str:
    return f"import os; os.chdir({str(folder)!r})\n"


def configured(daemon: Connmond, folder: Path) -> Session:
    """A program whose environment says where to report."""
    session = Session(in_folder(folder), env={"POOLHOUSE_REPORT": url(daemon)})
    session.do(SETUP)
    return session


def shop(snapshot: Snapshot) -> Row:
    row = program(snapshot, "shop")
    assert row is not None
    return row


def has(**expected: int | None) -> Callable[[Snapshot], bool]:
    """Whether the program's row and totals have these values."""

    def is_right(snapshot: Snapshot) -> bool:
        row = program(snapshot, "shop")
        if row is None:
            return False
        told = row.totals._asdict()
        return all(
            (told[name] if name in told else getattr(row, name)) == value for name, value in expected.items()
        )

    return is_right


def pools(snapshot: Snapshot) -> dict[str, PoolRow]:
    """The living pools of all processes, by their names."""
    return {
        pool.reading.name: pool for process in snapshot.processes for pool in process.pools if pool.reading.pools
    }


def test_a_pool_is_seen_in_connmon_with_its_numbers(daemon: Connmond, watcher: Watcher, tmp_path: Path) -> None:
    with configured(daemon, tmp_path) as session:
        session.do("orders = pool(min_size=2, max_size=4, name='orders'); orders.wait(); use(orders, 7)")
        session.do("held = orders.getconn(); time.sleep(0.02)")
        reading = pools(watcher.wait_for(has(checkouts=8, used=1, connects=2)))["orders"].reading
        assert (reading.kind, reading.limits) == ("ConnectionPool", Limits(4, 4, 2))
        assert reading.gauges == Gauges(idle=1, used=1)
        assert (reading.counters.disconnects, reading.counters.timeouts, reading.counters.commits) == (0, 0, None)
        assert (reading.peak.used, reading.peak.connections, reading.peak.waiting) == (1, 2, 0)
        assert reading.wait is not None
        assert reading.use is not None
        assert reading.create is not None
        assert (reading.wait.count, reading.use.count, reading.create.count) == (8, 7, 2)
        once = connmon("connect", "--port", str(daemon.consoles), "--once")
        assert once.returncode == 0
        (line,) = [line for line in once.stdout.splitlines() if "shop" in line and "/4" in line]
        assert "1/4" in line
        (found,) = json.loads(connmon("connect", "--port", str(daemon.consoles), "--json").stdout)["programs"]
        assert (found["used_connections"], found["idle_connections"], found["checkouts_total"]) == (1, 1, 8)
        assert (found["timeouts_total"], found["commits_total"]) == (0, None)
        session.do("orders.putconn(held)")
        row = shop(watcher.wait_for(has(used=0, idle=2)))
        assert row.since_start.use is not None
        assert row.since_start.use.count == 8
        assert row.since_start.use.max_ns >= 20_000_000
        session.do("orders.close()")
        watcher.wait_for(has(pools=0, connections=0, disconnects=2, checkouts=8))


def test_who_waits_and_who_gave_up_are_seen(daemon: Connmond, watcher: Watcher, tmp_path: Path) -> None:
    with configured(daemon, tmp_path) as session:
        session.do("orders = pool(min_size=1, max_size=1); held = orders.getconn()")
        assert "PoolTimeout" in session.ask("orders.getconn(timeout=0.05)")["error"]
        session.do("waiting = threading.Thread(target=use, args=[orders]); waiting.start()")
        row = shop(watcher.wait_for(has(waiting=1, timeouts=1, checkouts=1)))
        assert (row.full_pools, row.interval_peaks.waiting) == (1, 1)
        assert (
            connmon("connect", "--port", str(daemon.consoles), "--once", "--fail-on", "saturated").returncode == 3
        )
        session.do("time.sleep(0.05); orders.putconn(held); waiting.join()")
        row = shop(watcher.wait_for(has(waiting=0, timeouts=1, checkouts=2)))
        assert row.since_start.wait is not None
        assert row.since_start.wait.count == 3
        session.do("orders.close()")


def test_older_pools_are_reported_with_all_they_have_done(
    daemon: Connmond, watcher: Watcher, tmp_path: Path
) -> None:
    with Session(in_folder(tmp_path)) as session:
        session.do(SETUP)
        session.do("first, second = pool(min_size=1, name='first'), pool(min_size=1, name='second')")
        session.do("unopened = pool(open=False, name='unopened')")
        session.do("use(first, 3); use(second, 4); second.close()")
        assert session.ask("[name for name in sys.modules if name.startswith('poolhouse.report')]") == []
        session.do(f"poolhouse.report_to({url(daemon)!r})")
        session.do("third = pool(min_size=1, name='third'); use(third, 5); use(first, 1)")
        snapshot = watcher.wait_for(has(checkouts=13))
        assert {name: row.reading.counters.checkouts for name, row in pools(snapshot).items()} == {
            "first": 4,
            "third": 5,
        }
        session.do("first.close(); third.close()")


def test_a_pool_that_is_collected_leaves_and_its_counts_stay(
    daemon: Connmond, watcher: Watcher, tmp_path: Path
) -> None:
    with configured(daemon, tmp_path) as session:
        session.do("first, second = pool(min_size=1), pool(min_size=1); use(first, 3); use(second, 4)")
        watcher.wait_for(has(pools=2, checkouts=7))
        session.do("del first; gc.collect()")
        watcher.wait_for(has(pools=1, checkouts=7, connections=1))
        session.do("second.close()")


def test_a_child_reports_its_own_uses_and_nothing_of_its_parents(
    daemon: Connmond, watcher: Watcher, tmp_path: Path
) -> None:
    child = """
        child = os.fork()
        if not child:
            use(orders, 5)
            poolhouse.flush(5)
            os.read(ends[0], 1)
            poolhouse.flush(5, goodbye=True)
            os._exit(0)
    """
    with configured(daemon, tmp_path) as session:
        session.do("orders = pool(min_size=2, max_size=2); orders.wait(); use(orders, 7); ends = os.pipe()")
        watcher.wait_for(has(checkouts=7, processes=1))
        session.do(child)
        snapshot = watcher.wait_for(has(checkouts=12, processes=2, pools=2, connections=4, disconnects=0))
        counts = sorted(process.pools[0].reading.counters.checkouts or 0 for process in snapshot.processes)
        assert counts == [5, 7]
        session.do("use(orders, 1); os.write(ends[1], b'.'); os.waitpid(child, 0)")
        watcher.wait_for(has(checkouts=13, processes=1, pools=1, connections=2))
        session.do("orders.close()")


def test_a_child_that_uses_no_pool_reports_nothing(daemon: Connmond, watcher: Watcher, tmp_path: Path) -> None:
    with configured(daemon, tmp_path) as session:
        session.do("orders = pool(min_size=1); use(orders, 7)")
        watcher.wait_for(has(checkouts=7))
        session.do(
            """
            child = os.fork()
            if not child:
                poolhouse.flush(5, goodbye=True)
                os._exit(0)
            os.waitpid(child, 0)
            """
        )
        session.do("use(orders, 1)")
        snapshot = watcher.wait_for(has(checkouts=8))
        kinds = [event.kind for event in snapshot.events]
        assert (kinds.count("appeared"), kinds.count("goodbye")) == (1, 0)
        assert shop(snapshot).peaks.processes == 1
        session.do("orders.close()")


def test_collectd_writes_what_the_pools_of_a_program_have_done(tmp_path: Path) -> None:
    port = free_port()
    destination = f"collectd://127.0.0.1:{port}/?program_name=shop&interval=0.5"
    (tmp_path / "collectd").mkdir()
    with (
        Collectd(tmp_path / "collectd", server_block(f'listen "127.0.0.1" {port}'), interval=0.5) as collectd,
        Session(in_folder(tmp_path), env={"POOLHOUSE_REPORT": destination}) as session,
    ):
        session.do(SETUP)
        session.do(
            "orders, stock = pool(min_size=2), pool(min_size=1); orders.wait(); use(orders, 7); use(stock, 5)"
        )
        session.do("held = orders.getconn()")
        assert "PoolTimeout" in session.ask("[stock.getconn(), stock.getconn(timeout=0.05)]")["error"]
        values = {
            "count-checkedin": 1, "count-checkedout": 2, "count-connections": 3, "count-numpools": 2,
            "count-numprocs": 1, "count-max": 3, "derive-checkouts": 14, "derive-connects": 3,
            "derive-disconnects": 0, "derive-invalidated": 0, "derive-timeouts": 1,
        }  # fmt: skip
        host = socket.gethostname()
        written = collectd.wait_for_values(
            {f"{host}/sqlalchemy-shop/{name}": value for name, value in values.items()}
        )
        # Which transactions the application ended, a pool does not know.
        assert not [name for name in written if "shop" in name and name.endswith(("commits", "rollbacks"))]


def test_the_end_of_a_program_says_goodbye(daemon: Connmond, watcher: Watcher, tmp_path: Path) -> None:
    with configured(daemon, tmp_path) as session:
        session.do("orders = pool(min_size=1); use(orders, 7)")
        watcher.wait_for(has(checkouts=7))
        session.do("use(orders, 2)")
    snapshot = watcher.wait_for(has(processes=0, checkouts=9, connections=0))
    assert "goodbye" in {event.kind for event in snapshot.events}


def test_a_null_pool_keeps_nothing_and_may_have_no_limit(
    daemon: Connmond, watcher: Watcher, tmp_path: Path
) -> None:
    with configured(daemon, tmp_path) as session:
        session.do("orders = pool(NullConnectionPool); use(orders, 6); held = orders.getconn()")
        reading = pools(watcher.wait_for(has(checkouts=7, connects=7, disconnects=6)))["shop.db"].reading
        assert (reading.kind, reading.limits) == ("NullConnectionPool", Limits(None, 0, 0))
        assert reading.gauges == Gauges(idle=0, used=1)
        session.do("orders.putconn(held); orders.close()")


def test_a_pool_of_asyncio_is_reported_too(daemon: Connmond, watcher: Watcher, tmp_path: Path) -> None:
    setup = """
        import aiosqlite, asyncio

        loop = asyncio.new_event_loop()

        async def begin():
            orders = poolhouse.AsyncConnectionPool(
                "shop.db", driver=aiosqlite, min_size=1, max_size=2, name="orders", open=False
            )
            await orders.open(wait=True)
            for _ in range(5):
                async with orders.connection() as conn:
                    await conn.execute("SELECT 1")
            return orders, await orders.getconn()

        async def end(orders, held):
            await orders.putconn(held)
            await orders.close()

        state = loop.run_until_complete(begin())
    """
    with configured(daemon, tmp_path) as session:
        session.do(setup)
        reading = pools(watcher.wait_for(has(checkouts=6)))["orders"].reading
        assert (reading.kind, reading.limits, reading.gauges) == (
            "AsyncConnectionPool",
            Limits(2, 2, 1),
            Gauges(idle=0, used=1),
        )
        session.do("loop.run_until_complete(end(*state)); loop.close()")
        watcher.wait_for(has(pools=0, disconnects=1))


@pytest.mark.parametrize("settings", ["", "?plugin=collectd&collectd_host=127.0.0.1&collectd_port={port}"])
def test_our_pool_of_sqlalchemy_is_reported_once_whoever_measures_it(
    daemon: Connmond, watcher: Watcher, tmp_path: Path, settings: str
) -> None:
    query = settings.format(port=daemon.reports)
    query += "&collectd_program_name=shop&collectd_interval=0.2" if query else ""
    setup = f"""
        from sqlalchemy import create_engine, text
        from poolhouse.pool.sqlalchemy import FairQueuePool

        engine = create_engine("sqlite:///shop.db{query}", poolclass=FairQueuePool, pool_size=3, max_overflow=1)
        for _ in range(6):
            with engine.begin() as connection:
                connection.execute(text("SELECT 1"))
        held = engine.connect()
    """
    with configured(daemon, tmp_path) as session:
        session.do(setup)
        snapshot = watcher.wait_for(has(checkouts=7, connects=1, used=1))
        (found,) = pools(snapshot).values()
        name = "shop.db" if query else "sqlite"
        assert (found.reading.kind, found.reading.name) == ("FairQueuePool", name)
        assert (found.reading.limits.max_open, found.reading.limits.max_idle) == (4, 3)
        assert found.reading.counters.commits == (6 if query else None)
        session.do("held.close(); engine.dispose()")
        watcher.wait_for(has(connections=0, disconnects=1, checkouts=7))


def test_an_engine_that_is_instrumented_later_goes_on_where_its_pool_was(
    daemon: Connmond, watcher: Watcher, tmp_path: Path
) -> None:
    setup = """
        from sqlalchemy import create_engine, text
        from poolhouse.pool.sqlalchemy import FairQueuePool

        engine = create_engine("sqlite:///shop.db", poolclass=FairQueuePool)

        def work(times):
            for _ in range(times):
                with engine.begin() as connection:
                    connection.execute(text("SELECT 1"))
    """
    with configured(daemon, tmp_path) as session:
        session.do(setup)
        session.do("work(6)")
        watcher.wait_for(has(checkouts=6, connects=1, pools=1, commits=None))
        session.do("poolhouse.instrument(engine); work(4)")
        watcher.wait_for(has(checkouts=10, commits=4, connects=1, disconnects=0, pools=1, connections=1))
        session.do("engine.dispose()")
        watcher.wait_for(has(checkouts=10, connects=1, disconnects=1, connections=0))


def test_where_nothing_is_configured_nothing_is_imported_that_reports(tmp_path: Path) -> None:
    with Session(in_folder(tmp_path)) as session:
        session.do(SETUP)
        session.do("orders = pool(min_size=1); use(orders, 3); orders.close()")
        loaded = session.ask("[name for name in sys.modules if name.startswith('poolhouse.')]")
        assert "poolhouse.pool.sync" in loaded
        beside = ("poolhouse.report", "poolhouse.instrumentation", "poolhouse.wire", "poolhouse.fleet")
        assert not [name for name in loaded if name.startswith(beside)]


def test_reporting_our_pools_needs_no_sqlalchemy_and_one_thread(daemon: Connmond, tmp_path: Path) -> None:
    with configured(daemon, tmp_path) as session:
        session.do("orders = pool(min_size=1); use(orders, 3)")
        assert session.ask("poolhouse.flush(5)") is True
        assert not session.ask("[name for name in sys.modules if name.startswith(('sqlalchemy', 'psycopg'))]")
        session.do("orders.close()")


def test_a_wrong_environment_costs_a_line_in_the_log_and_nothing_else(tmp_path: Path) -> None:
    with Session(in_folder(tmp_path), env={"POOLHOUSE_REPORT": "collectd://db1:http/"}) as session:
        session.do(SETUP)
        session.do(
            "first, second = pool(min_size=1), pool(min_size=1); use(first, 3); first.close(); second.close()"
        )
        (line,) = session.end_complaining().splitlines()
    assert line.startswith("poolhouse reports no pools: POOLHOUSE_REPORT: port:")


def test_a_meter_is_read_in_the_process_without_any_report(tmp_path: Path) -> None:
    with Session(in_folder(tmp_path)) as session:
        session.do(SETUP)
        session.do("orders = pool(min_size=1); use(orders, 5_000); totals = orders.meter.totals(); orders.close()")
        assert session.ask("[totals.checkouts, totals.wait.count, totals.use.count, totals.create.count]") == [
            5_000,
            5_000,
            5_000,
            1,
        ]
        assert session.ask("totals.use.sum_ns") > 0
        # What is over within a microsecond counts as zero, as most of these uses may be.
        assert 0 <= session.ask("totals.use.quantile(0.5)") <= session.ask("totals.use.quantile(0.99)") < 1.0
