"""It starts under full load: thirty clients before there is a connection; after seconds all is well."""

import threading

from sqlalchemy import create_engine, text

from support.acting import begin, serve, url

engine = create_engine(url("psycopg"), pool_size=5, max_overflow=0, pool_timeout=10)


def handle() -> None:
    with engine.connect() as connection:
        connection.execute(text("SELECT pg_sleep(0.1)"))


def first() -> None:
    for _ in range(2):
        handle()


begin()
crowd = [threading.Thread(target=first, daemon=True) for _ in range(30)]
for one in crowd:
    one.start()
serve(5, handle, think=0.6)
