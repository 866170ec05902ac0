"""What an engine and its pool say of themselves."""

import sqlite3
from typing import Any

import pytest
from sqlalchemy import create_engine
from sqlalchemy.engine import make_url
from sqlalchemy.pool import NullPool, QueuePool

from poolhouse.instrumentation.engines import held_records, pool_limits, pool_name, root_engine
from poolhouse.instrumentation.watch import watch
from poolhouse.meter.reading import Limits
from support.sqlalchemy_truth import FakeStream


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("mysql+pymysql://user:password@databasehost/dbname?charset=utf8", "databasehost/dbname"),
        ("postgresql://ann:secret@db.example:5432/shop", "db.example:5432/shop"),
        ("postgresql://db.example:5432", "db.example:5432"),
        ("postgresql://[fe80::1]:5432/shop", "[fe80::1]:5432/shop"),
        ("postgresql:///shop", "shop"),
        ("postgresql://", "postgresql"),
        ("sqlite:////var/lib/shop.db", "/var/lib/shop.db"),
        ("sqlite://", "sqlite"),
        ("mssql+pyodbc:///?odbc_connect=DRIVER%3D%7Bx%7D%3BPWD%3Dsecret", "mssql"),
        ("postgresql://ann:secret@/shop?host=db&password=secret", "shop"),
        ("postgresql://ann:p@secret@db.example/shop", "postgresql"),
        ("postgresql://ann:p@sec/ret@db.example/shop", "postgresql"),
        ("mssql+pyodbc://sa:secret@db.example\\\\SQL2022/shop", "db.example\\\\SQL2022/shop"),
    ],
)
def test_a_pool_is_named_by_what_it_connects_to_and_by_no_secret(url: str, name: str):
    assert pool_name(make_url(url)) == name


SECRET = "QQQ"


PASSWORDS = ["p@QQQ", "p@QQQ:1", "p@QQQ/QQQ", "p@QQQ?QQQ", "p@QQQ?QQQ=QQQ", "p@QQQ#QQQ", "QQQ/QQQ@QQQ", "QQQ?@QQQ"]


@pytest.mark.parametrize("password", PASSWORDS)
def test_a_url_whose_password_is_not_encoded_names_nothing(password: str):
    """SQLAlchemy ends a password at its first @ and takes the rest for host, port, database and query."""
    for rest in ("", "?sslmode=require"):
        url = f"postgresql+psycopg2://ann:{password}@db.example:5432/shop{rest}"
        try:
            engine = create_engine(url, creator=refuse)
        except ValueError:
            assert ":" in password  # SQLAlchemy refuses that: it is no number of a port.
            continue
        stream = FakeStream()
        watch(engine, stream)
        with pytest.raises(OSError, match="unknown host"):
            engine.connect()
        (source,) = stream.sources
        assert SECRET not in source.read(1).name
        assert SECRET not in repr(source)


def refuse(*_: str) -> None:
    raise OSError("unknown host")


def test_a_pool_has_its_name_once_it_has_connected():
    attempts = iter([refuse, sqlite3.connect])

    def connect() -> Any:
        return next(attempts)(":memory:")

    engine = create_engine("sqlite:///shop.db", creator=connect)
    stream = FakeStream()
    watch(engine, stream)
    with pytest.raises(OSError, match="unknown host"):
        engine.connect()
    (source,) = stream.sources
    assert source.read(1).name == "sqlite"
    engine.connect().close()
    assert source.read(2).name == "shop.db"


def test_a_pool_that_is_connected_already_has_its_name_at_once():
    engine = create_engine("sqlite:///shop.db", poolclass=QueuePool, creator=lambda: sqlite3.connect(":memory:"))
    engine.connect().close()
    stream = FakeStream()
    watch(engine, stream)
    (source,) = stream.sources
    assert source.read(1).name == "shop.db"


def test_limits_of_several_pools_add_up_where_each_has_one():
    small = QueuePool(object, pool_size=2, max_overflow=1)
    endless = QueuePool(object, pool_size=3, max_overflow=-1)
    assert pool_limits([small, small]) == Limits(6, 4, 0)
    assert pool_limits([small, endless]) == Limits(None, 5, 0)
    assert pool_limits([small, NullPool(object)]) == Limits(None, None, 0)
    assert pool_limits([]) == Limits(None, None, 0)


def test_what_is_no_engine_is_named_in_the_error():
    with pytest.raises(TypeError, match="expected an engine of SQLAlchemy, not NullPool"):
        root_engine(NullPool(object))


def test_a_pool_that_keeps_its_records_in_an_unknown_way_holds_none_that_are_seen():
    pool = QueuePool(object)
    pool._pool = object()  # type: ignore[assignment]
    assert list(held_records(pool)) == []
