"""Somebody who reports nothing has a row locked; who needs it waits in the database. Threads, Core, QueuePool."""

import threading
import time

import psycopg
from sqlalchemy import create_engine, text

from support.acting import CALM, DATABASE, MENDED, begin, serve, url

engine = create_engine(url("psycopg"), pool_size=4, max_overflow=0, pool_timeout=3)
ACCOUNT = 2 if MENDED else 1
PAY = text(f"UPDATE accounts SET paid = paid + 1 WHERE id = {ACCOUNT}")


def pay() -> None:
    with engine.begin() as connection:
        connection.execute(PAY)  # waits


def correct() -> None:
    """What somebody does in psql, who then goes to lunch."""
    time.sleep(1.5 * CALM)  # The pool has habits by then, on a busy machine, too.
    with psycopg.connect(DATABASE) as connection:
        connection.execute(f"UPDATE accounts SET paid = 0 WHERE id = {ACCOUNT}".encode())
        if not MENDED:
            threading.Event().wait()


with engine.begin() as connection:
    # The two versions may do this at the same time.
    connection.execute(text("SELECT pg_advisory_xact_lock(2)"))
    connection.execute(text("CREATE TABLE IF NOT EXISTS accounts (id int PRIMARY KEY, paid int)"))
    connection.execute(text(f"INSERT INTO accounts VALUES ({ACCOUNT}, 0)"))
begin()
threading.Thread(target=correct, daemon=True).start()
serve(9, pay, think=0.3)
