"""Workers are forked after the engine was used. Threads in the children, Core, QueuePool."""

import os
import time

from sqlalchemy import create_engine, text

from support.acting import MENDED, begin, serve, symptom, url

engine = create_engine(url("psycopg"), pool_size=2)


def handle() -> None:
    with engine.connect() as connection:
        connection.execute(text("SELECT 1"))


def start_worker() -> None:
    if os.fork() == 0:  # culprit
        if MENDED:
            engine.dispose(close=False)
        else:
            symptom("shared")
        # One after the other: the test is for who is named, and a protocol that is mixed up stops everybody.
        time.sleep(0.5)
        serve(1, handle, think=1.0)


begin()
handle()
start_worker()
while True:
    time.sleep(60)
