"""Names of pools: what they connect to, and nothing that is secret."""

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolhouse.instrumentation.names import pool_name

SECRET = "s3cr3t"


@pytest.mark.parametrize(
    ("conninfo", "kwargs", "name"),
    [
        ("postgresql://ann:s3cr3t@db1:5432/shop", None, "db1:5432/shop"),
        ("postgresql://ann:s3cr3t@db1:5432,db2:5433/shop", None, "db1,db2:5432,5433/shop"),
        ("postgresql://ann:s3cr3t@[::1]:5432/shop", None, "[::1]:5432/shop"),
        ("postgres://%2Frun%2Fpg/shop?user=ann&password=s3cr3t", None, "/run/pg/shop"),
        ("postgresql:///shop?host=db1&port=5433&password=s3cr3t", None, "db1:5433/shop"),
        ("postgresql://db1", {"dbname": "stock", "password": SECRET}, "db1/stock"),
        ("host=db1 port=5432 dbname=shop user=ann password=s3cr3t", None, "db1:5432/shop"),
        ("host='db1' password = 's3 \\' s3cr3t' dbname='the shop'", None, "db1/the shop"),
        ("", {"host": "db1", "port": 3306, "db": "shop", "user": "ann", "passwd": SECRET}, "db1:3306/shop"),
        ("", {"dsn": "postgresql://ann:s3cr3t@db1/shop"}, "db1/shop"),
        ("", {"unix_socket": "/run/mysqld.sock", "database": "shop"}, "/run/mysqld.sock/shop"),
        ("/srv/shop.db", None, "/srv/shop.db"),
        (":memory:", {}, ":memory:"),
    ],
)
def test_a_pool_without_a_name_is_called_after_server_and_database(conninfo: str, kwargs, name: str) -> None:
    assert pool_name("pool-12", conninfo, kwargs) == name


@pytest.mark.parametrize(
    "conninfo",
    [
        "",
        "user=ann password=s3cr3t",
        "host=db1 password='s3cr3t",  # a quote that is not closed
        "Driver={PostgreSQL};Server=db1;PWD=s3cr3t",
        "ann:s3cr3t@db1",
        "file:shop.db?key=s3cr3t",
        "postgresql://ann:s3/cr3t@db1/shop",  # signs that must be encoded, and are not
        "postgresql://ann:s3?s3cr3t@db1/shop",
        "postgresql://ann:1/s3cr3t@db1/shop",
        "postgresql://db1?password=s3cr3t@s3cr3t",
        "postgresql://ann:s3#@s3cr3t:x@db1:5432x/shop",
    ],
)
def test_what_cannot_be_told_from_a_secret_names_nothing(conninfo: str) -> None:
    assert pool_name("pool-12", conninfo, {"password": SECRET}) == "pool-12"


def test_a_name_that_was_given_wins() -> None:
    assert pool_name("orders", "postgresql://ann:s3cr3t@db1/shop", {"host": "db2"}) == "orders"
    assert pool_name("pool-of-ann", "host=db1", None) == "pool-of-ann"


def test_nothing_of_the_applications_is_called() -> None:
    def conninfo() -> str:
        raise AssertionError("it may fetch a secret, or take long")

    assert pool_name("pool-1", conninfo, conninfo) == "pool-1"


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1))
def test_no_password_gets_into_a_name(rest: str) -> None:
    # Whatever is in it; "QQQ" is in no host and no database.
    secret = f"QQQ{rest}QQQ"
    quoted = secret.replace("\\", "\\\\").replace("'", "\\'")
    for conninfo in (
        f"postgresql://ann:{quote(secret, safe='')}@db1:5432/shop",
        f"postgresql://ann:{secret}@db1,db2/shop?connect_timeout=2",  # not encoded as it should be
        f"postgresql://db1/shop?password={quote(secret, safe='')}",
        f"host=db1 password='{quoted}' dbname=shop",
        f"Server=db1;Password={secret}",
    ):
        assert "QQQ" not in pool_name("pool-1", conninfo, {"password": secret})
