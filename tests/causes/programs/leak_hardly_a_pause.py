"""Threads that call a function with hardly a pause; now and then it forgets a connection. Session, QueuePool."""

import itertools

from sqlalchemy import create_engine, text
from sqlalchemy.orm import Session

from support.acting import MENDED, begin, serve, url

engine = create_engine(url("psycopg"), pool_size=8, max_overflow=0, pool_timeout=3)
numbers = itertools.count(1)
#: Sessions of requests that failed, for a report that nobody writes.
failed: list[Session] = []


def handle() -> None:
    number = next(numbers)
    session = Session(engine)
    session.execute(text("SELECT pg_sleep(0.05)"))  # culprit
    if number % 100 == 0 and not MENDED:
        failed.append(session)
        return
    session.close()


begin()
serve(3, handle, think=0.02)
