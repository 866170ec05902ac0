"""What a frame does for a connection: it asks a pool for one, works in a driver, or neither."""

from collections.abc import Callable, Mapping
from enum import IntEnum
from operator import itemgetter
from types import CodeType
from typing import Any, NamedTuple

from poolhouse.sites.frames import Place, Stack


class Role(IntEnum):
    """The meaning of a frame for a connection held further out."""

    NEITHER = 0
    #: It asks a pool for a connection.
    ASKS = 1
    #: It is a driver's, or a library's own call of a driver written in C.
    DRIVER = 2


#: The packages of drivers that run in Python, so that their frames are visible.
DRIVERS = frozenset(
    {
        "MySQLdb",
        "aiomysql",
        "aioodbc",
        "aiosqlite",
        "asyncmy",
        "asyncpg",
        "cymysql",
        "mariadb",
        "mysql",
        "oracledb",
        "pg8000",
        "psycopg",
        "psycopg2",
        "psycopg_binary",
        "psycopg_c",
        "pymssql",
        "pymysql",
        "redshift_connector",
        "sqlite3",
    }
)

#: Functions in which a library calls a driver, by the beginning of the module's name.
CALLS = {
    "sqlalchemy.": frozenset(
        {
            "do_begin",
            "do_begin_twophase",
            "do_commit",
            "do_commit_twophase",
            "do_execute",
            "do_execute_no_params",
            "do_executemany",
            "do_ping",
            "do_prepare_twophase",
            "do_release_savepoint",
            "do_rollback",
            "do_rollback_to_savepoint",
            "do_rollback_twophase",
            "do_savepoint",
        }
    ),
    "django.db.backends.": frozenset(
        {"_commit", "_execute", "_executemany", "_rollback", "execute", "executemany"}
    ),
    "poolhouse.pool.drivers.": frozenset({"commit", "connect", "probe", "rollback"}),
}

#: Functions in which a pool is asked for a connection, by the beginning of the module's name.
ASKS = {
    "poolhouse.instrumentation.": frozenset(
        {"measured_acquire", "measured_connect", "measured_getconn", "measured_getconn_async"}
    ),
    "poolhouse.pool.": frozenset(
        {"__aenter__", "__enter__", "_getconn_called", "_getconn_slowly", "getconn", "_do_get"}
    ),
    "psycopg_pool.": frozenset({"getconn"}),
    "sqlalchemy.pool.": frozenset({"_do_get", "connect"}),
}

#: The most code objects that are remembered; a program may make any number of them at run time.
_MOST_CODES = 4_096

_CODE_OF = itemgetter(0)


class Facts(NamedTuple):
    """The known facts about each frame of a stack, innermost first."""

    #: The identities of the code objects.
    codes: list[int]
    #: The `Role` of each.
    roles: bytes
    #: Whether each is the application's, 1 or 0.
    applications: bytes

    @property
    def asking(self) -> int:
        """The innermost frame that asks for a connection; the number of frames if none does."""
        found = self.roles.find(Role.ASKS)
        return len(self.roles) if found < 0 else found


#: One byte holds the facts of a frame: its role, and whether it is the application's.
_ROLE, _APPLICATION = 0b011, 0b100
_TO_ROLE = bytes(byte & _ROLE for byte in range(256))
_TO_APPLICATION = bytes(bool(byte & _APPLICATION) for byte in range(256))


class Frames:
    """Classifies frames, and remembers the result by code object. All work for each frame is done in C."""

    __slots__ = ("_codes", "_is_application", "_known")

    def __init__(self, is_application: Callable[[CodeType, Mapping[str, Any]], bool]) -> None:
        """Start with nothing known.

        Args:
            is_application: Whether code in a module with these globals is the application's.
        """
        self._is_application = is_application
        #: By the code's identity; the code itself is kept, so that no other one gets that identity.
        self._known: dict[int, int] = {}
        self._codes: list[CodeType] = []

    def of(self, stack: Stack) -> Facts:
        """The facts about the frames of this stack."""
        codes = list(map(id, map(_CODE_OF, stack)))
        try:
            known = bytes(map(self._known.__getitem__, codes))
        except KeyError:
            self._learn(stack)
            known = bytes(map(self._known.__getitem__, codes))
        return Facts(codes, known.translate(_TO_ROLE), known.translate(_TO_APPLICATION))

    def _learn(self, stack: Stack) -> None:
        known = self._known
        if len(known) + len(stack) > _MOST_CODES:
            known.clear()
            self._codes.clear()
        for code, _, names in stack:
            if id(code) not in known:
                self._codes.append(code)
                known[id(code)] = role_of(code, names) | _APPLICATION * self._is_application(code, names)


def role_of(code: CodeType, names: Mapping[str, Any]) -> Role:
    """The role of a frame with this code, in the module with these globals."""
    module = str(names.get("__name__"))
    if module.partition(".")[0] in DRIVERS or _is_among(CALLS, module, code.co_name):
        return Role.DRIVER
    return Role.ASKS if _is_among(ASKS, module, code.co_name) else Role.NEITHER


def _is_among(functions: Mapping[str, frozenset[str]], module: str, name: str) -> bool:
    return any(f"{module}.".startswith(begin) and name in names for begin, names in functions.items())


#: asyncio's functions from which everything in a loop is called, whatever the loop is written in.
_LOOP = frozenset({"_run_once", "run_forever", "run_until_complete"})


def runs_a_loop(place: Place) -> bool:
    """Whether a frame is an event loop's own."""
    module, name = str(place[2].get("__name__")), place[0].co_name
    return (module.startswith("asyncio.") and name in _LOOP) or (module, name) == ("asyncio.runners", "run")
