"""What the demo's programs do with their connections."""

import sqlite3
import threading
from pathlib import Path

import pytest
from sqlalchemy import event

from poolhouse.demo import worker
from poolhouse.demo.programs import PROGRAMS
from support.waiting import wait_until


def test_the_leaking_program_keeps_connections_that_nobody_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (name,) = (name for name, program in PROGRAMS.items() if program.habit == "leaking")
    monkeypatch.setattr(worker, "LEAK_EVERY", 0.01)
    monkeypatch.chdir(tmp_path)
    engine = worker.engine_of(name, "web1", 9)
    with engine.begin() as connection:
        connection.execute(worker.ORDERS)
    end = threading.Event()
    leaking = threading.Thread(target=worker.leak, args=(engine, PROGRAMS[name], end))
    leaking.start()
    try:
        wait_until(lambda: engine.pool.checkedout() == PROGRAMS[name].pool_size, what="every connection leaked")
    finally:
        end.set()
        leaking.join()
    wait_until(lambda: engine.pool.checkedout() == 0, what="the end gives them back")
    engine.dispose()


@pytest.mark.parametrize("name", ["catalog", "billing"])
def test_a_thread_survives_a_database_that_is_locked(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The machine is busy, and SQLite's lock is not free in time: a request has failed, and the next one comes."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(worker, "WRITE_SHARE", 1.0)
    monkeypatch.setattr(worker, "LEAK_EVERY", 0.0)
    monkeypatch.setattr(worker, "RESTART_AFTER", 0.0)
    engine = worker.engine_of(name, "web1", 9)
    with engine.begin() as connection:
        connection.execute(worker.ORDERS)

    failures: list[str] = []
    end = threading.Event()

    @event.listens_for(engine, "handle_error")
    def count(context: object) -> None:
        failures.append(str(context))
        if len(failures) == 3:
            end.set()

    @event.listens_for(engine, "checkout")
    def wait_for_no_lock(connection: sqlite3.Connection, *_: object) -> None:
        connection.execute("PRAGMA busy_timeout = 0")

    other = sqlite3.connect(f"{name}.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    handle = worker.leak if PROGRAMS[name].habit == "leaking" else worker.work
    handle(engine, PROGRAMS[name], end)
    other.close()
    assert len(failures) >= 3
    engine.dispose()
