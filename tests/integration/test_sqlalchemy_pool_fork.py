"""`FairQueuePool` in the child of a fork: the parent's session goes on as if there were no child."""

import pytest
import sqlalchemy

from support.postgres import Postgres
from support.programs import run

#: What Python warns of at a fork of a process with threads is the subject of nobody here; nor is psycopg's warning
#: of connections that nobody has closed: a child must not.
FORKING = ("-W", "error", "-W", "ignore:This process:DeprecationWarning", "-W", "ignore::ResourceWarning")

#: The parent has a connection in the middle of a transaction, and one that is idle.
BEGIN = """
    import gc, logging, os, sys
    from sqlalchemy import create_engine, text
    from sqlalchemy.orm import Session
    from poolhouse.pool.sqlalchemy import FairQueuePool

    logging.getLogger("poolhouse.pool").addHandler(logging.NullHandler())
    engine = create_engine(sys.argv[1], poolclass=FairQueuePool, pool_size=2, max_overflow=0, future=True)
    pool = engine.pool

    def backend(conn):
        return conn.execute(text("select pg_backend_pid()")).scalar()

    with engine.connect() as idle, engine.connect() as other:
        parents = {backend(idle), backend(other)}

    def fork():
        child = os.fork()
        if child:
            assert os.waitpid(child, 0)[1] == 0
        return child == 0
"""

#: What a child may do with the connection `conn` that its parent has checked out; each ends the child.
CHILDREN = {
    "closes it": "conn.close(); sys.exit()",
    "rolls it back": "conn.rollback(); conn.close(); sys.exit()",
    "forgets it": "del conn; gc.collect(); sys.exit()",
    "keeps it": "sys.exit()",
    "invalidates it": "conn.invalidate(); conn.close(); sys.exit()",
    "disposes of the engine": "engine.dispose(); conn.close(); gc.collect(); sys.exit()",
    "uses the pool": """
        with engine.connect() as first, engine.connect() as second:
            assert not {backend(first), backend(second)} & parents
        assert (pool.checkedin(), pool.checkedout()) == (2, 0)
        conn.close(); engine.dispose(); gc.collect(); sys.exit()""",
}


@pytest.mark.parametrize("driver", ["psycopg2"] if sqlalchemy.__version__ < "2" else ["psycopg", "psycopg2"])
@pytest.mark.parametrize("child", CHILDREN.values(), ids=CHILDREN)
def test_a_child_does_nothing_on_its_parents_session(child: str, driver: str, postgres: Postgres) -> None:
    """Trap 56."""
    printed = run(
        BEGIN
        + f"""
    conn = engine.connect()
    conn.execute(text("create temp table t (a int)"))
    conn.execute(text("insert into t values (1)"))
    if fork():
        {child}
    # Had the child ended the transaction, there would be no table, or no savepoint could be made.
    conn.execute(text("savepoint s"))
    print(conn.execute(text("select count(*) from t")).scalar(), backend(conn) in parents)
    conn.commit()
    conn.close()
    with engine.connect() as first, engine.connect() as second:
        print({{backend(first), backend(second)}} == parents)
    engine.dispose()
""",
        postgres.url.replace("postgresql", f"postgresql+{driver}"),
        options=FORKING,
        has_libraries=True,
    )
    assert printed.splitlines() == ["1 True", "True"]


def test_a_child_that_uses_what_it_inherited_is_told_so_and_one_that_gives_it_back_is_warned_once(
    postgres: Postgres,
) -> None:
    printed = run(
        BEGIN
        + """
    from sqlalchemy.exc import InvalidRequestError, StatementError

    logging.basicConfig(stream=sys.stdout, format="%(levelname)s %(name)s %(message)s")
    conn, raw = engine.connect(), engine.raw_connection()
    conn.execute(text("select 1"))
    if fork():
        for use in (lambda: conn.execute(text("select 1")), conn.commit, raw.cursor):
            try:
                use()
            except (InvalidRequestError, StatementError) as error:
                assert "belongs to the parent: take a new one" in str(error)
                print("refused")
        raw.close()
        print(pool.checkedin(), pool.checkedout(), flush=True)
        sys.exit()
    print(backend(conn) in parents)
    conn.close()
    raw.close()
    engine.dispose()
""",
        postgres.url.replace("postgresql", "postgresql+psycopg2"),
        options=FORKING,
        has_libraries=True,
    )
    refused, (warning, *rest) = printed.splitlines()[:3], printed.splitlines()[3:]
    assert refused == ["refused"] * 3
    assert warning.startswith("WARNING poolhouse.pool a connection taken before this process was forked")
    assert rest == ["0 0", "True"]


def test_a_session_of_the_orm_that_was_open_at_the_fork_is_the_parents(postgres: Postgres) -> None:
    printed = run(
        BEGIN
        + """
    with Session(engine) as session:
        session.execute(text("create temp table t (a int)"))
        is_child = fork()
        if not is_child:
            session.execute(text("savepoint s"))
            print(session.execute(text("select count(*) from t")).scalar())
    if not is_child:
        engine.dispose()
""",
        postgres.url.replace("postgresql", "postgresql+psycopg2"),
        options=FORKING,
        has_libraries=True,
    )
    assert printed == "0\n"


def test_the_engine_may_be_disposed_without_closing_as_sqlalchemy_advises(postgres: Postgres) -> None:
    printed = run(
        BEGIN
        + """
    conn = engine.connect()
    conn.execute(text("create temp table t (a int)"))
    if fork():
        engine.dispose(close=False)
        with engine.connect() as mine:
            assert backend(mine) not in parents
        conn.close()
        gc.collect()
        sys.exit()
    conn.execute(text("savepoint s"))
    print(conn.execute(text("select count(*) from t")).scalar())
    conn.close()
    engine.dispose()
""",
        postgres.url.replace("postgresql", "postgresql+psycopg2"),
        options=FORKING,
        has_libraries=True,
    )
    assert printed == "0\n"


def test_in_a_child_our_plugin_measures_what_is_the_childs(postgres: Postgres) -> None:
    printed = run(
        """
    import logging, os, sys
    from sqlalchemy import create_engine, text
    from poolhouse.instrumentation.watch import _watches
    from poolhouse.pool.sqlalchemy import FairQueuePool

    logging.getLogger("poolhouse").addHandler(logging.NullHandler())
    engine = create_engine(
        sys.argv[1], poolclass=FairQueuePool, plugins=["collectd"], collectd_host="127.0.0.1", future=True
    )
    def figures():
        reading = _watches[engine.pool].read(1)
        return reading.gauges.idle, reading.gauges.used, reading.counters.checkouts, reading.counters.connects

    with engine.connect() as idle, engine.connect() as other:
        pass
    with engine.connect() as held:
        child = os.fork()
        if not child:
            print("child", figures())
            with engine.connect() as mine:
                mine.execute(text("select 1"))
                print("child", figures())
            held.close()
            print("child", figures(), flush=True)
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        print("parent", figures())
    engine.dispose()
""",
        postgres.url.replace("postgresql", "postgresql+psycopg2"),
        options=FORKING,
        has_libraries=True,
    )
    assert printed.splitlines() == [
        "child (0, 0, 0, 0)",
        "child (0, 1, 1, 1)",
        "child (1, 0, 1, 1)",
        "parent (1, 1, 3, 2)",
    ]
