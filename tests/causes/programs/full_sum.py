"""Each process is modest, and their sum is more than the server allows. Threads, Core, QueuePool."""

from sqlalchemy import create_engine, text

from support.acting import MENDED, begin, serve, url

SIZE = 3 if MENDED else 8
engine = create_engine(url("psycopg"), pool_size=SIZE, max_overflow=0, pool_timeout=3)


def handle() -> None:
    with engine.connect() as connection:
        connection.execute(text("SELECT pg_sleep(0.3)"))


begin()
serve(SIZE, handle, think=0.2)
