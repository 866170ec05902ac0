"""A FastAPI application that exports the metrics of its pools to Prometheus.

    pip install '.[prometheus]' fastapi uvicorn sqlalchemy
    uvicorn --port 8000 metrics_fastapi:app

Prometheus scrapes ``/metrics`` of the application. No daemon is needed.
"""

from fastapi import FastAPI, Response
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, generate_latest
from sqlalchemy import create_engine, text

import poolhouse.prometheus

engine = create_engine("sqlite:///shop.db", pool_size=4, max_overflow=0)
REGISTRY.register(poolhouse.prometheus.collector())

app = FastAPI()


@app.get("/order")
def order() -> dict[str, str]:
    with engine.connect() as connection:
        return {"order": connection.execute(text("select 'order 1'")).scalar_one()}


@app.get("/metrics")
def metrics() -> Response:
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)
