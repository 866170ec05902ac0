"""An ASGI application whose pool is reported, and whose workers say goodbye when they end.

    pip install '.[all]' sqlalchemy[asyncio] aiosqlite uvicorn
    connmond &
    uvicorn --workers 2 --port 8000 uvicorn_app:app

uvicorn ends its workers by the signal that it received, so Python runs no exit handlers. The goodbye at shutdown
reports the last interval's work, and takes the worker's connections out of the sums at once.
"""

from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

import poolhouse

engine = create_async_engine("sqlite+aiosqlite:///shop.db?plugin=collectd&collectd_program_name=shop")


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        await lifespan(receive, send)
        return
    async with engine.connect() as connection:
        answer = (await connection.execute(text("select 'ordered'"))).scalar_one()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": answer.encode()})


async def lifespan(receive: Any, send: Any) -> None:
    """Handle the server's startup and shutdown events."""
    while (await receive())["type"] != "lifespan.shutdown":
        await send({"type": "lifespan.startup.complete"})
    await engine.dispose()
    poolhouse.flush(goodbye=True)
    await send({"type": "lifespan.shutdown.complete"})
