"""What a driver says of a failed connect, or of a statement, is told without passwords and statements."""

import pytest

from poolhouse.pool.words import connect_error, describe

SECRET = "Zq7secret"


@pytest.mark.parametrize(
    ("conninfo", "kwargs", "said"),
    [
        # What libpq and asyncpg say of a conninfo that they cannot read.
        (f"me:{SECRET}@host", {}, f'missing "=" after "me:{SECRET}@host" in connection info string'),
        (f"host=db password=my {SECRET}", {}, f'missing "=" after "{SECRET}" in connection info string'),
        (f"host=db password={SECRET}", {}, f"the server refused {SECRET}"),
        (f"host=db password='{SECRET} \\' x'", {}, f"the server refused {SECRET} ' x"),
        (f"postgresql://me:{SECRET}%@db/shop", {}, f'invalid percent-encoded token: "{SECRET}%"'),
        (f"postgresql://me:{SECRET}%21@db/shop", {}, f"the server refused {SECRET}!"),
        (
            f"postgresql://me:{SECRET}/x@db/shop",
            {},
            f'invalid integer value "{SECRET}" for connection option "port"',
        ),
        (f"postgresql://db/shop?password={SECRET}", {}, f"the server refused {SECRET}"),
        ("", {"password": SECRET}, f"the server refused {SECRET}"),
        ("", {"passwd": SECRET}, f"the server refused {SECRET}"),
    ],
)
def test_no_part_of_a_password_that_a_driver_repeats_is_told(conninfo, kwargs, said):
    told = connect_error(OSError(said), conninfo, kwargs)
    assert SECRET not in told
    assert "…" in told


@pytest.mark.parametrize(
    ("conninfo", "kwargs"),
    [
        ("shop.db", {}),
        ("host=127.0.0.1 port=1 dbname=shop user=me", {}),
        ("postgresql://me@127.0.0.1:1/shop", {"password": ""}),
        (lambda: "shop.db", dict),
    ],
)
def test_the_rest_is_told_as_it_is(conninfo, kwargs):
    said = 'connection to "127.0.0.1", port 1 as "me" to shop.db failed: Connection refused'
    assert connect_error(OSError(said), conninfo, kwargs) == f"OSError: {said}"


@pytest.mark.parametrize(
    "said",
    [
        f"syntax error\nLINE 1: set x to '{SECRET}'\n        ^",
        f"a value is there already\nDETAIL:  Key (email)=({SECRET}) already exists.",
        f"(OperationalError) no such table\n[SQL: select '{SECRET}']\n[parameters: ('{SECRET}',)]",
    ],
)
def test_no_statement_that_a_driver_repeats_is_told(said):
    assert describe(OSError(said)) == f"OSError: {said.splitlines()[0]}"
