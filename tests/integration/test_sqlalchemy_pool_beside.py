"""Random programs of one client, run on QueuePool and on FairQueuePool: both do the same after every step."""

import gc
import random
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy
from sqlalchemy import create_engine, event, exc, text
from sqlalchemy.pool import Pool, QueuePool

from poolhouse.pool.sqlalchemy import FairQueuePool
from support.postgres import Postgres

#: What is heard of, and how many arguments its listeners take.
EVENTS = {
    "connect": 2,
    "first_connect": 2,
    "checkout": 3,
    "checkin": 2,
    "reset": 3 if sqlalchemy.__version__ >= "2" else 2,
    "invalidate": 3,
    "soft_invalidate": 3,
    "close": 2,
    "detach": 2,
    "close_detached": 1,
}


class Refused(Exception):
    """What the server, or a listener, raises."""


class Connection:
    def __init__(self, number: int, film: list[object]) -> None:
        self.number = number
        self.is_open = True
        self._film = film

    def close(self) -> None:
        self.is_open = False
        self._film.append(("closed", self.number))

    def rollback(self) -> None:
        self._film.append(("rolled back", self.number))

    def commit(self) -> None:
        self._film.append(("committed", self.number))


class World:
    """One pool, what its client has, and everything that can be seen of both."""

    def __init__(self, kind: type[Pool], options: dict[str, Any]) -> None:
        self.film: list[object] = []
        self.made: list[Connection] = []
        self.held: list[Any] = []
        self.detached: list[Any] = []
        self.refusals: list[type[Exception]] = []
        self.is_down = False
        self.pool: Any = kind(self.connect, **options)
        for name, count in EVENTS.items():
            arguments = ", ".join("abc"[:count])
            # SQLAlchemy looks at a listener's signature.
            event.listen(self.pool, name, eval(f"lambda {arguments}: heard({name!r}, a)", {"heard": self.heard}))

    def connect(self) -> Connection:
        if self.is_down:
            raise Refused("the server is down")
        self.made.append(Connection(len(self.made), self.film))
        return self.made[-1]

    def heard(self, name: str, connection: Any) -> None:
        self.film.append((name, getattr(connection, "number", None)))
        if name == "checkout" and self.refusals:
            raise self.refusals.pop()

    # What a client does; `which` is a number that a step has drawn.

    def take(self, which: int) -> None:
        try:
            self.held.append(self.pool.connect())
            self.film.append(("took", self.held[-1].dbapi_connection.number))
        except (exc.TimeoutError, exc.InvalidRequestError, Refused) as error:
            self.film.append(("no connection", type(error) if isinstance(error, Refused) else exc.TimeoutError))

    def give(self, which: int) -> None:
        if self.held:
            self.held.pop(which % len(self.held)).close()

    def forget(self, which: int) -> None:
        if self.held:
            self.held.pop(which % len(self.held))
            gc.collect()

    def detach(self, which: int) -> None:
        if self.held:
            conn = self.held.pop(which % len(self.held))
            conn.detach()
            self.detached.append(conn)

    def close_detached(self, which: int) -> None:
        if self.detached:
            self.detached.pop(which % len(self.detached)).close()

    def invalidate(self, which: int) -> None:
        if self.held:
            self.held.pop(which % len(self.held)).invalidate()

    def invalidate_softly(self, which: int) -> None:
        if self.held:
            conn = self.held.pop(which % len(self.held))
            conn.invalidate(soft=True)
            conn.close()

    def refused_by_a_listener(self, which: int) -> None:
        kinds = [Refused, exc.DisconnectionError, exc.InvalidatePoolError]
        self.refusals = [kinds[which % 3]]
        self.take(which)
        self.refusals = []

    def while_the_server_is_down(self, which: int) -> None:
        self.is_down = True
        self.take(which)
        self.is_down = False

    def dispose(self, which: int) -> None:
        """As an engine does; while nothing is out, since what becomes of that differs on purpose."""
        if not self.held:
            self.pool.dispose()
            self.pool = self.pool.recreate()

    def look(self) -> None:
        pool = self.pool
        known = pool.size(), pool.checkedin(), pool.checkedout(), pool.timeout()
        # Without a limit there is no overflow; QueuePool says so from SQLAlchemy 2.0 on.
        self.film.append((*known, pool.overflow(), pool.status()) if pool.size() else known)
        self.film.append(sum(connection.is_open for connection in self.made))


STEPS: list[tuple[Callable[[World, int], None], int]] = [
    (World.take, 10),
    (World.give, 8),
    (World.forget, 1),
    (World.detach, 1),
    (World.close_detached, 1),
    (World.invalidate, 1),
    (World.invalidate_softly, 1),
    (World.refused_by_a_listener, 1),
    (World.while_the_server_is_down, 1),
    (World.dispose, 1),
]

LIMITS: list[dict[str, Any]] = [
    {"pool_size": 2, "max_overflow": 1},
    {"pool_size": 1, "max_overflow": 0},
    {"pool_size": 2, "max_overflow": -1},
    {"pool_size": 0},
    {"pool_size": 3, "max_overflow": 2, "use_lifo": True},
    {"pool_size": 2, "max_overflow": 1, "reset_on_return": None},
    {"pool_size": 2, "max_overflow": 1, "reset_on_return": "commit", "recycle": 3600},
]


@pytest.mark.parametrize("limits", LIMITS)
def test_queue_pool_and_fair_queue_pool_do_the_same_after_every_step(limits: dict[str, Any]) -> None:
    for seed in range(15):
        dice = random.Random(seed)
        functions, weights = zip(*STEPS, strict=True)
        program = [(step, dice.randrange(6)) for step in dice.choices(functions, weights, k=30)]
        films = []
        for kind in (QueuePool, FairQueuePool):
            world = World(kind, {"timeout": 0, **limits})
            for step, which in program:
                world.film.append(step.__name__)
                step(world, which)
                world.look()
            films.append(world.film)
        assert films[1] == films[0], seed


def test_without_a_timeout_whoever_finds_room_does_not_wait() -> None:
    for kind in (QueuePool, FairQueuePool):
        world = World(kind, {"pool_size": 1, "max_overflow": 1, "timeout": None})
        world.take(0)
        world.take(0)
        assert len(world.held) == 2
        assert world.pool.timeout() is None


def test_a_prepared_transaction_is_left_and_ended_as_with_queue_pool(postgres: Postgres) -> None:
    outcomes = []
    for kind in (QueuePool, FairQueuePool):
        url = postgres.url.replace("postgresql", "postgresql+psycopg2")
        engine: Any = create_engine(url, poolclass=kind, pool_size=1, max_overflow=0, future=True)
        with engine.begin() as conn:
            conn.execute(text("drop table if exists two_phase"))
            conn.execute(text("create table two_phase (a int)"))
        with engine.connect() as conn:
            transaction = conn.begin_twophase()
            conn.execute(text("insert into two_phase values (1)"))
            transaction.prepare()
            transaction.commit()
        with engine.connect() as conn:
            unfinished = conn.begin_twophase()
            conn.execute(text("insert into two_phase values (2)"))
        with engine.connect() as conn:
            rows = conn.execute(text("select a from two_phase")).scalars().all()
            left = conn.execute(text("select count(*) from pg_prepared_xacts")).scalar()
        outcomes.append((rows, left, unfinished.is_active, engine.pool.status()))
        engine.dispose()
    assert outcomes[1] == outcomes[0]
    assert outcomes[0][0] == [1]
