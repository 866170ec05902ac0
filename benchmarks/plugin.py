"""What measuring costs a checkout and checkin of SQLAlchemy.

Four pools take turns in one run: one with our plugin beside a bare one, and one with PyPI's sqlalchemy-collectd
0.0.8 beside a bare one. Both packages bring a plugin called ``collectd``, so each pair has a process of its own;
what counts is the ratio within a pair, round by round.

    python benchmarks/plugin.py [folder of sqlalchemy-collectd]

The folder is what ``pip install --no-deps --target FOLDER sqlalchemy-collectd==0.0.8`` makes; without it one is
made in a temporary place. The connection does nothing, so that nothing hides the cost. Folding into histograms is
included: a round has several batches. Reports are sent meanwhile, to whoever listens or nobody, as in life.
"""

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

ROUNDS = 31
TURNS = 10_000
URL = "sqlite://?plugin=collectd&collectd_host=127.0.0.1"
OURS, THEIRS = "poolhouse.instrumentation.plugin", "sqlalchemy_collectd.client.plugin"


class Connection:
    """A connection to nothing."""

    def rollback(self) -> None: ...
    def commit(self) -> None: ...
    def close(self) -> None: ...
    def create_function(self, *args: Any, **kwargs: Any) -> None: ...


def take_turns(plugin: str) -> None:
    """For each line that comes in, tell the microseconds of a checkout and checkin: bare, with the plugin."""
    import sqlalchemy
    from sqlalchemy.pool import QueuePool

    def timed(url: str) -> Callable[[], float]:
        engine = sqlalchemy.create_engine(url, creator=Connection, poolclass=QueuePool, _initialize=False)
        raw_connection = engine.raw_connection

        def run() -> float:
            began = time.perf_counter()
            for _ in range(TURNS):
                raw_connection().close()
            return (time.perf_counter() - began) / TURNS * 1e6

        run()
        return run

    pair = [timed("sqlite://"), timed(URL)]
    assert plugin in sys.modules, f"SQLAlchemy loaded another plugin than {plugin}"
    print(json.dumps(sqlalchemy.__version__), flush=True)
    for _ in sys.stdin:
        print(json.dumps([run() for run in pair]), flush=True)


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
    rounds: dict[str, list[list[float]]] = {name: [] for name in processes}
    for _ in range(ROUNDS):
        for name, process in processes.items():
            assert process.stdin is not None
            print(file=process.stdin, flush=True)
            rounds[name].append(answer(process))
    for process in processes.values():
        process.communicate()
    print(f"SQLAlchemy {version}, CPython {platform.python_version()}: a checkout and checkin of a QueuePool,")
    print(f"medians of {ROUNDS} rounds of {TURNS:,}\n")
    print("| measured by | bare pool, µs | measured, µs | ratio |")
    print("|---|---|---|---|")
    for name, pairs in rounds.items():
        bare, measured = (statistics.median(column) for column in zip(*pairs, strict=True))
        ratio = statistics.median(measured / bare for bare, measured in pairs)
        print(f"| {name} | {bare:.2f} | {measured:.2f} | {ratio:.2f} |")


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
