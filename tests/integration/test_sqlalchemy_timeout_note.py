"""SQLAlchemy's own timeout, of an engine that is measured: who has the connections, and why."""

import asyncio
import pickle
import traceback
from typing import Any

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool, QueuePool

from poolhouse.instrumentation import watch as watching
from poolhouse.verdicts.verdict import Verdict, parse_line

LEAK = Verdict(
    "leak",
    0.0,
    "shop",
    culprit=parse_line("app/export.py:88 in rows"),
    evidence=(("kept", 1.0), ("max", 1.0), ("oldest_s", 9.1), ("waiting", 2.0)),
)
SETTINGS: dict[str, Any] = {"pool_size": 1, "max_overflow": 0, "pool_timeout": 0.05}


def keep(engine: Any) -> Any:
    return engine.connect()


def test_it_says_which_line_has_the_connections_and_why_and_another_process_hears_it_too() -> None:
    engine = create_engine("sqlite://?plugin=collectd", poolclass=QueuePool, **SETTINGS)
    watching._watches[engine.pool].judged((LEAK,))
    with keep(engine), pytest.raises(PoolTimeoutError) as caught:
        engine.connect()
    error: Any = caught.value
    assert str(error).startswith("QueuePool limit of size 1 overflow 0 reached"), "its own text stays"
    (note,) = error.__notes__
    assert note.startswith(
        "poolhouse: 1 in use, 0 waiting; leak: app/export.py:88 in rows keeps 1 of 1 connections, oldest 9 s; its "
        "call has ended; oldest held 0."
    )
    assert note.endswith(" in keep (1 connection)")
    (holder,) = error.holders
    assert holder.site.endswith(" in keep")
    assert holder.connections == 1
    assert error.verdict == LEAK
    assert note in "".join(traceback.format_exception(error))
    copy = pickle.loads(pickle.dumps(error))
    assert (copy.holders, copy.verdict, copy.__notes__) == (error.holders, error.verdict, error.__notes__)


def test_without_a_verdict_it_says_who_has_the_connections() -> None:
    engine = create_engine("sqlite://?plugin=collectd", poolclass=QueuePool, **SETTINGS)
    with keep(engine), pytest.raises(PoolTimeoutError) as caught:
        engine.connect()
    error: Any = caught.value
    assert error.verdict is None
    assert "leak" not in error.__notes__[0]


def test_in_asyncio_too() -> None:
    async def main() -> Any:
        engine = create_async_engine(
            "sqlite+aiosqlite:///:memory:?plugin=collectd", poolclass=AsyncAdaptedQueuePool, **SETTINGS
        )
        try:
            async with engine.connect() as connection:
                await connection.execute(text("select 1"))
                with pytest.raises(PoolTimeoutError) as caught:
                    await engine.connect()
            return caught.value
        finally:
            await engine.dispose()

    error = asyncio.run(main())
    assert error.holders[0].site.endswith(".main")
    assert error.__notes__[0].startswith("poolhouse: 1 in use")
