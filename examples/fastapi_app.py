"""A FastAPI application that holds no connection while it waits for another service.

    pip install '.[all]' fastapi uvicorn sqlalchemy
    connmond &
    uvicorn --port 8000 fastapi_app:app

``/held`` asks another service while its session has a connection; ``/released`` returns the connection first.
``/holders`` shows which lines have connections at this moment.
"""

import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import Depends, FastAPI
from sqlalchemy import create_engine, text
from sqlalchemy.orm import Session, sessionmaker

import poolhouse
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
new_session = sessionmaker(engine, expire_on_commit=False)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    yield
    engine.dispose()
    # uvicorn ends by the signal that it received, so Python runs no exit handlers.
    poolhouse.flush(goodbye=True)


app = FastAPI(lifespan=lifespan)


def get_db() -> Iterator[Session]:
    with new_session() as db:
        yield db


Db = Annotated[Session, Depends(get_db)]


def ask_the_warehouse() -> str:
    time.sleep(1)  # another service
    return "in stock"


@app.get("/held")
def held(db: Db) -> dict[str, str]:
    order = db.execute(text("select 'order 1'")).scalar_one()
    return {"order": order, "stock": ask_the_warehouse()}


@app.get("/released")
def released(db: Db) -> dict[str, str]:
    order = db.execute(text("select 'order 1'")).scalar_one()
    db.commit()  # The session gives its connection back; its next query takes one again.
    return {"order": order, "stock": ask_the_warehouse()}


@app.get("/holders")
async def holders() -> list[str]:
    return [holder.site for holder in engine.pool.holders()]
