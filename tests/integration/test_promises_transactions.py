"""Transactions of the ORM, as the promises tell them, seen by a real connmond."""

from support import programs
from support.connmond import Connmond, Watcher, program

SESSIONS = """
import sys
from sqlalchemy import create_engine, text
from sqlalchemy.orm import Session

engine = create_engine("sqlite://?plugin=collectd&collectd_host=127.0.0.1&collectd_port=" + sys.argv[1],
                       plugins=["collectd"], collectd_program_name="shop")
for number in range(10):
    with Session(engine) as session:
        session.execute(text("select 1"))
        if number < 5:
            session.commit()
        elif number < 8:
            session.rollback()
        # The last two are discarded.
"""


def test_commits_are_those_of_sessions_and_transactions_all_that_began() -> None:
    with Connmond() as daemon, Watcher(daemon.consoles) as watcher:
        programs.run(SESSIONS, str(daemon.reports))
        seen = watcher.wait_for(lambda seen: (row := program(seen, "shop")) and row.totals.transactions == 10)
        row = program(seen, "shop")
        assert row is not None
        assert (row.totals.commits, row.totals.checkouts) == (5, 10)
        # SQLAlchemy rolls back what is discarded, which says so to the database too.
        assert row.totals.rollbacks == 5


#: Sixteen threads of a child are the first there to use a pool, all at once.
THREADS_AFTER_A_FORK = """
import os, sys, threading
from sqlalchemy import create_engine

url = "sqlite:///" + sys.argv[2] + "/shop.db?plugin=collectd&collectd_host=127.0.0.1&collectd_port=" + sys.argv[1]
engine = create_engine(url, pool_size=16, plugins=["collectd"], collectd_program_name="shop")
if os.fork() == 0:
    together = threading.Barrier(17)

    def use():
        together.wait()
        connection = engine.connect()
        together.wait()  # All have theirs.
        together.wait()
        connection.close()

    threads = [threading.Thread(target=use) for _ in range(16)]
    for thread in threads:
        thread.start()
    together.wait()
    together.wait()
    print("used", len(os.listdir("/proc/self/task")), flush=True)
    sys.stdin.readline()
    together.wait()
    for thread in threads:
        thread.join()
    sys.exit()
os.wait()
"""


def test_threads_of_a_child_that_connect_at_once_start_one_reporter(tmp_path) -> None:
    """Trap 14."""
    with Connmond() as daemon, Watcher(daemon.consoles) as watcher:
        parent = programs.start(THREADS_AFTER_A_FORK, str(daemon.reports), str(tmp_path), options=())
        assert parent.stdout is not None
        # The main thread, sixteen users, and the reporter.
        assert parent.stdout.readline() == "used 18\n"
        seen = watcher.wait_for(lambda seen: (row := program(seen, "shop")) and row.used == 16)
        row = program(seen, "shop")
        assert row is not None
        assert (row.processes, row.pools, row.totals.checkouts) == (1, 1, 16)
        programs.finish(parent)
