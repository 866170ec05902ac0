"""What a task in another process may fail with."""

import logging
import sqlite3

import poolhouse
from poolhouse.report.destination import Destination

#: Nothing listens on this port.
NOBODY = "host=127.0.0.1 port=9 dbname=shop"


def exhaust() -> None:
    """The one connection is out, and nothing can make another."""
    threads = {"check_same_thread": False}
    with poolhouse.ConnectionPool(":memory:", driver=sqlite3, kwargs=threads, min_size=1, open=True) as pool:
        held = pool.getconn()
        try:
            pool.getconn(timeout=0.01)
        finally:
            pool.putconn(held)


def find_nobody() -> None:
    """The server is down: the error carries what psycopg said."""
    logging.disable(logging.CRITICAL)
    with poolhouse.ConnectionPool(NOBODY, min_size=1, open=True) as pool:
        pool.getconn(timeout=0.3)


def use_closed() -> None:
    pool = poolhouse.ConnectionPool(":memory:", driver=sqlite3, min_size=1, open=False)
    pool.close()
    pool.getconn()


def set_wrongly() -> None:
    Destination.from_url("collectd://web1:nowhere")
