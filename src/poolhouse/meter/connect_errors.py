"""Why connects fail: a class for any exception of a driver, and a count for each class.

What counts: the error number of the operating system, MySQL's number, SQLSTATE, the exception's type, then words
of its text. psycopg and psycopg2 have no SQLSTATE for a failed connect, only a text, in the language of the
server; in another language than English it is `other`. The text itself goes nowhere.
"""

from collections.abc import Iterator
from errno import ECONNABORTED, ECONNREFUSED, ECONNRESET, EHOSTUNREACH, ENETUNREACH, ENOENT, EPIPE, ETIMEDOUT
from typing import Any, Final, NamedTuple

from poolhouse.meter.meter import Tally
from poolhouse.meter.signs import ConnectErrors

#: The most exceptions in a chain of causes that are examined.
_DEPTH = 5

_STATES: Final = {
    "08001": "refused",
    "08004": "auth",
    "08006": "lost",
    "28000": "auth",
    "28P01": "auth",
    "3D000": "no_database",
    "42501": "auth",
    "53300": "full",
    "55000": "no_database",  # A database that does not accept connections.
    "57P01": "starting",
    "57P02": "starting",
    "57P03": "starting",
}
#: Of MySQL and MariaDB. Their SQLSTATE is the same for too many connections and for a denied one.
_NUMBERS: Final = {
    1040: "full",
    1044: "auth",
    1045: "auth",
    1049: "no_database",
    1053: "starting",
    1129: "auth",  # The host is blocked.
    1130: "auth",
    1203: "full",
    1226: "full",
    1251: "auth",
    1698: "auth",
    2002: "refused",
    2003: "refused",
    2005: "dns",
    2006: "lost",
    2013: "lost",
    2055: "lost",
    2061: "auth",
    # Of SQL Server.
    4060: "no_database",
    18456: "auth",
}
#: Numbers behind which the client hides the reason for a failed connect; the text says more.
_VAGUE: Final = frozenset({2002, 2003, 2013, 2055})
#: Where a connect of MySQL's drivers hides an error of the operating system.
_ERRNOS: Final = {
    ECONNABORTED: "lost",
    ECONNREFUSED: "refused",
    ECONNRESET: "lost",
    EHOSTUNREACH: "refused",
    ENETUNREACH: "refused",
    ENOENT: "refused",  # A socket of Unix that is not there.
    EPIPE: "lost",
    ETIMEDOUT: "timeout",
}
#: Types by name: importing `socket` for them would cost too much.
_TYPES: Final = {
    "ConnectionTimeout": "timeout",
    "TimeoutError": "timeout",
    "gaierror": "dns",
    "herror": "dns",
    "timeout": "timeout",
}
#: In this order, since a text may contain words of several classes.
_WORDS: Final = (
    ("full", ("too many", "slots are reserved", "connection limit", "no more connections", "max_client_conn")),
    ("full", ("ora-00018", "ora-00020", "ora-12516", "ora-12519", "ora-12520")),
    ("starting", ("starting up", "shutting down", "recovery mode", "not yet accepting", "ora-01033")),
    ("auth", ("password authentication", "no pg_hba.conf", "authentication failed", "no password supplied")),
    ("auth", ("access denied", "login failed", "permission denied", "ora-01017", "ora-28000")),
    ("dns", ("could not translate", "failed to resolve", "name or service not known", "name resolution")),
    ("dns", ("nodename nor servname", "getaddrinfo", "unknown mysql server host", "no address associated")),
    ("timeout", ("timeout expired", "timed out", "connection timeout", "ora-12170")),
    ("refused", ("refused", "connect call failed", "is the server running", "no route to host", "ora-12541")),
    ("refused", ("network is unreachable", "can't connect", "no such file or directory")),
    ("no_database", ("does not exist", "unknown database", "unable to open database", "cannot open database")),
    ("no_database", ("ora-12505", "ora-12514")),
    ("lost", ("closed the connection", "connection reset", "lost connection", "broken pipe", "terminating")),
    ("lost", ("eof detected", "unexpected eof", "connection was closed", "connection is closed")),
)


def class_of(error: BaseException) -> str:
    """The class of a failed connect: the name of a field of `ConnectErrors`. Raises nothing.

    >>> class_of(ConnectionRefusedError(111, "Connection refused")), class_of(TimeoutError())
    ('refused', 'timeout')
    >>> class_of(Exception('FATAL:  role "ann" does not exist'))
    'auth'
    """
    try:
        return next((found for each in _causes(error) if (found := _class_of(each))), "other")
    except Exception:  # The class is a driver's, or the application's, and its text may fail.
        return "other"


class Failing(NamedTuple):
    """Connects that have failed since the last success."""

    #: When the first and the last of them failed, in seconds.
    began: float
    last: float
    #: The class of the last one.
    kind: str
    #: How many connects had succeeded until then.
    connects: int


class ConnectFailures:
    """Failed connects of one pool by class. Any thread may `add`; only one at a time may `read`."""

    __slots__ = ("_failing", "_tallies")

    def __init__(self) -> None:
        self._tallies = {name: Tally() for name in ConnectErrors._fields}
        self._failing: Failing | None = None

    def add(self, error: BaseException, now: float, connects: int) -> None:
        """Count a failure. Raises nothing, and keeps no reference to the error.

        Args:
            error: The driver's exception.
            now: Seconds, on a clock that never goes back.
            connects: How many connects have succeeded so far.
        """
        kind = class_of(error)
        self._tallies[kind].add()
        before = self.failing(connects)
        self._failing = Failing(now if before is None else before.began, now, kind, connects)

    def failing(self, connects: int) -> Failing | None:
        """The failures since the last successful connect; ``None`` if there are none.

        Args:
            connects: How many have succeeded so far.
        """
        failing = self._failing
        return failing if failing is not None and failing.connects == connects else None

    def read(self) -> ConnectErrors:
        """The number of failures of each class."""
        return ConnectErrors(*(tally.read() for tally in self._tallies.values()))

    def reset(self) -> None:
        """Start afresh, in a forked child."""
        self._failing = None
        for tally in self._tallies.values():
            tally.reset()


def _causes(error: BaseException) -> Iterator[Any]:
    """The error and its causes."""
    each: BaseException | None = error
    for _ in range(_DEPTH):
        if each is None:
            return
        yield each
        each = (
            getattr(each, "orig", None)
            or each.__cause__
            or (None if each.__suppress_context__ else each.__context__)
        )


def _class_of(error: Any) -> str | None:
    text = " ".join(str(error).lower().split())
    if isinstance(error, OSError):
        return _ERRNOS.get(error.errno or 0) or _TYPES.get(_name(error)) or _of_words(text)
    number = _number(error)
    if number in _NUMBERS:
        return (_of_words(text) if number in _VAGUE else None) or _NUMBERS[number]
    state = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)
    return _STATES.get(str(state)) or _TYPES.get(_name(error)) or _of_words(text)


def _name(error: BaseException) -> str:
    return next((base.__name__ for base in type(error).__mro__ if base.__name__ in _TYPES), "")


def _number(error: Any) -> int:
    """MySQL's or SQL Server's number, under whatever name a driver has it; 0 if there is none."""
    for number in (getattr(error, "errno", None), error.args[0] if error.args else None):
        if type(number) is int:
            return number
    return 0


def _of_words(text: str) -> str | None:
    if "role" in text and "does not exist" in text:
        return "auth"
    return next((name for name, words in _WORDS if any(word in text for word in words)), None)
