"""Whatever drivers raise when a connect fails, by class."""

import errno
import socket
from typing import Any

import pytest
from sqlalchemy.exc import DBAPIError

from poolhouse.meter.connect_errors import ConnectFailures, Failing, class_of
from poolhouse.meter.signs import ConnectErrors


class DriverError(Exception):
    """A driver's, with whatever attributes it has."""

    def __init__(self, *args: Any, **attributes: Any) -> None:
        super().__init__(*args)
        vars(self).update(attributes)


class ConnectionTimeout(DriverError):
    """psycopg's."""


REFUSED = 'connection failed: connection to server at "127.0.0.1", port 1 failed: Connection refused'
SOCKET = (
    'connection to server on socket "/run/.s.PGSQL.5432" failed: No such file or directory\n'
    "\tIs the server running locally and accepting connections on that socket?"
)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        # psycopg and psycopg2: words only.
        (DriverError(REFUSED), "refused"),
        (DriverError(SOCKET), "refused"),
        (DriverError("FATAL:  sorry, too many clients already"), "full"),
        (DriverError("FATAL:  remaining connection slots are reserved for roles with SUPERUSER"), "full"),
        (DriverError('FATAL:  too many connections for role "app"'), "full"),
        (DriverError('FATAL:  password authentication failed for user "app"'), "auth"),
        (DriverError('FATAL:  role "app" does not exist'), "auth"),
        (DriverError('FATAL:  no pg_hba.conf entry for host "10.0.0.1"'), "auth"),
        (DriverError('FATAL:  database "shop" does not exist'), "no_database"),
        (DriverError('could not translate host name "db" to address: Name or service not known'), "dns"),
        (DriverError("failed to resolve host 'db': [Errno -2] Name or service not known"), "dns"),
        (DriverError('connection to server at "10.0.0.1", port 5432 failed: timeout expired'), "timeout"),
        (ConnectionTimeout("the server takes its time"), "timeout"),
        (DriverError("FATAL:  the database system is starting up"), "starting"),
        (DriverError("FATAL:  the database system is shutting down"), "starting"),
        (DriverError("server closed the connection unexpectedly"), "lost"),
        (DriverError("FATAL: leider zu viele Verbindungen"), "other"),
        # asyncpg: SQLSTATE, and the exceptions of the standard library.
        (DriverError("zu viele Verbindungen", sqlstate="53300"), "full"),
        (DriverError("Passwort", sqlstate="28P01"), "auth"),
        (DriverError("keine Datenbank", sqlstate="3D000"), "no_database"),
        (DriverError("es startet", sqlstate="57P03"), "starting"),
        (DriverError("", pgcode="53300"), "full"),
        (TimeoutError(), "timeout"),
        (OSError("Multiple exceptions: [Errno 111] Connect call failed ('::1', 1, 0, 0), [Errno 111]"), "refused"),
        (ConnectionRefusedError(errno.ECONNREFUSED, "Verbindung verweigert"), "refused"),
        (ConnectionResetError(errno.ECONNRESET, ""), "lost"),
        (ConnectionResetError(), "other"),
        (OSError(errno.EHOSTUNREACH, ""), "refused"),
        (OSError(errno.ETIMEDOUT, ""), "timeout"),
        (FileNotFoundError(errno.ENOENT, ""), "refused"),
        (socket.gaierror(-2, "Name oder Dienst nicht bekannt"), "dns"),
        (socket.gaierror(), "dns"),
        (TimeoutError("timed out"), "timeout"),
        # MySQL's: a number comes first.
        (DriverError(1040, "Too many connections"), "full"),
        (DriverError(1203, ""), "full"),
        (DriverError(1045, "Zugriff verweigert"), "auth"),
        (DriverError(1049, ""), "no_database"),
        (DriverError(2003, "Can't connect to MySQL server on 'db' ([Errno 111] Connection refused)"), "refused"),
        (DriverError(2003, "Can't connect to MySQL server on 'db' (timed out)"), "timeout"),
        (DriverError(2003, "Can't connect to MySQL server on 'db' ([Errno -2] Name or service not known)"), "dns"),
        (DriverError(2003, ""), "refused"),
        (DriverError(2013, "Lost connection to MySQL server during query"), "lost"),
        (DriverError("Too many connections", errno=1040, sqlstate="08004"), "full"),
        # Others.
        (DriverError("unable to open database file"), "no_database"),
        (DriverError("ORA-12519, TNS:no appropriate service handler found"), "full"),
        (DriverError(), "other"),
    ],
)
def test_an_error_has_its_class(error: BaseException, expected: str) -> None:
    assert class_of(error) == expected


def test_what_caused_an_error_counts_where_it_says_nothing_itself() -> None:
    cause = ConnectionRefusedError(errno.ECONNREFUSED, "")
    for how in ("cause", "context", "orig"):
        error: Any = DriverError("cannot connect")
        if how == "cause":
            error.__cause__ = cause
        elif how == "context":
            error.__context__ = cause
        else:
            error = DBAPIError("", None, cause)
        assert class_of(error) == "refused"
    hidden = DriverError("cannot connect")
    hidden.__context__ = cause
    hidden.__suppress_context__ = True
    assert class_of(hidden) == "other"


def test_an_error_that_has_no_text_or_goes_round_in_circles_is_other() -> None:
    class Broken(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no text today")

    assert class_of(Broken()) == "other"
    round_and_round = DriverError("cannot connect")
    round_and_round.__cause__ = DriverError("nor I")
    round_and_round.__cause__.__cause__ = round_and_round
    assert class_of(round_and_round) == "other"


def test_failures_go_on_until_a_connect_succeeds() -> None:
    failures = ConnectFailures()
    assert failures.failing(3) is None
    failures.add(TimeoutError(), 10.0, 3)
    failures.add(DriverError(1040), 15.0, 3)
    assert failures.failing(3) == Failing(10.0, 15.0, "full", 3)
    assert failures.failing(4) is None
    failures.add(TimeoutError(), 20.0, 4)
    assert failures.failing(4) == Failing(20.0, 20.0, "timeout", 4)
    failures.reset()
    assert failures.failing(4) is None


def test_failures_are_counted_by_class_and_begin_anew() -> None:
    failures = ConnectFailures()
    for error in (TimeoutError(), TimeoutError(), DriverError(1040), ValueError()):
        failures.add(error, 0.0, 0)
    assert failures.read() == failures.read() == ConnectErrors(full=1, timeout=2, other=1)
    failures.reset()
    failures.add(TimeoutError(), 0.0, 0)
    assert failures.read() == ConnectErrors(timeout=1)
