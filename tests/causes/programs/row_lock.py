"""One function keeps a row locked while it sends a mail; whoever needs the row queues in the database."""

import time

from sqlalchemy import create_engine, text
from sqlalchemy.orm import Session

from support.acting import MENDED, begin, serve, url

engine = create_engine(url("psycopg"), pool_size=4, max_overflow=0, pool_timeout=3)
SHOW = 2 if MENDED else 1
BOOK = text(f"UPDATE seats SET free = free - 1 WHERE id = {SHOW}")


def send_mail() -> None:
    time.sleep(1.0)  # now


def book() -> None:
    with Session(engine) as session:
        session.execute(BOOK)  # culprit
        if not MENDED:
            send_mail()
        session.commit()
    if MENDED:
        send_mail()


with engine.begin() as connection:
    # The two versions may do this at the same time.
    connection.execute(text("SELECT pg_advisory_xact_lock(1)"))
    connection.execute(text("CREATE TABLE IF NOT EXISTS seats (id int PRIMARY KEY, free int)"))
    connection.execute(text(f"INSERT INTO seats VALUES ({SHOW}, 1000)"))
begin()
serve(9, book, think=0.4)
