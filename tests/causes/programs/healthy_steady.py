"""Threads that work and think, with connections to spare."""

from sqlalchemy import create_engine, text

from support.acting import begin, serve, url

engine = create_engine(url("psycopg"), pool_size=5, max_overflow=5, pool_timeout=5)


def handle() -> None:
    with engine.begin() as connection:
        connection.execute(text("SELECT pg_sleep(0.02)"))


begin()
serve(4, handle, think=0.3)
