"""What the demo's programs do with their connections."""

import threading
from pathlib import Path

import pytest

from poolhouse.demo import worker
from poolhouse.demo.programs import PROGRAMS
from support.waiting import wait_until


def test_the_leaking_program_keeps_connections_that_nobody_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (name,) = (name for name, program in PROGRAMS.items() if program.habit == "leaking")
    monkeypatch.setattr(worker, "LEAK_EVERY", 0.01)
    engine = worker.engine_of(name, "web1", tmp_path, 9)
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
