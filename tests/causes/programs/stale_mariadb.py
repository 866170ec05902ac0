"""MariaDB has gone away. Threads, Session, PyMySQL."""

from sqlalchemy import create_engine, text
from sqlalchemy.orm import Session

from support.acting import MENDED, begin, serve, url

engine = create_engine(
    url("pymysql"),
    pool_size=4,
    pool_pre_ping=MENDED,
    # It connects all the time, and PyMySQL reads the machine's certificates for each connection that may use TLS.
    connect_args={"init_command": "SET wait_timeout = 1", "ssl_disabled": True},
)

PAGE = "SELECT SLEEP(0.1)"


def handle() -> None:
    with Session(engine) as session:
        session.execute(text(PAGE))
        session.commit()


begin()
serve(4, handle, think=1.6, together=True)
