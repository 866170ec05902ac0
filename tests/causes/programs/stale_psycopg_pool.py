"""The same with psycopg_pool. What mends it here is a server that lets sessions be idle. Threads."""

from psycopg_pool import ConnectionPool

import poolhouse
from support.acting import DATABASE, MENDED, begin, serve

pool = ConnectionPool(
    DATABASE,
    kwargs={} if MENDED else {"options": "-c idle_session_timeout=1s"},
    min_size=4,
    max_size=4,
    open=False,
)
poolhouse.watch(pool)


def handle() -> None:
    with pool.connection() as connection:
        connection.execute("SELECT pg_sleep(0.1)")


begin()
pool.open()
serve(3, handle, think=2.0, together=True)
