"""A job for each connection of the pool, each with statements of many seconds; nobody waits."""

import random

from sqlalchemy import create_engine, text

from support.acting import begin, serve, url

engine = create_engine(url("psycopg"), pool_size=4, max_overflow=0)


def job() -> None:
    with engine.begin() as connection:
        for _ in range(3):
            connection.execute(text("SELECT pg_sleep(:time)"), {"time": random.uniform(2, 8)})


begin()
serve(4, job, think=0.05, patience=60)
