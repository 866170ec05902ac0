"""A worker that ends after seconds, and the next one, which starts before: each begins and ends under load."""

import multiprocessing
import threading
import time

from sqlalchemy import create_engine, text

from support.acting import begin, symptom, url


def work() -> None:
    engine = create_engine(url("psycopg"), pool_size=3, max_overflow=0, pool_timeout=5)
    end = time.monotonic() + 5

    def client() -> None:
        try:
            while time.monotonic() < end:
                with engine.connect() as connection:
                    connection.execute(text("SELECT pg_sleep(0.06)"))
                time.sleep(0.4)
        except Exception as error:
            symptom(type(error).__name__, error)

    clients = [threading.Thread(target=client) for _ in range(8)]
    for one in clients:
        one.start()
    for one in clients:
        one.join()
    engine.dispose()


begin()
forking = multiprocessing.get_context("fork")
while True:
    worker = forking.Process(target=work, daemon=True)
    worker.start()
    time.sleep(2.5)
