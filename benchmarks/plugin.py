"""What measuring costs a checkout and checkin of SQLAlchemy.

Pools take turns in one run: one with our plugin beside a bare one, and one with PyPI's sqlalchemy-collectd 0.0.8
beside a bare one. Both packages bring a plugin called ``collectd``, so each pair has a process of its own; what
counts is the ratio within a pair, round by round. Each way to a connection is measured: those of an engine, of a
Session, and of asyncio. The times are CPU time of the whole process, the reporter's thread included.

    python benchmarks/plugin.py [folder of sqlalchemy-collectd]

The folder is what ``pip install --no-deps --target FOLDER sqlalchemy-collectd==0.0.8`` makes; without it one is
made in a temporary place. The connection does nothing, so that nothing hides the cost. Folding into histograms is
included: a round has several batches. Reports are sent meanwhile, to whoever listens or nobody, as in life.
"""

import asyncio
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from typing import Any

ROUNDS = 51
#: Two batches of durations, so that each round folds as often as the others.
TURNS = 4_096
URL = "sqlite://?plugin=collectd&collectd_host=127.0.0.1"
OURS, THEIRS = "poolhouse.instrumentation.plugin", "sqlalchemy_collectd.client.plugin"


class Connection:
    """A connection to nothing."""

    def rollback(self) -> None: ...
    def commit(self) -> None: ...
    def close(self) -> None: ...
    def create_function(self, *args: Any, **kwargs: Any) -> None: ...


def take_turns(plugin: str) -> None:
    """For each name of a way that comes in, tell the microseconds of a turn: bare, with the plugin."""
    import sqlalchemy
    from sqlalchemy.ext.asyncio import create_async_engine
    from sqlalchemy.pool import AsyncAdaptedQueuePool, QueuePool

    def ways_of(url: str) -> dict[str, Callable[[], float]]:
        parameters: dict[str, Any] = {"creator": Connection, "_initialize": False}
        engine = sqlalchemy.create_engine(url, poolclass=QueuePool, **parameters)
        async_url = url.replace("sqlite://", "sqlite+aiosqlite://")
        async_engine = create_async_engine(async_url, poolclass=AsyncAdaptedQueuePool, **parameters)
        return {name: partial(way, engine, async_engine) for name, way in WAYS.items()}

    pair = [ways_of("sqlite://"), ways_of(URL)]
    for ways in pair:
        for way in ways.values():
            way()
    assert plugin in sys.modules, f"SQLAlchemy loaded another plugin than {plugin}"
    print(json.dumps(sqlalchemy.__version__), flush=True)
    for line in sys.stdin:
        print(json.dumps([ways[line.strip()]() for ways in pair]), flush=True)


def per_turn(turns: int, run: Callable[[], object]) -> float:
    began = time.process_time()
    run()
    return (time.process_time() - began) / turns * 1e6


def raw(engine: Any, _: Any) -> float:
    def run() -> None:
        raw_connection = engine.raw_connection
        for _ in range(TURNS):
            raw_connection().close()

    return per_turn(TURNS, run)


def connect(engine: Any, _: Any) -> float:
    def run() -> None:
        for _ in range(TURNS):
            engine.connect().close()

    return per_turn(TURNS, run)


def begin(engine: Any, _: Any) -> float:
    def run() -> None:
        for _ in range(TURNS):
            with engine.begin():
                pass

    return per_turn(TURNS, run)


def session(engine: Any, _: Any) -> float:
    from sqlalchemy.orm import Session

    def run() -> None:
        for _ in range(TURNS // 2):
            with Session(engine) as session:
                session.connection()

    return per_turn(TURNS // 2, run)


def in_asyncio(_: Any, engine: Any) -> float:
    async def run() -> None:
        for _ in range(TURNS // 2):
            async with engine.connect():
                pass

    return per_turn(TURNS // 2, lambda: asyncio.run(run()))


WAYS: dict[str, Callable[[Any, Any], float]] = {
    "engine.raw_connection()": raw,
    "engine.connect()": connect,
    "with engine.begin()": begin,
    "with Session(engine), .connection()": session,
    "asyncio, async with engine.connect()": in_asyncio,
}


def started(plugin: str, search_path: list[str]) -> "subprocess.Popen[str]":
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(search_path), "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, __file__, "--take-turns", plugin]
    return subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def answer(process: "subprocess.Popen[str]") -> Any:
    assert process.stdout is not None
    return json.loads(process.stdout.readline())


def main(folder: str) -> None:
    here = [path for path in sys.path[1:] if path]
    processes = {
        "poolhouse": started(OURS, here),
        "sqlalchemy-collectd 0.0.8": started(THEIRS, [folder, *here]),
    }
    (version,) = {answer(process) for process in processes.values()}
    rounds: dict[tuple[str, str], list[list[float]]] = {}
    for _ in range(ROUNDS):
        for way in WAYS:
            for name, process in processes.items():
                assert process.stdin is not None
                print(way, file=process.stdin, flush=True)
                rounds.setdefault((way, name), []).append(answer(process))
    for process in processes.values():
        process.communicate()
    print(f"SQLAlchemy {version}, CPython {platform.python_version()}: a checkout and checkin of a QueuePool,")
    print(f"medians of {ROUNDS} rounds of {TURNS:,} turns, of half as many for a Session and asyncio\n")
    print("| way to a connection | measured by | bare pool, µs | measured, µs | ratio |")
    print("|---|---|---|---|---|")
    for (way, name), pairs in rounds.items():
        bare, measured = (statistics.median(column) for column in zip(*pairs, strict=True))
        ratio = statistics.median(measured / bare for bare, measured in pairs)
        print(f"| {way} | {name} | {bare:.2f} | {measured:.2f} | {ratio:.2f} |")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--take-turns"]:
        take_turns(sys.argv[2])
    elif len(sys.argv) > 1:
        main(sys.argv[1])
    else:
        with tempfile.TemporaryDirectory() as temporary:
            pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", temporary]
            subprocess.run([*pip, "sqlalchemy-collectd==0.0.8"], check=True)
            main(temporary)
