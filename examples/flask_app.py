"""A Flask application whose sessions end with the request, and return their connections before the view waits.

    pip install '.[all]' flask sqlalchemy
    connmond &
    flask --app flask_app run --port 8000

``/held`` asks another service while its session has a connection; ``/released`` returns the connection first.
``/holders`` shows which lines have connections at this moment.
"""

import time
from collections.abc import Iterator

from flask import Flask, Response, stream_with_context
from sqlalchemy import create_engine, text
from sqlalchemy.orm import scoped_session, sessionmaker

from poolhouse.pool.sqlalchemy import FairQueuePool

engine = create_engine(
    "sqlite:///shop.db?plugin=collectd&collectd_program_name=shop",
    poolclass=FairQueuePool,
    pool_size=1,
    max_overflow=0,
    pool_timeout=0.5,
    hold_warning=0.2,
    connect_args={"check_same_thread": False},
)
session = scoped_session(sessionmaker(engine, expire_on_commit=False))
app = Flask(__name__)


@app.teardown_appcontext
def give_back(error: BaseException | None) -> None:
    session.remove()


@app.get("/held")
def held() -> str:
    order: str = session.execute(text("select 'order 1'")).scalar_one()
    time.sleep(1)  # another service
    return order


@app.get("/released")
def released() -> str:
    order: str = session.execute(text("select 'order 1'")).scalar_one()
    session.commit()  # The connection goes back; the next query takes one again.
    time.sleep(1)
    return order


@app.get("/export")
def export() -> Response:
    """A streamed response, which reads everything it needs before it begins."""
    orders = session.execute(text("select 'order 1' union select 'order 2'")).scalars().all()
    session.commit()

    def lines() -> Iterator[str]:
        for order in orders:
            time.sleep(0.5)  # a slow client
            yield f"{order}\n"

    return Response(stream_with_context(lines()), mimetype="text/plain")


@app.get("/holders")
def holders() -> list[str]:
    return [holder.site for holder in engine.pool.holders()]
