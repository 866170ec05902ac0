"""One of two statements becomes slow, as when its plan changes. Threads, Core, QueuePool, psycopg2."""

from sqlalchemy import create_engine, text

from support.acting import begin, is_calm, serve, url

engine = create_engine(url("psycopg2"), pool_size=4, max_overflow=0, pool_timeout=1)


def report() -> None:
    with engine.connect() as connection:  # culprit
        connection.execute(text("SELECT pg_sleep(:time)"), {"time": 0.05 if is_calm() else 1.5})


def lookup() -> None:
    with engine.connect() as connection:
        connection.execute(text("SELECT pg_sleep(0.01)"))


def handle() -> None:
    lookup()
    report()


begin()
serve(10, handle, think=0.6)
