"""The processes of the demo's programs: their threads check connections out, query, hold and return them.

``python -m poolhouse.demo.worker FOLDER PORT``
"""

import gc
import logging
import os
import random
import signal
import sqlite3
import sys
import threading
import time
import warnings
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from urllib.parse import urlencode

from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import QueuePool

import poolhouse
from poolhouse.demo.family import die_with_parent
from poolhouse.demo.programs import PROGRAMS, Program
from poolhouse.errors import PoolTimeout as OwnPoolTimeout
from poolhouse.pool import ConnectionPool

#: Seconds between two leaks, and until a program that has leaked all its connections is "restarted"; then seconds
#: between two forks, and how long each child works.
LEAK_EVERY, RESTART_AFTER = 4.0, 30.0
FORK_EVERY, FORK_FOR = 4.0, 6.0

#: What the first engine of a process imports: SQLAlchemy's dialect, and the plugin of the URL.
OF_ENGINES = ("sqlalchemy.dialects.sqlite", "poolhouse.instrumentation.plugin")

ORDERS = text("CREATE TABLE IF NOT EXISTS orders (id INTEGER PRIMARY KEY, amount INTEGER)")
WRITE = text("INSERT INTO orders (amount) VALUES (:amount)")
READ = text("SELECT count(*), sum(amount) FROM (SELECT amount FROM orders ORDER BY id DESC LIMIT 200)")
REPORT = text("SELECT slow(:seconds)")
WRITE_SHARE = 0.1

#: Errors that a real program would report to its client: no connection in time, which counts as a timeout, or on
#: a busy machine no lock of SQLite in time.
FAILED = (PoolTimeout, OperationalError)


def engine_of(name: str, host: str, port: int) -> Engine:
    """An engine as any application makes one: the URL turns reporting on."""
    program = PROGRAMS[name]
    settings = {
        "plugin": "collectd",
        "collectd_host": "127.0.0.1",
        "collectd_port": port,
        "collectd_program_name": name,
        "collectd_report_host": host,
        "collectd_interval": 1,
        "check_same_thread": "false",
    }
    engine = create_engine(
        f"sqlite:///{name}.db?{urlencode(settings)}",
        poolclass=QueuePool,
        pool_size=program.pool_size,
        max_overflow=program.max_overflow,
        pool_timeout=program.timeout,
    )
    event.listen(engine, "connect", _configure)
    return engine


def _configure(connection: sqlite3.Connection, _: object) -> None:
    # A slow statement of SQLite itself would use the CPU, which the user's console needs. This one sleeps.
    connection.create_function("slow", 1, time.sleep)
    # The file is deleted at the end, so no write needs to wait for the disk.
    connection.execute("PRAGMA synchronous = OFF")


def work(engine: Engine, program: Program, end: threading.Event) -> None:
    """Think and serve a client in turn, until the end."""
    handle = _HANDLERS.get(program.habit, browse)
    while not end.wait(random.expovariate(1 / program.think)):
        with suppress(*FAILED):
            handle(engine, program, end)


def browse(engine: Engine, program: Program, end: threading.Event) -> None:
    """Query, and hold the connection for a moment."""
    with engine.connect() as connection:
        query(connection)
        end.wait(random.expovariate(1 / program.hold))


def pay(engine: Engine, program: Program, end: threading.Event) -> None:
    """Query, and call another service before returning the connection."""
    with engine.connect() as connection:
        query(connection)
        ask_the_bank(program, end)


def ask_the_bank(program: Program, end: threading.Event) -> None:
    """Wait for an answer, like that of an external service."""
    end.wait(random.uniform(0.7, 1.3) * program.hold)


def report(engine: Engine, program: Program, end: threading.Event) -> None:
    """Execute a statement that takes long."""
    with engine.connect() as connection:
        connection.execute(REPORT, {"seconds": random.uniform(0.7, 1.3) * program.hold})


_HANDLERS = {"asking": pay, "slow": report}


def query(connection: Connection) -> None:
    """One read; now and then a write before it, committed at once so that SQLite's lock is free again."""
    if random.random() < WRITE_SHARE:
        connection.execute(WRITE, {"amount": random.randrange(100)})
        connection.commit()
    connection.execute(READ).one()


def work_in_threads(engine: Engine, program: Program, end: threading.Event) -> None:
    """Run every thread of the program until the end."""
    _run_threads([threading.Thread(target=work, args=(engine, program, end)) for _ in range(program.threads)])


def _run_threads(threads: list[threading.Thread]) -> None:
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def leak(engine: Engine, program: Program, end: threading.Event) -> None:
    """Take a connection every few seconds and never return it, until none is left; then start over."""
    forgotten: list[Connection] = []
    while not end.is_set():
        for _ in range(program.pool_size):
            if end.wait(LEAK_EVERY):
                break
            with suppress(*FAILED):
                export(engine, forgotten)
        end.wait(RESTART_AFTER)
        # Like a restart: the leaked connections are forgotten.
        forgotten.clear()
        gc.collect()


def export(engine: Engine, forgotten: list[Connection]) -> None:
    """Query, and never return the connection."""
    connection = engine.connect()
    forgotten.append(connection)
    query(connection)


def pool_of(name: str, host: str, port: int) -> ConnectionPool:
    """One of poolhouse's own pools; the process sets only once where it reports to."""
    program = PROGRAMS[name]
    settings = {"program_name": name, "report_host": host, "interval": 1}
    poolhouse.report_to(f"collectd://127.0.0.1:{port}/?{urlencode(settings)}")
    return ConnectionPool(
        f"{name}.db",
        driver=sqlite3,
        kwargs={"check_same_thread": False},
        min_size=program.pool_size,
        max_size=program.pool_size,
        timeout=program.timeout,
        name=name,
        open=False,
    )


def work_with_own_pool(pool: ConnectionPool, program: Program, end: threading.Event) -> None:
    """As `work`, but with poolhouse's pool and a single read each time."""
    while not end.wait(random.expovariate(1 / program.think)):
        try:
            with pool.connection() as connection:
                connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
                end.wait(random.expovariate(1 / program.hold))
        except OwnPoolTimeout:
            continue


def fork(engine: Engine, program: Program, end: threading.Event) -> None:
    """Fork a child every few seconds until the end; return when all children have exited.

    The process starts no threads of its own, because it forks.
    """
    children: set[int] = set()
    parent = os.getpid()
    while not end.is_set():
        with suppress(*FAILED), engine.connect() as connection:
            query(connection)
        with warnings.catch_warnings():
            # Python 3.13 warns about any other thread. The reports' thread is safe: it holds no lock in a fork.
            warnings.simplefilter("ignore", DeprecationWarning)
            child = os.fork()
        if child == 0:
            die_with_parent(parent)
            engine.dispose(close=False)  # As SQLAlchemy requires: the parent still uses its connections.
            alarm = threading.Timer(FORK_FOR, end.set)
            alarm.start()
            work_in_threads(engine, program, end)
            alarm.cancel()
            return
        children.add(child)
        end.wait(FORK_EVERY)
        children -= {child for child in children if os.waitpid(child, os.WNOHANG)[0] == child}
    for child in children:
        os.kill(child, signal.SIGTERM)
    for child in children:
        os.waitpid(child, 0)


def run(name: str, host: str, folder: Path, port: int) -> None:
    """Run one process of a program until SIGTERM, which may be blocked until then."""
    program = PROGRAMS[name]
    # The pool takes its name from the file, and only a short name fits the table.
    os.chdir(folder)
    # The console shows what is wrong: log lines would only repeat it.
    logging.getLogger("poolhouse.verdicts").addHandler(logging.NullHandler())
    end = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: end.set())
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    if program.pool == "ConnectionPool":
        with pool_of(name, host, port) as pool:
            arguments = (pool, program, end)
            _run_threads(
                [threading.Thread(target=work_with_own_pool, args=arguments) for _ in range(program.threads)]
            )
        return
    engine = engine_of(name, host, port)
    with engine.begin() as connection:
        connection.execute(ORDERS)
    if program.habit == "forking":
        fork(engine, program, end)
        return
    if program.habit == "leaking":
        threading.Thread(target=leak, args=(engine, program, end)).start()
    work_in_threads(engine, program, end)


def main(folder: Path, port: int) -> None:
    """Fork all processes of all programs, and end them at SIGTERM.

    A forked process need not import SQLAlchemy again: with a dozen of them, the demo shows something seconds
    earlier.
    """
    parent = os.getpid()
    for module in OF_ENGINES:
        import_module(module)
    gc.freeze()  # Otherwise each child would copy what its first collection visits.
    # A process that has no handler yet would end without its last report.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    children: list[int] = []
    for name, program in PROGRAMS.items():
        for host in program.hosts:
            child = os.fork()
            if child == 0:
                die_with_parent(parent)
                run(name, host, folder, port)
                return
            children.append(child)
    signal.sigwait({signal.SIGTERM})
    for child in children:
        os.kill(child, signal.SIGTERM)
    for child in children:
        os.waitpid(child, 0)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
