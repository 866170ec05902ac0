"""The server is gone. Threads, Core, QueuePool."""

from sqlalchemy import create_engine, text

from support.acting import begin, serve, url

engine = create_engine(url("psycopg"), pool_size=3, max_overflow=0, pool_timeout=3)


def handle() -> None:
    with engine.connect() as connection:
        connection.execute(text("SELECT pg_sleep(0.02)"))


begin()
serve(4, handle, think=0.4)
