"""Programs that do odd things, each run without poolhouse and measured by it: what comes of them is the same."""

import socket
from collections.abc import Iterator

import pytest

from support.beside import Outcome, run_beside

#: A program per line of its name. It prints what it found; what it writes to standard error counts, too.
PROGRAMS = {
    "waits for all threads that threading knows, one of which has logged": """
        import logging, threading, time
        lines = []
        class Handler(logging.Handler):
            def emit(self, record):
                lines.append(record)
        logging.getLogger().addHandler(Handler())
        held = engine(settings="&collectd_hold_warning=0.05", interval=0.1).connect()
        while is_measured and not lines:
            time.sleep(0.01)
        for thread in threading.enumerate():
            if thread is not threading.main_thread():
                thread.join()
    """,
    "has a pool that replaces itself": """
        from sqlalchemy.pool import QueuePool
        class Same(QueuePool):
            def recreate(self):
                return self
        pool = engine(poolclass=Same)
        for _ in range(1100):
            pool.connect().close()
            pool.dispose()
    """,
    "has a pool that replaces itself by a copy": """
        import copy
        from sqlalchemy.pool import QueuePool
        from sqlalchemy.util import queue
        class Copied(QueuePool):
            def recreate(self):
                new = copy.copy(self)
                new._pool, new._overflow = queue.Queue(5), -5
                return new
        pool = engine(poolclass=Copied)
        for _ in range(3):
            held = pool.connect()
            print(pool.pool.checkedout())
            held.close()
            print(pool.pool.checkedin())
            pool.dispose()
    """,
    "uses the pool in finalizers while the collector runs at each allocation": """
        import gc, sys, threading
        from sqlalchemy.pool import QueuePool
        pool = engine(poolclass=QueuePool, pool_size=3, max_overflow=20)
        left = list(range(100))
        class Cycle:
            def __init__(self):
                self.me = self
            def __del__(self):
                if left:
                    left.pop()
                    pool.raw_connection().close()
        def use():
            for _ in range(40):
                Cycle()
                pool.connect().close()
        gc.set_threshold(1)
        sys.setswitchinterval(1e-6)
        threads = [threading.Thread(target=use) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        gc.set_threshold(700)
        print(pool.pool.checkedout())
    """,
    "disposes of the pool while threads take connections": """
        import sys, threading
        from sqlalchemy.pool import QueuePool
        pool, is_over, errors = engine("sqlite:///shop.db", poolclass=QueuePool), [], []
        def use():
            while not is_over:
                try:
                    pool.connect().close()
                except Exception as error:
                    errors.append(error)
        sys.setswitchinterval(1e-6)
        threads = [threading.Thread(target=use) for _ in range(3)]
        for thread in threads:
            thread.start()
        for _ in range(50):
            pool.dispose()
        is_over.append(True)
        for thread in threads:
            thread.join()
        print(errors, pool.pool.checkedout())
    """,
    "ends while daemon threads take connections, and one exits": """
        import sys, threading, time
        from sqlalchemy.pool import QueuePool
        pool = engine(poolclass=QueuePool)
        taken = []
        def use():
            while True:
                pool.connect().close()
                taken.append(None)
        for _ in range(3):
            threading.Thread(target=use, daemon=True).start()
        leaving = threading.Thread(target=lambda: sys.exit(pool.connect()))
        leaving.start()
        leaving.join()
        while len(taken) < 100:
            time.sleep(0.001)
    """,
    "uses pools as the interpreter ends": """
        import atexit
        def use_both():
            pool.connect().close()
            pool.dispose()
            engine().connect().close()
            print("used")
        atexit.register(use_both)
        pool = engine()
        pool.connect().close()
        atexit.register(use_both)
    """,
    "becomes a daemon and closes every descriptor": """
        import os
        pool = engine("sqlite:///shop.db")
        pool.connect().close()
        out, into = os.pipe()
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                os.closerange(3, into)
                os.open("/dev/null", os.O_RDWR)
                pool.dispose(close=False)
                pool.connect().close()
                os.write(into, b"works")
                os._exit(0)
            os._exit(0)
        os.close(into)
        os.wait()
        print(os.read(out, 10))
    """,
    "forks in a thread while others take connections": """
        import os, threading
        pool, is_over, statuses = engine("sqlite:///shop.db"), [], []
        def use():
            while not is_over:
                pool.connect().close()
        def fork():
            for _ in range(5):
                child = os.fork()
                if child == 0:
                    pool.dispose(close=False)
                    pool.connect().close()
                    os._exit(0)
                statuses.append(os.waitpid(child, 0)[1])
        threads = [threading.Thread(target=use) for _ in range(2)]
        for thread in threads:
            thread.start()
        forking = threading.Thread(target=fork)
        forking.start()
        forking.join()
        is_over.append(True)
        print(statuses)
    """,
    "starts children in every way of multiprocessing that forks": """
        import multiprocessing, os, subprocess
        from concurrent.futures import ProcessPoolExecutor
        pool = engine("sqlite:///shop.db")
        pool.connect().close()
        def use(number):
            pool.dispose(close=False)
            with pool.connect():
                return number
        context = multiprocessing.get_context("fork")
        with context.Pool(2) as workers:
            print(workers.map(use, range(4)))
        with ProcessPoolExecutor(2, mp_context=context) as workers:
            print(list(workers.map(use, range(4))))
        print(subprocess.run(["true"], preexec_fn=lambda: os.nice(0)).returncode)
    """,
    "has a creator and listeners that raise": """
        import gc, sqlite3
        from sqlalchemy import event
        from sqlalchemy.pool import QueuePool
        class Stop(BaseException):
            pass
        connects = []
        def connect():
            connects.append(None)
            if len(connects) % 2:
                raise Stop
            return sqlite3.connect(":memory:", check_same_thread=False)
        pool = engine(poolclass=QueuePool, creator=connect, pool_size=2, max_overflow=0, pool_timeout=0.1)
        fails = []
        def fail(*arguments):
            if fails:
                raise ValueError(fails)
        steps = {
            "connect": lambda: pool.connect().close(),
            "invalidate": lambda: pool.raw_connection().invalidate(),
            "soft": lambda: pool.raw_connection().invalidate(soft=True),
            "detach": lambda: pool.raw_connection().detach(),
            "dispose": pool.dispose,
        }
        kinds = ("connect", "checkout", "checkin", "detach", "invalidate", "soft_invalidate", "close_detached")
        for kind in kinds:
            event.listen(pool, kind, fail)
            fails.append(kind)
            for name, step in steps.items():
                try:
                    step()
                except BaseException as error:
                    print(kind, name, type(error).__name__)
            fails.clear()
            gc.collect()
            print(pool.pool.checkedout())
    """,
    "has a log handler that takes a connection of the pool that is full": """
        import logging, time
        from sqlalchemy import text
        from sqlalchemy.pool import QueuePool
        pool = engine(
            "sqlite:///shop.db", poolclass=QueuePool, pool_size=1, max_overflow=0, pool_timeout=0.05,
            interval=0.1, settings="&collectd_hold_warning=0.05",
        )
        refused = []
        class Handler(logging.Handler):
            def emit(self, record):
                try:
                    pool.connect().close()
                except Exception as error:
                    refused.append(error)
        logging.getLogger().addHandler(Handler())
        held = pool.connect()
        while is_measured and not refused:
            time.sleep(0.01)
        held.close()
        with pool.connect() as connection:
            print(connection.execute(text("SELECT 1")).scalar())
    """,
    "hands a timeout on to another process": """
        import copy, pickle
        from sqlalchemy.exc import TimeoutError
        from sqlalchemy.pool import QueuePool
        pool = engine(poolclass=QueuePool, pool_size=1, max_overflow=0, pool_timeout=0.01)
        held = pool.connect()
        try:
            pool.connect()
        except TimeoutError as error:
            for other in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):
                print(type(other), other)
    """,
    "counts who asks for the time": """
        import time
        from unittest import mock
        from sqlalchemy.pool import QueuePool
        from sqlalchemy.exc import TimeoutError
        pool = engine(poolclass=QueuePool, pool_size=1, max_overflow=0, pool_timeout=0.01)
        held = pool.connect()
        with mock.patch("time.monotonic", side_effect=[1, 2, 3]):
            other = engine(poolclass=QueuePool)
            try:
                pool.connect()
            except TimeoutError as error:
                print(error)
            held.detach()
            held.close()
            pool.connect().close()
            other.connect().close()
            print([time.monotonic() for _ in range(3)])
    """,
}


@pytest.fixture(scope="module")
def outcomes(request: pytest.FixtureRequest) -> Iterator[dict[str, tuple[Outcome, Outcome]]]:
    """What came of the programs that are to run."""
    items = [item for item in request.session.items if item.path == request.path]
    chosen = {item.callspec.params["name"] for item in items if hasattr(item, "callspec")}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        programs = {name: code for name, code in PROGRAMS.items() if name in chosen}
        yield run_beside(programs, receiver.getsockname()[1])


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_ends_as_it_does_without_poolhouse(
    name: str, outcomes: dict[str, tuple[Outcome, Outcome]]
) -> None:
    plain, measured = outcomes[name]
    assert plain.status == 0, plain.errors
    assert measured[:3] == plain[:3]
