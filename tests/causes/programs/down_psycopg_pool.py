"""The server is gone. Threads, psycopg_pool."""

from psycopg_pool import ConnectionPool

import poolhouse
from support.acting import DATABASE, begin, serve

pool = ConnectionPool(DATABASE, min_size=3, max_size=3, timeout=2, open=False)
poolhouse.watch(pool)


def handle() -> None:
    with pool.connection() as connection:
        connection.execute("SELECT pg_sleep(0.02)")


begin()
pool.open()
serve(4, handle, think=0.4)
