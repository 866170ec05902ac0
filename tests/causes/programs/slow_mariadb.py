"""A statement becomes slow on MariaDB. Threads, our pool, PyMySQL."""

from urllib.parse import urlsplit

import pymysql

from poolhouse import ConnectionPool
from support.acting import DATABASE, begin, is_calm, serve

at = urlsplit(DATABASE)
pool = ConnectionPool(
    driver=pymysql,
    kwargs={"host": at.hostname, "port": at.port, "user": at.username, "database": at.path[1:]},
    min_size=3,
    max_size=3,
    timeout=1,
    name="stock",
    open=False,
)


def stock() -> None:
    with pool.connection() as connection, connection.cursor() as cursor:  # culprit
        cursor.execute("SELECT SLEEP(%s)", (0.05 if is_calm() else 1.5,))


begin()
pool.open()
serve(8, stock, think=0.5)
