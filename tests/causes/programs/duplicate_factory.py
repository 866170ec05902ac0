"""Two modules each call the function that makes the engine. Threads, Core."""

from sqlalchemy import Engine, create_engine, text

from support.acting import MENDED, begin, serve, symptom, url


def get_engine() -> Engine:
    return create_engine(url("psycopg"), pool_size=3)  # culprit


orders = get_engine()
customers = orders if MENDED else get_engine()


def handle() -> None:
    for engine in (orders, customers):
        with engine.connect() as connection:
            connection.execute(text("SELECT pg_sleep(0.01)"))
    if not MENDED:
        symptom("connections")


begin()
serve(2, handle, think=0.5)
