"""What an engine and its pool say of themselves."""

import pytest
from sqlalchemy.engine import make_url
from sqlalchemy.pool import NullPool, QueuePool

from poolhouse.instrumentation.engines import held_records, pool_limits, pool_name, root_engine
from poolhouse.meter.reading import Limits


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
    ],
)
def test_a_pool_is_named_by_what_it_connects_to_and_by_no_secret(url: str, name: str):
    assert pool_name(make_url(url)) == name


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
