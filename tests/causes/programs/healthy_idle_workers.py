"""Two hundred threads that each keep a connection for life and seldom use it, as workers of a queue do. SQLite."""

import time
from threading import Thread

from sqlalchemy import create_engine, text
from sqlalchemy.pool import QueuePool

from support.acting import begin, url

engine = create_engine(url("pysqlite"), poolclass=QueuePool, pool_size=200, max_overflow=0)


def work(number: int) -> None:
    with engine.connect() as connection:
        while True:
            connection.execute(text("SELECT 1"))
            connection.commit()
            time.sleep(5 + number / 20)


begin()
for number in range(200):
    Thread(target=work, args=(number,), daemon=True).start()
while True:
    time.sleep(60)
