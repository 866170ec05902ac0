"""RQ's work horses say goodbye, and do what they did: with a real Redis and a real connmond."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from poolhouse.fleet.snapshot import Snapshot
from support.connmond import Connmond, Watcher, program
from support.redis import Redis

JOBS = """
import os
from sqlalchemy import create_engine, text

engine = create_engine(
    "sqlite:///shop.db?plugin=poolhouse&poolhouse_program_name=shop-jobs&poolhouse_interval=0.2"
    f"&poolhouse_port={os.environ['REPORTS']}"
)

def ship(order):
    with engine.begin() as connection:
        connection.execute(text("select 1"))
    if order == 13:
        raise ValueError("no such order")
    return f"parcel of order {order}"
"""

ENQUEUE = """
import jobs, redis, rq, os
queue = rq.Queue(connection=redis.Redis.from_url(os.environ["URL"]))
for order in (7, 13):
    print(queue.enqueue(jobs.ship, order).id)
"""

RESULTS = """
import redis, rq, os, sys
connection = redis.Redis.from_url(os.environ["URL"])
for name in sys.argv[1:]:
    job = rq.job.Job.fetch(name, connection=connection)
    print(job.get_status().value, job.return_value())
"""


@pytest.mark.parametrize("kind", ["Worker", "SpawnWorker"])
def test_each_work_horse_says_goodbye_whether_or_not_its_job_succeeds(kind: str, tmp_path: Path) -> None:
    (tmp_path / "jobs.py").write_text(JOBS)
    with Redis(tmp_path) as redis, Connmond() as daemon, Watcher(daemon.consoles, program="shop-jobs") as watcher:
        environment = {
            **os.environ,
            "PYTHONPATH": str(tmp_path),
            "URL": redis.url,
            "REPORTS": str(daemon.reports),
        }

        def run(*command: str) -> str:
            done = subprocess.run(
                command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120
            )
            assert done.returncode == 0, done.stderr
            return done.stdout

        names = run(sys.executable, "-c", ENQUEUE).split()
        rq = Path(sys.executable).parent / "rq"
        run(str(rq), "worker", "--burst", "--url", redis.url, "--worker-class", f"poolhouse.rq.{kind}")
        assert run(sys.executable, "-c", RESULTS, *names).splitlines() == [
            "finished parcel of order 7",
            "failed None",
        ]
        # Both have gone, so the program is not shown any more.
        watcher.wait_for(lambda seen: program(seen, "shop-jobs") is None and number(seen, "goodbye") == 2)
        assert number(watcher.snapshots[-1], "silent") == 0


def number(seen: Snapshot, kind: str) -> int:
    """How many processes had an event of a kind: those at about the same time are told together."""
    texts = [event.text for event in seen.events if event.kind == kind]
    return sum(1 + int((re.findall(r", and (\d+) more$", text) or ["0"])[0]) for text in texts)
