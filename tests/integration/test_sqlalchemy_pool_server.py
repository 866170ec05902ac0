"""`FairQueuePool` beside QueuePool over a real PostgreSQL: lost connections, and what returning does."""

import threading
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from sqlalchemy import create_engine, exc, text
from sqlalchemy.pool import QueuePool

from poolhouse.pool.sqlalchemy import FairQueuePool
from support.postgres import Postgres

POOLS: list[type[Any]] = [QueuePool, FairQueuePool]
BACKEND = text("select pg_backend_pid()")


def engine_of(postgres: Postgres, kind: type[Any] = FairQueuePool, **options: Any) -> Any:
    url = postgres.url.replace("postgresql", "postgresql+psycopg2")
    return create_engine(url, poolclass=kind, future=True, **options)


def backends(engine: Any, count: int) -> list[int]:
    """Of so many connections at a time, in the order in which they are taken."""
    held = [engine.connect() for _ in range(count)]
    found = [conn.execute(BACKEND).scalar() for conn in held]
    for conn in held:
        conn.close()
    return found


def terminate(postgres: Postgres, pids: list[int]) -> None:
    with psycopg.connect(postgres.conninfo, autocommit=True) as admin:
        for pid in pids:
            # With a time limit, it returns when the session has ended.
            assert admin.execute("select pg_terminate_backend(%s, 30000)", [pid]).fetchone() == (True,)


def test_with_pre_ping_nobody_notices_that_every_connection_was_lost(postgres: Postgres) -> None:
    engine = engine_of(postgres, pool_size=4, max_overflow=0, pool_pre_ping=True)
    before = backends(engine, 4)
    terminate(postgres, before)
    served: list[int] = []

    def client() -> None:
        for _ in range(5):
            with engine.connect() as conn:
                served.append(conn.execute(BACKEND).scalar())

    threads = [threading.Thread(target=client) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert len(served) == 40
    assert not set(served) & set(before)
    assert (engine.pool.checkedout(), engine.pool.waiting()) == (0, 0)
    assert engine.pool.checkedin() == 4
    engine.dispose()


@pytest.mark.parametrize("kind", POOLS)
def test_one_lost_connection_has_those_of_its_age_replaced(kind: type[Any], postgres: Postgres) -> None:
    """The first query fails, no other does: SQLAlchemy then takes all that are as old for lost."""
    engine = engine_of(postgres, kind, pool_size=3, max_overflow=0)
    before = backends(engine, 3)
    terminate(postgres, before)
    with pytest.raises(exc.OperationalError), engine.connect() as conn:
        conn.execute(BACKEND)
    assert not set(backends(engine, 3)) & set(before)
    engine.dispose()


@pytest.mark.parametrize("kind", POOLS)
@pytest.mark.parametrize(
    ("reset", "for_the_next", "for_all"),
    [("rollback", 0, 0), ("commit", 1, 1), (None, 1, 0)],
    ids=["rollback", "commit", "nothing"],
)
def test_what_is_done_with_an_open_transaction_on_return(
    kind: type[Any], reset: str | None, for_the_next: int, for_all: int, postgres: Postgres
) -> None:
    engine = engine_of(postgres, kind, pool_size=1, max_overflow=0, pool_reset_on_return=reset)
    raw = engine.raw_connection()
    raw.cursor().execute("drop table if exists returned; create table returned (a int); commit; begin")
    raw.cursor().execute("insert into returned values (1)")
    raw.close()
    with psycopg.connect(postgres.conninfo) as other:
        assert other.execute("select count(*) from returned").fetchone() == (for_all,)
    # With nothing done, the next is in the same transaction still.
    again = engine.raw_connection()
    cursor = again.cursor()
    cursor.execute("select count(*) from returned")
    assert cursor.fetchone() == (for_the_next,)
    again.rollback()
    again.close()
    engine.dispose()


@pytest.mark.parametrize("kind", POOLS)
def test_recycling_replaces_what_is_too_old(kind: type[Any], postgres: Postgres) -> None:
    engine = engine_of(postgres, kind, pool_size=2, max_overflow=0, pool_recycle=1000)
    before = backends(engine, 2)
    assert sorted(backends(engine, 2)) == sorted(before)
    # As old as if they had been made some hours ago.
    engine.pool._recycle = -1
    with engine.connect() as conn:
        record: Any = conn.connection._connection_record
        record.starttime -= 2000
    engine.pool._recycle = 1000
    assert len(set(backends(engine, 2)) & set(before)) == 1
    engine.dispose()


Step = Callable[[Any], object]


def close(conn: Any) -> None:
    conn.close()


def detach(conn: Any) -> None:
    conn.detach()
    conn.close()


def invalidate(conn: Any) -> None:
    conn.invalidate()


def invalidate_softly(conn: Any) -> None:
    conn.invalidate(soft=True)
    conn.close()


@pytest.mark.parametrize("end", [close, detach, invalidate, invalidate_softly])
def test_the_figures_are_queue_pools_however_a_use_ends(end: Step, postgres: Postgres) -> None:
    """`detach` frees a place at once, an invalidated connection keeps it; overflow and all."""
    films = []
    for kind in POOLS:
        engine = engine_of(postgres, kind, pool_size=2, max_overflow=1)
        pool, film = engine.pool, []

        def note(pool: Any = pool, film: list[Any] = film) -> None:
            film.append((pool.checkedin(), pool.checkedout(), pool.overflow()))

        held = [engine.raw_connection() for _ in range(3)]
        note()
        for conn in held:
            end(conn)
            note()
        held = [engine.raw_connection() for _ in range(3)]
        note()
        for conn in held:
            close(conn)
            note()
        films.append(film)
        engine.dispose()
    assert films[1] == films[0]
