"""Our pool as SQLAlchemy's, with SQLAlchemy's own QueuePool as the oracle of everything but who is served."""

import asyncio
import dis
import functools
import gc
import itertools
import os
import sys
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import pytest
from sqlalchemy import create_engine, event, exc, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import Pool, QueuePool
from sqlalchemy.util import greenlet_spawn

from poolhouse.instrumentation.watch import _watches
from poolhouse.pool.sqlalchemy import FairQueuePool
from support.asyncio_runs import run
from support.waiting import wait_until


class Connection:
    """A DB-API connection that does nothing but remember that it was closed."""

    def __init__(self) -> None:
        self.closed_by: int | None = None

    def close(self) -> None:
        self.closed_by = threading.get_ident()

    def commit(self) -> None:
        pass

    def rollback(self) -> None:
        pass


class Server:
    """Makes connections, or does not; each attempt is one step that a test can hold up."""

    def __init__(self) -> None:
        self.connections: list[Connection] = []
        self.attempts = 0
        self.failures = 0
        self.gate = threading.Event()
        self.gate.set()

    def connect(self) -> Connection:
        self.attempts += 1
        assert self.gate.wait(timeout=30)
        if self.failures:
            self.failures -= 1
            raise OSError("the server is down")
        self.connections.append(Connection())
        return self.connections[-1]

    @property
    def open_connections(self) -> int:
        return sum(conn.closed_by is None for conn in self.connections)


@pytest.fixture
def server() -> Server:
    return Server()


def in_thread(function: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=function)
    thread.start()
    return thread


def join(*threads: threading.Thread) -> None:
    for thread in threads:
        thread.join(timeout=30)
        assert not thread.is_alive()


def queue(pool: FairQueuePool, count: int, use: Callable[[int, Any], object]) -> list[threading.Thread]:
    """Threads that ask the pool one after the other; each waits before the next asks."""
    threads = []
    for number in range(count):

        def client(number: int = number) -> None:
            conn = pool.connect()
            use(number, conn)
            conn.close()

        before = pool.waiting()
        threads.append(in_thread(client))
        wait_until(lambda before=before: pool.waiting() == before + 1)
    return threads


async def queued(pool: Any, count: int) -> None:
    """Let other tasks run until so many wait."""
    for _ in range(1000):
        if pool.waiting() == count:
            return
        await asyncio.sleep(0)
    raise AssertionError(f"{pool.waiting()} wait, not {count}")


# Who is served


def test_threads_are_served_in_the_order_in_which_they_came(server: Server) -> None:
    """Trap 57."""
    pool = FairQueuePool(server.connect, pool_size=1, max_overflow=0)
    held, served = pool.connect(), []
    threads = queue(pool, 12, lambda number, _: served.append(number))
    held.close()
    join(*threads)
    assert served == list(range(12))
    assert server.attempts == 1


def test_tasks_are_served_in_the_order_in_which_they_came(tmp_path: Path) -> None:
    """Trap 57."""

    async def main() -> None:
        engine = create_async_engine(
            f"sqlite+aiosqlite:///{tmp_path}/file.db", poolclass=FairQueuePool, pool_size=1, max_overflow=0
        )
        pool, served = engine.pool, []

        async def client(number: int) -> None:
            async with engine.connect() as conn:
                assert await conn.scalar(text("select 1")) == 1
                served.append(number)

        async with engine.connect():
            tasks = [asyncio.create_task(client(number)) for number in range(12)]
            await queued(pool, 12)
        await asyncio.gather(*tasks)
        assert served == list(range(12))
        await engine.dispose()

    run(main())


def test_a_newcomer_does_not_overtake_those_who_wait(server: Server) -> None:
    pool = FairQueuePool(server.connect, pool_size=1, max_overflow=0)
    held, order = pool.connect(), []
    threads = queue(pool, 1, lambda *_: order.append("who waited"))
    held.close()
    newcomer = pool.connect()
    order.append("newcomer")
    newcomer.close()
    join(*threads)
    assert order == ["who waited", "newcomer"]


# Cancelled, interrupted, timed out


def test_a_cancelled_task_is_told_and_nothing_is_lost(tmp_path: Path) -> None:
    async def main() -> None:
        engine = create_async_engine(
            f"sqlite+aiosqlite:///{tmp_path}/file.db", poolclass=FairQueuePool, pool_size=1, max_overflow=0
        )
        # The pool alone: what SQLAlchemy does with the connection of a cancelled task differs between versions.
        pool = engine.sync_engine.pool
        held = await greenlet_spawn(pool.connect)
        waiting = asyncio.create_task(greenlet_spawn(pool.connect))
        await queued(pool, 1)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert (pool.checkedin(), pool.checkedout(), pool.waiting()) == (0, 1, 0)
        # Cancelled when it has been served and could not run yet.
        late = asyncio.create_task(greenlet_spawn(pool.connect))
        await queued(pool, 1)
        await greenlet_spawn(held.close)
        assert (pool.checkedin(), pool.checkedout(), pool.waiting()) == (0, 1, 0)
        late.cancel()
        with pytest.raises(asyncio.CancelledError):
            await late
        assert (pool.checkedin(), pool.checkedout(), pool.waiting()) == (1, 0, 0)
        async with engine.connect() as conn:
            assert await conn.scalar(text("select 1")) == 1
        await engine.dispose()

    run(main())


def test_an_interrupted_thread_leaves_its_place_and_what_it_was_given(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = FairQueuePool(server.connect, pool_size=1, max_overflow=0)
    held = pool.connect()

    class Interrupted:
        """Is served, and interrupted just then."""

        def park(self, timeout: float | None) -> None:
            held.close()
            raise KeyboardInterrupt

        def unpark(self) -> None:
            pass

    with monkeypatch.context() as patched:
        patched.setattr("poolhouse.pool.sqlalchemy.LockParker", Interrupted)
        with pytest.raises(KeyboardInterrupt):
            pool.connect()
    assert (pool.checkedin(), pool.checkedout(), pool.waiting()) == (1, 0, 0)
    pool.connect().close()
    assert server.attempts == 1


class Struck(BaseException):
    """What strikes a thread: KeyboardInterrupt, or gevent's Timeout."""


class Striker:
    """Raises `Struck` at the n-th opcode of the pool's checkout and checkin in this thread, the core's included.

    Not where CPython lets no handler of the function itself help: before the ``try`` of those that SQLAlchemy
    calls, and at their ``return``. What strikes there strikes SQLAlchemy's functions above, whatever the pool.
    """

    FACE = ("_do_get", "_do_return_conn")
    NAMES = (
        "sqlalchemy",
        "sqlalchemy_lock",
        "sqlalchemy_waiting",
        "core_lock",
        "workers",
        "state",
        "requests",
        "maintenance",
        "core",
    )
    MODULES = tuple(f"pool/{name}.py" for name in NAMES)

    def __init__(self, at: int) -> None:
        self.left = at
        self.is_armed = False
        self.has_struck = False

    def __call__(self, frame: FrameType, event: str, argument: object) -> Any:
        code = frame.f_code
        if not code.co_filename.endswith(self.MODULES):
            return None
        frame.f_trace_opcodes = True
        return self.strike

    def strike(self, frame: FrameType, event: str, argument: object) -> Any:
        if event == "opcode" and self.is_armed and self.can_strike(frame):
            if self.left == 0:
                self.is_armed, self.has_struck = False, True
                sys.settrace(None)
                raise Struck
            self.left -= 1
        return self.strike

    @classmethod
    def can_strike(cls, frame: FrameType) -> bool:
        code, at = frame.f_code, frame.f_lasti
        if code.co_name not in cls.FACE:
            return True
        near = [dis.opname[code.co_code[index]] for index in range(at, min(at + 4, len(code.co_code)), 2)]
        return at > begin_of_try(code) and not any(name.startswith("RETURN") for name in near)


@functools.cache
def begin_of_try(code: CodeType) -> int:
    return next((each.offset for each in dis.get_instructions(code) if each.opname == "NOP"), -1)


def idle(server: Server) -> FairQueuePool:
    pool = FairQueuePool(server.connect, pool_size=1, max_overflow=0, timeout=0)
    pool.connect().close()
    return pool


def empty(server: Server) -> FairQueuePool:
    return FairQueuePool(server.connect, pool_size=1, max_overflow=0, timeout=0)


def disposed(server: Server) -> FairQueuePool:
    pool = idle(server)
    pool.dispose()
    return pool


def is_struck(begin: Callable[[Server], FairQueuePool], at: int) -> bool:
    """Whether a checkout and a checkin have so many opcodes that the thread was struck; nothing may be lost."""
    server = Server()
    pool = begin(server)
    striker = Striker(at)
    conn: Any = None
    before = sys.gettrace()
    # From Python 3.12 on, opcodes are traced only if some frame asks for them beforehand.
    sys._getframe().f_trace_opcodes = True
    sys.settrace(striker)
    try:
        # From Python 3.13 on, a function's opcodes are traced from its second call on.
        begin(Server()).connect().close()
        striker.is_armed = True
        conn = pool.connect()
        conn.close()
    except Struck:
        pass
    finally:
        sys.settrace(before)
    del conn
    # The one connection that there may be is there for the next, or there is room to make it.
    assert pool.checkedout() == pool.waiting() == 0, at
    pool.connect().close()
    return striker.has_struck


@pytest.mark.parametrize("begin", [idle, empty, disposed])
def test_a_checkout_and_checkin_struck_at_any_opcode_loses_nothing(
    begin: Callable[[Server], FairQueuePool],
) -> None:
    count = next(at for at in itertools.count() if not is_struck(begin, at))
    assert count > 100


def test_a_timeout_is_sqlalchemys_and_says_what_the_pool_does(server: Server) -> None:
    """Trap 58."""
    pool = FairQueuePool(server.connect, pool_size=1, max_overflow=1, timeout=0.01)
    held = [pool.connect(), pool.connect()]
    with pytest.raises(exc.TimeoutError) as caught:
        pool.connect()
    assert caught.value.code == "3o7r"
    assert str(caught.value).startswith(
        "FairQueuePool limit of size 1 overflow 1 reached, connection timed out, timeout 0.01; "
        "2 in use, 0 connecting, 0 waiting"
    )
    assert len(held) == 2
    assert pool.meter.totals().timeouts == 1


def test_a_tasks_timeout_is_the_same(tmp_path: Path) -> None:
    async def main() -> None:
        engine = create_async_engine(
            f"sqlite+aiosqlite:///{tmp_path}/file.db",
            poolclass=FairQueuePool,
            pool_size=1,
            max_overflow=0,
            pool_timeout=0.01,
        )
        async with engine.connect():
            with pytest.raises(exc.TimeoutError, match="1 in use"):
                await engine.connect()
        assert engine.pool.waiting() == 0
        await engine.dispose()

    run(main())


def test_no_timeout_means_to_wait_as_long_as_it_takes(server: Server) -> None:
    pool = FairQueuePool(server.connect, pool_size=1, max_overflow=0, timeout=None)
    held = pool.connect()
    threads = queue(pool, 1, lambda *_: None)
    held.close()
    join(*threads)


# What QueuePool means


def figures(pool: Any) -> tuple[object, ...]:
    known = pool.size(), pool.checkedin(), pool.checkedout(), pool.timeout()
    # Without a limit there is no overflow; QueuePool says so from SQLAlchemy 2.0 on.
    return (*known, pool.overflow(), pool.status()) if pool.size() else known


@pytest.mark.parametrize(
    "limits",
    [
        {"pool_size": 2, "max_overflow": 1},
        {"pool_size": 2, "max_overflow": -1},
        {"pool_size": 0},
        {"pool_size": -1},
        {"pool_size": 1, "max_overflow": 0, "timeout": 7.5},
        {"pool_size": 3, "max_overflow": 0, "use_lifo": True},
    ],
)
def test_the_figures_and_the_order_of_connections_are_queue_pools(limits: dict[str, Any]) -> None:
    """The same steps on both; a number is the place of the connection to return, ``None`` takes one."""
    steps = [None, None, 0, None, 0, 0, None, None, 1, 0, None, 0]
    if limits.get("pool_size") == 1:
        steps = [None, 0, None, 0]
    films = []
    for kind in (QueuePool, FairQueuePool):
        server = Server()
        pool = kind(server.connect, **limits)
        held: list[Any] = []
        film: list[object] = [figures(pool)]
        for step in steps:
            if step is None:
                held.append(pool.connect())
                film.append(server.connections.index(held[-1].dbapi_connection))
            else:
                held.pop(step).close()
            film += [figures(pool), server.open_connections]
        films.append(film)
    assert films[1] == films[0]


EVENTS = (
    "first_connect",
    "connect",
    "checkout",
    "checkin",
    "reset",
    "invalidate",
    "soft_invalidate",
    "close",
    "detach",
    "close_detached",
)


def events_of(kind: type[Pool], scenario: Callable[[Any], None], tmp_path: Path, **options: Any) -> list[str]:
    """The pool's events, by name, during the scenario."""
    engine = create_engine(
        f"sqlite:///{tmp_path}/{kind.__name__}.db",
        poolclass=kind,
        pool_size=2,
        max_overflow=1,
        connect_args={"check_same_thread": False},
        **options,
    )
    heard: list[str] = []
    for name in EVENTS:
        parameters = {"close_detached": 1, "checkout": 3, "reset": 3, "invalidate": 3, "soft_invalidate": 3}
        arguments = ", ".join("abc"[: parameters.get(name, 2)])
        # SQLAlchemy looks at a listener's signature.
        event.listen(engine, name, eval(f"lambda {arguments}: heard.append({name!r})", {"heard": heard}))
    scenario(engine)
    engine.dispose()
    return heard


def plain(engine: Any) -> None:
    with engine.connect() as conn:
        conn.execute(text("select 1"))
    connections = [engine.connect() for _ in range(3)]
    for conn in connections:
        conn.close()


def invalidating(engine: Any) -> None:
    conn = engine.raw_connection()
    conn.invalidate()
    with engine.connect() as other:
        other.execute(text("select 1"))
    soft = engine.raw_connection()
    soft.invalidate(soft=True)
    soft.close()
    plain(engine)


def detaching(engine: Any) -> None:
    conn = engine.raw_connection()
    conn.detach()
    conn.close()
    plain(engine)


def refused_at_checkout(engine: Any) -> None:
    refusals = iter([exc.DisconnectionError(), None, exc.InvalidatePoolError(), None, ValueError()])

    def refuse(connection: Any, record: Any, proxy: Any) -> None:
        error = next(refusals, None)
        if error is not None:
            raise error

    event.listen(engine, "checkout", refuse)
    engine.connect().close()
    engine.connect().close()
    with pytest.raises(ValueError):
        engine.connect()
    plain(engine)


@pytest.mark.parametrize("scenario", [plain, invalidating, detaching, refused_at_checkout])
@pytest.mark.parametrize(
    "options", [{}, {"pool_pre_ping": True}, {"pool_recycle": 0}, {"pool_reset_on_return": None}]
)
def test_sqlalchemys_events_fire_as_they_do_with_queue_pool(
    scenario: Callable[[Any], None], options: dict[str, Any], tmp_path: Path
) -> None:
    expected = events_of(QueuePool, scenario, tmp_path, **options)
    assert "connect" in expected
    assert events_of(FairQueuePool, scenario, tmp_path, **options) == expected


def test_overflow_is_closed_by_who_returns_it(server: Server) -> None:
    pool = FairQueuePool(server.connect, pool_size=1, max_overflow=1)
    kept, over = pool.connect(), pool.connect()
    kept.close()
    thread = in_thread(over.close)
    join(thread)
    assert [conn.closed_by for conn in server.connections] == [None, thread.ident]


def test_a_detached_record_is_handed_to_the_next_waiter_as_it_is(server: Server) -> None:
    pool = FairQueuePool(server.connect, pool_size=1, max_overflow=0)
    held, got = pool.connect(), []
    threads = queue(pool, 1, lambda _, conn: got.append(conn.dbapi_connection))
    held.detach()
    join(*threads)
    assert got == [server.connections[1]]
    held.close()
    assert server.connections[0].closed_by


def test_a_failed_connect_lets_the_next_one_try(server: Server) -> None:
    pool = FairQueuePool(server.connect, pool_size=1, max_overflow=0)
    server.failures = 1
    server.gate.clear()

    def unlucky() -> None:
        with pytest.raises(OSError, match="the server is down"):
            pool.connect()

    first = in_thread(unlucky)
    wait_until(lambda: server.attempts == 1)
    served: list[object] = []
    threads = queue(pool, 1, lambda _, conn: served.append(conn.dbapi_connection))
    server.gate.set()
    join(first, *threads)
    assert served == server.connections
    assert server.attempts == 2


class Request:
    """What a client has in its variables."""


def test_a_failed_connect_keeps_nothing_of_its_client(server: Server) -> None:
    pool = FairQueuePool(server.connect, pool_size=1, max_overflow=0, timeout=0.01)
    server.failures = 1

    def client() -> "weakref.ref[Request]":
        request = Request()
        try:
            pool.connect()
        except OSError:
            return weakref.ref(request)
        raise AssertionError

    request = client()
    gc.collect()  # SQLAlchemy's error refers to itself.
    assert request() is None
    assert str(pool._core.connect_error) == "the server is down"


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, asyncio.CancelledError])
def test_a_connect_that_is_interrupted_is_no_failure_of_the_server_and_lets_the_next_one_try(
    interrupt: type[BaseException],
) -> None:
    interrupts = iter([interrupt()])

    def connect() -> Connection:
        for error in interrupts:
            raise error
        return Connection()

    pool = FairQueuePool(connect, pool_size=1, max_overflow=0, timeout=0.01)
    with pytest.raises(interrupt):
        pool.connect()
    counters = pool.meter.read(1, pool._core.gauges, pool._core.limits(), name="", kind="").counters
    assert (counters.connect_errors, counters.acquire_errors) == (0, 1)
    held = pool.connect()
    with pytest.raises(exc.TimeoutError) as caught:
        pool.connect()
    assert "connect error" not in str(caught.value)
    held.close()


# Disposed


def test_a_disposed_pool_closes_what_is_idle_and_what_comes_back(server: Server) -> None:
    pool = FairQueuePool(server.connect, pool_size=2, max_overflow=0)
    out, idle = pool.connect(), pool.connect()
    idle.close()
    pool.dispose()
    assert server.open_connections == 1
    out.close()
    assert server.open_connections == 0


@pytest.mark.parametrize("kind", [FairQueuePool, QueuePool])
def test_a_pool_that_is_used_after_its_disposal_keeps_connections_again(
    kind: type[FairQueuePool] | type[QueuePool], server: Server
) -> None:
    """``engine.pool.dispose()`` closes what is idle, and the engine goes on with this pool."""
    pool = kind(server.connect, pool_size=1, max_overflow=1)
    pool.connect().close()
    pool.dispose()
    for _ in range(3):
        pool.connect().close()
    held = pool.connect()
    pool.connect().close()
    held.close()
    assert (len(server.connections), server.open_connections) == (3, 1)
    assert pool.status().startswith("Pool size: 1  Connections in pool: 1 Current Overflow: 0 ")


def test_a_pool_that_an_engine_has_replaced_keeps_nothing_whoever_comes_late(server: Server) -> None:
    pool = FairQueuePool(server.connect, pool_size=1, max_overflow=1)
    pool.dispose()
    early = pool.connect()
    pool.recreate()
    late = pool.connect()
    late.close()
    early.close()
    pool.connect().close()
    assert server.open_connections == 0


def test_a_disposed_pool_serves_its_waiters_until_they_are_gone(server: Server) -> None:
    pool = FairQueuePool(server.connect, pool_size=1, max_overflow=0)
    held, served = pool.connect(), []
    threads = queue(pool, 3, lambda number, conn: served.append((number, conn.dbapi_connection)))
    pool.dispose()
    held.close()
    join(*threads)
    assert served == [(number, server.connections[0]) for number in range(3)]
    assert server.open_connections == 0


def test_a_recreated_pool_is_the_same_but_for_its_connections(server: Server) -> None:
    pool = FairQueuePool(
        server.connect, pool_size=3, max_overflow=2, timeout=1.5, use_lifo=True, recycle=60, pre_ping=True
    )
    heard: list[object] = []
    event.listen(pool, "connect", lambda conn, record: heard.append(conn))
    pool.connect().close()
    again = pool.recreate()
    assert type(again) is FairQueuePool
    assert figures(again)[0] == 3
    names = ("_max_overflow", "_timeout", "_use_lifo", "_recycle", "_pre_ping", "_reset_on_return")
    assert [getattr(again, name) for name in names] == [getattr(pool, name) for name in names]
    again._pre_ping = False  # There is no dialect that could.
    again.connect().close()
    assert heard == server.connections
    assert pool.checkedin() == again.checkedin() == 1


def test_engine_dispose_leaves_a_pool_that_works(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path}/file.db", poolclass=FairQueuePool)
    with engine.connect() as before:
        engine.dispose()
        with engine.connect() as after:
            assert after.execute(text("select 1")).scalar() == 1
        assert before.execute(text("select 1")).scalar() == 1
    assert isinstance(engine.pool, FairQueuePool)
    engine.dispose()


# The garbage collector


def test_a_connection_that_was_forgotten_comes_back(server: Server) -> None:
    pool = FairQueuePool(server.connect, pool_size=1, max_overflow=0)
    forgotten: list[Any] = [pool.connect()]
    forgotten.append(forgotten)
    del forgotten
    gc.collect()
    assert (pool.checkedin(), pool.checkedout()) == (1, 0)
    pool.connect().close()


def test_the_collector_may_return_a_connection_inside_the_critical_section(server: Server) -> None:
    pool = FairQueuePool(server.connect, pool_size=1, max_overflow=0)
    held: list[Any] = [pool.connect()]
    threads = queue(pool, 1, lambda *_: None)

    def collect() -> None:
        held.clear()
        gc.collect()
        assert pool.waiting() == 1, "it would have had to wait for itself"

    pool._lock(collect)
    join(*threads)
    assert pool.checkedin() == 1


def test_no_more_connections_than_allowed_and_none_lost_whatever_clients_do(server: Server) -> None:
    """Threads that use, forget, detach and invalidate, while the server refuses some connects."""
    pool = FairQueuePool(server.connect, pool_size=3, max_overflow=2)
    most: list[int] = []

    def forget(conn: Any) -> None:
        cycle = [conn]
        cycle.append(cycle)  # type: ignore[arg-type]

    def detach(conn: Any) -> None:
        conn.detach()
        conn.close()

    ends: list[Callable[[Any], object]] = [
        lambda conn: conn.close(),
        lambda conn: conn.close(),
        forget,
        lambda conn: conn.invalidate(),
        lambda conn: (conn.invalidate(soft=True), conn.close()),
        detach,
    ]

    def client(number: int) -> None:
        for step in range(50):
            try:
                conn = pool.connect()
            except OSError:
                continue
            most.append(pool.checkedout())
            ends[(number * 7 + step) % len(ends)](conn)
            del conn
            if step % 10 == number:
                server.failures = 1

    threads = [in_thread(functools.partial(client, number)) for number in range(8)]

    def are_done() -> bool:
        # What was forgotten comes back by the collector only; all may wait for it.
        gc.collect()
        return not any(thread.is_alive() for thread in threads)

    wait_until(are_done)
    gc.collect()  # What the last of them forgot since.
    assert max(most) <= 5
    assert (pool.checkedout(), pool.waiting()) == (0, 0)
    assert server.open_connections <= pool.checkedin() <= 3
    pool.dispose()
    assert server.open_connections == pool.checkedin() == 0


# Fork


def test_a_forked_child_connects_anew_and_leaves_the_parents_connections_alone(tmp_path: Path) -> None:
    """Trap 56."""
    server = Server()
    pool = FairQueuePool(server.connect, pool_size=2, max_overflow=0)
    out = pool.connect()
    pool.connect().close()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        # The connection that was idle is the parent's too; so is the one that is out, which goes back to nobody.
        mine = pool.connect()
        out.close()
        fine = (
            mine.dbapi_connection is server.connections[2]
            and all(conn.closed_by is None for conn in server.connections)
            and figures(pool)[1:3] == (0, 1)
        )
        os.write(writing, b"y" if fine else b"n")
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert os.read(reading, 1) == b"y"
    os.close(reading)
    os.close(writing)
    assert (pool.checkedin(), pool.checkedout()) == (1, 1)
    out.close()


def test_a_lock_that_was_held_at_the_fork_does_not_block_the_child(server: Server) -> None:
    pool = FairQueuePool(server.connect, pool_size=1, max_overflow=0)
    with pool._lock.lock:
        child = os.fork()
        if child == 0:
            pool.connect().close()
            os._exit(0)
    assert os.waitpid(child, 0)[1] == 0


# Measured


def test_the_pool_is_measured_by_itself(server: Server) -> None:
    pool = FairQueuePool(server.connect, pool_size=1, max_overflow=0)
    held = pool.connect()
    threads = queue(pool, 2, lambda *_: None)
    held.close()
    join(*threads)
    totals = pool.meter.totals()
    assert (totals.checkouts, totals.connects, totals.timeouts) == (3, 1, 0)
    assert totals.use.count == totals.wait.count == 3


def test_our_plugin_measures_it_like_any_other_pool(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/file.db?plugin=collectd&collectd_host=127.0.0.1&collectd_program_name=fair"
    engine = create_engine(url, poolclass=FairQueuePool, pool_size=2, max_overflow=1)
    with engine.connect(), engine.connect():
        reading = _watches[engine.pool].read(1)
    assert (reading.gauges.used, reading.gauges.idle) == (2, 0)
    assert (reading.limits.max_open, reading.limits.max_idle) == (3, 2)
    assert reading.kind == "FairQueuePool"
    reading = _watches[engine.pool].read(2)
    assert (reading.gauges.used, reading.gauges.idle) == (0, 2)
    assert (reading.counters.checkouts, reading.counters.connects) == (2, 2)
    engine.dispose()
