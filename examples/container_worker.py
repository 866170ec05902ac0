"""A worker that is the first process of its container, and says goodbye when the container is stopped.

    pip install '.[all]' sqlalchemy
    exec python container_worker.py

The kernel ignores SIGTERM for process 1 unless the process handles it. Without a handler, `docker stop` and a
Kubernetes rollout wait for their grace period and then kill the process, which cannot say goodbye.
"""

import signal
import sys
import threading

from sqlalchemy import create_engine, text

from poolhouse.pool.sqlalchemy import FairQueuePool

engine = create_engine(
    # The host's name is the container's, and changes with each container; `orders` stays the same.
    "sqlite:///shop.db?plugin=collectd&collectd_program_name=orders&collectd_report_host=orders",
    poolclass=FairQueuePool,
    pool_size=1,
    max_overflow=0,
)
is_stopping = threading.Event()


def stop(number: int, frame: object) -> None:
    is_stopping.set()


signal.signal(signal.SIGTERM, stop)
while not is_stopping.wait(0.2):
    with engine.connect() as conn:
        conn.execute(text("select 1"))
engine.dispose()
sys.exit()  # A normal end: poolhouse says goodbye.
