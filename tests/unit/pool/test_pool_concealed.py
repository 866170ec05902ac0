"""What a driver says of a failed connect, or of a statement, is told without passwords and statements."""

import sqlite3
from typing import Any

import asyncpg
import psycopg
import psycopg2
import pymysql
import pytest
from sqlalchemy import create_engine
from sqlalchemy.exc import ProgrammingError

from poolhouse.conceal import conceal, stand_in
from poolhouse.pool.bare_error import bare, without
from poolhouse.pool.passwords import secrets_in, secrets_of_creator
from poolhouse.pool.words import Shown, describe

SECRET = "Zq7secret"


def said_of_connect(error: BaseException, conninfo: Any, kwargs: Any) -> str:
    return describe(error, secrets_in(conninfo, kwargs))


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
        ("", {"token": SECRET}, f"the server refused {SECRET}"),
        ("", {"dsn": f"host=db sslpassword={SECRET}"}, f"the server refused {SECRET}"),
        ("", {"dsn": f"postgresql://me:{SECRET}@db/shop"}, f"the server refused {SECRET}"),
        (f"DRIVER=x;UID=me;PWD={SECRET};SERVER=db", {}, f"the server refused {SECRET}"),
    ],
)
def test_no_part_of_a_password_that_a_driver_repeats_is_told(conninfo, kwargs, said):
    told = said_of_connect(OSError(said), conninfo, kwargs)
    assert SECRET not in told
    assert "…" in told


@pytest.mark.parametrize(
    "said",
    [
        f'missing "=" after "me:{SECRET}@host" in connection info string',
        f'invalid percent-encoded token: "{SECRET}%"',
        f'invalid integer value "{SECRET}" for connection option "port"',
        f'invalid connection option "{SECRET}"',
        f'unexpected character "x" at position 9 in URI (expected ":" or "/"): "postgresql://[::1]{SECRET}"',
        f'could not translate host name "{SECRET}@db" to address: Name or service not known',
        f"Can't connect to MySQL server on '{SECRET}@db' ([Errno -2] Name or service not known)",
        f"cannot connect with postgresql://me:{SECRET}@db:5432/shop",
        f"cannot connect with 'me:{SECRET}@db:5432'",
        f"me:{SECRET}@db",
        f"cannot connect with postgresql://me:my/{SECRET}@x@db:5432/shop",
        f"cannot connect with 'postgresql://me:it's{SECRET}@db:5432/shop'",
        f"cannot connect with postgresql://me%3A{SECRET}%3Ax@db:5432/shop",
        f"cannot connect with host=db user=me sslpassword={SECRET} dbname=shop",
        f"cannot connect with host=db password = '\\' {SECRET}' dbname=shop",
        f"cannot connect with postgresql://db/shop?user=me&password={SECRET}",
        f"cannot connect with {{'host': 'db', 'sslpassword': 'it\\'s {SECRET}', 'user': 'me'}}",
        f'cannot connect with {{"host": "db", "access_token": "{SECRET}"}}',
    ],
)
def test_a_password_that_nobody_knows_is_recognized_by_what_stands_around_it(said: str):
    """That of a function, or of an application's creator."""
    text = conceal(said)
    assert SECRET not in text
    assert "…" in text
    assert conceal(text) == text


def test_the_name_of_an_unknown_option_is_told():
    text = 'invalid connection option "connect_timout"'
    assert conceal(text) == text


class UnsafeConnection:
    def __repr__(self) -> str:
        return f"<connection object at 0x7f; dsn: 'user=me password=xxx sslpassword={SECRET}', closed: 0>"


def test_a_connection_is_told_without_the_passwords_in_its_conninfo():
    """psycopg2 hides one of two."""
    assert str(Shown(UnsafeConnection())) == (
        "<connection object at 0x7f; dsn: 'user=me password=… sslpassword=…', closed: 0>"
    )


@pytest.mark.parametrize(
    ("url", "arguments"),
    [
        (f"postgresql+psycopg://me:{SECRET}@db/shop", {}),
        ("postgresql+psycopg://me@db/shop", {"password": SECRET}),
        ("postgresql+psycopg://", {"conninfo": f"me:{SECRET}@db"}),
    ],
)
def test_what_an_engine_connects_with_is_known(url: str, arguments: dict[str, str]):
    engine = create_engine(url, connect_args=arguments)
    assert any(SECRET in one for one in secrets_of_creator(engine.pool._creator))


@pytest.mark.parametrize("creator", [print, lambda: None, lambda: SECRET])
def test_of_an_application_s_creator_nothing_is_known(creator):
    assert secrets_of_creator(creator) == []


@pytest.mark.parametrize(
    "error",
    [
        psycopg.OperationalError(f"the server refused {SECRET}"),
        psycopg2.OperationalError(f"the server refused {SECRET}"),
        asyncpg.InvalidPasswordError(f"the server refused {SECRET}"),
        pymysql.OperationalError(1045, f"the server refused {SECRET}"),
        OSError(111, f"the server refused {SECRET}"),
    ],
    ids=lambda error: type(error).__module__,
)
def test_a_copy_for_the_application_has_no_password(error: Exception):
    copy = without(bare(error), [SECRET])
    assert SECRET not in f"{copy} {copy!r} {copy.args}"
    assert "the server refused …" in str(copy)
    assert SECRET in str(error), "the driver's own exception stays what it is"


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
    assert said_of_connect(OSError(said), conninfo, kwargs) == f"OSError: {said}"


class Refused(Exception):
    """A server's refusal of a statement, with the attribute that its driver gives it."""

    def __init__(self, text: str, sqlstate: str) -> None:
        super().__init__(text)
        self.sqlstate = sqlstate


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (OSError(f"syntax error\nLINE 1: set x to '{SECRET}'\n        ^"), "OSError: syntax error"),
        (
            OSError(f"a value is there\nDETAIL:  Key (email)=({SECRET}) already exists."),
            "OSError: a value is there",
        ),
        (OSError(f"no\nHINT:  Perhaps you meant {SECRET}."), "OSError: no"),
        (OSError(f"no\nQUERY:  select {SECRET}"), "OSError: no"),
        (OSError(f'no\nCONTEXT:  SQL statement "select {SECRET}"'), "OSError: no"),
        (
            OSError(f"(OperationalError) no such table\n[SQL: select '{SECRET}']\n[parameters: ('{SECRET}',)]"),
            "OSError: (OperationalError) no such table",
        ),
        (
            Refused(f'invalid input syntax for type integer: "{SECRET}"', "22P02"),
            "Refused: invalid input syntax for type integer: …",
        ),
        (Refused(f'column "{SECRET}" of "a" does not exist', "42703"), "Refused: column … does not exist"),
        # In the languages that PostgreSQL 15 and its libpq are translated to.
        (
            Refused(f"Syntaxfehler bei »{SECRET}«\nZEILE 1: set x to {SECRET}\n   ^", "42601"),
            "Refused: Syntaxfehler bei …",
        ),
        (Refused(f"la colonne « {SECRET} » n'existe pas", "42703"), "Refused: la colonne …existe pas"),
        (
            Refused(f"la valeur existe\nDÉTAIL : La clé « (email)=({SECRET}) » existe.", "23505"),
            "Refused: la valeur existe",
        ),
        (Refused(f"値があります\n詳細: キー (email)=({SECRET})", "23505"), "Refused: 値があります"),
        (Refused(f"სვეტი არ არსებობს: „{SECRET}“", "42703"), "Refused: სვეტი არ არსებობს: …"),
        (pymysql.ProgrammingError(1064, f"near 'x = '{SECRET}'' at line 1"), "ProgrammingError: (1064, …)"),
        (sqlite3.OperationalError(f'near "{SECRET}": syntax error'), "OperationalError: near …: syntax error"),
        (sqlite3.OperationalError(f"no such column: {SECRET}"), "OperationalError: no such column: …"),
        (
            ProgrammingError("select", {}, sqlite3.OperationalError(f'near "{SECRET}": syntax error')),
            "ProgrammingError: (sqlite3.OperationalError) near …: syntax error",
        ),
    ],
)
def test_no_statement_that_a_driver_repeats_is_told(error: Exception, told: str):
    assert describe(error) == told


class Position:
    """psycopg's and psycopg2's place for where in a statement the server saw the mistake."""

    def __init__(self, statement_position: str) -> None:
        self.statement_position = statement_position


def refused_at(position: str, token: str) -> list[Refused]:
    """What psycopg, and what asyncpg raises."""
    with_diag, with_position = (Refused(f'syntax error at or near "{token}"', "42601") for _ in range(2))
    with_diag.diag = Position(position)
    with_position.position = position
    return [with_diag, with_position]


@pytest.mark.parametrize("error", refused_at("1", "WAT"), ids=["diag", "position"])
def test_a_command_that_postgresql_does_not_know_is_told(error: Refused):
    """The first word of a statement is no value."""
    assert describe(error) == 'Refused: syntax error at or near "WAT"'


@pytest.mark.parametrize("said", ["Syntaxfehler bei »WAT«", "erreur de syntaxe sur ou près de « WAT »"])
def test_that_command_is_told_in_other_languages(said: str):
    error = Refused(f"{said}\nLIGNE 1 : WAT {SECRET}\n  ^", "42601")
    error.position = "1"
    assert describe(error) == f"Refused: {said}"


@pytest.mark.parametrize(
    "error",
    [
        *refused_at("8", "secret"),
        *refused_at("1", "'secret"),
        *refused_at("1", SECRET),
        *refused_at("1", 'a" "b'),
        *refused_at("", "secret"),
    ],
    ids=str,
)
def test_nothing_else_that_postgresql_does_not_understand_is_told(error: Refused):
    assert describe(error) == "Refused: syntax error at or near …"


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (Refused('password authentication failed for user "me"', "28P01"), 'failed for user "me"'),
        (Refused('database "shop" does not exist', "3D000"), '"shop"'),
        (
            pymysql.OperationalError(1045, "Access denied for user 'me'@'db' (using password: YES)"),
            "'me'@'db' (us",
        ),
        (pymysql.OperationalError(2013, "Lost connection to 'db'"), "'db'"),
        (sqlite3.OperationalError("unable to open database file"), "unable to open database file"),
        (RuntimeError("expected 'a'"), "expected 'a'"),
    ],
)
def test_what_concerns_the_connection_is_told(error: Exception, told: str):
    assert told in describe(error)


def test_a_traceback_in_a_log_has_neither_passwords_nor_statements_in_its_texts():
    given = f"postgresql://me:{SECRET}@db"
    try:
        try:
            raise sqlite3.OperationalError(f'near "{SECRET}": syntax error')
        except sqlite3.OperationalError as cause:
            raise ValueError(given) from cause
    except ValueError as error:
        error.add_note(given)
        shown, kept = stand_in(error), error
    assert (type(shown).__name__, str(shown)) == ("ValueError", "postgresql://me:…@db")
    assert shown.__notes__ == ["postgresql://me:…@db"]
    assert (type(shown.__cause__).__module__, str(shown.__cause__)) == ("sqlite3", "near …: syntax error")
    assert shown.__traceback__ is kept.__traceback__
    group = stand_in(ExceptionGroup("two", [ValueError(given), ValueError("one")]))
    assert isinstance(group, BaseExceptionGroup)
    assert [str(each) for each in group.exceptions] == ["postgresql://me:…@db", "one"]


@pytest.mark.parametrize("plain", [ValueError("expected 'a'"), ExceptionGroup("one", [ValueError("a")])])
def test_an_error_without_them_stays_itself(plain: Exception):
    assert stand_in(plain) is plain
