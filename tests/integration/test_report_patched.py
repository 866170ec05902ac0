"""Programs that gevent or eventlet has patched: the reporter stays a thread of the operating system."""

from pathlib import Path

import pytest

from support.programs import finish, start
from support.receiver import Receiver
from support.waiting import wait_until

GEVENT = "from gevent import monkey; monkey.patch_all()"
# eventlet 0.41 warns at its import that it is no longer developed.
EVENTLET = """
import warnings
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import eventlet
    eventlet.monkey_patch()
"""
IMPORT = "import poolhouse.report.reporter"
#: eventlet warns of every fork, whatever else runs.
OPTIONS = ("-W", "error", "-W", "ignore:Using fork:DeprecationWarning")


@pytest.mark.parametrize(
    "lines",
    [[GEVENT, IMPORT], [IMPORT, GEVENT], [EVENTLET, IMPORT], [IMPORT, EVENTLET]],
    ids=["gevent-first", "gevent-later", "eventlet-first", "eventlet-later"],
)
def test_reports_go_on_while_the_hub_is_busy(lines: list[str]) -> None:
    """Whether the patching comes before poolhouse or after it, and without a warning."""
    with Receiver() as receiver:
        program = start(
            "\n".join(lines)
            + """
import sys, time
from support.counted_pool import CountedPool
CountedPool(sys.argv[1]).use()
print("busy", flush=True)
line = []
# No greenlet but this one ever runs: the hub has no turn. A thread of the system reads the input.
from poolhouse.report.native import NativeThread
import _io
NativeThread(lambda: line.append(_io.open(0, closefd=False).readline()))
while not line:
    pass
""",
            receiver.url(interval=0.1),
        )
        assert program.stdout is not None
        assert program.stdout.readline() == "busy\n"
        heard = len(receiver.receive())
        wait_until(lambda: len(receiver.receive()) >= heard + 10)
        assert finish(program) == ""
        assert receiver.goodbyes() == set(receiver.tokens())


@pytest.mark.parametrize("patch", [GEVENT, EVENTLET], ids=["gevent", "eventlet"])
def test_greenlets_fork_flush_and_end_as_others_do(patch: str) -> None:
    with Receiver() as receiver:
        program = start(
            patch
            + """
import os, sys, threading
from support.counted_pool import CountedPool
import poolhouse
pool = CountedPool(sys.argv[1])
greenlets = [threading.Thread(target=pool.use) for _ in range(10)]
for greenlet in greenlets: greenlet.start()
for greenlet in greenlets: greenlet.join()
assert poolhouse.flush()
if (pid := os.fork()) == 0:
    pool.use(3)
    assert poolhouse.flush(goodbye=True)
    os._exit(0)
os.waitpid(pid, 0)
""",
            receiver.url(interval=3600),
            options=OPTIONS,
        )
        finish(program)
        assert [receiver.checkouts(token) for token in receiver.tokens()] == [10, 3]
        assert receiver.goodbyes() == set(receiver.tokens())


@pytest.mark.parametrize("patch", [GEVENT, EVENTLET], ids=["gevent", "eventlet"])
def test_sqlalchemy_used_by_greenlets_is_reported(patch: str, tmp_path: Path) -> None:
    with Receiver() as receiver:
        program = start(
            patch
            + """
import sys, threading
import sqlalchemy
url = f"sqlite:///{sys.argv[2]}?plugin=collectd&collectd_port={sys.argv[1]}"
engine = sqlalchemy.create_engine(url, collectd_host="127.0.0.1", collectd_interval=0.1)
def work():
    for _ in range(50):
        with engine.begin() as connection:
            connection.exec_driver_sql("SELECT 1")
greenlets = [threading.Thread(target=work) for _ in range(4)]
for greenlet in greenlets: greenlet.start()
for greenlet in greenlets: greenlet.join()
engine.dispose()
""",
            str(receiver.port),
            str(tmp_path / "nova.sqlite"),
        )
        finish(program)
        (token,) = receiver.tokens()
        (pool,) = receiver.pools(token).values()
        assert (pool.counters.checkouts, pool.counters.commits) == (200, 200)
        assert receiver.of(token)[-1].goodbye


@pytest.mark.parametrize(
    "patch",
    [GEVENT + "\nfrom gevent import Timeout", EVENTLET + "    from eventlet import Timeout\n"],
    ids=["gevent", "eventlet"],
)
def test_greenlets_that_wait_time_out_and_are_given_up_are_counted_exactly(patch: str) -> None:
    with Receiver() as receiver:
        program = start(
            patch
            + """
import sqlite3, sys, threading, time
import sqlalchemy
from sqlalchemy.exc import TimeoutError
from sqlalchemy.pool import QueuePool
def connect():
    time.sleep(0.001)  # Others run while one connects.
    return sqlite3.connect(":memory:", check_same_thread=False)
engine = sqlalchemy.create_engine(
    "sqlite://", creator=connect, poolclass=QueuePool, pool_size=2, max_overflow=1, pool_timeout=0.05,
    plugins=["collectd"], collectd_host="127.0.0.1", collectd_port=sys.argv[1], collectd_interval=3600,
)
served, timed_out, gave_up = [], [], []
def work(patience):
    for _ in range(20):
        try:
            with Timeout(patience):
                raw = engine.raw_connection()
        except Timeout:
            gave_up.append(1)
        except TimeoutError:
            timed_out.append(1)
        else:
            served.append(1)
            time.sleep(0.005)
            raw.close()
greenlets = [threading.Thread(target=work, args=(0.03 if n % 2 else 30,)) for n in range(40)]
for greenlet in greenlets: greenlet.start()
for greenlet in greenlets: greenlet.join()
print(len(served), len(timed_out), len(gave_up))
""",
            str(receiver.port),
        )
        served, timed_out, gave_up = map(int, finish(program).split())
        assert served
        assert timed_out
        assert gave_up
        (token,) = receiver.tokens()
        (pool,) = receiver.pools(token).values()
        counters = pool.counters
        assert (counters.checkouts, counters.timeouts, counters.acquire_errors) == (served, timed_out, gave_up)
        assert (pool.gauges.used, pool.gauges.waiting) == (0, 0)
        assert pool.reading().use.count == served
        assert 3 < pool.peak.waiting <= 40


@pytest.mark.parametrize("patch", [GEVENT, EVENTLET], ids=["gevent", "eventlet"])
def test_what_the_thread_logs_is_logged_in_patched_programs_too(patch: str) -> None:
    with Receiver() as receiver:
        url = receiver.url(interval=0.1)
        receiver.close()
        program = start(
            patch
            + """
import logging, sys, time
logged = []
class Handler(logging.Handler):
    def emit(self, record):
        logged.append(record)
        print(record.name, record.levelname, record.getMessage(), flush=True)
logging.getLogger().addHandler(Handler())
from support.counted_pool import CountedPool
CountedPool(sys.argv[1]).use()
while not logged:
    time.sleep(0.01)
""",
            url,
        )
        line = finish(program)
        assert line.startswith(
            f"poolhouse.report WARNING poolhouse cannot report to 127.0.0.1 port {receiver.port}: "
        )


@pytest.mark.parametrize("patch", ["", GEVENT, EVENTLET], ids=["threads", "gevent", "eventlet"])
def test_a_thread_that_logs_holds_up_no_greenlet_that_logs(patch: str) -> None:
    """A greenlet and a native thread that meet at one of logging's locks would wait for each other for ever."""
    program = start(
        patch
        + """
import logging, threading, time
logged = []
class Handler(logging.Handler):
    def emit(self, record):
        time.sleep(0)  # As one that writes to a socket: others run while the handler's lock is held.
        logged.append(record.getMessage())
logging.basicConfig(handlers=[Handler()], level=logging.INFO)
from poolhouse.report.log import log, notice_hub
from poolhouse.report.native import NativeThread
notice_hub()
def thread():
    for _ in range(500):
        log(logging.WARNING, "thread")
def greenlet():
    for _ in range(500):
        logging.info("greenlet")
        time.sleep(0)
greenlets = [threading.Thread(target=greenlet) for _ in range(3)]
NativeThread(thread)
for each in greenlets: each.start()
for each in greenlets: each.join()
from support.waiting import wait_until
wait_until(lambda: (logged.count("thread"), logged.count("greenlet")) == (500, 1500))
""",
    )
    assert finish(program) == ""
