"""Which lines of the application hold SQLAlchemy's connections, and what became of these: the ways of threads."""

import contextlib
import gc
import json
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import pytest
from sqlalchemy import create_engine, event, text
from sqlalchemy.engine import Connection
from sqlalchemy.engine.default import DefaultDialect
from sqlalchemy.exc import ArgumentError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.orm import Session, scoped_session, sessionmaker
from sqlalchemy.pool import NullPool, QueuePool, SingletonThreadPool, StaticPool

from poolhouse.instrumentation.transactions import count_transactions, uncounted
from poolhouse.instrumentation.watch import PoolWatch, watch
from poolhouse.meter.meter import Meter
from poolhouse.meter.signs import SiteReading
from poolhouse.sites.looker import Looker
from support.programs import run
from support.sqlalchemy_truth import FakeStream, Measured

SELECT = text("select 1")
HERE = "integration/test_sqlalchemy_sites.py"
QUEUE: dict[str, Any] = {"poolclass": QueuePool, "pool_size": 3, "max_overflow": 0, "pool_timeout": 0.05}


def line_of(function: Callable[..., Any], offset: int) -> str:
    return f"{HERE}:{function.__code__.co_firstlineno + offset} in {function.__qualname__}"


def sites(m: Measured) -> dict[str, SiteReading]:
    signs = m.read().signs
    assert signs is not None
    return {site.site: site for site in signs.sites}


# Each way to a connection, by the line after the first of its function unless said otherwise.


def engine_connect(engine: Any) -> None:
    with engine.connect() as connection:
        connection.execute(SELECT)


def engine_begin(engine: Any) -> None:
    with engine.begin() as connection:
        connection.execute(SELECT)


def raw_connection(engine: Any) -> None:
    engine.raw_connection().close()


def pool_connect(engine: Any) -> None:
    engine.pool.connect().close()


def of_options(engine: Any) -> None:
    engine.execution_options(stream_results=True).connect().close()


def session_execute(engine: Any) -> None:
    with Session(engine) as session:
        session.execute(SELECT)
        session.execute(SELECT)


def session_scalar(engine: Any) -> None:
    with Session(engine) as session:
        session.scalar(SELECT)


def session_begin(engine: Any) -> None:
    with Session(engine) as session, session.begin():
        session.connection()


def scoped(engine: Any) -> None:
    sessions = scoped_session(sessionmaker(engine))
    sessions.execute(SELECT)
    sessions.remove()


@contextlib.contextmanager
def scope(engine: Any) -> Iterator[Session]:
    with Session(engine) as session:
        session.execute(SELECT)
        yield session


SCOPE = f" via {line_of(scope.__wrapped__, 3)}"  # type: ignore[attr-defined]


def helped(engine: Any) -> None:
    with scope(engine) as session:
        session.execute(SELECT)


def helped_by_a_stack(engine: Any) -> None:
    with contextlib.ExitStack() as stack:
        stack.enter_context(scope(engine))


class Unit:
    def __init__(self, engine: Any) -> None:
        self.connection = None
        self.engine = engine

    def __enter__(self) -> Self:
        self.connection = self.engine.connect()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.connection.close()  # type: ignore[attr-defined]


def unit_of_work(engine: Any) -> None:
    with Unit(engine):
        pass


WAYS = [
    (engine_connect, line_of(engine_connect, 1)),
    (engine_begin, line_of(engine_begin, 1)),
    (raw_connection, line_of(raw_connection, 1)),
    (pool_connect, line_of(pool_connect, 1)),
    (of_options, line_of(of_options, 1)),
    (session_execute, line_of(session_execute, 2)),
    (session_scalar, line_of(session_scalar, 2)),
    (session_begin, line_of(session_begin, 2)),
    (scoped, line_of(scoped, 2)),
    (helped, line_of(helped, 1) + SCOPE),
    (helped_by_a_stack, line_of(helped_by_a_stack, 2) + SCOPE),
    (unit_of_work, f"{line_of(unit_of_work, 1)} via {line_of(Unit.__enter__, 1)}"),
]


@pytest.mark.parametrize("pool", [QueuePool, NullPool, StaticPool, SingletonThreadPool])
def test_each_way_is_told_by_the_applications_line_in_whatever_order(pool: Any) -> None:
    m = Measured(poolclass=pool)
    for _ in range(3):
        for way, _words in WAYS:
            way(m.engine)
            for other, _ in WAYS[::4]:
                other(m.engine)
    told = sites(m)
    assert set(told) == {words for _, words in WAYS}
    often = 3 + 3 * len(WAYS)
    assert [told[words].returned for _, words in WAYS] == [often, 3, 3, 3] * 3
    reading = m.read()
    assert reading.signs is not None
    assert reading.use is not None
    uses = [site.use for site in reading.signs.sites if site.use is not None]
    assert sum(use.count for use in uses) == reading.use.count == reading.counters.checkouts
    assert sum(use.sum_ns for use in uses) == reading.use.sum_ns
    m.engine.dispose()


def test_what_is_held_now_is_told_with_its_age_and_its_share_of_time() -> None:
    m = Measured(**QUEUE)
    held = [m.engine.connect() for _ in range(2)]
    (site,) = sites(m).values()
    assert (site.open, site.returned, site.collected) == (2, 0, 0)
    assert 0 < site.oldest_s < site.held_s < 10
    held.pop().close()
    (later,) = sites(m).values()
    assert (later.open, later.returned) == (1, 1)
    assert later.held_s >= site.held_s
    held.pop().close()


def test_a_connection_that_only_the_collector_returns_is_told_apart() -> None:
    m = Measured(**QUEUE)

    def forget() -> None:
        raw = m.engine.raw_connection()
        raw.cursor()

    forget()
    engine_connect(m.engine)
    gc.collect()
    told = sites(m)
    assert {words: (site.returned, site.collected, site.open) for words, site in told.items()} == {
        f"{HERE}:{forget.__code__.co_firstlineno + 1} in {forget.__qualname__}": (1, 1, 0),
        line_of(engine_connect, 1): (1, 0, 0),
    }


def test_connections_that_were_out_before_anybody_watched_are_unknown() -> None:
    engine = create_engine("sqlite://", **QUEUE, connect_args={"check_same_thread": False})
    before = [engine.connect() for _ in range(2)]
    stream = FakeStream()
    watch(engine, stream)
    engine_connect(engine)
    (source,) = stream.sources

    def told(number: int) -> dict[str, tuple[int, int]]:
        signs = source.read(number).signs
        assert signs is not None
        return {site.site: (site.open, site.returned) for site in signs.sites}

    known = line_of(engine_connect, 1)
    assert told(1) == {"unknown": (2, 0), known: (0, 1)}
    before.pop().close()
    engine_connect(engine)
    assert told(2) == {"unknown": (1, 0), known: (0, 2)}
    before.pop().detach()
    assert told(3) == {known: (0, 2)}
    engine.dispose()


def test_waits_go_to_the_line_that_waited() -> None:
    m = Measured(**QUEUE | {"pool_size": 1, "pool_timeout": 30})
    held = m.engine.connect()
    timer = threading.Timer(0.05, held.close)
    timer.start()
    engine_connect(m.engine)
    timer.join()
    told = sites(m)
    assert told[line_of(engine_connect, 1)].waited_s > 0.02
    (holder,) = [site for words, site in told.items() if words != line_of(engine_connect, 1)]
    # It has connected, which is a wait too, of a few hundred microseconds.
    assert holder.waited_s < told[line_of(engine_connect, 1)].waited_s


def test_a_wait_that_ends_in_a_timeout_is_its_lines_too() -> None:
    m = Measured(**QUEUE | {"pool_size": 1})
    engine_begin(m.engine)
    with m.engine.connect():
        for way in (engine_connect, session_execute):
            with pytest.raises(PoolTimeoutError):
                way(m.engine)
    engine_connect(m.engine)
    told = sites(m)
    assert told[line_of(engine_connect, 1)].waited_s >= 0.05
    assert told[line_of(engine_connect, 1)].returned == 1
    assert told[line_of(session_execute, 2)].waited_s >= 0.05


def test_connections_that_one_call_has_in_a_list_have_not_been_forgotten() -> None:
    m = Measured(**QUEUE | {"pool_size": 4})

    def takes_all() -> list[Any]:
        held = []
        for _ in range(2):
            held.append(m.engine.connect())  # noqa: PERF401  # The loop is the point.
        held += [m.engine.connect() for _ in range(2)]
        assert [line for line, site in sites(m).items() if site.open] == [
            line_of(takes_all, 3),
            line_of(takes_all, 4),
        ]
        (source,) = m.stream.sources
        assert isinstance(source, PoolWatch)
        Looker().look([(source.looks, source.holding())], 0.1)
        return held

    for connection in takes_all():
        connection.close()
    assert sum(site.looks.ended for site in sites(m).values()) == 0


def test_nor_while_that_call_asks_for_one_more() -> None:
    """Three looks while the third connection is made: the call goes on, and keeps the first two."""
    looker = Looker()

    def connect() -> sqlite3.Connection:
        for source in m.stream.sources * (3 * (len(held) == 2)):
            assert isinstance(source, PoolWatch)
            looker.look([(source.looks, source.holding())], 0.1)
        return sqlite3.connect(":memory:", check_same_thread=False)

    held: list[Any] = []
    m = Measured(**QUEUE | {"pool_size": 4, "creator": connect})
    for _ in range(3):
        held.append(m.engine.connect())  # noqa: PERF401  # The loop is the point.
    for connection in held:
        connection.close()
    (site,) = [site for site in sites(m).values() if site.returned]
    assert (site.looks.asks, site.looks.ended) == (4, 0)


def test_the_looks_know_who_holds_and_how_many_wait() -> None:
    m = Measured(**QUEUE)
    engine_connect(m.engine)
    (source,) = m.stream.sources
    assert isinstance(source, PoolWatch)
    assert source.holding() == ([], 0)
    with m.engine.connect():
        (hold,) = source.holding().holds
        assert (hold.holder, hold.loop) == (threading.get_ident(), None)
        assert hold.code is test_the_looks_know_who_holds_and_how_many_wait.__code__
    assert source.holding() == ([], 0)


def test_transactions_are_counted_and_the_pools_own_resets_are_not() -> None:
    m = Measured(future=True, **QUEUE)
    assert not m.engine._has_events
    engine_begin(m.engine)
    m.engine.connect().close()
    m.engine.raw_connection().close()
    with m.engine.connect() as connection:
        connection.execute(SELECT)
    with m.engine.connect() as connection, contextlib.suppress(OperationalError):
        connection.execute(text("select nothing from nowhere"))
    counters = m.read().counters
    assert (counters.transactions, counters.commits, counters.rollbacks) == (3, 1, 2)
    assert not m.engine._has_events


def test_a_dialect_that_the_application_puts_in_its_place_is_counted_from_the_next_report_on() -> None:
    m = Measured(**QUEUE)
    engine_begin(m.engine)
    m.read()
    m.engine.dialect = create_engine("sqlite://").dialect
    m.read()
    engine_begin(m.engine)
    assert m.read().counters.commits == 2


def test_an_error_of_the_driver_in_a_transaction_is_passed_on_unchanged() -> None:
    m = Measured(**QUEUE)
    error = ValueError("mine")

    def refuse(*_: Any) -> None:
        raise error

    event.listen(m.engine, "commit", refuse)
    with pytest.raises(ValueError, match="mine") as caught:
        engine_begin(m.engine)
    assert caught.value is error


def test_dead_is_what_turns_out_to_be_dead_while_somebody_uses_it() -> None:
    m = Measured(**QUEUE)
    held = m.engine.connect()
    held.invalidate()
    held.close()
    signs = m.read().signs
    assert signs is not None
    assert signs.dead == 0, "the application has thrown it away by itself"
    held = m.engine.connect()
    held.invalidate(OperationalError("select 1", {}, Exception("server closed the connection")))
    held.close()
    signs = m.read().signs
    assert signs is not None
    assert signs.dead == 1


def test_a_child_has_its_own_lines_and_counts_what_it_inherits() -> None:
    m = Measured(**QUEUE)
    idle, held = m.engine.connect(), m.engine.connect()
    idle.close()
    (source,) = m.stream.sources
    ours, theirs = os.pipe()
    if (child := os.fork()) == 0:
        try:
            source.after_fork()
            engine_begin(m.engine)
            signs = m.read().signs
            assert signs is not None
            told = [signs.inherited, [[site.site, site.open, site.returned] for site in signs.sites]]
            os.write(theirs, json.dumps(told).encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    inherited, told = json.loads(os.read(ours, 10_000))
    assert inherited == 1
    assert told == [[line_of(engine_begin, 1), 0, 1]], "what the parent has is the parent's"
    os.close(ours)
    os.close(theirs)
    held.close()


def test_the_engines_line_and_place_are_told(tmp_path: Path) -> None:
    m = Measured(url=f"sqlite:///{tmp_path}/shop.db", **QUEUE)
    engine_connect(m.engine)
    signs = m.read().signs
    assert signs is not None
    assert signs.target == f"{tmp_path}/shop.db"
    assert signs.made_at.startswith("support/sqlalchemy_truth.py:")
    memory = Measured(**QUEUE)
    engine_connect(memory.engine)
    signs = memory.read().signs
    assert signs is not None
    assert signs.target == ""
    m.engine.dispose()


def module(name: str, source: str, **names: Any) -> Any:
    namespace: dict[str, Any] = {"__name__": name, **names}
    exec(compile(source, f"/srv/{name.replace('.', '/')}.py", "exec"), namespace)  # one line of ours
    return namespace["run"]


@pytest.mark.parametrize("in_url", [True, False])
def test_layers_of_the_application_are_passed_over_where_a_setting_names_them(in_url: bool) -> None:
    settings: dict[str, Any] = {} if in_url else {"collectd_skip": ["acme.db", "acme.web"]}
    query = "&collectd_skip=acme.db,acme.web" if in_url else ""
    stream = FakeStream()
    url = f"sqlite://?plugin=collectd&collectd_host=127.0.0.1{query}"
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("poolhouse.report.reporter.stream", lambda destination: stream)
        engine = create_engine(url, **QUEUE, **settings)
    take = module("acme.db.sessions", "def run():\n    engine.connect().close()", engine=engine)

    def handler() -> None:
        take()

    handler()
    (source,) = stream.sources
    signs = source.read(1).signs
    assert signs is not None
    assert [site.site for site in signs.sites] == [
        f"{HERE}:{handler.__code__.co_firstlineno + 1} in {handler.__qualname__}"
    ]
    engine.dispose()


def test_a_setting_that_names_no_packages_is_refused() -> None:
    with pytest.raises(ArgumentError, match="collectd_skip"):
        create_engine("sqlite://", plugins=["collectd"], collectd_skip=5)


def test_the_pool_sees_the_engines_dialect_but_for_what_counts() -> None:
    m = Measured(**QUEUE)
    view, dialect = m.engine.pool._dialect, m.engine.dialect
    assert (view.name, view.is_async, view.dbapi) == (dialect.name, False, dialect.dbapi)
    view.max_identifier_length = 7
    assert dialect.max_identifier_length == 7
    assert view.do_rollback != dialect.do_rollback
    m.engine.dispose()
    assert m.engine.pool._dialect is view


def test_a_dialect_that_allows_no_subclass_is_counted_too() -> None:
    class Last(DefaultDialect):
        def __init_subclass__(cls) -> None:
            raise TypeError("no further")

    dialect, meter = Last(), Meter()
    count_transactions(dialect, meter)
    assert uncounted(dialect) is dialect
    with pytest.raises(AttributeError):
        dialect.do_commit(None)  # type: ignore[arg-type]  # Nothing that could be committed.
    assert meter.commits.read() == 0


def test_a_second_engine_of_a_pool_counts_its_transactions_and_no_resets() -> None:
    m = Measured(future=True, **QUEUE)
    other = create_engine("sqlite://", pool=m.engine.pool, future=True)
    watch(other, m.stream)
    for engine in (m.engine, other):
        engine_begin(engine)
        engine.connect().close()
    counters = m.read().counters
    assert (counters.checkouts, counters.transactions, counters.commits, counters.rollbacks) == (4, 2, 2, 0)


@pytest.mark.parametrize("name", ["begin", "commit", "rollback"])
def test_the_names_of_sqlalchemy_are_there_that_counting_rests_on(name: str) -> None:
    engine = create_engine("sqlite://")
    assert engine.pool._dialect is engine.dialect
    for suffix in ("", "_twophase"):
        assert hasattr(getattr(Connection, f"_{name}{suffix}_impl"), "__code__")
        assert callable(getattr(engine.dialect, f"do_{name}{suffix}", None)) or suffix
    assert hasattr(vars(Connection)["__init__"], "__code__")


def test_under_gevent_the_holders_are_greenlets() -> None:
    output = run(
        """
        from gevent import monkey
        monkey.patch_all()
        import gevent
        from sqlalchemy import create_engine
        from sqlalchemy.pool import QueuePool
        from poolhouse.instrumentation.watch import watch
        from support.sqlalchemy_truth import FakeStream
        stream = FakeStream()
        engine = create_engine(
            "sqlite://", poolclass=QueuePool, pool_size=1, max_overflow=0,
            connect_args={"check_same_thread": False},
        )
        watch(engine, stream)
        taken, free = gevent.event.Event(), gevent.event.Event()
        def work():
            with engine.connect():
                taken.set()
                free.wait()
        workers = [gevent.spawn(work) for _ in range(3)]
        taken.wait()
        gevent.sleep(0.01)
        (source,) = stream.sources
        holding = source.holding()
        print(holding.waiting, [hold.holder() in workers for hold in holding.holds])
        free.set()
        gevent.joinall(workers)
        print([(site.site.split(" in ")[1], site.returned) for site in source.read(1).signs.sites])
        """
    )
    assert output == "2 [True]\n[('work', 3)]\n"
