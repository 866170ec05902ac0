"""As many clients as ever more come, and the pool is too small for them. Threads, Core, FairQueuePool."""

import threading
import time

from sqlalchemy import create_engine, text

from poolhouse.pool.sqlalchemy import FairQueuePool
from support.acting import CALM, MENDED, begin, serve, url

SIZE = 12 if MENDED else 2
engine = create_engine(url("psycopg"), poolclass=FairQueuePool, pool_size=SIZE, max_overflow=0, pool_timeout=1)


def handle() -> None:
    with engine.begin() as connection:
        connection.execute(text("SELECT pg_sleep(0.3)"))


def crowd() -> None:
    time.sleep(CALM)
    serve(10, handle, think=0.3)


begin()
threading.Thread(target=crowd, daemon=True).start()
serve(2, handle, think=0.8)
