"""Something stops the process for most of the time, as a container's CPU limit does. Threads, Core, SQLite."""

import time

from sqlalchemy import create_engine, text
from sqlalchemy.pool import QueuePool

from support.acting import MENDED, begin, serve, throttle, url

engine = create_engine(url("pysqlite"), poolclass=QueuePool, pool_size=6, max_overflow=0, pool_timeout=5)


def handle() -> None:
    with engine.connect() as connection:
        connection.execute(text("SELECT 1"))
        time.sleep(0.2)


begin()
if not MENDED:
    throttle(stopped=0.3, runs=0.1)
serve(3, handle, think=0.05, patience=0.3)
