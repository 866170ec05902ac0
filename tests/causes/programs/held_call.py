"""A transaction stays open while a service is asked, and that becomes slow. Threads, Session, QueuePool."""

import urllib.request

from sqlalchemy import create_engine, text
from sqlalchemy.orm import sessionmaker

from support.acting import MENDED, begin, is_calm, serve, start_service, url

sessions = sessionmaker(create_engine(url("psycopg"), pool_size=4, max_overflow=0, pool_timeout=1))
# In the mended version the service is slow from the start.
service = start_service(lambda: 0.05 if is_calm() and not MENDED else 1.2)


def ask_for_price() -> bytes:
    return urllib.request.urlopen(f"http://127.0.0.1:{service}/price").read()  # now


def checkout() -> None:
    with sessions() as session:
        session.execute(text("SELECT 1"))  # culprit
        if MENDED:
            session.commit()
        ask_for_price()
        session.execute(text("SELECT 2"))
        session.commit()


begin()
serve(10, checkout, think=0.3)
