"""A way out of a function that forgets to give the connection back. Threads, Core, QueuePool."""

import itertools

from sqlalchemy import Connection, create_engine, text

from support.acting import MENDED, begin, serve, url

engine = create_engine(url("psycopg"), pool_size=4, max_overflow=2, pool_timeout=3)
numbers = itertools.count(1)
#: Results that are read later: they keep their connections.
unread: list[Connection] = []


def orders(number: int) -> None:
    connection = engine.connect()  # culprit
    result = connection.execute(text("SELECT pg_sleep(0.02)"))
    if number % 12 == 0 and not MENDED:
        unread.append(result.connection)
        return
    connection.close()


def handle() -> None:
    orders(next(numbers))


begin()
serve(5, handle, think=0.3)
