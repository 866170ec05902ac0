"""On one of three hosts everything that asks the database takes longer. Threads, Core, QueuePool."""

import os

from sqlalchemy import create_engine, text

from support.acting import MENDED, begin, serve, url

engine = create_engine(url("psycopg"), pool_size=3, max_overflow=0, pool_timeout=10)
IS_FAR = os.environ["HOST_NUMBER"] == "2" and not MENDED


def query(times: int) -> None:
    with engine.connect() as connection:
        for _ in range(times):
            # The way to the database, there and back.
            connection.execute(text("SELECT pg_sleep(:time)"), {"time": 0.4 if IS_FAR else 0.03})


def read() -> None:
    query(1)


def write() -> None:
    query(2)


def handle() -> None:
    read()
    write()


begin()
serve(3, handle, think=0.5)
