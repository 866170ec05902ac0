"""The server ends sessions that are idle, and the pool does not know. Threads, Core, QueuePool."""

from sqlalchemy import create_engine, text

from support.acting import MENDED, begin, serve, url

engine = create_engine(
    url("psycopg"),
    pool_size=4,
    max_overflow=0,
    pool_pre_ping=MENDED,
    connect_args={"options": "-c idle_session_timeout=1200ms"},
)

PAGE = "SELECT pg_sleep(0.1)"


def handle() -> None:
    with engine.connect() as connection:
        connection.execute(text(PAGE))


begin()
serve(3, handle, think=1.7, together=True)
