"""A Celery application whose worker processes each have a pool of their own.

    pip install '.[all]' celery sqlalchemy
    connmond &
    celery --app celery_app worker --concurrency 2 --loglevel WARNING
    python -c 'import celery_app; print(celery_app.ship.delay(7).get(timeout=30))'

The broker is a folder, so you can try it without another server.
"""

import os
from pathlib import Path

from celery import Celery
from sqlalchemy import create_engine, text

from poolhouse.pool.sqlalchemy import FairQueuePool

FOLDER = Path(os.environ.get("BROKER_FOLDER", "broker")).absolute()
for name in ("queue", "control", "results"):
    (FOLDER / name).mkdir(parents=True, exist_ok=True)

app = Celery(
    "celery_app",
    broker="filesystem://",
    backend=f"file://{FOLDER / 'results'}",
    broker_transport_options={
        "data_folder_in": FOLDER / "queue",
        "data_folder_out": FOLDER / "queue",
        "control_folder": FOLDER / "control",
    },
)

# One connection per worker process, which does one task at a time.
engine = create_engine(
    "sqlite:///shop.db?plugin=collectd&collectd_program_name=shop-tasks",
    poolclass=FairQueuePool,
    pool_size=1,
    max_overflow=0,
    pool_timeout=5,
    hold_warning=10,
)


@app.task
def ship(order: int) -> str:
    with engine.begin() as conn:
        parcel: str = conn.execute(text("select 'parcel of order ' || :order"), {"order": order}).scalar_one()
    # Slow work, such as a call to a carrier's service, belongs here: the connection is back in the pool.
    return parcel
