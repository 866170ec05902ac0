"""One connection that does all the work of three threads, and has time left. SQLite."""

import sqlite3

from poolhouse import ConnectionPool
from support.acting import DATABASE, begin, serve


def configure(connection: sqlite3.Connection) -> None:
    """Wait for no disk: that is everybody's, and would make one connection too few at times."""
    connection.execute("PRAGMA synchronous = OFF")


pool = ConnectionPool(
    DATABASE.removeprefix("sqlite:///"),
    driver=sqlite3,
    kwargs={"check_same_thread": False},
    configure=configure,
    min_size=1,
    max_size=1,
    timeout=5,
    name="one",
    open=False,
)


def handle() -> None:
    with pool.connection() as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS seen (at REAL)")
        connection.execute("INSERT INTO seen VALUES (julianday())")


begin()
pool.open()
serve(3, handle, think=0.3)
