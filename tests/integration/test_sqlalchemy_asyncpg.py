"""An asyncio engine on a real PostgreSQL: what is told against what the server itself counts."""

import asyncio

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from poolhouse.instrumentation.engines import root_engine
from poolhouse.instrumentation.watch import watch
from poolhouse.meter.reading import Gauges, PoolReading
from support.postgres import Postgres
from support.sqlalchemy_truth import FakeStream

NAME = "poolhouse-asyncpg"


async def sessions(engine: AsyncEngine) -> int:
    """How many of the engine's sessions the server has, the asking one included."""
    async with engine.connect() as connection:
        query = text("SELECT count(*) FROM pg_stat_activity WHERE application_name = :name")
        return int((await connection.execute(query, {"name": NAME})).scalar_one())


def test_figures_are_true_while_tasks_wait_are_cancelled_invalidate_and_detach(postgres: Postgres) -> None:
    stream = FakeStream()

    def read(number: int) -> PoolReading:
        (source,) = stream.sources
        return source.read(number)

    async def run() -> None:
        engine = create_async_engine(
            postgres.url.replace("postgresql", "postgresql+asyncpg"),
            pool_size=2,
            max_overflow=1,
            connect_args={"server_settings": {"application_name": NAME}},
        )
        watch(root_engine(engine), stream)
        assert await sessions(engine) == 1
        held = [await engine.connect() for _ in range(3)]
        waiting = [asyncio.create_task(engine.connect().start()) for _ in range(4)]
        await asyncio.sleep(0)
        assert read(1).gauges == Gauges(used=3, waiting=4)
        for task in waiting[:3]:
            task.cancel()
        await asyncio.wait(waiting[:3])
        await held.pop().close()
        held.append(await waiting[3])
        reading = read(2)
        assert reading.gauges == Gauges(used=3)
        assert (reading.counters.checkouts, reading.counters.acquire_errors) == (5, 3)
        assert reading.marks[0].waiting >= 4

        await held[0].invalidate()
        detached = await held[1].get_raw_connection()
        detached.detach()
        assert read(3).gauges == Gauges(used=1, detached=1)
        assert await sessions(engine) == 3
        assert read(4).gauges == Gauges(idle=1, used=1, detached=1)
        for connection in held:
            await connection.close()
        assert read(5).gauges.detached == 0
        await engine.dispose()
        reading = read(6)
        assert reading.gauges == Gauges()
        assert reading.counters.connects == reading.counters.disconnects

    asyncio.run(run())
