"""What a forked child tells of pools that its parent used."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from typing import Any

from sqlalchemy import event
from sqlalchemy.pool import QueuePool

from poolhouse.meter.reading import Counters, Gauges
from poolhouse.wire.message import ReportDatagram, decode_message
from support.programs import run
from support.receiver import Receiver
from support.sqlalchemy_truth import Measured

QUEUE = {"poolclass": QueuePool, "pool_size": 2, "max_overflow": 1}


def in_child(work: Callable[[], Any]) -> Any:
    """What `work` returns in a forked child, through JSON."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.write(writing, json.dumps(work()).encode())
            os._exit(0)
        except BaseException:
            import traceback

            traceback.print_exc()
        finally:
            os._exit(1)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        answer = pipe.read()
    _, status = os.waitpid(pid, 0)
    assert status == 0
    return json.loads(answer)


def gauges_and_counters(m: Measured) -> list[Any]:
    reading = m.read()
    return [list(reading.gauges), list(reading.counters)]


def test_a_child_starts_from_nothing_and_inherited_connections_are_nobodys():
    """Trap 11. Trap 12. A child that only uses what it inherited is heard of, with its checkouts."""
    m = Measured(**QUEUE)
    idle, out = m.engine.raw_connection(), m.engine.raw_connection()
    idle.close()
    detached = m.engine.raw_connection()
    detached.detach()
    (source,) = m.stream.sources
    assert m.read().gauges == Gauges(used=1, detached=1)

    def child() -> Any:
        source.after_fork()
        m.stream.sources.clear()
        steps = []
        with m.engine.connect():  # A new connection: the idle one was detached, its record is empty.
            steps.append(gauges_and_counters(m))
        out.close()  # Taken by the parent: no use of the child's.
        with m.engine.connect(), m.engine.connect():  # One of the child's own, one that is inherited.
            steps.append(gauges_and_counters(m))
        steps.append(gauges_and_counters(m))
        reading = m.read()
        return [*steps, reading.use.count, reading.peak.used, len(m.stream.sources)]

    first, second, third, uses, peak, sources = in_child(child)
    assert first == [list(Gauges(used=1)), list(Counters(checkouts=1, connects=1))]
    assert second == [list(Gauges(used=1)), list(Counters(checkouts=3, connects=1))]
    assert third == [list(Gauges(idle=1)), list(Counters(checkouts=3, connects=1))]
    assert (uses, peak, sources) == (3, 1, 1)
    # The parent noticed nothing.
    assert m.read().gauges == Gauges(used=1, detached=1)
    assert m.read().counters == Counters(checkouts=3, connects=2)


def test_an_inherited_connection_that_is_replaced_becomes_the_childs_own():
    m = Measured(**QUEUE)
    m.engine.connect().close()
    (source,) = m.stream.sources

    def child() -> Any:
        source.after_fork()
        connection = m.engine.connect()
        before = gauges_and_counters(m)
        connection.invalidate()
        connection.close()
        with m.engine.connect():
            return [before, gauges_and_counters(m)]

    before, after = in_child(child)
    assert before == [list(Gauges()), list(Counters(checkouts=1))]
    assert after == [list(Gauges(used=1)), list(Counters(checkouts=2, connects=1, invalidated=1))]


def test_a_child_that_disposes_without_closing_has_its_own_connections_only():
    m = Measured(**QUEUE)
    m.engine.connect().close()
    (source,) = m.stream.sources

    def child() -> Any:
        source.after_fork()
        m.engine.dispose(close=False)
        with m.engine.connect():
            return gauges_and_counters(m)

    assert in_child(child) == [list(Gauges(used=1)), list(Counters(checkouts=1, connects=1))]


def test_a_fork_while_another_caller_waits_leaves_no_waiting_caller_in_the_child():
    m = Measured(**QUEUE)
    m.engine.connect().close()
    (source,) = m.stream.sources
    source._waiting[1] = 0.0  # type: ignore[attr-defined]  # As a thread of the parent has it meanwhile.

    def child() -> Any:
        source.after_fork()
        return m.read().gauges.waiting

    assert in_child(child) == 0


def test_a_caller_that_goes_on_in_the_child_gets_its_connection():
    """As a greenlet does that waited when another one forked."""
    m = Measured(**QUEUE)
    m.engine.connect().close()
    (source,) = m.stream.sources
    event.listen(m.engine, "checkout", lambda *args: source.after_fork())

    def child() -> Any:
        with m.engine.connect():
            return gauges_and_counters(m)[0]

    assert in_child(child) == list(Gauges())


PROGRAM = """
import os, sys
import sqlalchemy
from sqlalchemy.pool import QueuePool

engine = sqlalchemy.create_engine(
    "sqlite://", poolclass=QueuePool, plugins=["collectd"], collectd_host="127.0.0.1", collectd_port=sys.argv[1]
)
for _ in range(3):
    engine.connect().close()
pid = os.fork()
engine.connect().close()
if pid:
    os.waitpid(pid, 0)
"""


def test_parent_and_child_report_the_same_pool_each_with_its_own_figures():
    """Trap 11. Trap 12. With the real reporter: the child uses an inherited connection only."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(30)
        command = [sys.executable, "-c", PROGRAM, str(receiver.getsockname()[1])]
        with subprocess.Popen(command) as program:
            last: dict[str, Any] = {}
            ended: set[str] = set()
            while len(ended) < 2:
                datagram = decode_message(receiver.recv(65535))
                assert isinstance(datagram, ReportDatagram)
                if datagram.pool is not None:
                    last[datagram.token] = datagram.pool
                if datagram.goodbye:
                    ended.add(datagram.token)
        assert program.returncode == 0
    told = sorted((pool.counters.checkouts, pool.counters.connects) for pool in last.values())
    assert told == [(1, 0), (4, 1)]


def test_a_fork_in_the_middle_of_the_first_connect_leaves_nothing_of_it_in_the_child():
    """The thread that connects exists in the parent only, and no report has named the pool yet."""
    with Receiver() as receiver:
        run(
            """
            import os, sqlite3, sys, threading
            from sqlalchemy import create_engine
            from sqlalchemy.pool import QueuePool
            parent, connecting, forked = os.getpid(), threading.Event(), threading.Event()
            def creator():
                if os.getpid() == parent:
                    connecting.set()
                    forked.wait()
                return sqlite3.connect(":memory:", check_same_thread=False)
            engine = create_engine(
                "sqlite://", creator=creator, poolclass=QueuePool, plugins=["collectd"],
                collectd_host="127.0.0.1", collectd_port=sys.argv[1], collectd_interval=3600,
            )
            thread = threading.Thread(target=lambda: engine.connect().close())
            thread.start()
            connecting.wait()
            if (pid := os.fork()) == 0:
                engine.connect().close()
                sys.exit()
            assert os.waitpid(pid, 0)[1] == 0
            forked.set()
            thread.join()
            """,
            str(receiver.port),
        )
        child, parent = receiver.tokens()
        for token in (child, parent):
            (pool,) = receiver.pools(token).values()
            assert pool.gauges == Gauges(idle=1)
            assert (pool.counters.checkouts, pool.counters.connects) == (1, 1)
