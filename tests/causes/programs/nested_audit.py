"""Whoever has a connection asks for another one, for a log that must be written in any case. Threads, Session."""

from sqlalchemy import create_engine, text
from sqlalchemy.orm import Session

from support.acting import MENDED, begin, serve, url

engine = create_engine(url("psycopg"), pool_size=4, max_overflow=0, pool_timeout=3)


def audit() -> None:
    with Session(engine) as session:
        session.execute(text("SELECT pg_sleep(0.02)"))  # now
        session.commit()


def transfer() -> None:
    with Session(engine) as session:
        session.execute(text("SELECT pg_sleep(0.05)"))  # culprit
        if not MENDED:
            audit()
        session.commit()
    if MENDED:
        audit()


begin()
serve(9, transfer, think=0.6, together=True)
