"""multiprocessing forks with a Session's connection in the pool. Session, QueuePool."""

import multiprocessing
import time

from sqlalchemy import create_engine, text
from sqlalchemy.orm import Session

from support.acting import MENDED, begin, serve, symptom, url

engine = create_engine(url("psycopg2"), pool_size=2)


def handle() -> None:
    with Session(engine) as session:
        session.execute(text("SELECT 1"))
        session.commit()


def work() -> None:
    if MENDED:
        engine.dispose(close=False)
    else:
        symptom("shared")
    serve(1, handle, think=1.0)


def main() -> None:
    handle()
    multiprocessing.get_context("fork").Process(target=work, daemon=True).start()  # culprit
    while True:
        time.sleep(60)


begin()
main()
