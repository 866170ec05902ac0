"""Sessions that nobody closes: the garbage collector returns their connections, at times. Threads, Session."""

import gc

from sqlalchemy import create_engine, text
from sqlalchemy.orm import Session

from support.acting import MENDED, begin, serve, url

engine = create_engine(url("psycopg"), pool_size=6, max_overflow=4, pool_timeout=3)


class Page:
    """What is answered; it knows its parts, and they know it."""

    def __init__(self, session: Session) -> None:
        self.session, self.page = session, self
        self.total = session.scalar(text("SELECT 42 FROM pg_sleep(0.02)"))  # culprit


def handle() -> None:
    session = Session(engine)
    page = Page(session)
    assert page.total == 42
    if MENDED:
        session.close()


begin()
# A program that allocates little is collected seldom.
gc.set_threshold(400, 5, 5)
serve(4, handle, think=0.4)
