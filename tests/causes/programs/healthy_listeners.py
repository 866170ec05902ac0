"""A loop that takes one connection after the other at one line and keeps them, beside requests. Threads, Core."""

import threading
import time
from typing import Any

import psycopg
from sqlalchemy import Connection, create_engine, text

from support.acting import DATABASE, begin, serve, url


def connect() -> Any:
    time.sleep(1.0)  # A proxy that is far away.
    return psycopg.connect(DATABASE)


engine = create_engine(url("psycopg"), creator=connect, pool_size=80, max_overflow=0, pool_timeout=5)
#: How many tenants are listened to in the end, each by its own connection.
TENANTS = 50


def listen() -> None:
    listening: list[Connection] = []
    while True:
        if len(listening) < TENANTS:
            listening.append(engine.connect())
        listening[-1].execute(text("SELECT 1"))
        time.sleep(1.5)


def handle() -> None:
    with engine.begin() as connection:
        connection.execute(text("SELECT pg_sleep(0.02)"))


begin()
threading.Thread(target=listen, daemon=True).start()
serve(3, handle, think=0.3)
